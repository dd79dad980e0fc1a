//! Judging single frames by the loaded programs (`BPF_PROG_TEST_RUN`): the same instructions over the same
//! maps as for a packet of an interface.

use std::io;
use std::sync::PoisonError;

use aya::programs::{ProgramError, TestRun as _};
use aya::{TestRunOptions, TestRunResult};
use guard_common::abi::{Count, Hook};
use guard_common::host::HostOrigin;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};

use super::counts::TotalCount;
use super::hooks::program_name;
use super::{KernelError, LinuxKernel, missing_program};

/// What the kernel decided for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict, as it was counted.
    pub verdict: Verdict,
    /// The reason, as it was counted.
    pub reason: Reason,
    /// Bytes on the wire that were counted.
    pub bytes: u64,
    /// What the program returned: a TC action (`TC_ACT_UNSPEC` is all ones) or an XDP action.
    pub code: u32,
}

impl LinuxKernel {
    /// Has the loaded program judge one frame. It is counted and recorded as any packet is, and exemptions
    /// are charged.
    ///
    /// Of `origin` the kernel takes the interfaces, which must exist (0 is the loopback), and at egress the
    /// mark and the bytes on the wire (0 is the frame's length). The cgroup is the calling process's.
    ///
    /// # Errors
    ///
    /// [`KernelError::TestRun`] where the kernel does not take the frame: it has less than 14 bytes, or the
    /// origin is none; [`KernelError::Ambiguous`] where other packets went through the programs.
    pub fn judge_frame(
        &self,
        hook: Hook,
        link: Link,
        frame: &[u8],
        origin: &HostOrigin,
    ) -> Result<Judged, KernelError> {
        let _alone = self.test_run.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.totals()?;
        let run = match hook {
            Hook::Egress => self.classifier(link)?.test_run(options(frame, &skb_context(origin)?)),
            Hook::Ingress => self.xdp(link)?.test_run(options(frame, &xdp_context(frame, origin)?)),
            Hook::Connect | Hook::Sendmsg => return Err(missing_program(hook.name())),
        };
        let TestRunResult { return_value: code, .. } = run.map_err(|error| match error {
            ProgramError::SyscallError(error) => {
                KernelError::TestRun { len: frame.len(), source: error.io_error }
            }
            other => KernelError::of_program(program_name(hook, link), other),
        })?;
        let (row, packets) = difference(&before, &self.totals()?);
        match row {
            Some(row) if packets == 1 && row.hook == hook => {
                Ok(Judged { verdict: row.verdict, reason: row.reason, bytes: row.count.bytes, code })
            }
            _ => Err(KernelError::Ambiguous { packets }),
        }
    }
}

#[cfg(feature = "bench")]
impl LinuxKernel {
    /// The mean time of one run of the program that attachments get, of so many over this Ethernet frame at egress.
    ///
    /// # Errors
    ///
    /// [`KernelError::TestRun`] where the kernel does not take the frame.
    pub fn time_egress(&self, frame: &[u8], repeat: u32) -> Result<std::time::Duration, KernelError> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        let run = self.classifier(Link::Ethernet)?.test_run(options);
        let name = program_name(Hook::Egress, Link::Ethernet);
        run.map(|run| run.duration).map_err(|error| KernelError::of_program(name, error))
    }
}

fn options<'a>(frame: &'a [u8], context: &'a [u8]) -> TestRunOptions<'a> {
    let context = (!context.is_empty()).then_some(context);
    TestRunOptions { data_in: Some(frame), ctx_in: context, ..TestRunOptions::default() }
}

/// `struct __sk_buff` up to `wire_len` (linux/bpf.h). All else must be zero.
fn skb_context(origin: &HostOrigin) -> Result<Vec<u8>, KernelError> {
    const MARK: usize = 2;
    const INGRESS_IFINDEX: usize = 9;
    const IFINDEX: usize = 10;
    const WIRE_LEN: usize = 40;
    let mut words = [0_u32; WIRE_LEN + 1];
    words[MARK] = origin.mark;
    words[INGRESS_IFINDEX] = origin.ingress_ifindex;
    words[IFINDEX] = origin.ifindex;
    words[WIRE_LEN] = u32::try_from(origin.wire_len).map_err(|error| too_long(0, error))?;
    Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}

/// `struct xdp_md` (linux/bpf.h); empty for the loopback, which the kernel takes by itself.
fn xdp_context(frame: &[u8], origin: &HostOrigin) -> Result<Vec<u8>, KernelError> {
    if origin.ifindex == 0 {
        return Ok(Vec::new());
    }
    let end = u32::try_from(frame.len()).map_err(|error| too_long(frame.len(), error))?;
    // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    Ok([0, end, 0, origin.ifindex, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect())
}

fn too_long(len: usize, error: std::num::TryFromIntError) -> KernelError {
    KernelError::TestRun { len, source: io::Error::new(io::ErrorKind::InvalidInput, error) }
}

/// A row that grew, by how much, and the packets by which all rows grew.
fn difference(before: &[TotalCount], after: &[TotalCount]) -> (Option<TotalCount>, u64) {
    let mut grown = None;
    let mut packets = 0_u64;
    for &row in after {
        let same =
            |old: &&TotalCount| (old.hook, old.verdict, old.reason) == (row.hook, row.verdict, row.reason);
        let old = before.iter().find(same).map_or(Count::default(), |old| old.count);
        let more = row.count.packets.wrapping_sub(old.packets);
        if more != 0 {
            let bytes = row.count.bytes.wrapping_sub(old.bytes);
            grown = Some(TotalCount { count: Count { packets: more, bytes }, ..row });
            packets = packets.saturating_add(more);
        }
    }
    (grown, packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_that_grew_is_found() {
        let row = |reason, packets| TotalCount {
            hook: Hook::Egress,
            verdict: Verdict::Pass,
            reason,
            count: Count { packets, bytes: 100 * packets },
        };
        let before = [row(Reason::Untagged, 5), row(Reason::NotIp, 2)];
        let after = [row(Reason::Untagged, 6), row(Reason::NotIp, 2)];
        assert_eq!(difference(&before, &after), (Some(row(Reason::Untagged, 1)), 1));
        assert_eq!(difference(&before, &before), (None, 0));
        let new = [row(Reason::Untagged, 5), row(Reason::NotIp, 2), row(Reason::Permitted, 1)];
        assert_eq!(difference(&before, &new), (Some(row(Reason::Permitted, 1)), 1));
    }

    #[test]
    fn contexts_have_their_fields_where_the_kernel_reads_them() {
        let origin =
            HostOrigin { ifindex: 3, ingress_ifindex: 4, mark: 5, wire_len: 6, ..HostOrigin::default() };
        let context = skb_context(&origin).unwrap();
        for (offset, value) in [(8, 5_u32), (36, 4), (40, 3), (160, 6)] {
            assert_eq!(context[offset..offset + 4], value.to_ne_bytes());
        }
        assert_eq!(context.len(), 164);
        assert!(skb_context(&HostOrigin { wire_len: 1 << 32, ..origin }).is_err());
    }
}
