//! `borderguard trace`: how live packets are judged, step by step, told by the kernel's program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipnetwork::IpNetwork;
use serde_json::{Value, json};

use super::explain::told::{explainer_of, tell_steps, with_below};
use super::seconds::whole_seconds;
use super::{BY_CONFIG, CliError, DEFAULT_CONFIG, default_must_be_there};
use crate::control::client::{self, ClientError, ask, unexpected};
use crate::control::protocol::{Request, Response, TraceWanted, TracedRecords};
use crate::control::trace::{MOST_PACKETS, MOST_SECONDS};
use crate::exemption::Clocks;
use crate::exit::Exit;
use crate::explain::frames::fields;
use crate::explain::{Explainer, Explanation, Step, Surroundings, leaves_by};
use crate::inputs;
use crate::kernel::TracedPacket;

/// Between two looks at what was told: less than [`TRACE_LEASE`](crate::control::trace::TRACE_LEASE) by far.
const LOOK: Duration = Duration::from_millis(200);
/// The longest look at what is live: whoever reloads all the time is not waited for.
const TRIES: usize = 3;

/// Says how live packets are judged, step by step.
///
/// The kernel's program tells it, which judges meanwhile as ever. The words are those of `explain`, by the config and the
/// databases that the daemon has, which this command reads too.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The daemon's config file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Packets that come from this network, in one of their layers.
    #[arg(long, value_name = "CIDR")]
    pub from: Option<IpNetwork>,
    /// Packets that go to this one, in the same layer.
    #[arg(long, value_name = "CIDR")]
    pub to: Option<IpNetwork>,
    /// Packets that this pin tags.
    #[arg(long, value_name = "NAME")]
    pub pin: Option<String>,
    /// End after so many packets, at most 1000.
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=MOST_PACKETS)
    )]
    pub count: u64,
    /// End after this time, at most 5m.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = seconds)]
    pub seconds: u64,
    /// One JSON object a packet.
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    whole_seconds(text, MOST_SECONDS, "a trace goes on for whole seconds, from 1s to 5m")
}

/// What the daemon answers.
type Answer = Result<Response, ClientError>;

/// Traces, writes each packet to `out`, and what else is to be said to `complaints`. [`Exit::Failed`] where not all is told
/// that was counted.
///
/// # Errors
/// Where no daemon answers or it does not trace, the config is not the daemon's, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write, complaints: &mut impl Write) -> Result<Exit> {
    let mut words = Words::of(&args.config)?;
    let wanted = TraceWanted {
        from: args.from,
        to: args.to,
        pin: args.pin.clone(),
        packets: args.count,
        seconds: args.seconds,
    };
    let socket = words.socket.clone();
    let (sender, answers) = channel();
    // Packets are told meanwhile, which may take longer than a trace goes on without a request.
    std::thread::Builder::new()
        .name("trace".to_owned())
        .spawn(move || follow(&socket, wanted, &sender))
        .context("no thread can be had")?;
    let (mut was_on, mut told, mut missing) = (false, 0, 0);
    for answer in answers {
        let Response::Trace { is_on, is_over, taken, packets, .. } = answer? else {
            return Err(unexpected(&words.socket).into());
        };
        if is_on && !was_on {
            writeln!(complaints, "tracing: {} at most, for {} s", packets_words(args.count), args.seconds)?;
        }
        was_on |= is_on;
        for traced in &packets {
            let Some(packet) = TracedPacket::of(&traced.records) else { continue };
            let Some(explained) = words.explain(&packet, traced)? else { continue };
            told += 1;
            missing += packet.missing;
            match args.json {
                true => writeln!(out, "{}", object(&packet, traced, &explained))?,
                false => {
                    writeln!(out, "{}", title(&packet, traced))?;
                    tell_steps(&explained.steps, out)?;
                    writeln!(out)?;
                }
            }
        }
        out.flush()?;
        if is_over {
            return over((was_on, told, taken, missing), complaints);
        }
    }
    Err(ClientError::NoAnswer { socket: words.socket }.into())
}

/// Says what is still to be said.
fn over((was_on, told, taken, missing): (bool, u64, u64, u64), complaints: &mut impl Write) -> Result<Exit> {
    if !was_on {
        return Err(CliError {
            exit: Exit::Failed,
            message: "nothing was traced: the kernel has not taken the tracing programs in time".to_owned(),
            of_document: false,
            codes: Vec::new(),
        }
        .into());
    }
    let lost = taken.saturating_sub(told);
    match (told, lost) {
        (0, 0) => writeln!(complaints, "the trace is over: no packet was judged that was asked for")?,
        (told, 0) => writeln!(complaints, "the trace is over: {}", packets_words(told))?,
        (told, lost) => writeln!(
            complaints,
            "the trace is over: {}; {lost} more were counted, and the log had no room for them",
            packets_words(told)
        )?,
    }
    if missing > 0 {
        writeln!(complaints, "{missing} steps of these packets were not kept")?;
    }
    Ok(if lost > 0 || missing > 0 { Exit::Failed } else { Exit::Ok })
}

fn packets_words(count: u64) -> String {
    format!("{count} packet{}", if count == 1 { "" } else { "s" })
}

/// Begins a trace and takes what is told, until it is over or nobody wants it.
fn follow(socket: &Path, wanted: TraceWanted, sender: &Sender<Answer>) {
    // Two clients have two process ids, and one has two moments.
    let id = format!("{}-{}", std::process::id(), Clocks::read().boot_ns);
    let mut begin = Some(wanted);
    loop {
        let answer = ask(socket, &Request::Trace { id: id.clone(), begin: begin.take() });
        let goes_on = matches!(answer, Ok(Response::Trace { is_over: false, .. }));
        if sender.send(answer).is_err() || !goes_on {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// What numbers stand for, of one generation.
struct Words {
    config: PathBuf,
    socket: PathBuf,
    explainer: Explainer,
    generation: u64,
}

impl Words {
    /// Those of the generation that is live.
    fn of(config: &Path) -> Result<Self> {
        default_must_be_there(config, BY_CONFIG)?;
        let checked =
            inputs::load_config(config, false).map_err(|error| CliError::document(error.to_string()))?;
        let socket = checked.policy.control.socket.clone();
        let mut status = client::status(&socket)?;
        for _ in 0..TRIES {
            let mut inputs = inputs::load(config, status.observe)
                .map_err(|error| CliError::document(error.to_string()))?;
            inputs::look_up_users(&mut inputs.policy)
                .map_err(|error| CliError::document(error.to_string()))?;
            let fingerprint = format!("{:016x}", inputs.policy.fingerprint);
            if fingerprint != status.fingerprint {
                let message = format!(
                    "{} is not the config by which the daemon judges (fingerprint {fingerprint}, and the daemon has {} of {}): \
                     reload, or name that file with --config",
                    config.display(),
                    status.fingerprint,
                    status.config
                );
                return Err(CliError::bad_input(message).into());
            }
            let explainer = explainer_of(inputs, None, None)?;
            let before = status.generation;
            status = client::status(&socket)?;
            if status.generation == before {
                return Ok(Self { config: config.to_owned(), socket, explainer, generation: before });
            }
        }
        let message = "the daemon's tables change faster than they can be read: try again".to_owned();
        Err(CliError { exit: Exit::Failed, message, of_document: false, codes: Vec::new() }.into())
    }

    /// How a packet was judged; `None` where a record of it has a number that nothing has.
    fn explain(&mut self, packet: &TracedPacket, traced: &TracedRecords) -> Result<Option<Explanation>> {
        // One that went live meanwhile.
        if packet.generation > self.generation {
            *self = Self::of(&self.config)?;
        }
        for name in traced.interface.iter().chain(&traced.came_in_by) {
            let fact = leaves_by(name);
            // One that has gone since has its name alone.
            let below = with_below(fact.clone(), self.explainer.policy());
            self.explainer.name_interface(below.unwrap_or(fact));
        }
        let from = Surroundings {
            interface: traced.interface.clone(),
            is_forwarded: packet.ingress_ifindex != 0,
            came_in_by: traced.came_in_by.clone(),
            mark: packet.mark,
            direction: packet.direction,
            is_live: true,
            ..Surroundings::default()
        };
        let Some(mut explained) = self.explainer.explain_traced(packet, &from) else { return Ok(None) };
        let mut more = |says| explained.steps.push(Step { step: "trace", says });
        if packet.generation != self.generation {
            more(format!(
                "generation {} judged it, and the names are of generation {}: where numbers have changed, they are others",
                packet.generation, self.generation
            ));
        }
        if packet.missing > 0 {
            more(format!("{} of its records are missing: the log had no room for them", packet.missing));
        }
        Ok(Some(explained))
    }
}

fn title(packet: &TracedPacket, traced: &TracedRecords) -> String {
    let interface = traced.interface.as_deref().unwrap_or("an interface that has gone");
    format!(
        "packet {}: {} by {interface}, {} bytes on the wire, judged by generation {}",
        packet.number + 1,
        packet.hook.name(),
        packet.wire_len,
        packet.generation
    )
}

fn object(packet: &TracedPacket, traced: &TracedRecords, explained: &Explanation) -> Value {
    let mut object = fields(explained);
    let more = json!({
        "packet": packet.number + 1,
        "hook": packet.hook.name(),
        "interface": traced.interface,
        "came_in_by": traced.came_in_by,
        "bytes": packet.wire_len,
        "mark": packet.mark,
        "generation": packet.generation,
        "missing": packet.missing,
        "meaning": explained.reason.meaning(),
        "steps": explained.steps,
    });
    object.extend(more.as_object().cloned().unwrap_or_default());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_bounded_in_time() {
        assert_eq!((seconds("10s"), seconds("5m"), seconds("1s")), (Ok(10), Ok(300), Ok(1)));
        for text in ["0s", "500ms", "1500ms", "301s", "6m", "10", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_not_told_is_said_and_is_a_failure() {
        let said = |counts| {
            let mut text = Vec::new();
            let exit = over(counts, &mut text);
            (exit.map_err(|error| error.to_string()), String::from_utf8(text).unwrap())
        };
        let (exit, text) = said((true, 3, 3, 0));
        assert_eq!((exit, text.as_str()), (Ok(Exit::Ok), "the trace is over: 3 packets\n"));
        let (exit, text) = said((true, 3, 5, 0));
        assert!(exit == Ok(Exit::Failed) && text.contains("2 more were counted"), "{text}");
        let (exit, text) = said((true, 3, 3, 4));
        assert!(exit == Ok(Exit::Failed) && text.contains("4 steps"), "{text}");
        assert_eq!(said((true, 1, 1, 0)).1, "the trace is over: 1 packet\n");
        assert!(said((true, 0, 0, 0)).1.contains("no packet was judged"));
        assert!(said((false, 0, 0, 0)).0.unwrap_err().contains("nothing was traced"));
    }
}
