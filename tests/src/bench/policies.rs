//! The policies that packets are judged by: eight pins, as a mail and record store may have.

use std::path::Path;

use anyhow::{Context as _, Result};
use guard_common::jurisdiction::Jurisdiction;
use guard_user::config::policy::Policy;
use guard_user::config::{Surroundings, parse};

/// What permitted flows leave behind, and what is permitted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything is permitted, without flow records.
    Permit,
    /// Everything is permitted, with flow records.
    Record,
    /// Only Ireland is permitted.
    Forbid,
    /// As [`Permit`](Self::Permit), with a ninth pin by user, for which it is read who made and used each socket.
    Users,
    /// Likewise with a ninth pin by cgroup.
    Cgroups,
    /// Likewise with a ninth pin by volume.
    Volumes,
    /// Likewise with a ninth pin by who opened the connection.
    Directions,
}

/// A cgroup that no process of the bench is in.
pub(crate) const CGROUP: &str = "bench.slice/mail.service";

/// A volume whose data no process of the bench has.
const VOLUME: &str = "/srv/bench";

/// A policy of eight pins by source address, the first of which is the bench packet's.
pub(crate) fn policy(kind: Kind) -> Result<Policy> {
    let everywhere: Vec<String> =
        Jurisdiction::all().map(|jurisdiction| format!("\"{jurisdiction}\"")).collect();
    let everywhere = everywhere.join(", ");
    let (permit, record) = match kind {
        Kind::Permit | Kind::Users | Kind::Cgroups | Kind::Volumes | Kind::Directions => {
            (everywhere.as_str(), "forbidden")
        }
        Kind::Record => (everywhere.as_str(), "all"),
        Kind::Forbid => ("", "forbidden"),
    };
    let mut text = String::from("approval = \"none\"\n[host]\ninterfaces = [\"bench0\"]\n");
    for pin in 1..=8 {
        text.push_str(&format!(
            "\n[[pin]]\nname = \"pin-{pin}\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\n\
             record = \"{record}\"\n[pin.select]\n\
             sources = [\"192.0.2.{pin}/32\", \"2001:db8:1::{pin}/128\"]\n"
        ));
    }
    let by_sender = match kind {
        Kind::Users => Some("users = [4242]\nsent_by = \"socket\"".to_owned()),
        Kind::Cgroups => Some(format!("cgroups = [\"{CGROUP}\"]\nsent_by = \"socket\"")),
        Kind::Volumes => Some(format!("volumes = [\"{VOLUME}\"]")),
        Kind::Directions => Some("sources = [\"198.51.100.9/32\"]\ndirection = \"opened\"".to_owned()),
        Kind::Permit | Kind::Record | Kind::Forbid => None,
    };
    if let Some(select) = by_sender {
        text.push_str(&format!(
            "\n[[pin]]\nname = \"by-sender\"\nhome = \"IE\"\naction = \"drop\"\n\
             [pin.select]\n{select}\n",
        ));
    }
    let checked = parse(Path::new("bench.toml"), text.as_bytes(), &Surroundings::new(None))
        .map_err(|errors| anyhow::anyhow!("{errors}"))
        .context("the bench's own policy")?;
    Ok(checked.policy)
}
