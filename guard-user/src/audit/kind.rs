//! The kinds of records in the audit trail: one table for the program and for docs/audit.md.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// What a record is of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[doc = $doc])+ $variant,)+ }

        impl Kind {
            /// All of them, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in records, which stays the same from release to release.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means: the line of the docs.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

kinds! {
    /// The daemon started; the detail has its version, the config's fingerprint and SHA-256, the SHA-256 of the tables that are live, and when the daemon before last found the kernel's counts to be more and kept that (`counted_until`, where one did).
    Start = "start";
    /// The daemon ended in good order. A start without an end before it follows a crash or a power cut.
    End = "end";
    /// Config, geo databases and exemptions were read again and are live; the detail is as that of `start`, with whether the config before it asked for signatures of what it opens (`judged`).
    Reload = "reload";
    /// An interface is guarded, or ways past the guard are refused to a cgroup, from now on; where this began, the detail has its counter of sent packets then, as `sent_before`.
    Attach = "attach";
    /// An interface, or the whole host, is no longer guarded, or ways past the guard are no longer refused to a cgroup. Where nobody asked the daemon for that, `why` says so: `taken off by another program`, which a look found, or `a start did not find it`; the detail has when the guard was last known to be there (`last_seen`). Where a config let an interface go, the detail has its counter of sent packets then, as `sent`.
    Detach = "detach";
    /// A document was loaded; the detail has the SHA-256 of its bytes and of the config by which it was, and how many signers of which role that and the document asked for (`required`, null for nobody); `emergency` where it is one.
    Load = "load";
    /// A document, a change of an exemption, or a config at a reload was refused; the detail has the request, and the errors' codes or the message.
    Refusal = "refusal";
    /// A signature was verified; the detail has the key's fingerprint and the role in which it counts, null where in none. Of a config that opens, its path is the subject, and the detail has its `sha256` and what it `opens`.
    Approval = "approval";
    /// A config that newly lets something pass, and of which the live one asks for no signatures, was about to be live: its path is the subject, and the detail has its `sha256` and what it `opens`. A `reload` or an `apply` follows where it came to that.
    Opening = "opening";
    /// The keys that may approve, as the file of allowed signers has them from now on: the detail has each as identity and fingerprint. Recorded at a start and where they change.
    Signers = "signers";
    /// A candidate was applied and is live until it is confirmed, or its time is over; the subject is its file, and the detail is as that of `start`, with the SHA-256 of the config before it (`before_sha256`) and until when it waits (`until`).
    Apply = "apply";
    /// A candidate that was applied was confirmed and is the daemon's config from now on; a `reload` follows. The detail has its `config_sha256`.
    Confirm = "confirm";
    /// A candidate that was applied is not live any more, and the config before it is; `why` says whether its time was over, somebody asked for it, or the daemon was started anew. The detail has its `config_sha256`, and what is `live` by it.
    RollBack = "roll-back";
    /// An exemption was stayed by an order; its live flows are cut. Where the order is on more than this exemption, the detail has on what: `pin`, `recipient`, `instrument` or `all`. Where it covers nothing that is open, the detail has what it `covers` in the place of a version. Where it stands again because a key that had approved its lift is revoked, the detail has the key (`revoked_key`).
    Stay = "stay";
    /// An order was lifted, of the reference in the detail (`order`); likewise where nothing passes again by that, and of each exemption that another order still holds (`still_held`). Where it was lifted by a signed document, the detail has its `document_sha256` and `approved_by`, each with role and key.
    Resume = "resume";
    /// An exemption was revoked, for good.
    Revoke = "revoke";
    /// A legal instrument fell, and with it this exemption; the detail names the instrument. Where it has fallen again because a key that had approved its restoration is revoked, the detail has the key (`revoked_key`).
    Invalidate = "invalidate";
    /// A key was revoked, and with it this exemption, which it had approved; the detail has the key's fingerprint (`key`), also of a confidential one. Where it had approved nothing that is open, the subject is the fingerprint. So it is of a key that the mark of an older store had as revoked, which the start has recorded: the detail has from where that was taken (`taken_from`), when it was revoked by which user (`revoked_at`, `revoked_by`), and the SHA-256 of why (`why_sha256`).
    RevokeKey = "revoke-key";
    /// An exemption's time is over. Where that is because nobody looked at its assessment in time, the detail has by when that had to be (`review_by`), but for confidential ones.
    Expire = "expire";
    /// An exemption's bytes are used up.
    Exhaust = "exhaust";
    /// A newer version took an exemption's place.
    Supersede = "supersede";
    /// An older store was put back, or another one: what it had open is revoked. The detail has the sequence number of the last record that it has (`has`) and of the one that it had before (`had`).
    OlderStore = "older-store";
    /// A config was live while the store could not be opened or took no record, or until the daemon was killed, and the trail had none of it: the detail is as that of `start`, with since when (`since`) and whether it is another one than was in force before (`other`). Where there are no notes of it (`known` is false: no disk took them, or they are gone), others may have been live after the first one, and `since` and `config_sha256` are what the kernel had of that alone, or null. `configs` is how many there were, where the kernel has that: the daemon was killed before it could note them. `observe` is true where by any of them was only observed.
    Unrecorded = "unrecorded";
    /// Entries of Border Guard in bpffs were gone, or were another object's, as where somebody has exchanged their names; the detail has which (`missing`). They are made anew, and nothing was detached by that.
    Entries = "entries";
    /// A table of Border Guard in the kernel was found to be other than the daemon had written it, and was set back or published anew: the subject is the map. The detail has how many entries were other (`entries`), which was the `first`, when it was last known to be right (`last_right`) and when it was `found`, and how many `times` since the record before. What left in between was judged by that. With `frozen` it was as it was written, but somebody had frozen it (`BPF_MAP_FREEZE`): nothing can be written into it any more. With `unattributed_bytes` the subject is `EXEMPTION_USE`, and exemptions have let through so many more bytes of the `pin` than they have in their uses: somebody has lowered those, or put back an older copy of the store. With `lacking_bytes` it is `EXEMPTION_USE` too, and a start found that the store had so many bytes less in the use of the `exemption` of this `version` than its mark: somebody has put back an older copy of the store, and the exemption goes on with the use that the mark has. Where the `first` is the map itself, a start found that what was attached used another map of this name than the one that has the entry in bpffs: somebody has exchanged it for another instance's, and which of the two that is can't be known.
    Tampered = "tampered";
    /// A process that is not the daemon tried to change what is the guard's in the kernel, and was refused (`protect.lsm`): the subject is its command. The detail has what it tried (`attempt`: `open-map`, `write-map`, `freeze-map`, `load-program`, `run-program`, `change-link`, `change-entry` or `trace-daemon`), the `number` of the map or program in the kernel, the `pid` and `uid` of the last time, when a look `found` it, and how many `times` since the record before.
    ChangeDenied = "change-denied";
    /// Somebody asked for what they may not do.
    NotPermitted = "not-permitted";
    /// A checkpoint of the trail was handed out, to be kept elsewhere.
    Checkpoint = "checkpoint";
    /// A receipt of an exemption that is closed was signed and handed to its client; the detail has the `version`. Where the client could not write it, a second record has why, and `not_written`.
    Receipt = "receipt";
    /// A duty of an exemption was done after it was loaded; the detail has which (`duty`, not of a confidential one), when (`on`) and the `version`.
    DutyDone = "duty-done";
    /// The host's wall clock was set, and the windows of exemptions follow it: the detail has by how many milliseconds (`by_ms`), and `from` what to what. Times of records before it are by the clock as it was. With `at_start` a start found the clock behind `from`, which was known before it: what had ended by then stays ended.
    ClockSet = "clock-set";
    /// The daemon did not look for more than five seconds, and was not ended: it was stopped (SIGSTOP, the freezer of cgroups), or the host was too busy for it. What is attached, and what tables have, may have been others meanwhile. The detail has `from` when `to` when.
    Unwatched = "unwatched";
    /// Records before this one could not be written; the detail has how many were `lost`, and when the first and the last of them were given up, `from` and `to`. Until the disk takes this record, `audit-lost.json` in `state.directory` and in `state.mark_directory` has number, times and why, and the kernel's mark number and times until a reboot, so that a daemon that is started meanwhile writes it. Why is told as the file's words then (`audit-lost.json says`), for whoever can write the file can change them. Where neither file has the number and the times of the mark, those of the mark count, but for a greater number and a later end, and the file's words are not taken.
    Gap = "gap";
}

/// Who did what nobody asked for, in the place of a user.
pub const THE_DAEMON: &str = "the daemon";
/// Why a [`Kind::Detach`] is recorded that nobody asked the daemon for.
pub const TAKEN_OFF: &str = "taken off by another program";
/// Why a [`Kind::Detach`] is recorded of a guard that was to be there at a start and was not: who took it off, or when, is not
/// known.
pub const NOT_FOUND: &str = "a start did not find it";

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// What changes whether anything passes by an exemption.
    pub const OF_EXEMPTIONS: [Self; 9] = [
        Self::Load,
        Self::Stay,
        Self::Resume,
        Self::Revoke,
        Self::Invalidate,
        Self::RevokeKey,
        Self::Expire,
        Self::Exhaust,
        Self::Supersede,
    ];

    /// What the daemon finds by itself, and nobody asks for.
    const BY_ITSELF: [Self; 10] = [
        Self::Expire,
        Self::Exhaust,
        Self::OlderStore,
        Self::Unrecorded,
        Self::Entries,
        Self::Tampered,
        Self::ChangeDenied,
        Self::ClockSet,
        Self::Unwatched,
        Self::Gap,
    ];

    /// Whether records of the kind of this name are of what the daemon does by itself, so that their user is nobody who did it.
    #[must_use]
    pub fn is_by_itself(kind: &str) -> bool {
        Self::BY_ITSELF.iter().any(|it| it.name() == kind)
    }
}
