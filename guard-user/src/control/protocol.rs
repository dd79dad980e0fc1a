//! Requests and responses: one JSON object a line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::apply::{ApplyWanted, MOST_UNCONFIRMED_SECONDS};
pub use super::error_kind::ErrorKind;
pub use super::event_format::EventFormat;
pub use super::shadow::{ShadowReport, ShadowWanted};
pub use super::signed::{SignatureText, SignedText};
use super::status::Status;
pub use super::trace::{TraceWanted, TracedRecords};
use crate::exemption::Summary;
use crate::exemption::Target;
use crate::exemption::record::ApprovedBy;
use crate::exemption::summary::OrderSummary;
use crate::history::Filter;
use crate::report::Report;

/// The code of a document in which the daemon finds no error, and its client did.
pub const REFUSED_BY_CLIENT: &str = "refused-by-client";

/// What a client asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is guarded, how, and what was counted.
    Status {},
    /// What was seen: the events of the flow history and those in memory, oldest first.
    Events {
        /// Whether to go on with each event as it comes.
        #[serde(default)]
        follow: bool,
        /// The last so many; without it, and without any of `since`, `until` and `event` in the filter, the last 10,000.
        #[serde(default)]
        limit: Option<usize>,
        /// How an event looks.
        #[serde(default)]
        format: EventFormat,
        /// Which ones.
        #[serde(default, skip_serializing_if = "Filter::is_empty")]
        filter: Filter,
        /// Whether events of flows come in brief, many at once: for who judges them all.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        brief: bool,
    },
    /// Every flow record that the kernel has: of permitted flows too, as far as pins have them recorded.
    Flows {
        /// Whether they come in brief, many at once: for who judges them all.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        brief: bool,
    },
    /// Read config and databases again and publish a new generation.
    Reload {},
    /// What a reload would do now; nothing is changed.
    ReloadPlan {},
    /// Make a candidate live, for a time, unless it is confirmed.
    Apply {
        /// The candidate.
        wanted: Box<ApplyWanted>,
    },
    /// Keep the candidate that is live.
    Confirm {
        /// Go back to the config before it instead, at once.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        roll_back: bool,
    },
    /// Take the geo databases as they are now, however much they change.
    GeoAccept {},
    /// A canary that was in the event log is handed back by what collects it.
    CanaryConfirm {
        /// Its number, as the log has it: 16 hexadecimal digits.
        canary: String,
    },
    /// How live packets are judged: the first request begins a trace, and each later one of its name keeps it for
    /// [`TRACE_LEASE`](super::trace::TRACE_LEASE) more and takes what was told meanwhile.
    Trace {
        /// Its name, which the client makes: at most 64 bytes.
        id: String,
        /// What is traced; without it the trace has begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begin: Option<TraceWanted>,
    },
    /// How a candidate would judge live packets: the first request begins a shadow, and each later one of its name keeps it for
    /// [`TRACE_LEASE`](super::trace::TRACE_LEASE) more.
    Shadow {
        /// Its name, which the client makes: at most 64 bytes.
        id: String,
        /// The candidate; without it the shadow has begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begin: Option<Box<ShadowWanted>>,
    },
    /// Take up an exemption.
    ExemptionLoad {
        /// The document's text.
        document: String,
        /// The file's name as the client has it, for messages.
        name: String,
        /// The detached signatures over it.
        #[serde(default)]
        signatures: Vec<SignatureText>,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
        /// The client has found it at fault: only record that it is refused.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
    },
    /// Which exemptions there are.
    ExemptionList {},
    /// One exemption with its document and signatures.
    ExemptionShow {
        /// Its id.
        id: String,
        /// Its version; without it the one that is open, else the highest.
        #[serde(default)]
        version: Option<u32>,
    },
    /// What an exemption that is closed has let through, signed by the host's key.
    ExemptionReceipt {
        /// Only ask whether the peer has the right: no receipt is given, and nothing is recorded of one that has it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        right_only: bool,
        /// Why the receipt that was given last could not be written by the client: none is given, and that is recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_written: Option<String>,
        /// Its id.
        id: String,
        /// Its version; without it the one that was loaded last.
        #[serde(default)]
        version: Option<u32>,
    },
    /// Note that a duty of an exemption was done, also of one that is closed.
    ExemptionDone {
        /// Its id.
        id: String,
        /// Its version; without it the one that has this to be done, of several the one where it is due first.
        #[serde(default)]
        version: Option<u32>,
        /// What was done, as the list of what is due has it.
        duty: String,
        /// When; without it now.
        #[serde(default)]
        on: Option<Timestamp>,
        /// How, for the record.
        #[serde(default)]
        why: String,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
    },
    /// The exemptions that are open, as the kernel judges by them.
    ExemptionOpen {},
    /// The orders that stand.
    ExemptionOrders {},
    /// Let nothing through by what an order covers until it is lifted.
    ExemptionStay {
        /// What it covers.
        target: Target,
        /// The order's reference, by which it is lifted.
        #[serde(default)]
        order: String,
        /// Whether it may cover nothing that was ever loaded.
        #[serde(default)]
        not_loaded: bool,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
    },
    /// Lift an order.
    ExemptionResume {
        /// What it covers.
        target: Target,
        /// The order's reference; without it the only one that covers this.
        #[serde(default)]
        order: Option<String>,
        /// Why, for the record.
        #[serde(default)]
        why: String,
        /// The signed document that says the same; needed where the config asks for approvals.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lift: Option<SignedText>,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
        /// In a dry run: what it would come to is asked for the document that is to be signed for it, so that none is needed
        /// yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        to_sign: bool,
    },
    /// End an exemption for good.
    ExemptionRevoke {
        /// Its id.
        id: String,
        /// Why, for the record.
        #[serde(default)]
        why: String,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
    },
    /// End every exemption that rests on an instrument.
    InstrumentInvalidate {
        /// The instrument's name in the documents.
        name: String,
        /// Why, for the record.
        #[serde(default)]
        why: String,
        /// Whether nothing that was ever loaded may rest on it.
        #[serde(default)]
        not_loaded: bool,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
    },
    /// Let a key approve nothing any more, and end every exemption that it approved.
    ApprovalRevoke {
        /// The key's fingerprint, `SHA256:` and Base64.
        key: String,
        /// Why, for the record.
        #[serde(default)]
        why: String,
        /// Whether the key may be one that no allowed signer has and that approved nothing which was ever loaded.
        #[serde(default)]
        unknown: bool,
        /// Only say what it would come to.
        #[serde(default)]
        dry_run: bool,
    },
    /// Lines of the audit trail.
    Audit {
        /// The first sequence number.
        #[serde(default)]
        from: u64,
    },
    /// How the audit trail ends now.
    AuditCheckpoint {},
    /// The text of a config that was in force.
    AuditConfig {
        /// Its SHA-256, as records of the trail have it.
        sha256: String,
    },
    /// The document of an exemption that was loaded, byte for byte.
    AuditDocument {
        /// The exemption's id.
        id: String,
        /// Its version.
        version: u32,
    },
    /// The document by which an order was lifted, with the signatures over it.
    AuditLift {
        /// Its SHA-256, as records of the trail have it.
        sha256: String,
    },
    /// What crossed and what was refused, over these days.
    Report {
        /// The first day in UTC, as `2026-11-23`; without it from the beginning.
        #[serde(default)]
        from: Option<String>,
        /// The last day; without it until now.
        #[serde(default)]
        until: Option<String>,
    },
}

/// An exemption that is open, as the kernel judges by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenExemption {
    /// The document's text.
    pub document: String,
    /// Its places in the kernel's tables, the account first.
    pub slots: Vec<u16>,
    /// Bytes that it may let through in these places by the time it was asked; null for no bound.
    pub left: Option<u64>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// To `status`.
    Status {
        /// All of it.
        status: Box<Status>,
    },
    /// To `trace`.
    Trace {
        /// Whether the tracing programs are on the interfaces; before that nothing is told.
        is_on: bool,
        /// Whether the trace is over: no further request is answered.
        is_over: bool,
        /// The generation that is live.
        generation: u64,
        /// Packets that were told so far, and those for which the log had no room.
        taken: u64,
        /// Those that were told since the last answer, in the order in which they were told.
        packets: Vec<TracedRecords>,
    },
    /// To `shadow`.
    Shadow {
        /// Whether the programs are on the interfaces; before that nothing is judged twice.
        is_on: bool,
        /// What came of it, where it is over: no further request is answered then.
        report: Option<Box<ShadowReport>>,
    },
    /// To `events`: one event, as the line that the log has.
    Event {
        /// The line, without its break.
        line: String,
    },
    /// To `events`: events that were not sent, because the client read too slowly.
    Missed {
        /// How many.
        events: u64,
    },
    /// To `events`: what was left out and may have had something of what was asked for.
    LeftOut {
        /// Summaries, which name no process.
        summaries: u64,
        /// Lines of the flow history that can't be read.
        damaged: u64,
    },
    /// To `flows`: what comes, before the first one.
    Flows {
        /// How many there are.
        flows: u64,
        /// For how many the kernel has room.
        capacity: u64,
        /// The generation that is live.
        generation: u64,
        /// SHA-256 of its config; null where that is not known.
        policy: Option<String>,
    },
    /// To `flows`: one flow record, as a line of the kind `flow`.
    Flow {
        /// The line, without its break.
        line: String,
    },
    /// To `events` and `flows` in brief: some flows.
    Brief {
        /// A [`Batch`](crate::events::brief::Batch) as one line, without its break.
        line: String,
    },
    /// To `events` and `flows`: that was all.
    End {},
    /// To `exemption-list`.
    Exemptions {
        /// All of them, in the order of ids and versions.
        exemptions: Vec<Summary>,
        /// Whether the config in force asks for anybody's approval of one.
        approval_required: bool,
    },
    /// To `exemption-show`.
    Exemption {
        /// What it is.
        exemption: Box<Summary>,
        /// Who approved it.
        approvals: Vec<ApprovedBy>,
        /// The document's text; null where the peer may not read it.
        document: Option<String>,
        /// The signatures over it.
        signatures: Vec<String>,
    },
    /// To `exemption-open`.
    Open {
        /// All of them.
        exemptions: Vec<OpenExemption>,
    },
    /// To `audit`: some lines; an empty answer is the end.
    Audit {
        /// The lines, oldest first, without their breaks.
        lines: Vec<String>,
    },
    /// To `exemption-orders`.
    Orders {
        /// Each that stands, in the order of what they cover.
        orders: Vec<OrderSummary>,
    },
    /// To `audit-config`.
    Config {
        /// The file's text.
        text: String,
    },
    /// To `audit-document`.
    Document {
        /// The file's text.
        text: String,
    },
    /// To `audit-lift`.
    Lift {
        /// The document's text.
        document: String,
        /// The signatures over it.
        signatures: Vec<String>,
    },
    /// To `audit-checkpoint`.
    Checkpoint {
        /// The text that is to be signed and kept elsewhere.
        text: String,
    },
    /// To `exemption-receipt`.
    Receipt {
        /// The receipt's text.
        text: String,
        /// The detached signature over it, for `borderguard-receipt`.
        signature: String,
        /// The key that made it, as a file of allowed signers has it.
        public_key: String,
        /// The command that has it stamped; empty for none.
        time_stamp: Vec<String>,
    },
    /// To `report`.
    Report {
        /// All of it.
        report: Box<Report>,
    },
    /// It is done, and the kernel judges by it.
    Done {
        /// What was done, one sentence.
        message: String,
        /// The generation that is live now.
        generation: u64,
        /// The exemptions that it was done to, as they are now.
        #[serde(default)]
        exemptions: Vec<Summary>,
    },
    /// To a dry run: nothing was changed.
    Planned {
        /// What would be done, one sentence.
        message: String,
        /// The exemptions that it would be done to, as they are now.
        exemptions: Vec<Summary>,
    },
    /// It was not done, and nothing has changed.
    Error {
        /// What kind of error, for programs.
        kind: ErrorKind,
        /// What happened, and what to do next.
        message: String,
        /// What is wrong with the input, by short names for programs; left out where there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        codes: Vec<String>,
    },
}

impl Response {
    /// An error response.
    #[must_use]
    pub fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Error { kind, message: message.into(), codes: Vec::new() }
    }

    /// An error response with the codes of what is wrong.
    #[must_use]
    pub fn error_with(kind: ErrorKind, message: impl Into<String>, codes: &[&str]) -> Self {
        let codes = codes.iter().map(|&code| code.to_owned()).collect();
        Self::Error { kind, message: message.into(), codes }
    }

    /// The line that goes over the socket, with its break.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_else(|error| {
            // A response is made of strings and integers; no value of it fails to serialize.
            let message = serde_json::Value::String(format!("the answer can't be written: {error}"));
            format!("{{\"response\":\"error\",\"kind\":\"failed\",\"message\":{message}}}")
        });
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests;
