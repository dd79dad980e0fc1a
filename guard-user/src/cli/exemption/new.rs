//! `borderguard exemption new FILE`: writes a document from answers, with a comment for each key, and says
//! what is missing. Answers come from a file, from the command line, or from who sits at the terminal.

mod event;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::policy::Against;
use super::{file, lint};
use crate::cli::CliError;
use crate::cli::seen::{Form, Seen};
use crate::cli::target::Target;
use crate::config::schema::{Key, Need, Section, Shape};
use crate::events::id::EventId;
use crate::exemption::draft::{AnswerError, Draft, dotted, explained};
use crate::exemption::keys::{DOCUMENT, REQUIRED_SECTIONS};
use crate::exemption::{self, Surroundings};
use crate::exit::Exit;

/// Arguments of `exemption new`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document to write; an existing file is never changed
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Answers in the form of a document, which may be incomplete; `-` reads them from standard input
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// One answer, such as `instrument.type=scc`; lists with commas. A key of a recipient or a required
    /// approval that is there already begins the next one
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Take what this event knows: pins, host, the recipient's jurisdiction, address and port. `borderguard events` shows its
    /// name as id=; of the daemon that runs the number alone is enough
    #[arg(long, value_name = "ID")]
    pub from_event: Option<EventId>,
    /// The daemon's control socket, instead of the config's, for --from-event
    #[arg(long, value_name = "PATH", requires = "from_event")]
    pub socket: Option<PathBuf>,
    /// The config whose pins and signers the document is held against; without it any will do
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it. Questions are asked where none of `--answers`, `--set` and `--from-event` is given.
///
/// # Errors
/// Where no daemon has the event, an answer can't be used, the file is there already or can't be written, or nobody is there to ask.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    file::must_be_free(&args.file)?;
    let (mut draft, seen) = given(args, &mut io::stdin().lock())?;
    if args.answers.is_none() && args.set.is_empty() && args.from_event.is_none() {
        if !io::stdin().is_terminal() {
            let message =
                "nobody is there to ask: give --answers FILE, --set KEY=VALUE or --from-event NUMBER";
            return Err(CliError::bad_input(message).into());
        }
        // Standard output is for what comes of it.
        ask(&mut draft, &mut io::stdin().lock(), &mut Seen::new(io::stderr(), Form::Lines))?;
    }
    finish(args, (draft, &seen), now, out)
}

/// The answers of the command line.
fn given(args: &Args, input: &mut impl BufRead) -> Result<(Draft, Vec<String>)> {
    let mut seen = Vec::new();
    let mut draft = match &args.answers {
        None => Draft::default(),
        Some(name) => {
            let mut text = String::new();
            let read = match name == Path::new("-") {
                true => input.read_to_string(&mut text).map(|_| text),
                false => std::fs::read_to_string(name),
            };
            let text = read.with_context(|| format!("cannot read the answers {}", name.display()));
            let text = text.map_err(|error| CliError::bad_input(format!("{error:#}")))?;
            Draft::from_toml(&text).map_err(refused)?
        }
    };
    if let Some(id) = args.from_event {
        // The config of the daemon names its socket, also where it has errors.
        let config = args.config.clone().filter(|_| args.socket.is_none());
        let target = Target { config, socket: args.socket.clone() };
        let known = event::known(&target.socket()?, id)?;
        event::put(&mut draft, &id.to_string(), &known.answers)?;
        seen = known.seen;
    }
    for pair in &args.set {
        let (path, text) = pair.split_once('=').ok_or_else(|| {
            CliError::bad_input(format!("\"{pair}\" is no KEY=VALUE", pair = pair.escape_debug()))
        })?;
        draft.answer(path.trim(), text).map_err(refused)?;
    }
    Ok((draft, seen))
}

fn refused(error: AnswerError) -> CliError {
    CliError::bad_input(error.to_string())
}

/// Writes the document, and says what is missing of it.
fn finish(
    args: &Args,
    (mut draft, seen): (Draft, &[String]),
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    if !DOCUMENT.keys.iter().any(|key| key.section.is_empty() && key.name == "version" && draft.has(key)) {
        draft.answer("version", "1").map_err(refused)?;
    }
    let against = args.config.as_deref().map(Against::load).transpose()?;
    let pins = against.as_ref().map(|against| against.pins.as_slice());
    let text = event::commented(seen, &draft.to_toml());
    let law = against.as_ref().map_or_else(lint::embedded, Against::law);
    let homes = against.as_ref().map(Against::homes);
    let surroundings =
        Surroundings { law: law.as_ref().ok(), homes: homes.as_deref(), ..lint::surroundings(pins, now) };
    let parsed = exemption::parse(&args.file, text.as_bytes(), &surroundings);
    let (checked, _) = lint::approvable(&args.file, parsed, against.as_ref(), now);
    if !args.dry_run {
        file::write(&args.file, &text)?;
    }
    if args.json {
        let mut object = lint::report_json(&args.file, &checked, now);
        object["written"] = json!(!args.dry_run);
        object["document"] = json!(text);
        writeln!(out, "{object}")?;
    } else {
        match args.dry_run {
            true => writeln!(out, "{text}\nnothing was written; of this document:")?,
            false => writeln!(out, "{} is written", args.file.display())?,
        }
        lint::report(&args.file, &checked, pins.is_some(), now, out)?;
    }
    Ok(lint::exit(&checked))
}

/// Asks for everything that is not answered, in the order of the document. An empty answer leaves a key
/// open, and so does the end of the input.
fn ask(draft: &mut Draft, input: &mut impl BufRead, prompts: &mut impl Write) -> Result<()> {
    writeln!(
        prompts,
        "An empty answer leaves a key open; the document will say which are still needed. Lists are written \
         with commas."
    )?;
    for section in DOCUMENT.sections {
        if draft.has_section(section.path) {
            continue;
        }
        let header = match section.path {
            "" => "The transfer".to_owned(),
            path => DOCUMENT.header(path),
        };
        writeln!(prompts, "\n{header}: {}", section.meaning)?;
        let needed = section.path.is_empty() || REQUIRED_SECTIONS.contains(&section.path);
        if !needed && !yes(&format!("Add {header}?"), input, prompts)? {
            continue;
        }
        ask_table(draft, section, input, prompts)?;
        while section.shape == Shape::Entries && yes(&format!("Another {header}?"), input, prompts)? {
            ask_table(draft, section, input, prompts)?;
        }
    }
    Ok(())
}

fn ask_table(
    draft: &mut Draft,
    section: &Section,
    input: &mut impl BufRead,
    prompts: &mut impl Write,
) -> Result<()> {
    for key in DOCUMENT.keys.iter().filter(|key| key.section == section.path) {
        // A first version replaces nothing; the next ones are for `renew` to write.
        if key.section.is_empty() && ["version", "replaces"].contains(&key.name) {
            continue;
        }
        ask_key(draft, key, input, prompts)?;
    }
    Ok(())
}

fn ask_key(draft: &mut Draft, key: &Key, input: &mut impl BufRead, prompts: &mut impl Write) -> Result<()> {
    let without = match key.need {
        Need::Required => "needed".to_owned(),
        Need::Default(value) => format!("empty: {value}"),
        Need::Optional(words) => format!("empty: {words}"),
    };
    writeln!(prompts, "\n{} ({without}): {}", key.name, explained(key))?;
    // As it is answered, not as it stands in the file.
    let example = key.example.trim_matches(['[', ']']).replace('"', "");
    loop {
        let Some(answer) = line(&format!("  such as {example}\n> "), input, prompts)? else { return Ok(()) };
        if answer.is_empty() {
            return Ok(());
        }
        match draft.answer(&dotted(key), &answer) {
            Ok(()) => return Ok(()),
            Err(error) => writeln!(prompts, "  {error}")?,
        }
    }
}

fn yes(question: &str, input: &mut impl BufRead, prompts: &mut impl Write) -> Result<bool> {
    let answer = line(&format!("{question} [y/N] "), input, prompts)?;
    Ok(answer.is_some_and(|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str())))
}

/// One line without its blanks; `None` at the end of the input.
fn line(prompt: &str, input: &mut impl BufRead, prompts: &mut impl Write) -> Result<Option<String>> {
    write!(prompts, "{prompt}")?;
    prompts.flush()?;
    let mut line = String::new();
    let length = input.read_line(&mut line).context("cannot read an answer")?;
    Ok((length > 0).then(|| line.trim().to_owned()))
}

#[cfg(test)]
mod tests;
