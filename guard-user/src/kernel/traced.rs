//! The programs that log each step of a decision, and the packets that their records tell of.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya_log::EbpfLogger;
use guard_common::abi::traced::{
    DESTINATION, ERROR_LAYER, HOP, OUTCOME, PACKET, SOURCE, STEP, TraceStep, TraceTarget,
};
use guard_common::abi::{Direction, Hook, Outcome};
use guard_common::packet::{Addr, Layer, Packet, Parsed};

use super::KernelError;
use super::plain::Plain;

/// A packet as the tracing program judged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedPacket {
    /// Its number in the trace, from 0 on.
    pub number: u64,
    /// The hook.
    pub hook: Hook,
    /// The generation that judged it.
    pub generation: u64,
    /// How the parse ended.
    pub parsed: Parsed,
    /// What was judged: on ingress the answer, and where a quoted packet was judged in an ICMP error's place, that one.
    pub packet: Packet,
    /// The outermost layer of an ICMP error whose quoted packet was judged too, mirrored.
    pub error: Option<Layer>,
    /// The interface that it left or came in by.
    pub ifindex: u32,
    /// The one by which a forwarded packet came in; 0 where the host made it.
    pub ingress_ifindex: u32,
    /// Its firewall mark.
    pub mark: u32,
    /// Its bytes on the wire.
    pub wire_len: u32,
    /// Who opened the connection, where a pin asks for it.
    pub direction: Direction,
    /// The steps, in order.
    pub steps: Vec<TraceStep>,
    /// What was decided.
    pub outcome: Outcome,
    /// Records of it that are missing: there were more steps than are kept, or the log was full.
    pub missing: u64,
}

/// One record: its head and four words.
type Record = [u64; 5];

/// The records of one packet, each its head and four words, as
/// [`guard_common::abi::traced`] has them.
pub type TraceRecords = Vec<Record>;

/// Takes aya-log's lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Option<Record>>>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = record_of(&record.args().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    fn flush(&self) {}
}

/// The numbers of a line; `None` where it is none of the tracing program's.
fn record_of(line: &str) -> Option<Record> {
    let mut numbers = line.split(' ').map(str::parse);
    let mut record = [0; 5];
    for word in &mut record {
        *word = numbers.next()?.ok()?;
    }
    numbers.next().is_none().then_some(record)
}

/// Reads what the tracing programs log. Its descriptor is readable while there are records.
pub struct TraceReader {
    logger: EbpfLogger<Lines>,
    lines: Lines,
    target: Array<MapData, Kept>,
    taken: Array<MapData, u64>,
    begun: BTreeMap<u64, Vec<Record>>,
    malformed: u64,
}

/// The target as aya writes it to its map.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Kept(TraceTarget);

// SAFETY: made of integers alone, without padding: the layout is held in `guard_common::abi::traced`.
unsafe impl aya::Pod for Kept {}
// SAFETY: as above.
unsafe impl Plain for TraceTarget {}

impl std::fmt::Debug for TraceReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceReader").field("malformed", &self.malformed).finish_non_exhaustive()
    }
}

impl AsFd for TraceReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.logger.as_fd()
    }
}

impl TraceReader {
    /// The reader of an object's log.
    ///
    /// # Errors
    /// Where the object lacks a map, or it can't be opened.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let target = taken_map(ebpf, "TRACE_TARGET")?;
        let taken = taken_map(ebpf, "TRACE_TAKEN")?;
        let lines = Lines::default();
        let logger = EbpfLogger::init_with_logger(ebpf, lines.clone()).map_err(|error| KernelError::Map {
            what: "open",
            map: "AYA_LOGS",
            source: std::io::Error::other(error),
        })?;
        Ok(Self { logger, lines, target, taken, begun: BTreeMap::new(), malformed: 0 })
    }

    /// Sets which packets are logged, and until when.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn set_target(&mut self, target: TraceTarget) -> Result<(), KernelError> {
        self.target.set(0, Kept(target), 0).map_err(|error| of_map("write", "TRACE_TARGET", error))
    }

    /// How many packets were logged, or found no room in the log.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn taken(&self) -> Result<u64, KernelError> {
        self.taken.get(&0, 0).map_err(|error| of_map("read", "TRACE_TAKEN", error))
    }

    /// The records of the packets that were told to their end since the last call, in the order of their last records.
    pub fn records(&mut self) -> Vec<TraceRecords> {
        self.logger.flush();
        let lines = std::mem::take(&mut *self.lines.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut told = Vec::new();
        for line in lines {
            let Some(record) = line else {
                self.malformed += 1;
                continue;
            };
            let number = record[0] >> 16;
            let records = self.begun.entry(number).or_default();
            records.push(record);
            if kind(&record) == OUTCOME {
                told.extend(self.begun.remove(&number));
            }
        }
        told
    }

    /// Likewise as packets; those that can't be put together are [lost](Self::lost).
    pub fn packets(&mut self) -> Vec<TracedPacket> {
        let records = self.records();
        let packets: Vec<TracedPacket> = records.iter().filter_map(|it| TracedPacket::of(it)).collect();
        self.malformed += (records.len() - packets.len()) as u64;
        packets
    }

    /// Packets of which the log had no room for the first or the last record, and lines that can't be read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.malformed + self.begun.len() as u64
    }
}

/// A map of the tracing object.
fn taken_map<T: aya::Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<Array<MapData, T>, KernelError> {
    let missing = || KernelError::Embedded { what: format!("the map `{name}`") };
    let map = ebpf.take_map(name).ok_or_else(missing)?;
    Array::try_from(map).map_err(|error| of_map("open", name, error))
}

fn of_map(what: &'static str, map: &'static str, error: aya::maps::MapError) -> KernelError {
    KernelError::Map { what, map, source: std::io::Error::other(error) }
}

const fn kind(record: &Record) -> u64 {
    record[0] >> 8 & 0xff
}

impl TracedPacket {
    /// A packet of its records; `None` without the first or the last one.
    #[must_use]
    pub fn of(records: &[[u64; 5]]) -> Option<Self> {
        assemble(records)
    }
}

fn assemble(records: &[Record]) -> Option<TracedPacket> {
    let [head, generation, how, interfaces, lengths] = *records.iter().find(|it| kind(it) == PACKET)?;
    let [_, tag, denied, unplaced, decided] = *records.iter().find(|it| kind(it) == OUTCOME)?;
    let [hook, parsed, layers, hops, .., direction] = how.to_le_bytes();
    let mut packet = Packet { layer_count: layers.into(), hop_count: hops.into(), ..Packet::default() };
    let mut error: Option<Layer> = None;
    let (mut steps, mut seen) = (Vec::new(), 0);
    for record in records {
        let at = record[0] & 0xff;
        let [_, one, two, three, four] = *record;
        let address = Addr { hi: one, lo: two };
        let layer = match at {
            ERROR_LAYER => Some(error.get_or_insert_default()),
            at => packet.layers.get_mut(at as usize),
        };
        match (kind(record), layer) {
            (SOURCE, Some(layer)) => {
                let [proto, tcp_flags, flags, ..] = four.to_le_bytes();
                let (sport, dport) = (three as u16, (three >> 16) as u16);
                *layer =
                    Layer { src: address, dst: layer.dst, sport, dport, proto, tcp_flags, flags, tunnel: 0 };
                seen += 1;
            }
            (DESTINATION, Some(layer)) => {
                layer.dst = address;
                seen += 1;
            }
            (HOP, _) => {
                if let Some(hop) = packet.hops.get_mut(at as usize) {
                    *hop = address;
                    seen += 1;
                }
            }
            (STEP, _) => steps.push(TraceStep { what: one, words: [two, three, four] }),
            _ => {}
        }
    }
    let of_error = if error.is_some() { 2 } else { 0 };
    let wanted = 2 * u64::from(layers) + u64::from(hops) + of_error + (how >> 32 & 0xff_ffff);
    let [_, _, _, _, verdict, reason, destination, _] = decided.to_le_bytes();
    let missing = wanted.saturating_sub(seen + steps.len() as u64);
    Some(TracedPacket {
        number: head >> 16,
        hook: Hook::from_index(hook)?,
        generation,
        parsed: Parsed::from_code(parsed.into()),
        packet,
        error,
        ifindex: interfaces as u32,
        ingress_ifindex: (interfaces >> 32) as u32,
        mark: lengths as u32,
        wire_len: (lengths >> 32) as u32,
        direction: Direction::from_number(direction.into()),
        steps,
        outcome: Outcome {
            tag,
            denied,
            unplaced,
            place: decided as u16,
            exemption: (decided >> 16) as u16,
            verdict,
            reason,
            destination,
            exemptable: 0,
        },
        missing,
    })
}

#[cfg(test)]
mod tests {
    use guard_common::abi::traced::head;
    use proptest::prelude::*;

    use super::*;

    /// The records of a packet of one layer and two steps.
    fn records() -> Vec<Record> {
        let how = Hook::Egress as u64 | u64::from(Parsed::Ip.code()) << 8 | 1 << 16 | 2 << 32 | 1 << 56;
        vec![
            [head(7, PACKET, 0), 5, how, 3 | 9 << 32, 0x10 | 1514 << 32],
            [head(7, SOURCE, 0), 1, 2, 143 | 40_000 << 16, 6 | 0x12 << 8 | 1 << 16],
            [head(7, DESTINATION, 0), 3, 4, 0, 0],
            [head(7, STEP, 0), 1, 1, 0, 0],
            [head(7, STEP, 1), 4, 3, 4, 1],
            [head(7, OUTCOME, 0), 1, 1, 0, 0x0102 | 0xffff << 16 | 3 << 32 | 6 << 40],
        ]
    }

    #[test]
    fn a_packet_is_put_together_whatever_came_between() {
        let packet = assemble(&records()).unwrap();
        assert_eq!((packet.number, packet.hook, packet.generation, packet.missing), (7, Hook::Egress, 5, 0));
        assert_eq!((packet.ifindex, packet.ingress_ifindex), (3, 9));
        assert_eq!((packet.mark, packet.wire_len, packet.direction), (0x10, 1514, Direction::from_number(1)));
        let [layer] = packet.packet.layers() else { panic!("{packet:?}") };
        assert_eq!((layer.src, layer.dst), (Addr { hi: 1, lo: 2 }, Addr { hi: 3, lo: 4 }));
        assert_eq!((layer.sport, layer.dport, layer.proto), (143, 40_000, 6));
        assert_eq!((layer.tcp_flags, layer.flags), (0x12, Layer::HAS_PORTS));
        assert_eq!((packet.outcome.verdict, packet.outcome.reason, packet.outcome.exemption), (3, 6, 0xffff));
        assert_eq!(packet.steps.iter().map(|step| step.what).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn what_the_log_had_no_room_for_is_counted() {
        for left_out in 1..5 {
            let mut records = records();
            records.remove(left_out);
            assert_eq!(assemble(&records).unwrap().missing, 1, "without {left_out}");
        }
        assert_eq!(assemble(&records()[1..]), None);
        assert_eq!(assemble(&records()[..5]), None);
    }

    proptest! {
        #[test]
        fn records_are_read_back(record: [u64; 5]) {
            let [head, one, two, three, four] = record;
            let line = format!("{head} {one} {two} {three} {four}");
            prop_assert_eq!(record_of(&line), Some(record));
            prop_assert_eq!(record_of(&format!("{line} 0")), None);
        }

        #[test]
        fn no_line_and_no_record_does_harm(line: String, records: Vec<Record>) {
            let _none = record_of(&line);
            if let Some(packet) = assemble(&records) {
                prop_assert!(packet.packet.layers().len() <= packet.packet.layers.len());
                prop_assert!(packet.packet.hops().len() <= packet.packet.hops.len());
            }
        }
    }
}
