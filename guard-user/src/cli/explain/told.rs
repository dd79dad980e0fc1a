//! The tables that a packet is explained by, and how that is written.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::cli::CliError;
use crate::compile::{InterfaceFact, NeedsInterfaces};
use crate::config::policy::Policy;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{OpenExemption, Request, Response};
use crate::exemption;
use crate::exemption::Clocks;
use crate::explain::frames::fields;
use crate::explain::{Explainer, Explanation, NamedExemption, Quotas, Step, came_in_by, leaves_by};
use crate::inputs::Inputs;
use crate::kernel::{Interface, host_addresses};
use crate::store::{NamedEntry, Reader, StoreError, kernel_entries};

/// Bytes on the wire of a packet that is described and not captured: a full Ethernet frame.
pub(super) const WIRE_LEN: u64 = 1514;

/// The tables of this host: config, databases and open exemptions.
pub(in crate::cli) fn explainer_of(
    inputs: Inputs,
    iface: Option<&str>,
    in_iface: Option<&str>,
) -> Result<Explainer> {
    let names = inputs.policy.pin_names();
    let open = open_exemptions(&inputs.policy, &names);
    explainer_by(inputs, (iface, in_iface), open)
}

/// The same with these exemptions, where they could be had, and who says what is left of their quotas.
pub(super) fn explainer_by(
    inputs: Inputs,
    (iface, in_iface): (Option<&str>, Option<&str>),
    open: Result<(Vec<NamedEntry>, Quotas)>,
) -> Result<Explainer> {
    let addresses = match inputs.policy.pins.iter().any(|pin| pin.select.from_host) {
        true => host_addresses().context("the addresses of this host can't be listed")?,
        false => BTreeSet::new(),
    };
    let ((exemptions, quotas), unread) = match open {
        Ok(found) => (found, None),
        Err(error) => ((Vec::new(), Quotas::OfDaemon), Some(format!("{error:#}"))),
    };
    let named = exemptions.into_iter().map(|(id, kernel)| NamedExemption { id, kernel }).collect();
    let leaves = iface.map(leaves_by);
    let came_in = in_iface.filter(|_| in_iface != iface).map(came_in_by);
    let interfaces = leaves.into_iter().chain(came_in).map(|fact| with_below(fact, &inputs.policy));
    let interfaces = interfaces.collect::<Result<Vec<InterfaceFact>>>()?;
    let explainer = Explainer::new(inputs.policy, inputs.database, named, None)
        .and_then(|explainer| explainer.with_interfaces(interfaces))
        .map_err(|error| CliError::bad_input(error.to_string()))?
        .with_addresses(addresses)
        .with_quotas(quotas);
    Ok(match unread {
        Some(why) => explainer.with_unread_exemptions(why),
        None => explainer,
    })
}

/// The interface with what is below it, where the policy asks for that.
pub(in crate::cli) fn with_below(mut fact: InterfaceFact, policy: &Policy) -> Result<InterfaceFact> {
    if NeedsInterfaces::of(policy) != NeedsInterfaces::Nothing {
        let name = fact.names.first().map_or("", String::as_str);
        let below = Interface::below(name).context("what is below the interface is not known")?;
        fact.names.extend(below.names);
        fact.loops_back = below.loops_back;
    }
    Ok(fact)
}

/// The exemptions that are open on this host with their ids, and who says what is left of their quotas: the daemon is
/// asked, and where none runs the store is read.
fn open_exemptions(policy: &Policy, pins: &[String]) -> Result<(Vec<NamedEntry>, Quotas)> {
    let clocks = Clocks::read();
    let socket = &policy.control.socket;
    let unread = match Reader::open(&policy.state.directory) {
        Ok(None) => return Ok((Vec::new(), Quotas::AsRecorded)),
        Ok(Some(reader)) => return Ok((reader.kernel_exemptions(&clocks, pins)?, Quotas::AsRecorded)),
        // A daemon has it open, or this user may not read it and may ask a daemon all the same.
        Err(error) => error,
    };
    let answer = match ask(socket, &Request::ExemptionOpen {}) {
        Ok(answer) => answer,
        Err(error) if matches!(unread, StoreError::Held { .. }) => return Err(error.into()),
        Err(error) => {
            return Err(anyhow::Error::from(unread).context(format!("no daemon was asked ({error})")));
        }
    };
    let Response::Open { exemptions } = answer else { return Err(unexpected(socket).into()) };
    let mut named = Vec::new();
    for OpenExemption { document, slots, left } in exemptions {
        let document = exemption::parse(Path::new("it"), document.as_bytes(), &Default::default())?;
        let entries = kernel_entries(&document, &slots, pins, left.unwrap_or(u64::MAX), &clocks);
        named.extend(entries.into_iter().map(|it| (document.id.clone(), it)));
    }
    Ok((named, Quotas::OfDaemon))
}

/// Writes what was explained, and of what event, where it is one.
pub(super) fn tell(
    explained: &Explanation,
    json: bool,
    event: Option<serde_json::Value>,
    out: &mut impl Write,
) -> Result<()> {
    if json {
        let mut object = fields(explained);
        object.extend(event.map(|event| ("event".to_owned(), event)));
        object.insert("meaning".to_owned(), json!(explained.reason.meaning()));
        object.insert("steps".to_owned(), json!(explained.steps));
        return Ok(writeln!(out, "{}", serde_json::Value::Object(object))?);
    }
    tell_steps(&explained.steps, out)
}

/// Writes steps, a line each.
pub(in crate::cli) fn tell_steps(steps: &[Step], out: &mut impl Write) -> Result<()> {
    let mut last = "";
    for step in steps {
        let name = if step.step == last { "" } else { step.step };
        writeln!(out, "{name:<10} {}", step.says)?;
        last = step.step;
    }
    Ok(())
}
