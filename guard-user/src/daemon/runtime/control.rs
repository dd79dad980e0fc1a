//! The control socket: served where it can be had, and made anew where it is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::policy::Control as Config;
use crate::control::server::{Desk, Message, Server};
use crate::events::history::History;

pub(super) struct Control {
    config: Config,
    server: Option<Server>,
    desk: Desk,
    problem: Option<String>,
}

impl Control {
    pub(super) fn new(config: &Config, commands: mpsc::Sender<Message>, history: Arc<History>) -> Self {
        let mut control =
            Self { config: config.clone(), server: None, desk: Desk { commands, history }, problem: None };
        control.bind();
        control
    }

    fn bind(&mut self) {
        match Server::bind(&self.config.socket, &self.config.groups) {
            Ok(server) => (self.server, self.problem) = (Some(server), None),
            Err(error) => {
                if self.problem.is_none() {
                    tracing::error!("the control socket can't be had: {error}");
                }
                self.problem = Some(error.to_string());
            }
        }
    }

    pub(super) async fn serve(&self) {
        match &self.server {
            Some(server) => server.serve(&self.desk).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn look(&mut self) -> Option<String> {
        if self.server.is_none() || !self.config.socket.exists() {
            self.server = None;
            self.bind();
        }
        self.problem.clone()
    }

    pub(super) fn unresolved_groups(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}
