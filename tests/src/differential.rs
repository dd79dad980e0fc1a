//! The kernel's program against the host's decision, frame by frame.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use guard_common::abi::Hook;
use guard_common::abi::traced::TraceTarget;
use guard_common::packet::{Addr, Link};
use guard_common::verdict::{Reason, Verdict};
use guard_user::explain::frames::parse_frame;
use guard_user::explain::{Explainer, Surroundings};
use guard_user::geo::embedded;
use guard_user::kernel::{Calls, CpuUse, FrameSource, KernelError, LinuxKernel, TraceReader};

use crate::frames::{PEERS, STORAGE, STORAGE_V6, exemptions, least, policy};
use crate::packet::Packet;

/// The one decision on both sides, with the same tables.
pub struct Both {
    /// The programs, in this machine's kernel.
    pub kernel: LinuxKernel,
    /// The host's.
    pub explainer: Explainer,
    /// How often each hook, verdict and reason was met.
    pub seen: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Frames that are too short for the kernel's test run.
    pub refused: u64,
    /// Reads what the tracing programs say, where they judge.
    reader: Option<TraceReader>,
}

impl Both {
    /// With the policy, the exemptions and the addresses that [`frames`](crate::frames) are made for, and the embedded database.
    /// The pins are below this path. `traced`: the tracing programs judge, and their steps are compared too.
    ///
    /// # Errors
    /// Where the kernel doesn't take programs or tables, or judges before it has any.
    pub fn new(pins: &Path, traced: bool) -> Result<Self> {
        let mut kernel =
            LinuxKernel::open_with(pins, CpuUse::of_this_kernel(), FrameSource::TestRuns, Calls::Noted)?;
        let first = Packet::ethernet().ipv4(STORAGE[0], PEERS[2]).tcp(143, 5).build();
        let empty = kernel.judge_frame(Hook::Egress, Link::Ethernet, &first, &Default::default())?;
        ensure!((empty.verdict, empty.reason) == (Verdict::Drop, Reason::NoTables), "{empty:?}");

        let explainer = Explainer::new(policy()?, embedded::load(), exemptions()?, Some("lo"))?;
        let addresses = [IpAddr::from(STORAGE[2]), IpAddr::from(STORAGE_V6[1])];
        let explainer = explainer.with_addresses(addresses.map(Addr::from).into());
        kernel.know_addresses(&explainer.tables().addresses)?;
        kernel.publish(&explainer.tables().policy, Some(&explainer.tables().geo))?;
        let reader = match traced {
            true => {
                let mut reader = kernel.begin_trace()?;
                let all = TraceTarget { deadline_ns: u64::MAX, packets: u64::MAX, ..TraceTarget::default() };
                reader.set_target(all)?;
                Some(reader)
            }
            false => None,
        };
        Ok(Self { kernel, explainer, seen: BTreeMap::new(), refused: 0, reader })
    }

    /// Has a frame judged by both.
    ///
    /// # Errors
    /// Where they differ, with what each said.
    pub fn judge(&mut self, hook: Hook, link: Link, frame: &[u8], from: &Surroundings) -> Result<()> {
        let (len, what) = (frame.len() as u64, || format!("{hook:?} {link:?} {frame:02x?}"));
        let by_kernel = match self.kernel.judge_frame(hook, link, frame, &self.explainer.origin(from, len)) {
            Ok(judged) => judged,
            // The kernel's test run wants an Ethernet header, and at TC a whole IP header behind it.
            Err(KernelError::TestRun { .. }) if frame.len() < least(hook) => {
                self.refused += 1;
                return Ok(());
            }
            Err(error) => bail!("{error}: {}", what()),
        };
        let (parsed, packet) = parse_frame(link, frame);
        // Every exemption here is valid now or has long expired: which moment it is does not matter.
        let told = self.explainer.explain(hook, parsed, &packet, from, len, 1 << 40);
        if (by_kernel.verdict, by_kernel.reason) != (told.verdict, told.reason) {
            bail!(
                "the kernel says {:?} {:?}, the host {:?} {:?}: {}\n{parsed:?} {packet:?}\n{:#?}",
                by_kernel.verdict,
                by_kernel.reason,
                told.verdict,
                told.reason,
                what(),
                told.steps
            );
        }
        ensure!(by_kernel.bytes == len, "{} bytes are counted: {}", by_kernel.bytes, what());
        if let Some(reader) = &mut self.reader {
            let traced = reader.packets();
            let [traced] = traced.as_slice() else { bail!("{traced:?} for {}", what()) };
            ensure!((traced.missing, traced.hook) == (0, hook), "{traced:?}");
            let by_trace = self.explainer.explain_traced(traced, from).context("steps of a trace")?;
            ensure!(
                by_trace.steps == told.steps,
                "{:#?} are traced, the host has {:#?}: {}",
                by_trace.steps,
                told.steps,
                what()
            );
            ensure!((by_trace.verdict, by_trace.reason) == (told.verdict, told.reason), "{}", what());
            ensure!((traced.generation, u64::from(traced.wire_len)) == (1, len), "{traced:?}");
        }
        let lets_through = match hook {
            Hook::Ingress => by_kernel.code == 2,
            _ => by_kernel.code == u32::MAX,
        };
        ensure!(lets_through == told.verdict.lets_through(), "code {}: {}", by_kernel.code, what());
        *self.seen.entry((hook.name(), told.verdict.name(), told.reason.name())).or_insert(0) += 1;
        Ok(())
    }
}
