//! `borderguard explain`: why a packet passes or not, or what becomes of every frame of a capture.

mod carried;
mod of_event;
mod open_then;
pub(super) mod told;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use guard_common::abi::{Direction, Hook};
use guard_common::packet::Parsed;

use self::told::{WIRE_LEN, explainer_of, tell};
use super::{BY_CONFIG, CliError, DEFAULT_CONFIG, default_must_be_there};
use crate::config::policy::{Policy, Protocol};
use crate::control::users::user_name;
use crate::events::event;
use crate::events::id::EventId;
use crate::exemption::Clocks;
use crate::exit::Exit;
use crate::explain::flow::{self, End, ProtocolNumber};
use crate::explain::frames::{Compared, Judge};
use crate::explain::kernel_copy::KernelCopy;
use crate::explain::{Explainer, Step, Surroundings, capture};
use crate::inputs;
use crate::kernel::running;

/// Says why a packet passes or not, by the function that the kernel runs.
///
/// It reads the config and the geo databases, and asks a running daemon for the open exemptions; where none
/// runs it reads the store, and says that quotas are as the store last recorded them.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Where the packet comes from: 192.0.2.10:143, 2001:db8::1 or [2001:db8::1]:143.
    #[arg(long, value_name = "IP[:PORT]", required_unless_present_any = ["pcap", "event"], requires = "to")]
    pub from: Option<End>,
    /// Where it goes.
    #[arg(long, value_name = "IP[:PORT]", required_unless_present_any = ["pcap", "event"], requires = "from")]
    pub to: Option<End>,
    /// tcp, udp, sctp, udplite, dccp, icmp, icmpv6, gre, esp, or a number; without it tcp where a port is
    /// given, else icmp.
    #[arg(long, value_name = "NAME")]
    pub proto: Option<ProtocolNumber>,
    /// The interface that it leaves or comes in by.
    #[arg(long, value_name = "NAME")]
    pub iface: Option<String>,
    /// The host only forwards it: for a container behind a veth or tap device, or another machine. Without this the host
    /// itself makes it.
    #[arg(long, conflicts_with_all = ["cgroup", "user", "volume", "pid", "ingress"])]
    pub forwarded: bool,
    /// The interface by which it came in, where the host only forwards it; --iface is then the one that it leaves by.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cgroup", "user", "volume", "pid", "ingress", "direction"])]
    pub in_iface: Option<String>,
    /// Its firewall mark, decimal or after 0x.
    #[arg(long, value_name = "N", value_parser = mark, default_value = "0")]
    pub mark: u32,
    /// The cgroup of the process that sends it, below the root of cgroup v2.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// The user of that process: a name of /etc/passwd, or a number.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// A volume whose data that process carries, by its path; may be given several times.
    #[arg(long, value_name = "PATH")]
    pub volume: Vec<PathBuf>,
    /// Who opened the TCP connection: served (the other end, and a process of this host accepted it) or opened (this host).
    /// Without it nobody can tell.
    #[arg(
        long,
        value_name = "DIRECTION",
        value_parser = direction,
        conflicts_with_all = ["forwarded", "ingress", "pcap"]
    )]
    pub direction: Option<Direction>,
    /// That process itself, where it runs on this host: it has the cgroup and the user, and the running daemon says
    /// which volumes' data it carries.
    #[arg(long, value_name = "PID", conflicts_with_all = ["cgroup", "user"])]
    pub pid: Option<u32>,
    /// The packet comes in, from --from to --to: say whether it could be answered.
    #[arg(long)]
    pub ingress: bool,
    /// Judge every frame of this capture (pcap or pcapng; Ethernet or raw IP) instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "proto"])]
    pub pcap: Option<PathBuf>,
    /// Explain this event instead, by what was live then: SESSION/NUMBER, as `events` shows it as id=; of the daemon that runs
    /// the number alone is enough.
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = ["from", "to", "proto", "iface", "in_iface", "forwarded", "mark", "cgroup", "user", "volume",
            "direction", "pid", "ingress", "pcap", "kernel"]
    )]
    pub event: Option<EventId>,
    /// Have the kernel's program judge the same frames (BPF_PROG_TEST_RUN, by a copy that guards nothing),
    /// and end with exit code 1 where it decides otherwise. Needs root.
    #[arg(long, requires = "pcap", conflicts_with_all = ["cgroup", "user", "volume", "pid"])]
    pub kernel: bool,
    /// One JSON object, or with --pcap one a frame.
    #[arg(long)]
    pub json: bool,
}

fn direction(text: &str) -> Result<Direction, String> {
    match text {
        "served" => Ok(Direction::Served),
        "opened" => Ok(Direction::Opened),
        _ => Err("a direction is served or opened".to_owned()),
    }
}

fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| "a mark is a number of 32 bits, decimal or after 0x".to_owned())
}

/// Explains, and writes to `out`. [`Exit::Ok`] where everything was told, whatever the verdict;
/// [`Exit::Failed`] where the kernel's program judges a frame otherwise.
///
/// # Errors
/// Where the config, a database, the flow or the capture can't be used, `out` can't be written, or the
/// kernel does not take a copy of the programs.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    if let Some(id) = args.event {
        return of_event::run(&args.config, id, args.json, out);
    }
    default_must_be_there(&args.config, BY_CONFIG)?;
    let mut inputs =
        inputs::load(&args.config, false).map_err(|error| CliError::document(error.to_string()))?;
    inputs::look_up_users(&mut inputs.policy).map_err(|error| CliError::document(error.to_string()))?;
    let from = surroundings(args, &inputs.policy)?;
    let unguarded = args.iface.as_deref().filter(|name| !inputs.policy.guards(name));
    let explainer = explainer_of(inputs, args.iface.as_deref(), args.in_iface.as_deref())?;
    let hook = if args.ingress { Hook::Ingress } else { Hook::Egress };
    match (&args.pcap, args.from, args.to) {
        (Some(file), ..) => {
            let kernel = args.kernel.then(|| kernel_copy(&explainer)).transpose()?;
            if let (Some(name), false) = (unguarded, args.json) {
                writeln!(out, "{}", words_of_unguarded(name))?;
            }
            judge_capture(&explainer, &from, hook, file, kernel.as_ref(), args.json, out)
        }
        (None, Some(source), Some(destination)) => {
            if args.kernel {
                let what = "--kernel judges the frames of a capture: give it with --pcap, or leave it out";
                return Err(CliError::bad_input(what).into());
            }
            let packet = flow::packet(source, destination, args.proto)
                .map_err(|error| CliError::bad_input(error.to_string()))?;
            if args.direction.is_some() && packet.layers[0].proto != Protocol::Tcp.number() {
                let what = "--direction is of TCP: of other packets nobody can tell who opened a connection";
                return Err(CliError::bad_input(what).into());
            }
            let mut explained =
                explainer.explain(hook, Parsed::Ip, &packet, &from, WIRE_LEN, Clocks::read().boot_ns);
            if let Some(name) = unguarded {
                explained.steps.insert(0, Step { step: "guard", says: words_of_unguarded(name) });
            }
            if let Some(name) = args.in_iface.as_deref().filter(|name| !explainer.has_interface(name)) {
                explained.steps.insert(0, Step { step: "guard", says: words_of_absent(name) });
            }
            tell(&explained, args.json, None, out)?;
            // An exemption that could not be looked at might let it pass.
            let may_be_exempt = explainer.has_unread_exemptions() && explained.is_forbidden();
            Ok(if may_be_exempt { Exit::Failed } else { Exit::Ok })
        }
        _ => Err(CliError::bad_input("nothing to explain: give --from and --to, or --pcap").into()),
    }
}

fn words_of_absent(name: &str) -> String {
    format!(
        "this host has no interface {name}: whether a process of the host could send by it is not known, and its name alone is"
    )
}

fn words_of_unguarded(name: &str) -> String {
    format!(
        "NOTHING judges what goes by {name}, which host.interfaces does not match: this is what would be decided if it were \
         guarded"
    )
}

/// What the options say beside the addresses.
fn surroundings(args: &Args, policy: &Policy) -> Result<Surroundings> {
    let mut from = Surroundings {
        interface: args.iface.clone(),
        is_forwarded: args.forwarded || args.in_iface.is_some(),
        came_in_by: args.in_iface.clone(),
        mark: args.mark,
        direction: args.direction.unwrap_or_default(),
        cgroup: args.cgroup.clone(),
        volumes: args.volume.iter().map(|path| path.components().collect()).collect(),
        ..Surroundings::default()
    };
    let volumes = policy.volumes();
    if let Some(other) = from.volumes.iter().find(|path| !volumes.iter().any(|it| it.path == **path)) {
        let known: Vec<String> = volumes.iter().map(|volume| volume.path.display().to_string()).collect();
        let which = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(CliError::bad_input(format!(
            "--volume {}: no pin selects this volume; the config has {which}",
            other.display()
        ))
        .into());
    }
    if let Some(name) = &args.user {
        let uid = name.parse().or_else(|_| inputs::uid_of(name)).map_err(CliError::bad_input)?;
        from.user = Some((name.clone(), uid));
    }
    if let Some(pid) = args.pid {
        let process = running(pid).map_err(|error| {
            CliError::bad_input(match error.kind() {
                io::ErrorKind::NotFound => format!("--pid {pid}: this host has no such process"),
                _ => format!("the process {pid} can't be looked at: {error}"),
            })
        })?;
        let unit = event::unit(&process.cgroup).map(|unit| format!(", unit {unit}")).unwrap_or_default();
        from.process = Some(format!("{} ({pid}){unit}", process.command));
        let name = user_name(process.uid).unwrap_or_else(|| process.uid.to_string());
        from.user = Some((name, process.uid));
        if from.volumes.is_empty() {
            from.volumes = carried::by(policy, pid, &process.cgroup)?;
        }
        // That of the root has no name.
        from.cgroup = Some(if process.cgroup.is_empty() { "/".to_owned() } else { process.cgroup });
    }
    Ok(from)
}

fn kernel_copy(explainer: &Explainer) -> Result<KernelCopy> {
    if !explainer.interface_exists() {
        return Err(CliError::bad_input(
            "the kernel judges frames of interfaces that this host has: name another with --iface, or none",
        )
        .into());
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
) -> Result<Exit> {
    let bad = |what: &dyn std::fmt::Display| {
        CliError::bad_input(format!("the capture {} can't be judged to its end: {what}", file.display()))
    };
    let opened = File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow::Error::from(error).context(file.display().to_string()),
        _ => bad(&error).into(),
    })?;
    let mut judge = Judge::new(explainer, from, hook, json, &mut *out);
    let read = capture::read(opened, |frame| {
        let origin = explainer.origin(from, u64::from(frame.wire_len));
        let answer = kernel.map(|kernel| kernel.judge(hook, frame, &origin)).transpose();
        judge.frame(frame, Clocks::read().boot_ns, answer.map_err(io::Error::other)?)
    });
    let compared = judge.finish(kernel.is_some())?;
    match read {
        Ok(_) if compared == Compared::Alike => Ok(Exit::Ok),
        Ok(_) => Ok(Exit::Failed),
        Err(capture::CaptureError::Output(error)) => Err(error.into()),
        Err(error) => Err(bad(&error).into()),
    }
}
