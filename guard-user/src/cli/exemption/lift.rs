//! `borderguard exemption lift FILE`: lifts an order by a signed document, which `resume --write` and `instrument restore
//! --write` make.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::ask::{self, How, PASSES, change};
use super::{file, show, signatures};
use crate::approval::{self, NotApproved, ORDER, Quorum, Requirement, Rule, Signature};
use crate::cli::signing::Signable;
use crate::cli::table::{plain, write_wrapped};
use crate::cli::{CliError, verified};
use crate::config::Errors;
use crate::config::policy::Approvals;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response, SignedText};
use crate::exemption::summary::OrderSummary;
use crate::exemption::{self, Document, ErrorKind, Lift, Opens, Surroundings, Target};
use crate::exit::Exit;
use crate::store::sha256;

/// Arguments of `exemption lift`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its signatures [default: FILE.sig and every FILE.*.sig beside it]
    #[arg(long = "signature", value_name = "SIG")]
    signatures: Vec<PathBuf>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// Where the document is written that lifts an order, and by whom.
#[derive(Clone, Debug, clap::Args)]
pub struct AsDocument {
    /// Lift nothing, and write the document that is to be signed for it
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    write: Option<PathBuf>,
    /// Who writes it, as the identity that signatures go by
    #[arg(long, value_name = "IDENTITY", requires = "write")]
    submitter: Option<String>,
}

/// Lifts an order by words alone, or writes the document that is to be signed for it.
///
/// # Errors
/// Where no daemon answers, it refuses, or a file can't be written.
pub(in crate::cli) fn resume(
    request: &Request,
    document: &AsDocument,
    how: &How,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let socket = how.target.socket()?;
    let Some(file) = &document.write else { return change(&socket, request, how, PASSES, now, out) };
    let Request::ExemptionResume { target, order, why, .. } = request else {
        anyhow::bail!("only an order that is lifted has such a document");
    };
    let planned = Request::ExemptionResume {
        target: target.clone(),
        order: order.clone(),
        why: why.clone(),
        lift: None,
        dry_run: true,
        to_sign: true,
    };
    // What is wrong with the words is said by this, and by this it is known what passes again.
    let Response::Planned { exemptions, .. } = ask(&socket, &planned)? else {
        return Err(unexpected(&socket).into());
    };
    let opens = exemptions.into_iter().map(|it| Opens { id: it.id, version: it.version, sha256: it.sha256 });
    let is_it = |it: &OrderSummary| {
        it.covers == target.kind()
            && it.name == target.name()
            && order.as_ref().is_none_or(|order| *order == it.order)
    };
    let standing = ask::standing(&socket)?.into_iter().find(is_it).ok_or_else(|| {
        CliError::bad_input(
            "the order's words are not shown to you, so that the document can't be written: ask somebody with the right \
             `exemptions`",
        )
    })?;
    let lift = Lift::of(&standing, why, document.submitter.clone(), opens.collect())
        .map_err(|error| CliError::bad_input(error.to_string()))?;
    let bytes = lift.to_toml();
    // What nobody could lift by is not given to be signed.
    parsed(file, bytes.as_bytes())?;
    file::write(file, &bytes)?;
    told_of_written((file, &lift), &sha256(bytes.as_bytes()), how.json, out)?;
    Ok(Exit::Ok)
}

/// Says what was written.
fn told_of_written(
    (file, lift): (&Path, &Lift),
    sha256: &str,
    json: bool,
    out: &mut impl Write,
) -> Result<()> {
    let (file, warnings) = (file.to_string_lossy(), warnings(lift));
    if json {
        let written = json!({"file": file, "sha256": sha256, "lift": object(lift), "warnings": warnings});
        return Ok(writeln!(out, "{written}")?);
    }
    writeln!(out, "{} is written, and is to be signed; it would lift:", plain(&file))?;
    write_facts(lift, sha256, out)?;
    Ok(warnings.iter().try_for_each(|warning| writeln!(out, "warning: {}", plain(warning)))?)
}

/// What whoever has it signed, or signs it, should know.
fn warnings(lift: &Lift) -> Vec<String> {
    let unsaid = "it does not say who wrote it, and where the config asks for approvals it lifts nothing, whoever signs it: write it \
                  anew with --submitter IDENTITY";
    lift.submitter.is_none().then(|| unsaid.to_owned()).into_iter().collect()
}

/// Does it.
///
/// # Errors
/// Where the document is none, no daemon answers, or it refuses.
pub(super) fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let bytes = exemption::read(&args.file).map_err(|errors| CliError::errors(&errors))?;
    let lift = parsed(&args.file, &bytes)?;
    let signatures = signatures::texts(&args.file, &args.signatures)?;
    let document = String::from_utf8(bytes).context("the document is no text")?;
    let request = Request::ExemptionResume {
        target: lift.covers,
        order: Some(lift.order),
        why: lift.why,
        lift: Some(SignedText { document, signatures }),
        dry_run: args.how.dry_run,
        to_sign: false,
    };
    change(&args.how.target.socket()?, &request, &args.how, PASSES, now, out)
}

fn parsed(file: &Path, bytes: &[u8]) -> Result<Lift> {
    Lift::parse(bytes).map_err(|error| {
        let message = format!("{}: {error}", file.display());
        CliError::bad_input(message).with_codes([error.code()]).into()
    })
}

/// The document as it is shown to whoever signs it.
pub(super) fn signable(file: &Path, bytes: Vec<u8>) -> Result<Signable> {
    let lift = parsed(file, &bytes)?;
    let sha256 = sha256(&bytes);
    let mut shown = Vec::new();
    write_facts(&lift, &sha256, &mut shown)?;
    let (object, warnings) = (("lift", object(&lift)), warnings(&lift));
    Ok(Signable { bytes, sha256, namespace: ORDER, shown, object, warnings })
}

fn write_facts(lift: &Lift, sha256: &str, out: &mut impl Write) -> Result<()> {
    let facts = lift.facts();
    let all = facts.iter().map(|(title, value)| (*title, value.as_str())).chain([("sha256", sha256)]);
    Ok(all.into_iter().try_for_each(|(title, value)| show::fact(title, value, out))?)
}

fn object(lift: &Lift) -> Value {
    let opens = lift.opens.iter();
    let opens = opens.map(|it| json!({"id": it.id, "version": it.version, "sha256": it.sha256}));
    json!({
        "lifts": lift.kind.name(),
        "covers": lift.covers.kind(),
        "name": lift.covers.name(),
        "order": lift.order,
        "given": lift.given,
        "why": lift.why,
        "submitter": lift.submitter,
        "opens": opens.collect::<Vec<_>>(),
    })
}

/// Documents of exemptions that pass again. They may be over by now.
///
/// # Errors
/// Where one can't be used.
pub(super) fn opened(files: &[PathBuf]) -> Result<Vec<Document>> {
    let read = |file: &PathBuf| {
        let refused = |errors: Errors<ErrorKind>| CliError::errors(&errors);
        let bytes = exemption::read(file).map_err(refused)?;
        exemption::parse(file, &bytes, &Surroundings::default()).map_err(refused)
    };
    Ok(files.iter().map(read).collect::<Result<Vec<_>, _>>()?)
}

/// What passes again by a lift and is not among these documents. What it asks for itself is not known then, and of an order on one
/// exemption not by which rules it is either.
///
/// # Errors
/// Where one of the documents is none that passes again.
fn unknown(lift: &Lift, opened: &[Document]) -> Result<Vec<String>> {
    // Where nothing passes again by an order on one exemption the daemon takes that exemption's own document.
    let own = match (&lift.covers, lift.opens.as_slice()) {
        (Target::Id(id), []) => Some(id),
        _ => None,
    };
    let is_opened = |it: &&Document| {
        own.is_some_and(|id| it.id == *id) || lift.opens.iter().any(|opens| opens.sha256 == it.sha256)
    };
    if let Some(other) = opened.iter().find(|it| !is_opened(it)) {
        let message =
            format!("{}, version {}, is none that passes again by this document", other.id, other.version);
        return Err(CliError::bad_input(message).into());
    }
    let is_given = |it: &&Opens| opened.iter().any(|other| other.sha256 == it.sha256);
    let lacking = lift.opens.iter().filter(|it| !is_given(it));
    let lacking = lacking.map(|it| format!("{}, version {}", it.id, it.version));
    Ok(lacking.chain(own.filter(|_| opened.is_empty()).cloned()).collect())
}

/// Says whose its signatures are, and what they lack by each rule. What the daemon holds it against hangs on what passes again:
/// with its documents that is known here too, and without them it is approved by the config's rules at most.
pub(super) fn verify(
    (file, bytes): (&Path, &[u8]),
    signatures: &[Signature],
    ((approvals, loader), opened): ((&Approvals, Option<&str>), &[Document]),
    json: bool,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let lift = parsed(file, bytes)?;
    let allowed = approval::load::load(&approvals.allowed_signers, &TimeZone::system())
        .map_err(|error| CliError::bad_input(error.to_string()))?;
    let unknown = unknown(&lift, opened)?;
    let judge = |required: &[Requirement<'_>]| {
        let submitter = lift.submitter.as_deref();
        let candidate = approval::Candidate { bytes, namespace: ORDER, submitter, required };
        let judged = approval::judge(&candidate, signatures, &approvals.signers, &allowed, loader, now);
        judged.map(|(_, quorum)| quorum)
    };
    // Of an order on one exemption its own rules are enough, where they are known.
    let by_all_rules = !matches!(lift.covers, Target::Id(_)) || !unknown.is_empty();
    let each = opened.iter().map(|document| document.due_by_rules(&approvals.rules));
    let required = each.collect::<Result<Vec<_>, _>>().map_err(NotApproved::from).map(|mut each| {
        each.extend(by_all_rules.then(|| approval::of_every_rule(&approvals.rules)));
        approval::greatest(each)
    });
    let judged = required.and_then(|required| judge(&required));
    let rules: Vec<_> = approvals.rules.iter().map(|rule| (rule, judge(&rule.requirements()))).collect();
    let each = verified::each(bytes, signatures, (&approvals.signers, ORDER), &allowed, now);
    let is_by_rules_alone = judged.is_ok() && !unknown.is_empty();
    if json {
        let mut report = verified::report_json((file, "approved"), &each, &judged);
        if is_by_rules_alone {
            // What was not given may ask for more: neither yes nor no.
            report["approved"] = Value::Null;
        }
        report["not_given"] = json!(unknown);
        report["lift"] = object(&lift);
        report["by_all_rules"] = json!(by_all_rules);
        let rule = |(rule, judged): &(&Rule, Result<Quorum, NotApproved>)| {
            let mut report = verified::judged_json("approved", judged);
            report["pins"] = json!(rule.pins);
            report["instruments"] = json!(rule.acts);
            report
        };
        report["rules"] = rules.iter().map(rule).collect();
        writeln!(out, "{report}")?;
        return Ok(if judged.is_ok() { Exit::Ok } else { Exit::Failed });
    }
    writeln!(out, "this is what signatures are looked for of:")?;
    write_facts(&lift, &sha256(bytes), out)?;
    // Signatures that are bad are no matter of rules.
    for (rule, judged) in
        rules.iter().filter(|(_, judged)| !matches!(judged, Err(NotApproved::Refused { .. })))
    {
        let said = match judged {
            Ok(_) => "approved".to_owned(),
            Err(why) => why.to_string(),
        };
        write_wrapped("", show::REST, &plain(&format!("by the rule for {}: {said}", of_rule(rule))), out)?;
    }
    let against = match (&lift.covers, by_all_rules, opened.is_empty()) {
        (Target::Id(_), false, _) => {
            "it is held against the rules for the exemption that passes again, and what that asks for itself"
        }
        (Target::Id(_), true, _) => {
            "it is held against all rules together; those for the exemption that passes again, and what that asks for itself, are \
             enough: `--exemption FILE` with its document holds it against these"
        }
        (_, _, true) => {
            "it is held against all rules together, as an order on more than one exemption takes it"
        }
        (_, _, false) => {
            "it is held against all rules together, as an order on more than one exemption takes it, and what the documents that \
             were given ask for themselves"
        }
    };
    write_wrapped("", show::REST, against, out)?;
    let word = if is_by_rules_alone { "approved by the config's rules" } else { "approved" };
    verified::report((file, word), &each, &judged, out)?;
    if is_by_rules_alone {
        let not_final = format!(
            "not looked at is what passes again and may ask for more itself: {}. `--exemption FILE` with the document of each adds \
             that, and `exemption lift FILE --dry-run` asks the daemon",
            unknown.join("; ")
        );
        write_wrapped("", show::REST, &plain(&not_final), out)?;
    }
    Ok(if judged.is_ok() { Exit::Ok } else { Exit::Failed })
}

/// What a rule is for, in words.
fn of_rule(rule: &Rule) -> String {
    let pins = match rule.pins.as_slice() {
        [] => "every pin".to_owned(),
        pins => pins.join(", "),
    };
    match rule.acts.as_slice() {
        [] => pins,
        acts => format!("{pins} with {}", acts.join(", ")),
    }
}

#[cfg(test)]
mod tests;
