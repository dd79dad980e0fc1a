//! A whole capture, frame by frame.

use std::collections::BTreeMap;
use std::io::{self, Write};

use guard_common::abi::Hook;
use guard_common::packet::{HEADER_LEN, Link, Packet, Parsed, parse};
use guard_common::verdict::{Reason, Verdict};
use serde_json::{Value, json};

use super::capture::Frame;
use super::explainer::Explainer;
use super::explanation::Explanation;
use super::surroundings::Surroundings;

/// Reads the headers of a frame as the kernel program does.
#[must_use]
pub fn parse_frame(link: Link, frame: &[u8]) -> (Parsed, Packet) {
    let mut bytes = [0; HEADER_LEN];
    let valid = frame.len().min(HEADER_LEN);
    if let (Some(to), Some(from)) = (bytes.get_mut(..valid), frame.get(..valid)) {
        to.copy_from_slice(from);
    }
    let mut packet = Packet::default();
    let parsed = parse(link, &bytes, valid, frame.len(), &mut packet);
    (parsed, packet)
}

/// What the kernel's program said of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelAnswer {
    /// It judged.
    Judged(Verdict, Reason),
    /// The kernel does not take such a frame.
    Refused(String),
}

/// What a comparison with the kernel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The kernel was not asked, or judges all that it takes alike.
    Alike,
    /// It judges a frame otherwise.
    Differing,
    /// It took no frame.
    Nothing,
}

/// Judges frames, writes a line for each, and counts.
pub struct Judge<'a, W: Write> {
    explainer: &'a Explainer,
    from: &'a Surroundings,
    hook: Hook,
    json: bool,
    out: W,
    counts: BTreeMap<(Verdict, &'static str), u64>,
    cut: u64,
    differing: Vec<u64>,
    unjudged: u64,
}

impl<'a, W: Write> Judge<'a, W> {
    /// Nothing is judged yet.
    pub fn new(explainer: &'a Explainer, from: &'a Surroundings, hook: Hook, json: bool, out: W) -> Self {
        let counts = BTreeMap::new();
        Self { explainer, from, hook, json, out, counts, cut: 0, differing: Vec::new(), unjudged: 0 }
    }

    /// Judges one frame at the time `now` (nanoseconds of `CLOCK_BOOTTIME`) and writes its line. `kernel` is
    /// what the kernel says of the same frame, where it was asked.
    ///
    /// # Errors
    /// Where the line can't be written.
    pub fn frame(&mut self, frame: Frame<'_>, now: u64, kernel: Option<KernelAnswer>) -> io::Result<()> {
        let (parsed, packet) = parse_frame(frame.link, frame.bytes);
        let wire_len = u64::from(frame.wire_len);
        let explained = self.explainer.explain(self.hook, parsed, &packet, self.from, wire_len, now);
        *self.counts.entry((explained.verdict, explained.reason.name())).or_insert(0) += 1;
        let cut = frame.bytes.len() < frame.wire_len as usize;
        self.cut += u64::from(cut);
        match &kernel {
            Some(KernelAnswer::Judged(verdict, reason))
                if (*verdict, *reason) != (explained.verdict, explained.reason) =>
            {
                self.differing.push(frame.number);
            }
            Some(KernelAnswer::Refused(_)) => self.unjudged += 1,
            _ => {}
        }
        match self.json {
            true => writeln!(self.out, "{}", object(frame.number, &explained, cut, kernel.as_ref())),
            false => writeln!(self.out, "{}", line(frame.number, &explained, cut, kernel.as_ref())),
        }
    }

    /// Writes what all frames came to.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn finish(mut self, compared: bool) -> io::Result<Compared> {
        let frames: u64 = self.counts.values().sum();
        let outcome = match self.differing.is_empty() {
            true if compared && frames > 0 && frames == self.unjudged => Compared::Nothing,
            true => Compared::Alike,
            false => Compared::Differing,
        };
        if self.json {
            let counts: Vec<Value> = self
                .counts
                .iter()
                .map(|((verdict, reason), count)| {
                    json!({ "verdict": verdict.name(), "reason": reason, "frames": count })
                })
                .collect();
            let mut summary = json!({ "frames": frames, "cut": self.cut, "counts": counts });
            if compared && let Some(object) = summary.as_object_mut() {
                object.insert("differing".to_owned(), json!(self.differing));
                object.insert("not_judged_by_kernel".to_owned(), json!(self.unjudged));
            }
            if let (Some(told), Some(object)) = (self.explainer.of_quotas(), summary.as_object_mut()) {
                object.insert("quotas".to_owned(), json!(told));
            }
            writeln!(self.out, "{}", json!({ "summary": summary }))?;
            return Ok(outcome);
        }
        writeln!(self.out, "{frames} frames")?;
        for ((verdict, reason), count) in self.counts.iter().rev() {
            writeln!(self.out, "  {count:>8}  {} {reason}", verdict.name())?;
        }
        if self.cut > 0 {
            writeln!(self.out, "  {:>8}  cut by the capture, judged by what is there", self.cut)?;
        }
        if let Some(told) = self.explainer.of_quotas() {
            writeln!(self.out, "{told}")?;
        }
        if compared {
            match outcome {
                Compared::Alike => writeln!(
                    self.out,
                    "the kernel's program decides all {} that it takes alike",
                    frames - self.unjudged
                )?,
                Compared::Differing => {
                    writeln!(self.out, "the kernel's program decides otherwise: frames {:?}", self.differing)?
                }
                Compared::Nothing => writeln!(self.out, "NOTHING was compared with the kernel's program")?,
            }
            if self.unjudged > 0 {
                writeln!(self.out, "  {:>8}  not taken by the kernel's test run", self.unjudged)?;
            }
        }
        Ok(outcome)
    }
}

/// The fields that every judged packet has in JSON.
#[must_use]
pub fn fields(explained: &Explanation) -> serde_json::Map<String, Value> {
    let place = explained.place;
    let object = json!({
        "verdict": explained.verdict.name(),
        "reason": explained.reason.name(),
        "pins": explained.pins,
        "denied": explained.denied,
        "jurisdiction": place.map(|place| place.jurisdiction().as_str()),
        "placed_by": place.map(|place| place.placed_by().name()),
        "exemption": explained.exemption,
        "destination": explained.destination,
    });
    match object {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

fn object(number: u64, explained: &Explanation, cut: bool, kernel: Option<&KernelAnswer>) -> Value {
    let mut object = fields(explained);
    object.insert("frame".to_owned(), json!(number));
    if cut {
        object.insert("cut".to_owned(), json!(true));
    }
    match kernel {
        Some(KernelAnswer::Judged(verdict, reason)) => {
            object.insert("kernel".to_owned(), json!({ "verdict": verdict.name(), "reason": reason.name() }));
        }
        Some(KernelAnswer::Refused(why)) => {
            object.insert("kernel".to_owned(), json!({ "refused": why }));
        }
        None => {}
    }
    Value::Object(object)
}

fn line(number: u64, explained: &Explanation, cut: bool, kernel: Option<&KernelAnswer>) -> String {
    let mut text = format!("{number}: {} {}", explained.verdict.name(), explained.reason.name());
    if let Some(destination) = explained.destination {
        text.push_str(&format!(", to {destination}"));
    }
    if let Some(place) = explained.place {
        text.push_str(&format!(" in {} by {}", place.jurisdiction(), place.placed_by().name()));
    }
    if !explained.pins.is_empty() {
        text.push_str(&format!(", pins {}", explained.pins.join(" ")));
    }
    if let Some(exemption) = &explained.exemption {
        text.push_str(&format!(", exemption {exemption}"));
    }
    if cut {
        text.push_str(", cut by the capture");
    }
    match kernel {
        Some(KernelAnswer::Judged(verdict, reason))
            if (*verdict, *reason) != (explained.verdict, explained.reason) =>
        {
            text.push_str(&format!("; THE KERNEL DIFFERS: {} {}", verdict.name(), reason.name()));
        }
        Some(KernelAnswer::Refused(why)) => text.push_str(&format!("; the kernel does not take it: {why}")),
        _ => {}
    }
    text
}
