//! The story, act by act.
mod exemption;
mod policy;
mod replica;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::client::{Request, fetch};
use super::expect::{Expected, Judged};
use super::guard::Guard;
use super::number::grouped;
use super::screen::{Cell, Column, Screen, Style};
use super::transfer::Transfer;
use super::world::{BELGIUM, DUBLIN, Family, NOWHERE, PLACES, Place, US, World};
use crate::scratch::Scratch;
use crate::service::{Item, MAILBOX_PORT, Service};

const CLIENTS: [&Place; 3] = [&BELGIUM, &US, &NOWHERE];
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

const TABLE: [Column; 7] = [
    Column { title: "who", width: 9, to_the_right: false },
    Column { title: "from", width: 15, to_the_right: false },
    Column { title: "asks for", width: 12, to_the_right: false },
    Column { title: "jurisdiction", width: 12, to_the_right: false },
    Column { title: "verdict", width: 7, to_the_right: false },
    Column { title: "why", width: 13, to_the_right: false },
    Column { title: "bytes", width: 9, to_the_right: true },
];

/// What shows on a host that is guarded what the demo has shown, and what each is.
const LOOKS: [(&str, &str); 7] = [
    ("borderguard status", "what is guarded, and problems"),
    ("borderguard top", "the same as it changes"),
    ("borderguard events --since -1h --verdict drop", "each violation"),
    ("borderguard explain --event 7", "why one was judged so"),
    ("borderguard page", "a map, in a browser"),
    ("borderguard report --format html", "what crossed, on what ground"),
    ("docs/logs.md", "the log, for what collects it"),
];

/// The same for a narrow terminal.
const NARROW_TABLE: [Column; 7] = {
    let mut table = TABLE;
    table[3] = Column { title: "place", width: 7, to_the_right: false };
    table[4] = Column { title: "", width: 4, to_the_right: false };
    table
};

/// The demo's network and service, and the tally of what was seen.
#[derive(Debug)]
pub(super) struct Stage {
    screen: Screen,
    service: Service,
    folder: Scratch,
    world: Rc<World>,
    started: Instant,
    act: usize,
    observations: u32,
    wrong: u32,
    differences: Vec<String>,
    was_guarded: bool,
}

impl Stage {
    /// Makes the network, fills the storage and starts the service.
    pub(super) fn set_up() -> Result<Self> {
        let started = Instant::now();
        let screen = Screen::stdout();
        screen.line("");
        screen.line(&format!("   {}", screen.paint("Border Guard: the Dublin demo", Style::Title)));
        screen.line("");
        screen.prose(
            "A storage host in Dublin serves a mailbox, which is pinned to Ireland and may reach the EU, and an \
             address book, which is not pinned. All of it runs here: real servers and clients in network \
             namespaces that exist for this demo only and lead nowhere else.",
        );
        screen.line("");
        let folder = Scratch::new("demo")?;
        let world = Rc::new(World::new()?);
        let service = Service::start(world.netns(&DUBLIN)?, folder.path())?;
        for place in PLACES {
            screen.line(&introduction(place, screen.is_narrow()));
        }
        let (act, observations, wrong, differences) = (0, 0, 0, Vec::new());
        let was_guarded = false;
        Ok(Stage {
            screen,
            service,
            folder,
            world,
            started,
            act,
            observations,
            wrong,
            differences,
            was_guarded,
        })
    }

    /// Without a guard everything crosses, and a transfer goes on.
    pub(super) fn nothing_guards(&mut self) -> Result<()> {
        self.open_act("Nothing guards the host: the mailbox goes anywhere");
        let mut requests = Vec::new();
        for place in CLIENTS {
            for family in FAMILIES {
                requests.push((Request::new(place, Item::Mailbox, family)?, Expected::NoGuard));
            }
        }
        self.ask_all(&requests, None)
    }

    /// Starts the guard on the storage host.
    pub(super) fn start_guard(&mut self, program: PathBuf) -> Result<Guard> {
        self.open_act("The guard is started on the storage host");
        self.screen.prose(&format!(
            "One pin: flows from the host's addresses and tcp/{MAILBOX_PORT}, and all of the mail service's user, are \
             the mailbox; home IE, permitted: EU, else drop. Three sites say where the offices are."
        ));
        let before = Instant::now();
        let guard = Guard::start(self.world.clone(), program, self.folder.path())?;
        self.was_guarded = true;
        let took = before.elapsed().as_millis();
        self.screen.prose(&format!("The kernel judges from now on ({took} ms to load, check and attach)."));
        Ok(guard)
    }

    /// The pinned mailbox reaches the EU only; the address book goes anywhere.
    pub(super) fn the_guard_judges(&mut self, guard: &Guard) -> Result<()> {
        let mut requests = Vec::new();
        for (place, expected) in
            [(&BELGIUM, Expected::Permitted), (&US, Expected::Forbidden), (&NOWHERE, Expected::PlaceUnknown)]
        {
            for (item, expected) in [(Item::Mailbox, expected), (Item::AddressBook, Expected::Untagged)] {
                for family in FAMILIES {
                    requests.push((Request::new(place, item, family)?, expected));
                }
            }
        }
        self.ask_all(&requests, Some(guard))
    }

    /// Without the guard all is as before.
    pub(super) fn the_guard_is_detached(&mut self, guard: Guard) -> Result<()> {
        self.open_act("The guard is detached: nothing of it is left");
        guard.detach()?;
        drop(guard);
        let requests = [
            (Request::new(&US, Item::Mailbox, Family::V4)?, Expected::NoGuard),
            (Request::new(&NOWHERE, Item::Mailbox, Family::V6)?, Expected::NoGuard),
        ];
        self.ask_all(&requests, None)
    }

    /// Without a guard a transfer goes on: what the revocation is compared with.
    pub(super) fn a_transfer_goes_on(&mut self) -> Result<()> {
        self.open_act("A transfer that nothing stops");
        let transfer = self.start_transfer()?;
        let watched = transfer.watch(&self.screen, 6, true);
        self.check(watched.growing_looks == 6, "the transfer must go on all the time");
        self.check(!transfer.has_ended(), "it must last longer than this");
        Ok(())
    }

    /// Where a host that is guarded shows the same.
    fn where_to_look(&self) {
        self.screen.line("");
        self.screen.prose("On a host that you guard, the same is seen by:");
        for (command, what) in LOOKS {
            self.screen.line(&format!("     {command:<46}{}", self.screen.paint(what, Style::Faint)));
        }
    }

    /// The result, in one line and every difference. Whether there was none.
    pub(super) fn finish(self) -> bool {
        let seconds = self.started.elapsed().as_secs_f32();
        let total = self.observations;
        self.screen.line("");
        if self.wrong == 0 {
            let text = format!("   ✔ {total} of {total} observations are as they must be");
            let faint = self.screen.paint(&format!(" ({seconds:.0} s)"), Style::Faint);
            self.screen.line(&format!("{}{faint}", self.screen.paint(&text, Style::Good)));
            if self.was_guarded {
                self.where_to_look();
            }
            return true;
        }
        let text = format!("   ✘ {} of {total} observations differ from what must be:", self.wrong);
        self.screen.line(&self.screen.paint(&text, Style::Bad));
        for difference in &self.differences {
            self.screen.item(difference);
        }
        false
    }

    fn open_act(&mut self, title: &str) {
        self.act += 1;
        self.screen.heading(self.act, title);
    }

    fn start_transfer(&self) -> Result<Transfer> {
        let request = Request::new(&US, Item::Archive, Family::V4)?;
        let length = self.service.length(Item::Archive)?;
        self.screen
            .prose(&format!("The US client fetches the mailbox's archive of {} bytes.", grouped(length)));
        let transfer = Transfer::start(&self.world, &request, length, self.folder.path())?;
        let start = Instant::now();
        while transfer.received() == 0 {
            if transfer.has_ended() || start.elapsed() > Duration::from_secs(5) {
                bail!("the transfer does not start: not one byte in {:?}", start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(transfer)
    }

    fn table(&self) -> &'static [Column] {
        if self.screen.is_narrow() { &NARROW_TABLE } else { &TABLE }
    }

    /// Has each client ask in turn, and shows a row for each.
    fn ask_all(&mut self, requests: &[(Request, Expected)], guard: Option<&Guard>) -> Result<()> {
        self.screen.table_top(self.table());
        for (request, expected) in requests {
            self.ask(request, *expected, guard)?;
        }
        self.screen.table_bottom(self.table());
        Ok(())
    }

    fn ask(&mut self, request: &Request, expected: Expected, guard: Option<&Guard>) -> Result<()> {
        let before = guard.map(Guard::counters).transpose()?.unwrap_or_default();
        self.screen.table_row_pending(self.table(), &pending_row(request));
        let received = fetch(&self.world, &self.service, request, self.folder.path())?;
        let judged = guard.map(|guard| guard.judged(request, &before)).transpose()?.flatten();
        let differences = expected.differences(request.place.jurisdiction, received, judged.as_ref());
        let good = differences.is_empty();
        self.screen
            .table_row(self.table(), &row(request, received.bytes, guard.is_some(), judged.as_ref(), good));
        self.tally(good);
        let what = request.item.name();
        for difference in differences {
            self.differences.push(format!("act {}: {what} for {}: {difference}", self.act, request.client));
        }
        Ok(())
    }

    fn check(&mut self, good: bool, what_must_be: &str) {
        self.tally(good);
        if !good {
            self.differences.push(format!("act {}: {what_must_be}, and that was not so", self.act));
        }
    }

    fn tally(&mut self, good: bool) {
        self.observations += 1;
        self.wrong += u32::from(!good);
    }
}

/// One line about who is where.
fn introduction(place: &Place, narrow: bool) -> String {
    let [v4, v6] = place.addresses.map(|address| address.split('/').next().unwrap_or(address));
    let site =
        place.site.map_or("in no site".to_owned(), |(name, _)| format!("{name}, {}", place.jurisdiction));
    let role = if place.label != DUBLIN.label {
        "curl".to_owned()
    } else if narrow {
        "nginx".to_owned()
    } else {
        format!("nginx on tcp/{} and tcp/{}", Item::Mailbox.port(), Item::AddressBook.port())
    };
    format!("   {:8} {v4:15} {v6:16} {site:20} {role}", place.name)
}

fn pending_row(request: &Request) -> Vec<Cell> {
    let texts = [
        &format!("· {}", request.place.name),
        &request.client.to_string(),
        request.item.name(),
        "",
        "…",
        "",
        "",
    ];
    texts.map(|text| Cell::new(text, Style::Faint)).to_vec()
}

fn row(request: &Request, bytes: u64, guarded: bool, judged: Option<&Judged>, good: bool) -> Vec<Cell> {
    let (mark, mark_style) = if good { ("✔", Style::Plain) } else { ("✘", Style::Bad) };
    let (verdict, reason) = match judged {
        Some(judged) => (judged.verdict.as_str(), judged.reason.as_str()),
        None if guarded => ("?", "no answer"),
        None => ("—", "no guard"),
    };
    let style = match (verdict, reason) {
        ("drop" | "?", _) => Style::Bad,
        (_, "exempt") => Style::Special,
        ("pass", _) => Style::Good,
        _ => Style::Faint,
    };
    // Where the guard had no need to place the client, its site is shown, faintly.
    let place = match judged.and_then(|judged| judged.jurisdiction.as_deref()) {
        Some(place) => Cell::plain(place),
        None => Cell::new(request.place.jurisdiction, Style::Faint),
    };
    vec![
        Cell::new(format!("{mark} {}", request.place.name), mark_style),
        Cell::plain(request.client.to_string()),
        Cell::plain(request.item.name()),
        place,
        Cell::new(verdict, style),
        Cell::new(reason, style),
        Cell::plain(grouped(bytes)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use guard_user::cli::command::Cli;

    use super::*;
    use crate::demo::screen::{NARROW, WIDTH};

    #[test]
    fn everything_fits_the_screen() {
        let table: usize = TABLE.iter().map(|column| column.width + 3).sum::<usize>() + 1;
        assert!(table <= WIDTH, "{table}");
        let narrow: usize = NARROW_TABLE.iter().map(|column| column.width + 1).sum::<usize>() + 1;
        assert!(narrow <= NARROW, "{narrow}");
        for place in PLACES {
            for (narrow, width) in [(false, WIDTH), (true, NARROW)] {
                let line = introduction(place, narrow);
                assert!(line.chars().count() <= width, "{line}");
            }
        }
    }

    #[test]
    fn where_to_look_is_there_and_fits_a_narrow_terminal() {
        for (command, what) in LOOKS {
            assert!(5 + 46 + what.len() <= NARROW && command.len() < 46, "{command}");
            if command.starts_with("borderguard ") {
                let words = command.split(' ');
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{command}: {error}"));
            } else {
                let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
                assert!(root.join(command).exists(), "{command}");
            }
        }
    }
}
