//! Which geo database is judged by: the one that was read, the one before it, or what the one that was read closes.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::gate;
use super::last_database::Keeper;
use crate::approval::{GEO, GEO_OLDER};
use crate::compile::{geo_change, only_closing};
use crate::config::policy::{Approvals, Policy};
use crate::daemon::engine::{Held, SignedFile, Waits};
use crate::digest::sha256;
use crate::geo::{Built, GeoDb, Info};
use crate::store::{KnownSpent, last_database};

/// The database in force, with which one that was read is compared.
pub(super) enum Before {
    /// This one.
    Is(Box<GeoDb>),
    /// There is none: no daemon was at work on this host yet.
    First,
    /// It can't be read, for this reason, and was the newest of these.
    Gone(String, Built),
}

impl Before {
    /// Returns the one that is kept, or why that can't be read. Waits no longer than this for the disk.
    pub(super) fn of(keeper: &Keeper, patience: Duration) -> Self {
        match keeper.last(patience) {
            Ok(Some(before)) => Self::Is(Box::new(before)),
            Ok(None) => Self::Gone(format!("{} is not there", last_database::FILE), keeper.built()),
            Err(error) => {
                warn!("what the geo databases change is not known, for those before can't be read: {error}");
                Self::Gone(error, keeper.built())
            }
        }
    }

    /// It, where it is known.
    pub(super) fn known(&self) -> Option<&GeoDb> {
        match self {
            Self::Is(database) => Some(database),
            Self::Gone(..) | Self::First => None,
        }
    }

    /// Why it can't be read, where it can't.
    pub(super) fn why_gone(&self) -> Option<&str> {
        match self {
            Self::Gone(why, _) => Some(why),
            Self::Is(_) | Self::First => None,
        }
    }

    /// What is known of when databases were built.
    fn built(&self) -> Built {
        match self {
            Self::Is(database) => database.info.built.clone(),
            Self::First => Built::default(),
            Self::Gone(_, built) => built.clone(),
        }
    }
}

/// The database to judge by.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The database.
    pub(super) database: GeoDb,
    /// What of the one that was read is not in it, and why.
    pub(super) waits: Option<Waits>,
    /// Files that open, and are signed.
    signed: Vec<SignedFile>,
    /// Whether it could be compared with the one in force, where signatures are asked for.
    pub(super) is_compared: bool,
}

impl Chosen {
    const fn whole(database: GeoDb) -> Self {
        Self { database, waits: None, signed: Vec::new(), is_compared: true }
    }

    /// Returns what came of comparing it; nothing of this is of the config.
    pub(super) fn held(&self) -> Held {
        Held { signed: self.signed.clone(), ..Held::default() }
    }

    /// Keeps it as the one that the next is compared with, unless it is that one.
    pub(super) fn keep(self, keeper: &Keeper) {
        if !matches!(self.waits, Some(Waits::All(_))) {
            keeper.keep(self.database);
        }
    }
}

/// Returns the one that was read, unless it changes more for a pin than goes without a yes (`geo.ask_above`), or opens more
/// than goes without signatures (`geo.may_open`): then what it closes. `yes` is whether somebody said yes to any change, and
/// the fingerprints of keys that sign nothing. The database of the program itself is part of that, and needs no signatures.
pub(super) fn choose(policy: &Policy, read: GeoDb, before: Before, yes: (bool, &KnownSpent)) -> Chosen {
    let mut chosen = compared(policy, read, before, yes);
    let digest = last_database::digest(&chosen.database);
    chosen.database.info.digest =
        digest.inspect_err(|error| warn!("the geo database in force can't be named: {error}")).ok();
    chosen
}

fn compared(policy: &Policy, mut read: GeoDb, before: Before, yes: (bool, &KnownSpent)) -> Chosen {
    let (accepted, spent) = yes;
    let built = before.built();
    // Also where only what it closes comes into force: an older one would open that again.
    let mut with_this = built.clone();
    with_this.advance(&read.info, Timestamp::now());
    read.info.built = with_this;
    let in_force = (&built, spent);
    let approvals = gate::asks(policy).filter(|_| !policy.geo.files.is_empty());
    let before = match before {
        Before::Is(before) => *before,
        Before::First => return Chosen::whole(read),
        Before::Gone(why, _) => return unheld(read, approvals, &why, in_force),
    };
    let change = geo_change(policy, &before, &read);
    if let Some(share) = policy.geo.ask_above.filter(|_| !accepted)
        && let Some(pin) = change.largest().filter(|pin| share.is_below(pin.percent()))
    {
        let waits = format!(
            "{} would change the verdict of the pin {} for {}, which is above {share} (geo.ask_above)",
            read.info.source,
            pin.pin,
            of_what_it_permits(pin.percent())
        );
        return Chosen { waits: Some(Waits::All(waits)), ..Chosen::whole(before) };
    }
    let share = policy.geo.may_open;
    let opened = change.most_opened().filter(|pin| share.is_below(pin.opened_percent()));
    let Some(approvals) = approvals else { return Chosen::whole(read) };
    let Some(pin) = opened else { return still_unheld(read, before.info.unheld, approvals, in_force) };
    let opens = format!("for the pin {} {}", pin.pin, of_what_it_permits(pin.opened_percent()));
    match signed(&read.info, approvals, &opens, in_force) {
        Ok(signed) => Chosen { signed, ..Chosen::whole(read) },
        Err(missing) => {
            let mut database = only_closing(policy, &before, &read);
            database.info.source.push_str(", without what it opens");
            database.info.unheld = before.info.unheld;
            database.info.built = read.info.built;
            let waits = format!(
                "{} would open {opens}, which is above {share} (geo.may_open) and stays closed: {missing}. A signature \
                 is FILE.NAME.sig beside the database, as `borderguard policy sign` makes it",
                read.info.source
            );
            Chosen { waits: Some(Waits::Openings(waits)), ..Chosen::whole(database) }
        }
    }
}

/// One that is compared with none: it is taken, for a host without a guard lets everything pass. Where signatures are asked
/// for and it has none, that is said.
fn unheld(read: GeoDb, approvals: Option<&Approvals>, why: &str, in_force: (&Built, &KnownSpent)) -> Chosen {
    let Some(approvals) = approvals else { return Chosen::whole(read) };
    match signed(&read.info, approvals, "all that it permits", in_force) {
        Ok(signed) => Chosen { signed, ..Chosen::whole(read) },
        Err(missing) => {
            let why =
                format!("{} was compared with no database before it: {why}; {missing}", read.info.source);
            let info = Info { unheld: Some(why), ..read.info };
            Chosen { is_compared: false, ..Chosen::whole(GeoDb { info, ..read }) }
        }
    }
}

/// One that opens nothing over one that was compared with none: that is told until somebody has signed what is in force.
fn still_unheld(
    mut read: GeoDb,
    unheld: Option<String>,
    approvals: &Approvals,
    in_force: (&Built, &KnownSpent),
) -> Chosen {
    let Some(why) = unheld else { return Chosen::whole(read) };
    match signed(&read.info, approvals, "all that it permits", in_force) {
        Ok(signed) => Chosen { signed, ..Chosen::whole(read) },
        Err(_) => {
            read.info.unheld = Some(why);
            Chosen::whole(read)
        }
    }
}

/// Returns who signed each file that the database was read from, by the bytes that were read.
///
/// # Errors
/// What is bad or missing, of the first file of which anything is.
fn signed(
    database: &Info,
    approvals: &Approvals,
    opens: &str,
    (built, spent): (&Built, &KnownSpent),
) -> Result<Vec<SignedFile>, String> {
    let files = database.files();
    let one = |file: &Info| {
        let Some((path, digest)) = file.path.as_ref().zip(file.sha256.as_ref()) else {
            return Err(format!("{} was read from no file", file.source));
        };
        let of_file = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let bytes = std::fs::read(path).map_err(|error| of_file(&error))?;
        if sha256(&bytes) != *digest {
            return Err(of_file(&"it was replaced while it was read"));
        }
        let newer = built.newer_than(file);
        let namespace = if newer.is_some() { GEO_OLDER } else { GEO };
        let by = gate::signed(path.as_path(), (&bytes, namespace), approvals, spent).map_err(|why| match newer {
            None => of_file(&why),
            Some(newer) => of_file(&format!(
                "one that was built at {newer} was in force, so that this older one needs signatures of its own \
                 (`ssh-keygen -Y sign -n {GEO_OLDER}`): {why}"
            )),
        })?;
        Ok(SignedFile { file: path.clone(), sha256: digest.clone(), opens: opens.to_owned(), by })
    };
    // Of two files of which one is a copy of the other, the other's word would be lost.
    for (at, file) in files.iter().enumerate() {
        if files.iter().take(at).any(|other| file.sha256.is_some() && other.sha256 == file.sha256) {
            return Err(format!("{} is the same database as another of geo.files", file.source));
        }
    }
    let signed: Vec<SignedFile> = files.iter().map(one).collect::<Result<_, _>>()?;
    info!("the geo database opens {opens}, and is signed");
    Ok(signed)
}

/// A share of what a pin permits, in words.
fn of_what_it_permits(percent: f64) -> String {
    match percent {
        percent if percent.is_finite() && percent > 200.0 => {
            format!("{:.0} times what it permits", percent / 100.0)
        }
        percent if percent.is_finite() && percent < 0.05 => "less than 0.1% of what it permits".to_owned(),
        percent if percent.is_finite() => format!("{percent:.1}% of what it permits"),
        _ => "destinations, and it permits none so far".to_owned(),
    }
}

#[cfg(test)]
mod tests;
