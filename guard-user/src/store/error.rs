//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use super::error_words::{listed, near_words, no_duty_words, no_slot_words, none_such, signers_words};
use super::too_early::TooEarly;
use super::{Misplaced, Near};
use crate::approval::{NotApproved, load};
use crate::config::Errors;
use crate::exemption::lifecycle;
use crate::exemption::{ErrorKind, LiftError, OrderKind, Target};
use crate::text::{Unseen, escaped, visible};

/// Something in the store that can't be used. Its exemption is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Problem {
    /// The file, or the exemption in it.
    pub place: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// The store can't be used, or did not take a change.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{path}: a daemon holds the store; ask the daemon, or end it first", path = path.display())]
    Held {
        /// The database.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {step} failed: {source}; {remedy}", path = path.display(), remedy = remedy(source))]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The database is not where it belongs any more.
    #[error("{path}: {how}", path = path.display())]
    Misplaced {
        /// Where it belongs.
        path: PathBuf,
        /// How it is not there.
        how: Misplaced,
    },
    /// The database is not what was written.
    #[error("{path}: the store is damaged: {reason}; restore it from a backup, or move it elsewhere to begin anew", path = path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// No such exemption.
    #[error("there is no exemption \"{id}\"; `borderguard exemption list` names those that there are", id = escaped(.id))]
    NotFound {
        /// The id that was asked for.
        id: String,
    },
    /// Nothing that was ever loaded rests on this instrument.
    #[error(
        "no exemption that was ever loaded rests on the instrument \"{name}\"{near}; `borderguard exemption list` names the \
         instruments. With --not-loaded the order is kept, and nothing that rests on it is loaded later",
        name = escaped(.name),
        near = .near.as_ref().map(|near| format!(", and {}", near.hint())).unwrap_or_default()
    )]
    NoSuchInstrument {
        /// The name that was asked for.
        name: String,
        /// A name that is nearly this one.
        near: Option<Near>,
    },
    /// Its state does not allow it.
    #[error("the exemption \"{id}\": {refused}", id = escaped(.id))]
    State {
        /// Its id.
        id: String,
        /// Why not.
        refused: lifecycle::Refusal,
    },
    /// Nothing that was ever loaded is covered.
    #[error(
        "{target} covers no exemption that was ever loaded{near}. With --not-loaded a stay is kept, and covers what is loaded \
         later",
        near = near_words(.near.as_deref())
    )]
    NothingCovered {
        /// What was to be covered.
        target: Target,
        /// A name that is nearly this one.
        near: Option<String>,
    },
    /// This order stands already.
    #[error("the order \"{order}\" on {target} stands already", order = escaped(.order))]
    OrderStands {
        /// What it covers.
        target: Target,
        /// Its reference.
        order: String,
    },
    /// No such order stands.
    #[error("no such order stands on {target}{standing}", standing = none_such(.standing))]
    NoSuchOrder {
        /// On what it was to stand.
        target: Target,
        /// Those that do.
        standing: Vec<String>,
    },
    /// Several orders could be meant.
    #[error("several orders hold {target}: name the one that is lifted by --order{standing}", standing = listed(.standing))]
    OrderUnclear {
        /// On what they stand.
        target: Target,
        /// Those that do.
        standing: Vec<String>,
    },
    /// No such duty is due of a version of an exemption.
    #[error("{}", no_duty_words((id, *version), duty, *is_done, due))]
    NoSuchDuty {
        /// Its id.
        id: String,
        /// Its version.
        version: u32,
        /// What was said to be done.
        duty: String,
        /// Whether that is done of this version already.
        is_done: bool,
        /// What is due, each with the version that says it.
        due: Vec<(u32, String)>,
    },
    /// A duty is said to be done on a day that is still to come.
    #[error("{on} is still to come: nothing was done on it yet")]
    DoneLater {
        /// When.
        on: jiff::Timestamp,
    },
    /// What may still come is said to be deleted.
    #[error(transparent)]
    DeletedTooEarly(#[from] TooEarly),
    /// The review of an assessment was to be noted as done.
    #[error(
        "an assessment is reviewed by a new version of the document, with the new assessment: `borderguard exemption renew` \
         writes one; the exemption \"{id}\" closes when the review is due",
        id = escaped(.id)
    )]
    ReviewIsRenewed {
        /// The exemption's id.
        id: String,
    },
    /// The review of the assessment of an exemption that is closed was to be noted as done.
    #[error(
        "the exemption \"{id}\" is closed for good, and its assessment is not to be reviewed any more: a new version that opens \
         it again has an assessment of its own",
        id = escaped(.id)
    )]
    ReviewOfClosed {
        /// The exemption's id.
        id: String,
    },
    /// The key that is to be revoked is nobody's that is known here.
    #[error(
        "no allowed signer has the key {fingerprint}, and it approved nothing that was ever loaded: look at the fingerprint. \
         {}, as the file was some seconds ago. With --unknown it is revoked all the same, and approves nothing later",
        signers_words(signers)
    )]
    UnknownKey {
        /// Its fingerprint.
        fingerprint: String,
        /// The keys that may approve, as identity and fingerprint.
        signers: Vec<String>,
    },
    /// An order covers a document that was to be loaded.
    #[error("the exemption \"{id}\" can't be loaded: {order}", id = escaped(.id))]
    HeldByOrder {
        /// Its id.
        id: String,
        /// What the order came of.
        kind: OrderKind,
        /// The order, and what would lift it.
        order: String,
    },
    /// Since it was admitted, another version of it was loaded or changed, or its slots were given away.
    #[error(
        "the exemption \"{id}\" or its slots in the kernel's table changed after it was checked: load it again",
        id = escaped(.id)
    )]
    Outdated {
        /// Its id.
        id: String,
    },
    /// It may not let packets through again.
    #[error("the exemption \"{id}\" can't be resumed: {why}", id = escaped(.id))]
    NotResumable {
        /// Its id.
        id: String,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// By the config an order is lifted by a signed document alone.
    #[error(
        "by the config this takes signatures, for it opens: write the document with --write FILE, have it signed \
         (`borderguard exemption sign FILE`), and then `borderguard exemption lift FILE`"
    )]
    LiftNeeded,
    /// The document that was to lift an order does not.
    #[error(transparent)]
    Lift(#[from] LiftError),
    /// The document that was to lift an order is not approved.
    #[error(transparent)]
    LiftNotApproved(#[from] ApprovalError),
    /// A reason that says nothing, or too much.
    #[error("a reason, or an order's reference, of 1 to {} bytes is needed: the record keeps it", WHY_BYTES)]
    BadReason,
    /// What was given for a key is no fingerprint.
    #[error(
        "\"{}\" is no fingerprint of a key: `exemption show` and `ssh-keygen -lf KEY.pub` write one, SHA256:...",
        escaped(given)
    )]
    BadFingerprint {
        /// What was given.
        given: String,
    },
    /// A reason with a character that its readers would not see, or not alike.
    #[error("the reason or the order's reference {0}: write it without")]
    UnseenInReason(Unseen),
    /// A reference that begins or ends with a blank, which nobody sees who has to lift the order by it.
    #[error("the order's reference begins or ends with a blank: write it as \"{}\"", visible(order.trim()))]
    BlankInReference {
        /// The reference.
        order: String,
    },
    /// A name that no document can have.
    #[error("{target} is not covered: this name {reason}")]
    NoSuchName {
        /// What was named.
        target: Target,
        /// What is wrong with it.
        reason: String,
    },
    /// Too few slots of the kernel's table are free.
    #[error("{}", no_slot_words(*wanted, *free, *renewed))]
    NoSlot {
        /// How many are needed.
        wanted: usize,
        /// How many are free.
        free: usize,
        /// How many the version has that it is to take the place of; 0 where there is none.
        renewed: usize,
    },
}

/// What to do about a disk that refused.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MAKE_ROOM,
        io::ErrorKind::ReadOnlyFilesystem => MOUNT,
        io::ErrorKind::PermissionDenied => GIVE,
        io::ErrorKind::NotADirectory => REMOVE,
        _ if source.raw_os_error() == Some(libc::ELOOP) => NO_LINK,
        _ => LOOK,
    }
}

const MAKE_ROOM: &str = "make room on its file system";
const MOUNT: &str = "mount its file system for writing";
const GIVE: &str = "give it to the daemon's user, and its folder too";
const REMOVE: &str = "remove the file that is where its folder belongs";
const NO_LINK: &str = "put the file itself there, and no symbolic link";
const LOOK: &str = "look at the disk and at the kernel's log (`dmesg`)";
const REMEDIES: [&str; 6] = [MAKE_ROOM, MOUNT, GIVE, REMOVE, NO_LINK, LOOK];

/// Why the disk refused, by the words of [`StoreError::Disk`], without what to do about it: for what is over.
#[must_use]
pub fn without_remedy(words: &str) -> &str {
    let without = |remedy: &&str| words.strip_suffix(*remedy)?.strip_suffix("; ");
    REMEDIES.iter().find_map(without).unwrap_or(words)
}

impl StoreError {
    /// A short name of why a change was refused, that stays the same from release to release; `None` where the store or
    /// the disk is at fault.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => Some("no-such-exemption"),
            Self::NoSuchInstrument { .. } => Some("no-such-instrument"),
            Self::State { .. } => Some("wrong-state"),
            Self::NothingCovered { .. } => Some("nothing-covered"),
            Self::OrderStands { .. } => Some("order-stands"),
            Self::NoSuchOrder { .. } => Some("no-such-order"),
            Self::OrderUnclear { .. } => Some("order-unclear"),
            Self::NoSuchDuty { .. } => Some("no-such-duty"),
            Self::DoneLater { .. } => Some("done-later"),
            Self::DeletedTooEarly(_) => Some("deleted-too-early"),
            Self::ReviewIsRenewed { .. } => Some("review-is-renewed"),
            Self::ReviewOfClosed { .. } => Some("review-of-closed"),
            Self::UnknownKey { .. } => Some("unknown-key"),
            Self::HeldByOrder { kind: OrderKind::Stay, .. } => Some("held-by-order"),
            Self::HeldByOrder { kind: OrderKind::Fallen, .. } => Some("fallen-instrument"),
            Self::HeldByOrder { kind: OrderKind::RevokedKey, .. } => Some("revoked-key"),
            Self::Outdated { .. } => Some("outdated"),
            Self::NotResumable { .. } => Some("not-resumable"),
            Self::LiftNeeded => Some("lift-needed"),
            Self::Lift(error) => Some(error.code()),
            Self::LiftNotApproved(error) => Some(error.code()),
            Self::BadReason => Some("bad-reason"),
            Self::BadFingerprint { .. } => Some("bad-fingerprint"),
            Self::UnseenInReason(_) => Some("unseen-in-reason"),
            Self::BlankInReference { .. } => Some("blank-in-reference"),
            Self::NoSuchName { .. } => Some("no-such-name"),
            Self::NoSlot { .. } => Some("no-room"),
            Self::Held { .. } | Self::Disk { .. } | Self::Misplaced { .. } | Self::Damaged { .. } => None,
        }
    }

    /// The message for those who may look and not read what is confidential: without the name of an instrument.
    #[must_use]
    pub fn without_names(&self) -> String {
        match self {
            Self::NoSuchInstrument { .. } => {
                "no exemption that was ever loaded rests on this instrument".to_owned()
            }
            Self::NothingCovered { .. } => "no exemption that was ever loaded is covered".to_owned(),
            Self::OrderStands { .. } => "this order stands already".to_owned(),
            Self::BlankInReference { .. } => "the order's reference begins or ends with a blank".to_owned(),
            Self::NoSuchName { .. } => "no document can have this name".to_owned(),
            Self::NoSuchOrder { .. } => "no such order stands".to_owned(),
            Self::OrderUnclear { .. } => "several orders could be meant".to_owned(),
            Self::HeldByOrder { .. } => "an order holds it".to_owned(),
            other => other.to_string(),
        }
    }

    /// The database could not be used when the store was opened: because of what is in it, or because it could not be
    /// had.
    pub(super) fn unusable(path: &Path, is_damaged: bool) -> Self {
        let path = path.to_owned();
        if is_damaged {
            return Self::Damaged { path, reason: "it could not be read when the daemon started".to_owned() };
        }
        let source = io::Error::other("it could not be opened when the daemon started");
        Self::Disk { path, step: "use of the store", source }
    }

    /// An error of the database: the disk's, or one that shows that it is not what was written.
    pub(super) fn of_database(path: &Path, step: &'static str, error: redb::Error) -> Self {
        let path = path.to_owned();
        match error {
            redb::Error::Io(source) => match source.kind() {
                // What redb says of a file that is not a database, or too short for one.
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Self::Damaged { path, reason: source.to_string() }
                }
                _ => Self::Disk { path, step, source },
            },
            // Both come of a write that failed; neither says anything of what is on the disk.
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                let source = io::Error::other("an earlier write failed, and it can't be opened again");
                Self::Disk { path, step, source }
            }
            error => Self::Damaged { path, reason: error.to_string() },
        }
    }
}

/// A document was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The document can't be used.
    #[error(transparent)]
    Document(#[from] Errors<ErrorKind>),
    /// The document can't be used, and an order holds it besides.
    #[error("{errors}\nonce that is mended, this is left: {held}")]
    DocumentAndOrder {
        /// Every error in it.
        errors: Errors<ErrorKind>,
        /// The order.
        held: Box<StoreError>,
    },
    /// Its signatures do not approve it.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The store or the kernel's table can't take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A document is not approved.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The allowed signers can't be read, so no signature can be attributed.
    #[error(transparent)]
    Signers(#[from] load::LoadError),
    /// It is for other hosts.
    #[error("the document is for {hosts}, and this host is {this}: {hint}")]
    OtherHost {
        /// Those that it names.
        hosts: String,
        /// This host, and its fleet.
        this: String,
        /// What to do.
        hint: &'static str,
    },
    /// An emergency opened one of its pins not long ago.
    #[error(
        "the emergency {id} opened the pin \"{pin}\" as well, and until {until} no other does: have the document approved by \
         the rules, without `emergency`",
        id = escaped(.id), pin = escaped(.pin)
    )]
    EmergencyAgain {
        /// The other one.
        id: String,
        /// The pin.
        pin: String,
        /// Until when.
        until: jiff::Timestamp,
    },
    /// An older store was put back not long ago.
    #[error(
        "an older store was put back at {at}, and which emergencies opened the document's pins before that is not known: \
         until {until} no emergency does. Have the document approved by the rules, without `emergency`"
    )]
    EmergenciesUnknown {
        /// When it was seen.
        at: jiff::Timestamp,
        /// Until when.
        until: jiff::Timestamp,
    },
    /// An emergency that is to begin later.
    #[error(
        "an emergency begins now, and the document's window at {from}: what can wait is approved by the rules"
    )]
    EmergencyLater {
        /// When its window begins.
        from: jiff::Timestamp,
    },
    /// It names no host, so that it would be approved for every one.
    #[error(
        "the document does not say which hosts it is for, and would be approved for each that has these signers: write \
         `hosts = [{}]`, and have it signed again",
        crate::config::finding::quoted(host)
    )]
    NoHosts {
        /// This host.
        host: String,
    },
    /// The signatures are not what is needed.
    #[error("not approved: {0}")]
    NotApproved(#[from] NotApproved),
    /// Every signature is good, and some are missing.
    #[error("not approved: {why}; {next}")]
    Missing {
        /// Which.
        why: NotApproved,
        /// Who can make them, and how.
        next: String,
    },
}

impl ApprovalError {
    /// A short name that stays the same from release to release.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotApproved(not) | Self::Missing { why: not, .. } => not.code(),
            Self::Signers(_) => "allowed-signers",
            Self::EmergencyAgain { .. } | Self::EmergenciesUnknown { .. } => "emergency-again",
            Self::EmergencyLater { .. } => "emergency-later",
            Self::OtherHost { .. } => "other-host",
            Self::NoHosts { .. } => "no-hosts",
        }
    }
}

/// Bytes of a reason.
pub(super) const WHY_BYTES: usize = 1000;
