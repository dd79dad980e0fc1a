//! Problem codes: one table for the daemon, the status and docs/problems.md.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal, $remedy:literal;)+) => {
        /// What kind of problem it is. A code stays what it is from release to release; new ones may come.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum ProblemCode {
            $(
                #[doc = $meaning]
                #[serde(rename = $code)]
                $name,
            )+
        }

        impl ProblemCode {
            /// All of them, in the order of the docs: what is worst for the guard comes first.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code itself.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }
    };
}

codes! {
    NothingGuarded = "nothing-guarded",
        "Nothing is guarded: no interface has the program, no generation is live, or the config has no pin.",
        "The message says which. Where the config has no pin, write one (docs/config.md, docs/recipes); `borderguard suggest --home CODE` writes them for what leaves. Else correct `host.interfaces`. Then reload. Where both are right, the other problems say what is in the way.";
    InterfacesUnseen = "interfaces-unseen",
        "The interfaces, or some of them, can't be looked at. What is attached stays attached.",
        "See the message. The look is repeated every few seconds; if it goes on, look for limits on netlink or descriptors.";
    InterfaceMissing = "interface-missing",
        "The config names an interface that is not on this host. It is guarded as soon as it appears.",
        "Nothing, if it is still to appear. Otherwise correct `host.interfaces` and reload.";
    InterfaceNotGuarded = "interface-not-guarded",
        "An interface that the config names does not have all that it should have: pinned data can leave by it.",
        "See the message for what the kernel refused. It is tried again every few seconds.";
    InterfaceUnguarded = "interface-unguarded",
        "Frames can leave the host by an interface that the config does not name, and pass no guarded one: a route leads by it, or it lies below a bridge, a bond or the like. What leaves by it is not judged.",
        "Name it in `host.interfaces` and reload, or take it down. Where no pinned data can leave by it, name it in `host.unguarded`. docs/limits.md says how it is known.";
    InterfaceRenamed = "interface-renamed",
        "A guarded interface, or one that a pin selects, has a name now that the config does not name. It stays guarded until a reload, and selected until the daemon is started anew.",
        "Add the new name to `host.interfaces`, or to the pin's `select.interfaces`, or give the interface its name back. A reload without it releases a guarded one.";
    InterfaceNotReleased = "interface-not-released",
        "The config does not name an interface any more, and the kernel does not let go of it. It stays guarded.",
        "See the message. It is tried again every few seconds.";
    NamespaceUnguarded = "namespace-unguarded",
        "Another network namespace of this host has a device by which packets leave, and nobody judges them: hardware, or what is made on an interface that is not guarded. Or other namespaces can't be looked at. They are looked at every ten seconds.",
        "Move the device back, guard the interface that it is made on, or have the pinned processes have no way into that namespace.";
    BypassOpen = "bypass-open",
        "The config has ways past the guard refused (`[bypass]`), and the hook that refuses them is not attached: a process can open sockets whose packets are never judged.",
        "See the message for what the kernel refused. It is tried again every few seconds.";
    BypassBehind = "bypass-behind",
        "The hook that refuses ways past the guard is attached, and not as the config has it: it refuses others, or should be gone.",
        "See the message for what the kernel refused. It is tried again every few seconds.";
    SocketsUnnoted = "sockets-unnoted",
        "The hooks that note who makes and who uses sockets (`[sockets]`) are not attached as the config has it: events and `status` may not name processes, and pins by cgroup or user may not know who uses a socket.",
        "See the message for what the kernel refused. It is tried again every few seconds.";
    AttachmentLost = "attachment-lost",
        "Something has taken a program of Border Guard off an interface or a cgroup, or put another one in its place. It is attached again within a second or two, and this is told for a minute.",
        "Find what did it: `journalctl -u borderguard`, `bpftool link`. Packets sent meanwhile were not judged, and sockets that were opened may send past the guard.";
    AttachmentNotFirst = "attachment-not-first",
        "Another program, or a chain of nftables at egress, runs before Border Guard's on an interface, or did in the last minute, and may send packets that are never judged.",
        "Detach the other program, or attach it after Border Guard's; a chain has no place after it (`nft delete chain netdev TABLE NAME`).";
    SecondGuard = "second-guard",
        "Another Border Guard, with another `state.pin_path`, is on an interface as well. A packet passes only where both let it, and one of them may have an old config.",
        "Take the other one off: `borderguard detach --config FILE --pin-path DIR`. After a change of `state.pin_path` DIR is its old value.";
    GuardedLate = "guarded-late",
        "An interface was guarded later than two seconds after it came, or a start found it without a guard beside what an earlier daemon had left, and it had sent packets by then. What it sent without a guard was not judged. This is told for a minute.",
        "See what held up the daemon, or what was done while none ran. The audit trail has the number of packets of every interface, late or not, as `sent_before`.";
    CanaryMissing = "canary-missing",
        "The last canary of a pin, a frame of the daemon's own that the pin forbids, did not reach a stage: it was not sent, not judged as it should be, not counted, not logged, or not handed back by what collects the event log.",
        "The message names the stage; docs/canary.md says what each means. Where it was not judged, or has left, look at the other problems of that interface first.";
    EntriesMissing = "entries-missing",
        "Entries of Border Guard in bpffs are gone or are another object's, as where somebody has exchanged their names. The guard goes on, but what is gone would end with the daemon. The audit trail has it (`entries`).",
        "They are made again every few seconds. If that fails, see whether bpffs is still mounted at `state.pin_path`.";
    PinsPrivate = "pins-private",
        "The entries in bpffs are in a mount namespace that the host's first process does not see: what guards ends with the daemon.",
        "Mount bpffs at /sys/fs/bpf of the host before the daemon starts, and do not start it by `ip netns exec`, which gives it a /sys of its own: use `nsenter --net=...` or the unit's `NetworkNamespacePath=`.";
    TablesChanged = "tables-changed",
        "A table in the kernel by which packets are judged, or that a restart goes by, was not as the daemon had written it: root, or a program with CAP_BPF, has changed it. It was set back, or the live generation is published anew. It is told until somebody reloads, over restarts too; the audit trail has it (`tampered`). Or exemptions have let through more bytes of a pin than they have in their uses (`EXEMPTION_USE`): what the kernel counts of them was lowered, or an older copy of the store was put back, and quotas may have been spent more than once. Or the store had less of an exemption's use than its mark, for an older copy of it was put back: the exemption goes on with the use that the mark has. Or a start found that what was attached used another map than the one that has the entry in bpffs (the message has both numbers): somebody has exchanged it for another instance's, and a daemon in between may have counted in the other one, or kept its mark there. Or somebody has frozen a table (`BPF_MAP_FREEZE`): it judges as before, and nobody can write into it any more.",
        "Find who did it: the message and the trail have between which moments. What left meanwhile may have been judged by the changed table. Of bytes that are in no exemption's use see `borderguard report` (`unattributed`), and revoke what may have been spent twice. Then `borderguard reload`, which the audit trail has with who asked for it; after a SIGHUP the next start tells it again. Of a table that was frozen a reload changes nothing: see the message.";
    ProtectUnavailable = "protect-unavailable",
        "Others are not kept from the guard's maps, links and entries in bpffs, though the config says so (`[protect]`): the kernel does not run `bpf` as a security module, lacks its type information (BTF), or refuses the programs. Or what is the guard's can't be told to it. What guards is attached all the same.",
        "See the message. `bpf` belongs in `lsm=` on the kernel's command line, beside what is there (`cat /sys/kernel/security/lsm`). It is tried again every few seconds. Where the kernel has no BPF LSM, set `[protect] lsm = false`.";
    ChangeDenied = "change-denied",
        "A process that is not the daemon tried to change what is the guard's in the kernel, and was refused (`[protect]`): to write into or freeze a map, to detach a link, to remove an entry in bpffs, or to reach into the daemon's process. Nothing was changed. It is told until somebody reloads; the audit trail has it (`change-denied`).",
        "Find who did it: the message has the command, the process and the user. It may be a tool that asks for more than it needs, as `bpftool map` before Linux 6.17's. Then `borderguard reload`.";
    TablesBehind = "tables-behind",
        "The live generation is not what the config and the store want: a change is not in the kernel yet.",
        "See the message. It is tried again every few seconds; exemptions that should be closed may still be open. Where the message says that a map is frozen, no try helps, but what the message names.";
    ConfigRefused = "config-refused",
        "The config on the disk can't be used. The generation before it stays live; at a start the config goes on that is kept as the one taken last, where there is one (`policy.last` in `state.directory`). It is held against the audit trail's. Where that can't be read, `config-unheld` says so; where it has none, as with a store that is gone too, nothing says whether it is that one.",
        "Run `borderguard check` on the file, correct what it names, and reload. Where it waits for signatures, have it signed (docs/policy.md) or put the one in force back.";
    RollBackFailed = "roll-back-failed",
        "A config that was applied was to go, for nobody confirmed it in time or somebody asked for that, and the one before it could not be made live again: the candidate is still live.",
        "See the message. It is tried again every few seconds; a restart of the daemon goes by the one before it, which is still in the config file.";
    ConfigUnheld = "config-unheld",
        "The config that is live, or one before it, was held against none: the one in force could not be read at a start, neither from `policy.last` in `state.directory` nor from the audit trail. So whether it opens anything without the signatures that [approval.policy] asks for is not known. It is told until the config is signed, over restarts and reloads too.",
        "Compare it with the one that was in force: `borderguard policy diff OLD NEW`. Have it signed (`borderguard policy sign`), put the signatures beside it, and reload.";
    ConfigUnkept = "config-unkept",
        "The config that is live is not kept yet as the one that the next is held against (`policy.last` in `state.directory`): the disk refused it, or has not answered. The daemon goes by it all the same; one that starts meanwhile holds its config against the one before and the audit trail's, which may let more pass.",
        "Make room, or mend the folder or its disk. It is tried again every few seconds.";
    ConfigUnrecorded = "config-unrecorded",
        "While the store could not be opened or took no record, as where another process held it or its disk was full, another config or geo database was live than the one in force before and the one after it, or several were, or it is not known which: the audit trail could have no record of it then, and has one now (`unrecorded`). It is told over restarts, until somebody reloads.",
        "Where the message says that several were live or may have been, the first of them says nothing of the others: look at what left meanwhile (`borderguard report`, the event log) as judged by a config that nobody knows, also where the first is harmless. Where it names one alone, compare that with the one in force: `borderguard audit config SHA256` writes it, where the trail has its text. Find what kept the store from taking it: another process, or its disk (`df`). Then `borderguard reload`, which the audit trail has with who asked for it.";
    RestartNeeded = "restart-needed",
        "The config that is live has a key that counts from the start of the daemon alone, and its value was another one then.",
        "Restart the daemon, or give the key its value back and reload. Where it is `control.socket`, commands find the daemon by `--socket` and the old path until then. Where it is `state.pin_path`: end the daemon, `borderguard detach --config FILE --pin-path OLD` with its old value, and start it.";
    LastDatabase = "last-database",
        "The geo database could not be used at the start. The last one that was good is in force, or else the tables that the kernel has: the message says which.",
        "Correct what the message names, and reload.";
    AddressesUnknown = "addresses-unknown",
        "A pin's sources have `host`, and the kernel does not know all addresses of the host. What others send with one of those is not known to be the pin's; what the host makes itself is.",
        "See the message. It is tried again every second. Where there are too many addresses, name networks in `sources` too.";
    FailsafeExhausted = "failsafe-exhausted",
        "A failsafe rule has let as many bytes of pins pass in this minute as its `bytes_per_minute` allows. Until the next minute it lets none pass that a pin forbids.",
        "See by `borderguard events` what sends so much by the rule. Narrow its `peers`, or raise the budget.";
    VolumeAbsent = "volume-absent",
        "Nothing is mounted at the path of a volume that a pin selects. It is known as soon as it is there.",
        "Mount it, or correct `volumes` and reload.";
    CarriersFull = "carriers-full",
        "More processes, cgroups or copied files have data of volumes than there is room for, or the kernel had no memory to note one. Nobody knows which, so that every local sender counts as a carrier of all volumes.",
        "See `status` for who they are. It ends when no pin selects a volume any more, or the host starts anew: narrow what reads the volume, its `spread`, or set `copies = false`.";
    Relay = "relay",
        "A carrier of a volume's data has handed some to a process that is none: by a Unix socket, a pipe, a terminal, or TCP or UDP on this host. What that one sends is not the volume's pin's. Reported for a day after the last time.",
        "See `carriers.relays` of `status`. Pin that service too, or set `relays = \"tag\"`; where it sends nothing on, name its cgroup in `accept_relays`.";
    DatabaseRefused = "database-refused",
        "The geo databases that are on the disk now can't be used, or one is being written. Those that were read before stay in force.",
        "Correct what the message names: bring a whole file. It is taken as it is in its place.";
    DatabaseWaits = "database-waits",
        "The geo databases that are on the disk now would change more for a pin than `geo.ask_above`. Those that were read before stay in force.",
        "Look with `borderguard geo diff`; then `borderguard geo accept`, or put the earlier files back.";
    DatabaseUnsigned = "database-unsigned",
        "The geo databases that are on the disk would newly permit more for a pin than `geo.may_open`, and lack signatures that `[approval.policy]` asks for. What they close is in force; what they open stays closed.",
        "Look with `borderguard geo diff`. Have each file signed, put the signatures beside it, and say `borderguard geo accept`; or put the earlier files back.";
    DatabaseUnheld = "database-unheld",
        "The databases that are in force, or those before them, were compared with none: the one that was in force is gone (`geo.last` in `state.directory`), or is not the one that the audit trail knows. So what they open without the signatures that `[approval.policy]` asks for is not known. It is told until they are signed, over restarts too.",
        "Compare them with the ones before: `borderguard geo diff NEW --old OLD`. Have each file signed, put the signatures beside it, and say `borderguard geo accept`.";
    CarriersUnseen = "carriers-unseen",
        "Processes may have had files of a volume open before the guard knew of it, and could not be looked at. Pins by that volume may not know what these send.",
        "Correct what the message names. It is looked for again every few seconds. To be sure start these processes anew.";
    PinInterfaceMissing = "pin-interface-missing",
        "An interface that a pin selects by its name is not on this host, perhaps because it has another name now. What goes by it is not known as the pin's, and leaves unjudged.",
        "Nothing, if it is still to appear: it is known as soon as it does. Otherwise correct the pin's `select.interfaces` and reload, or give the interface its name back.";
    SelectorsFull = "selectors-full",
        "Pins select more interfaces or cgroups than the tables have room for, so every one counts as selected by each pin that selects any.",
        "Select fewer, and reload: one that is above the others, as a bridge or a slice.";
    CgroupMissing = "cgroup-missing",
        "A cgroup that a pin selects is not there. Nothing is known by it until it is made again.",
        "Start the slice or the unit whose cgroup it is, or correct the pin's `select.cgroups`.";
    CgroupUnplaced = "cgroup-unplaced",
        "A cgroup that a pin selects was made again and is not in the tables yet. Newer cgroups beside it count as pinned.",
        "Nothing: it is in the tables within a second. If it stays, look for `tables-behind`.";
    OrderNotKept = "order-not-kept",
        "A stay or a revocation holds in the kernel but is not on the disk. One on single exemptions is kept in the kernel, which a restart of the host loses; one on more in `high-water.json`. Where that can't be written (`mark-unwritable`), the kernel's mark says alone that an order is missing, by which the daemon's next start closes everything; where that can't be either, or the store is not open, nothing keeps it. The message says which.",
        "Make room on the disk or mend it. It is tried again; restart neither before this problem is gone.";
    StoreDamaged = "store-damaged",
        "The store, or an exemption in it, can't be read. What can't be read is closed.",
        "Put a copy of the store back, or move it elsewhere to begin anew. See docs/sre.md.";
    StoreUnavailable = "store-unavailable",
        "The store can't be opened now: another process holds it, or the disk is full, read-only or fails. Every exemption is closed.",
        "Do what the message says: end the other process, or mend the disk. It is tried again. Put no copy back.";
    StoreMoved = "store-moved",
        "The state directory or the store in it was moved or removed: what is written now would be lost, or a start found none and began a new one.",
        "Put the directory back where it was. Where a start has made a new one in its place: end the daemon, remove the new one, put the old one there, and start. To go on with a new store, restart the daemon.";
    StoreUnwritable = "store-unwritable",
        "The disk refuses to keep something: uses of exemptions, what crossed, or the geo database for a start that can't read the config's.",
        "Make room on the disk that has `state.directory`, or mend it. It is tried again; figures of reports are older until then.";
    NotNotified = "not-notified",
        "The program of `record.notify` could not be run, failed, or did not end in time: somebody was not told of a request that waits, or of what is due.",
        "Look at the program, and at what `borderguard exemption list --due` and the audit trail's refusals have. It is gone with the next notice that the program takes.";
    StoreSlow = "store-slow",
        "The disk takes long to keep a change. Stays and revocations hold all the same; loads wait.",
        "Look at the disk that has `state.directory`.";
    AuditGap = "audit-gap",
        "The audit trail lacks a record that could not be kept.",
        "Make room on the disk. The trail has a record of it (`gap`) as soon as the disk takes one, over restarts too; where the message says that a restart would lose it, do not restart before. What it gives as the words of `audit-lost.json` can be anybody's who can write that file; where the file differs from the kernel's mark, number and times are the mark's. The problem stays until the daemon is restarted.";
    StoreOlder = "store-older",
        "An older store was put back, or another one, since the daemon ended: it lacks records that the mark of it has. What was open in it is revoked.",
        "See the message, and docs/audit.md. Load what is still needed as higher versions, approved anew. The audit trail has it (`older-store`); the problem stays until the next start.";
    MarkUnwritable = "mark-unwritable",
        "How far the store has come can't be kept or read apart from it: an older store that is put back may not be seen.",
        "See the message: make room, or mend the rights of `state.mark_directory`. It is tried again every few seconds, which does not help where it says that a map is frozen. A file that can't be read is written anew with the next change.";
    AuditBroken = "audit-broken",
        "The audit trail is not whole: a record was altered, removed or inserted. It is looked at after each start and once a day.",
        "`borderguard audit verify` says where, and with checkpoints that are kept elsewhere since when. Keep the store as it is for whoever looks into it. The problem stays until a later look finds the trail whole.";
    ApprovalsOff = "approvals-off",
        "There are exemptions, and their approvals are not verified: the config requires none.",
        "Write `[approval]` with rules in the place of `approval = \"none\"`. See docs/approvals.md. What was loaded without is told as `approvals-missing` from then on.";
    EmergencyOpen = "emergency-open",
        "An exemption is open that was approved as an emergency: by fewer or by others than the rules ask for. It ends by itself within 30 minutes.",
        "Look at why (`borderguard exemption list`). What has to go on is approved by the rules.";
    ApprovalsMissing = "approvals-missing",
        "An exemption is open that would not be by the config and the allowed signers of now: nobody approved it while the config required no approval, or a rule asks for more, or a signer or a key that approved it is gone. Or the config that was signed last, or a geo database in force, is signed with a key that is revoked since.",
        "Revoke it, and load a new version that has the approvals; `borderguard approval revoke` closes all that a key approved. Where a key is gone by mistake, give it back. Of a config and databases: close by a config what should not be open, have the config signed by others (`borderguard policy sign`), put their signatures beside it in the place of that key's, and reload; bring a newer database with others' signatures.";
    SignersUnreadable = "signers-unreadable",
        "The file of allowed signers can't be used: no exemption can be loaded, and whether keys that approved what is open are gone is not known.",
        "See the message. What is open stays so, and can be stayed and revoked.";
    LawPackUnusable = "law-pack-unusable",
        "The law pack was to be looked at again by a day that is over, or the one that the config names can't be used: no exemption can be loaded. What is open stays so until its end.",
        "Name a newer pack in the config (`[law]`, docs/law.md), or install a newer version. Where the message names a file, mend it and reload.";
    ExemptionWithoutPin = "exemption-without-pin",
        "An exemption is active and names a pin that the config does not have. No packet of such a pin passes by it.",
        "Give the pin its name back and reload, or revoke the exemption and load one for the pin's new name.";
    ExemptionOtherHost = "exemption-other-host",
        "An exemption is open whose document names other hosts or fleets than this one: the host had another name, or was of another fleet (`host.fleet`), when it was loaded.",
        "Give the host or its fleet the name back and reload, or revoke the exemption and have one approved for this host.";
    DatabaseStale = "database-stale",
        "The geo database is older than `geo.max_age`, so places may be wrong.",
        "Bring a newer one (`geo.files`) and reload, or raise `geo.max_age`.";
    ClockSet = "clock-set",
        "The wall clock was set, and the windows of exemptions are not computed by it yet; or it was set by more than a minute while the daemon runs, at once or in all; or it is behind the time that was known before this start: windows and keys that had ended by then stay ended.",
        "Windows are computed anew within a second. Where it was set forward, as a time synchronisation does after a boot, and no exemption's window began by that, it is told until the clock was not set for 10 minutes. Where it was set back, or a window began by it, it is told until somebody reloads or the daemon is started anew, whatever the clock says by then: see that it is right, find who set it (the audit trail has each time, `clock-set`), and look at what was open meanwhile; then `borderguard reload`. Where it is behind, look at the time synchronisation, and for who set it back: the problem ends when the clock is past that time again.";
    WorkerStuck = "worker-stuck",
        "A part of the daemon has not answered for some seconds. The message names it.",
        "See what it waits for (the disk, the name service, standard output). If nothing else helps, restart the daemon: the guard goes on.";
    TraceLeft = "trace-left",
        "A trace or a shadow (`borderguard trace`, `borderguard shadow`) is over, and an interface still has its program. That judges and counts as the ordinary one does, costs more for each packet, and tells nothing any more.",
        "See the message for what the kernel refused. It is tried again every second; a restart of the daemon puts the ordinary programs back too.";
    LoopSlow = "loop-slow",
        "The daemon's loop was held up. Changes of interfaces and requests waited.",
        "Look at the load of the host. If the host is idle, report it with the daemon's log.";
    SocketMissing = "socket-missing",
        "The control socket is gone, is another one's, or could not be made.",
        "See the message. It is made again every few seconds.";
    MetricsMissing = "metrics-missing",
        "Metrics can't be had at `metrics.listen`: the address is taken, or the socket could not be made.",
        "See the message. It is tried again every second.";
    GroupsUnresolved = "groups-unresolved",
        "A group of `control.groups` has no number: it does not exist, or the name service does not answer. Its members have no rights yet.",
        "Make the group (`groupadd --system`) or correct the config. It is looked up again every few seconds.";
    CountersUnreadable = "counters-unreadable",
        "The counters in the kernel can't be read, so that figures of the status and the report are missing.",
        "See the message. Packets are judged and counted all the same.";
    HoldFull = "hold-full",
        "The copies of what is under a legal hold (`history.hold`) have reached `history.hold_size`: no more is copied. What was copied is never removed.",
        "Keep the files of `history.hold_directory` elsewhere and take them away, or raise `history.hold_size` and reload.";
    HoldUnwritable = "hold-unwritable",
        "Events under a legal hold (`history.hold`), or of which it is not known whether they are, can't be copied, or were not within the last minute.",
        "See the message: make room, or mend the folder of `history.hold_directory`. It is tried again every few seconds; the event log has these events too. After an older or a lost store look there for those without a name.";
    HoldUnknown = "hold-unknown",
        "A legal hold (`history.hold`) is neither a pin of the config nor the id of an exemption that was ever loaded: nothing is copied by it.",
        "Correct the name in `history.hold` and reload. For the id of an exemption that is still to be loaded do nothing: the problem ends when it is.";
    HistoryUnwritable = "history-unwritable",
        "The flow history can't be written. What guards, the event log and exemptions go on.",
        "See the message: make room, or mend the folder of `history.directory`. It is tried again every few seconds.";
    HistoryLost = "history-lost",
        "Records of the flow history were lost within the last minute: the disk did not take them, or not in time. The event log and the counters have them.",
        "Look at the disk that has `history.directory`. The history itself has a record of how many are missing.";
    EventsLost = "events-lost",
        "Events were lost in the kernel within the last minute, because more came than could be taken. Counters have every packet.",
        "Look at what sends so many flows: `borderguard status` has the packets by pin and reason.";
    LogUnwritable = "log-unwritable",
        "The event log can't be written: the message says why. Its lines are lost meanwhile; packets are judged and counted all the same.",
        "Mend what the message names: make room, make the folder of `log.to` and give it to the daemon's user, or have what reads the log read on. It is tried again each second. `borderguard events` has the last events.";
    LogLost = "log-lost",
        "Lines of the event log or of the daemon's own log were lost within the last minute, or the run before could not write them: where they go did not take them in time.",
        "Look at what reads standard output and standard error, and at `log.to`. `borderguard events` has the last events.";
}

impl ProblemCode {
    /// Whether subject and message say who runs what on the host.
    #[must_use]
    pub const fn names_people(self) -> bool {
        matches!(self, Self::Relay | Self::NamespaceUnguarded | Self::ChangeDenied)
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_docs_have_every_code_with_its_meaning_and_what_to_do() {
        let docs = include_str!("../../../docs/problems.md");
        let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |code: &ProblemCode| format!("| `{code}` | {} | {} |", code.meaning(), code.remedy());
        assert_eq!(rows, ProblemCode::ALL.iter().map(row).collect::<Vec<_>>());
    }

    /// Each cause that the meaning names has something to do.
    #[test]
    fn who_has_no_pin_is_told_how_to_come_by_one() {
        let remedy = ProblemCode::NothingGuarded.remedy();
        assert!(ProblemCode::NothingGuarded.meaning().contains("the config has no pin"));
        for part in ["has no pin", "`borderguard suggest", "docs/config.md", "`host.interfaces`"] {
            assert!(remedy.contains(part), "{part}: {remedy}");
        }
    }

    #[test]
    fn codes_are_unique_kebab_case_and_read_back() {
        let mut seen = BTreeSet::new();
        for &code in ProblemCode::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} is there twice");
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{text}");
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<ProblemCode>(&json).unwrap(), code);
        }
        assert!(ProblemCode::ALL.is_sorted());
    }
}
