//! Plain values and their bytes, as the kernel's maps hold them.

use guard_common::abi::protect::{AttemptKey, Attempts, Protected, Protector};
use guard_common::abi::shadow::{ShadowFlow, ShadowFlowKey, ShadowKey, ShadowTarget};
use guard_common::abi::{
    Canary, CanaryEvent, Carrier, Control, Count, Event, ExemptionUse, FailsafeUse, FileKey, FlowKey,
    FlowRecord, Handed, HighWater, OutcomeKey, PinnedCopy, PolicyTable, Relay, RelayKey, SocketFacts,
    UntaggedKey, UntaggedRecord, WayKey, WriterKey,
};
use guard_common::interval::{Detail, V4Entries, V4Nodes, V6Entries};
use guard_common::packet::Addr;

/// Types whose every byte belongs to an integer.
///
/// # Safety
///
/// The type must be made of integers alone, without implicit padding: then its bytes are all
/// initialised, and any bytes are a value.
pub(super) unsafe trait Plain {}

macro_rules! plain {
    ($($type:ty),+ $(,)?) => {
        $(
            // SAFETY: integers and arrays of them in `repr(C)` with explicit padding; the layout asserts
            // in `guard_common::abi` and below hold the sizes against the sums of the fields.
            unsafe impl Plain for $type {}
        )+
    };
}

plain!(
    u32,
    u64,
    Addr,
    Canary,
    CanaryEvent,
    Carrier,
    FileKey,
    Control,
    Count,
    Event,
    ExemptionUse,
    FailsafeUse,
    FlowKey,
    FlowRecord,
    OutcomeKey,
    PolicyTable,
    Detail,
    V4Nodes,
    // Which is `V6Nodes` too: as many words.
    V4Entries,
    V6Entries,
    SocketFacts,
    UntaggedKey,
    UntaggedRecord,
    Handed,
    HighWater,
    Relay,
    RelayKey,
    WayKey,
    PinnedCopy,
    WriterKey,
    ShadowFlow,
    ShadowFlowKey,
    ShadowKey,
    ShadowTarget,
    Protected,
    Protector,
    AttemptKey,
    Attempts,
);

/// The bytes of a value.
pub(super) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` types have no uninitialised bytes, and the slice covers exactly the value, which it
    // borrows.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value that begins these bytes; `None` where there are too few.
pub(super) fn read<T: Plain + Copy>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are enough bytes, the read needs no alignment, and any bytes are a `Plain` value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use guard_common::abi::{CgroupParent, Party, Process, SmallTable, SmallTable6};
    use guard_common::packet::Addr;

    use super::*;

    /// No padding hides in a struct whose fields lie one behind the other up to its end.
    macro_rules! packed {
        ($type:ty { $($field:ident: $size:expr),+ $(,)? }) => {{
            let mut end = 0;
            $(
                assert_eq!(offset_of!($type, $field), end, stringify!($field));
                end += $size;
            )+
            assert_eq!(size_of::<$type>(), end, stringify!($type));
        }};
    }

    #[test]
    fn plain_types_have_no_hidden_padding() {
        const N: usize = 2048;
        packed!(SmallTable<N> { starts: 4 * N, sets: 2 * N, len: 4, pad: 4 });
        packed!(SmallTable6<N> { hi: 8 * N, lo: 8 * N, sets: 2 * N, len: 4, pad: 4 });
        packed!(Addr { hi: 8, lo: 8 });
        packed!(FlowKey {
            src: 16,
            dst: 16,
            sport: 2,
            dport: 2,
            proto: 1,
            hook: 1,
            verdict: 1,
            reason: 1,
            place: 2,
            exemption: 2,
            pins: 4,
        });
        packed!(CgroupParent { id: 8, known: 8, pins: 8, level: 4, depth: 4 });
        packed!(Event {
            key: size_of::<FlowKey>(),
            record: size_of::<FlowRecord>(),
            outer_dst: 16,
            outer_src: 16
        });
        packed!(Process { cgroup: 8, pid: 4, thread: 4, uid: 4, pad: 4, command: 16 });
        packed!(Party { state: 8, cgroup: 8, uid: 4, pad: 4, cgroups: 64 });
        packed!(SocketFacts {
            maker: 40,
            sender: 40,
            parties: 2 * 88,
            everybody: 8,
            original: 8,
            connected: 8,
            noted: 8,
        });
        packed!(Carrier { volumes: 8, since_ns: 8 });
        packed!(WayKey { from: 16, to: 16, network: 8, from_port: 2, to_port: 2, kind: 4 });
        packed!(Handed { volumes: 8, cgroup: 8, process: 4, pad: 4 });
        packed!(RelayKey { cgroup: 8, command: 16 });
        packed!(Relay { volumes: 8, since_ns: 8, last_ns: 8, from_cgroup: 8, process: 4, from: 4 });
        packed!(FileKey { inode: 8, device: 4, generation: 4 });
        packed!(UntaggedRecord { count: 16, process: 40 });
        packed!(ShadowTarget { deadline_ns: 8, live: 4, pad: 4 });
        packed!(ShadowKey {
            generation: 8,
            now_pins: 8,
            then_pins: 8,
            hook: 1,
            now_verdict: 1,
            now_reason: 1,
            then_verdict: 1,
            then_reason: 1,
            then_jurisdiction: 1,
            pad: 2,
        });
        packed!(ShadowFlowKey { flow: size_of::<FlowKey>(), pins: 4, place: 2, verdict: 1, reason: 1 });
        packed!(ShadowFlow { record: size_of::<FlowRecord>(), then: 32 });
        packed!(OutcomeKey { pin: 1, jurisdiction: 1, hook_verdict: 1, reason: 1 });
        let detail = size_of::<Detail>();
        assert_eq!(detail, guard_common::interval::DETAIL_CAPACITY * 18 + 8);
    }

    #[test]
    fn values_come_back_from_their_bytes() {
        let count = Count { packets: 3, bytes: u64::MAX };
        assert_eq!(read::<Count>(bytes_of(&count)), Some(count));
        let mut shifted = vec![0];
        shifted.extend_from_slice(bytes_of(&count));
        assert_eq!(read::<Count>(&shifted[1..]), Some(count), "unaligned");
        assert_eq!(read::<Count>(&shifted[2..]), None, "too short");
    }
}
