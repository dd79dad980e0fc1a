//! `borderguard explain`: why a packet passes or not, or what becomes of every frame of a capture.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use guard_common::abi::Hook;
use guard_common::packet::Parsed;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::config::{self, Policy};
use crate::explain::flow::{self, End, ProtocolNumber};
use crate::explain::frames::{Judge, fields};
use crate::explain::kernel_copy::KernelCopy;
use crate::explain::{Explainer, Explanation, Surroundings, capture};
use crate::geo::{GeoDb, embedded, merge, mmdb};

/// Exit code where everything was told, whatever the verdict.
pub const TOLD: u8 = 0;
/// Exit code where the kernel's program judges a frame otherwise.
pub const DIFFERENT: u8 = 1;
/// Exit code of input that can't be used: the command line, the config, a database or the capture.
pub const UNUSABLE: u8 = 2;

/// Bytes on the wire of a packet that is described and not captured: a full Ethernet frame.
const WIRE_LEN: u64 = 1514;

/// Tells why a packet passes or not, by the function that the kernel runs.
///
/// The policy, the sites and the geo database are looked at; exemptions that the daemon holds are not.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the packet comes from: 192.0.2.10:143, 2001:db8::1 or [2001:db8::1]:143.
    #[arg(long, value_name = "IP[:PORT]", required_unless_present = "pcap", requires = "to")]
    pub from: Option<End>,
    /// Where it goes.
    #[arg(long, value_name = "IP[:PORT]", required_unless_present = "pcap", requires = "from")]
    pub to: Option<End>,
    /// tcp, udp, sctp, udplite, dccp, icmp, icmpv6, gre, esp, or a number; without it tcp where a port is
    /// given, else icmp.
    #[arg(long, value_name = "NAME")]
    pub proto: Option<ProtocolNumber>,
    /// The interface that it leaves or comes in by.
    #[arg(long, value_name = "NAME")]
    pub iface: Option<String>,
    /// Its firewall mark, decimal or after 0x.
    #[arg(long, value_name = "N", value_parser = mark, default_value = "0")]
    pub mark: u32,
    /// The cgroup of the process that sends it, below the root of cgroup v2.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// The packet comes in, from --from to --to: tell whether it could be answered.
    #[arg(long)]
    pub ingress: bool,
    /// Judge every frame of this capture (pcap or pcapng; Ethernet or raw IP) instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "proto"])]
    pub pcap: Option<PathBuf>,
    /// Have the kernel's program judge the same frames (BPF_PROG_TEST_RUN, by a copy that guards nothing),
    /// and end with exit code 1 where it decides otherwise. Needs root.
    #[arg(long, requires = "pcap", conflicts_with = "cgroup")]
    pub kernel: bool,
    /// One JSON object, or with --pcap one a frame.
    #[arg(long)]
    pub json: bool,
}

fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| "a mark is a number of 32 bits, decimal or after 0x".to_owned())
}

/// Explains, and writes to `out`. Returns the exit code; what is wrong with the input is in the error, for
/// which the exit code is [`UNUSABLE`].
///
/// # Errors
/// Where the config, a database, the flow or the capture can't be used, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<u8> {
    let policy = load(&args.config)?;
    let db = database(&policy)?;
    let explainer = Explainer::new(policy, db, Vec::new(), args.iface.as_deref())?;
    let from = Surroundings { interface: args.iface.clone(), mark: args.mark, cgroup: args.cgroup.clone() };
    let hook = if args.ingress { Hook::Ingress } else { Hook::Egress };
    match (&args.pcap, args.from, args.to) {
        (Some(file), ..) => {
            let kernel = args.kernel.then(|| kernel_copy(&explainer)).transpose()?;
            judge_capture(&explainer, &from, hook, file, kernel.as_ref(), args.json, out)
        }
        (None, Some(source), Some(destination)) => {
            let packet = flow::packet(source, destination, args.proto)?;
            let explained = explainer.explain(hook, Parsed::Ip, &packet, &from, WIRE_LEN, boot_ns());
            tell(&explained, args.json, out)?;
            Ok(TOLD)
        }
        _ => bail!("nothing to explain: give --from and --to, or --pcap"),
    }
}

fn load(file: &Path) -> Result<Policy> {
    match config::load(file, &config::Surroundings::new(None)) {
        Ok(checked) => Ok(checked.policy),
        Err(errors) => Err(anyhow!("{errors}"))
            .with_context(|| format!("{} can't be used: `borderguard check` tells more", file.display())),
    }
}

/// The database that the daemon would use.
fn database(policy: &Policy) -> Result<GeoDb> {
    let mut sources = Vec::new();
    for file in &policy.geo.files {
        let read = mmdb::read(file);
        sources.push(read.with_context(|| format!("the geo database {} can't be used", file.display()))?);
    }
    Ok(merge::merge(sources).unwrap_or_else(embedded::load))
}

fn kernel_copy(explainer: &Explainer) -> Result<KernelCopy> {
    if !explainer.interface_exists() {
        bail!(
            "the kernel judges frames of interfaces that this host has: name another with --iface, or none"
        );
    }
    Ok(KernelCopy::load(explainer)?)
}

fn judge_capture(
    explainer: &Explainer,
    from: &Surroundings,
    hook: Hook,
    file: &Path,
    kernel: Option<&KernelCopy>,
    json: bool,
    out: &mut impl Write,
) -> Result<u8> {
    let opened = File::open(file).with_context(|| format!("can't open the capture {}", file.display()))?;
    let mut judge = Judge::new(explainer, from, hook, json, &mut *out);
    let read = capture::read(opened, |frame| {
        let origin = explainer.origin(from, u64::from(frame.wire_len));
        let answer = kernel.map(|kernel| kernel.judge(hook, frame, &origin)).transpose();
        judge.frame(frame, boot_ns(), answer.map_err(io::Error::other)?)
    });
    let differing = judge.finish(kernel.is_some())?;
    read.with_context(|| format!("the capture {} can't be judged to its end", file.display()))?;
    Ok(if differing.is_empty() { TOLD } else { DIFFERENT })
}

fn tell(explained: &Explanation, json: bool, out: &mut impl Write) -> Result<()> {
    if json {
        let mut object = fields(explained);
        object.insert("meaning".to_owned(), json!(explained.reason.meaning()));
        object.insert("steps".to_owned(), json!(explained.steps));
        return Ok(writeln!(out, "{}", serde_json::Value::Object(object))?);
    }
    let mut last = "";
    for step in &explained.steps {
        let name = if step.step == last { "" } else { step.step };
        writeln!(out, "{name:<10} {}", step.says)?;
        last = step.step;
    }
    Ok(())
}

/// `CLOCK_BOOTTIME` in nanoseconds, by which exemptions are valid.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
