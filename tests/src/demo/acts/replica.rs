//! The act about what storage sends by connections of its own: nobody asks for it, and no port of a service is in it.
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Stage;
use crate::demo::number::grouped;
use crate::demo::policy::{ADDRESS_BOOK_USER, MAIL_USER};
use crate::demo::screen::Style;
use crate::demo::world::{BELGIUM, DUBLIN, Family, Place, US, World};
use crate::proc::{Process, run_to_end};
use crate::service::Item;

/// rsync's own port, which no pin names.
const PORT: u16 = 873;
/// How long a push may take, whatever becomes of it. A connection of which nothing gets through hangs for minutes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// A server that takes copies.
#[derive(Debug)]
struct Replica {
    place: &'static Place,
    folder: PathBuf,
    _server: Process,
}

impl Replica {
    fn start(world: &World, place: &'static Place, folder: &Path) -> Result<Self> {
        let to = folder.join(format!("replica-{}", place.label));
        fs::create_dir(&to).with_context(|| format!("cannot make {}", to.display()))?;
        let config = folder.join(format!("rsyncd-{}.conf", place.label));
        let text = format!(
            "use chroot = no\nuid = root\ngid = root\nreverse lookup = no\n[replica]\npath = {}\nread only = no\n",
            to.display()
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let netns = world.netns(place)?;
        let mut command = netns.command("rsync")?;
        command.args(["--daemon", "--no-detach", "--ipv4"]).arg(format!("--port={PORT}"));
        command.arg(format!("--config={}", config.display()));
        let server = Process::spawn("rsync", command)?;
        server.wait_for_port(netns, crate::proc::Transport::Tcp, PORT, START)?;
        Ok(Self { place, folder: to, _server: server })
    }
}

/// What became of a push.
struct Pushed {
    /// Bytes of content that arrived.
    arrived: u64,
    whole: bool,
    took: Duration,
    /// What the client says where it failed.
    complaint: String,
}

impl Stage {
    /// A pinned service that pushes a copy is stopped, and one beside it that is not pinned goes on.
    pub(in crate::demo) fn a_pinned_service_pushes_a_copy(&mut self) -> Result<()> {
        self.open_act("The mail service pushes a copy by a connection of its own");
        self.screen.prose(&format!(
            "It runs as the user {MAIL_USER}, whose flows the pin knows whatever their ports are. The address book's \
             service, user {ADDRESS_BOOK_USER}, is not pinned. Both push by rsync."
        ));
        let world = self.world.clone();
        // The services read what they push as their own users.
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o711))
            .with_context(|| format!("cannot change {}", self.folder.path().display()))?;
        let replicas = [&BELGIUM, &US].map(|place| Replica::start(&world, place, self.folder.path()));
        for replica in replicas {
            let replica = replica?;
            for (user, item) in [(MAIL_USER, Item::Mailbox), (ADDRESS_BOOK_USER, Item::AddressBook)] {
                let may = user != MAIL_USER || replica.place.jurisdiction != US.jurisdiction;
                let pushed = self.push(&world, &replica, user, item)?;
                self.show_push(&replica, item, may, &pushed);
            }
        }
        Ok(())
    }

    fn push(&self, world: &World, to: &Replica, user: u32, item: Item) -> Result<Pushed> {
        let content = self.service.content(item)?;
        let source = self.folder.path().join(format!("copy-{user}"));
        fs::write(&source, &content).with_context(|| format!("cannot write {}", source.display()))?;
        let address = to.place.address(Family::V4)?;
        let mut command = world.netns(&DUBLIN)?.command("setpriv")?;
        command.args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--clear-groups"]);
        command.args(["rsync", "--whole-file", "--contimeout=10", "--timeout=10"]).arg(&source);
        command.arg(format!("rsync://{address}:{PORT}/replica/{user}"));
        let begun = Instant::now();
        let (status, _, complaint) = run_to_end("rsync", command, PATIENCE)?;
        let took = begun.elapsed();
        let received = match fs::read(to.folder.join(user.to_string())) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).context("cannot read what arrived"),
        };
        let whole = received == content;
        if status.success() != whole {
            bail!("rsync ended with {status}, and {} bytes arrived: {complaint}", received.len());
        }
        Ok(Pushed { arrived: received.len() as u64, whole, took, complaint })
    }

    fn show_push(&mut self, to: &Replica, item: Item, may: bool, pushed: &Pushed) {
        let good = if may { pushed.whole } else { pushed.arrived == 0 && pushed.took < PATIENCE };
        let must = if may { "must arrive whole" } else { "must not arrive, and its service must learn that" };
        self.check(good, &format!("the {}'s copy for {} {must}", item.name(), to.place.name));
        let (mark, style) = if good { ("✔", Style::Plain) } else { ("✘", Style::Bad) };
        let mut line =
            format!("   {} {} to {}: ", self.screen.paint(mark, style), item.name(), to.place.name);
        let arrived = format!("{} bytes arrived", grouped(pushed.arrived));
        line += &self.screen.paint(&arrived, if pushed.whole { Style::Good } else { Style::Bad });
        if !pushed.whole {
            let _to_a_string = write!(line, ", after {} ms", pushed.took.as_millis());
        }
        self.screen.line(&line);
        if let Some(said) = pushed.complaint.lines().next().filter(|_| !pushed.whole) {
            self.screen.indented(said, Style::Faint);
        }
    }
}
