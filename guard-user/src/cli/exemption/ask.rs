//! What the command line asks of the daemon about exemptions.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use guard_common::abi::MAX_EXEMPTIONS;
use jiff::Timestamp;

use super::show;
use crate::cli::CliError;
use crate::cli::exit::Exit;
use crate::config::Errors;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exemption::{Earlier, ErrorKind, LoadError, State, Summary, Surroundings, document};

/// `exemption load FILE`
pub(super) fn load(file: &Path, socket: &Path, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let bytes = document::read(file).map_err(refused)?;
    // What is wrong with the document alone needs no daemon to say so.
    let surroundings = Surroundings { now: Some(now), ..Surroundings::default() };
    let wanted = document::parse(file, &bytes, &surroundings).map_err(refused)?;
    let request = Request::ExemptionLoad {
        document: String::from_utf8(bytes)?,
        name: file.to_string_lossy().into_owned(),
    };
    let Response::Done { generation, .. } = ask(socket, &request)? else {
        return Err(unexpected(socket).into());
    };
    let loaded =
        exemptions(socket)?.into_iter().find(|it| (&it.id, it.version) == (&wanted.id, wanted.version));
    let summary = loaded.unwrap_or_else(|| Summary::of_document(&wanted, now));
    let from_now = if summary.state == State::NotYetValid { "once it begins" } else { "from now on" };
    writeln!(out, "loaded (generation {generation}); the kernel lets through {from_now}:")?;
    show::one(&summary, now, out)?;
    Ok(Exit::Ok)
}

/// `exemption load FILE --dry-run`
pub(super) fn try_load(file: &Path, socket: &Path, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let bytes = document::read(file).map_err(refused)?;
    let Response::Status { status } = ask(socket, &Request::Status {})? else {
        return Err(unexpected(socket).into());
    };
    let pins: Vec<String> = status.pins.into_iter().map(|pin| pin.name).collect();
    let loaded = exemptions(socket)?;
    let earlier = |id: &str| earlier(&loaded, id);
    let surroundings = Surroundings { pins: Some(&pins), now: Some(now), earlier: Some(&earlier) };
    let document = document::parse(file, &bytes, &surroundings).map_err(refused)?;
    if loaded.iter().filter(|it| it.slot.is_some()).count() >= MAX_EXEMPTIONS {
        return Err(LoadError::NoSlot.into());
    }
    writeln!(out, "nothing was changed; loaded, the kernel would let through:")?;
    show::one(&Summary::of_document(&document, now), now, out)?;
    Ok(Exit::Ok)
}

/// `exemption list`
pub(super) fn list(json: bool, socket: &Path, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    let exemptions = exemptions(socket)?;
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&exemptions)?)?,
        false => show::list(&exemptions, now, out)?,
    }
    Ok(Exit::Ok)
}

/// `exemption revoke ID --why TEXT`
pub(super) fn revoke(
    id: &str,
    why: &str,
    socket: &Path,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Exit> {
    let request = Request::ExemptionRevoke { id: id.to_owned(), why: why.to_owned() };
    let Response::Done { generation, .. } = ask(socket, &request)? else {
        return Err(unexpected(socket).into());
    };
    writeln!(out, "revoked (generation {generation}); no packet passes any more by:")?;
    let latest = exemptions(socket)?.into_iter().filter(|it| it.id == id).max_by_key(|it| it.version);
    latest.map_or(Ok(()), |summary| show::one(&summary, now, out))?;
    Ok(Exit::Ok)
}

fn exemptions(socket: &Path) -> Result<Vec<Summary>> {
    match ask(socket, &Request::ExemptionList {})? {
        Response::Exemptions { exemptions } => Ok(exemptions),
        _ => Err(unexpected(socket).into()),
    }
}

/// What was loaded under an id before, as far as the list says.
fn earlier(loaded: &[Summary], id: &str) -> Option<Earlier> {
    let versions = loaded.iter().filter(|it| it.id == id);
    let open = versions.clone().any(|it| !matches!(it.state, State::Revoked | State::Expired));
    Some(Earlier { version: versions.map(|it| it.version).max()?, open })
}

fn refused(errors: Errors<ErrorKind>) -> CliError {
    CliError::document(errors.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    use super::*;
    use crate::cli::exit_of;
    use crate::control::protocol::{ErrorKind as Refusal, parse_request};
    use crate::control::status::{PinStatus, Status};

    const DOCUMENT: &str = r#"id = "m-1"
version = 1
pins = ["mail"]
purpose = "Evidence in case 5"
data_categories = ["e-mail"]
valid_from = 2026-12-01T00:00:00Z
valid_until = 2026-12-15T00:00:00Z
[instrument]
type = "treaty-request"
name = "MLAT 2001"
article = "Art. 48"
ground = "art-46-2-a"
basis = "art-6-1-c"
authority = "Department"
reference = "case 5"
agreement = "Treaty of 2001"
[exporter]
name = "Example Mail Ireland Ltd"
role = "controller"
contact = "privacy@example.org"
[[recipient]]
name = "Court"
jurisdiction = "US"
cidrs = ["198.51.100.20/32"]
"#;

    /// A socket that gives these answers, and the requests that came.
    struct Bed {
        folder: tempfile::TempDir,
        daemon: JoinHandle<Vec<Request>>,
    }

    fn now() -> Timestamp {
        "2026-12-02T00:00:00Z".parse().unwrap()
    }

    fn bed(answers: Vec<Response>) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.toml"), DOCUMENT).unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let daemon = std::thread::spawn(move || {
            let answered = answers.into_iter().map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut line = Vec::new();
                BufReader::new(stream.try_clone().unwrap()).read_until(b'\n', &mut line).unwrap();
                stream.write_all(answer.to_line().as_bytes()).unwrap();
                parse_request(&line).unwrap()
            });
            answered.collect()
        });
        Bed { folder, daemon }
    }

    impl Bed {
        fn run(
            self,
            command: impl Fn(&Path, &Path, &mut Vec<u8>) -> Result<Exit>,
        ) -> (Result<String, anyhow::Error>, Vec<Request>) {
            let (file, socket): (PathBuf, PathBuf) =
                (self.folder.path().join("m.toml"), self.folder.path().join("sock"));
            let mut out = Vec::new();
            let result = command(&file, &socket, &mut out);
            let shown = result.map(|exit| {
                assert_eq!(exit, Exit::Ok);
                String::from_utf8(out).unwrap()
            });
            (shown, self.daemon.join().unwrap())
        }
    }

    fn summary(state: State) -> Summary {
        let document =
            document::parse(Path::new("m.toml"), DOCUMENT.as_bytes(), &Surroundings::default()).unwrap();
        Summary {
            state,
            loaded_at: Some(now()),
            loaded_by: Some(0),
            ..Summary::of_document(&document, now())
        }
    }

    fn done() -> Response {
        Response::Done { message: "done".into(), generation: 7 }
    }

    fn status() -> Response {
        let pins = vec![PinStatus { name: "mail".into(), ..PinStatus::default() }];
        Response::Status { status: Box::new(Status { pins, ..Status::default() }) }
    }

    fn listed(exemptions: Vec<Summary>) -> Response {
        Response::Exemptions { exemptions }
    }

    #[test]
    fn loading_sends_the_document_as_it_is_and_says_what_is_allowed_now() {
        let bed = bed(vec![done(), listed(vec![summary(State::Active)])]);
        let (shown, requests) = bed.run(|file, socket, out| load(file, socket, now(), out));
        let shown = shown.unwrap();
        assert!(shown.starts_with(
            "loaded (generation 7); the kernel lets through from now on:\nm-1, version 1: active"
        ));
        for part in ["of the pin mail", "Court: 198.51.100.20/32", "2026-12-15 00:00:00 UTC (in 13 days)"] {
            assert!(shown.contains(part), "{shown}");
        }
        let [Request::ExemptionLoad { document, name }, Request::ExemptionList {}] = &requests[..] else {
            panic!("{requests:?}")
        };
        assert_eq!((document.as_str(), name.ends_with("/m.toml")), (DOCUMENT, true));
    }

    #[test]
    fn a_document_with_errors_is_not_even_sent() {
        let bed = bed(vec![]);
        let (error, requests) = bed.run(|file, socket, out| {
            std::fs::write(file, DOCUMENT.replace("treaty-request", "foreign-order")).unwrap();
            load(file, socket, now(), out)
        });
        let error = error.unwrap_err();
        assert_eq!((exit_of(&error), requests), (Exit::BadInput, vec![]));
        assert!(error.to_string().contains("m.toml:9:8: error: instrument.type: "), "{error}");
    }

    #[test]
    fn what_the_daemon_refuses_is_said_with_its_exit_code() {
        let refusals = [(Refusal::BadInput, Exit::BadInput), (Refusal::Failed, Exit::Failed)];
        for (kind, exit) in refusals {
            let bed = bed(vec![Response::error(kind, "no room")]);
            let (error, _) = bed.run(|file, socket, out| load(file, socket, now(), out));
            let error = error.unwrap_err();
            assert_eq!((exit_of(&error), error.to_string().as_str()), (exit, "no room"));
        }
        let nobody = load(&PathBuf::from("/no/such"), Path::new("/no/socket"), now(), &mut Vec::new());
        assert_eq!(exit_of(&nobody.unwrap_err()), Exit::BadInput);
        let nobody = list(false, Path::new("/no/socket"), now(), &mut Vec::new());
        assert_eq!(exit_of(&nobody.unwrap_err()), Exit::NoDaemon);
    }

    #[test]
    fn a_dry_run_checks_against_the_daemon_and_sends_no_document() {
        let with = |exemptions: Vec<Summary>| {
            let bed = bed(vec![status(), listed(exemptions)]);
            let (result, requests) = bed.run(|file, socket, out| try_load(file, socket, now(), out));
            assert_eq!(requests, [Request::Status {}, Request::ExemptionList {}]);
            result
        };
        let shown = with(vec![]).unwrap();
        assert!(shown.starts_with(
            "nothing was changed; loaded, the kernel would let through:\nm-1, version 1: treaty"
        ));
        let open = with(vec![summary(State::Exhausted)]).unwrap_err();
        assert!(
            open.to_string().contains("m.toml:1:6: error: id: an exemption \"m-1\" is open already"),
            "{open}"
        );
        let old = with(vec![summary(State::Revoked)]).unwrap_err();
        assert!(old.to_string().contains("m.toml:2:11: error: version: "), "{old}");
        let full = (0..MAX_EXEMPTIONS).map(|slot| Summary {
            id: slot.to_string(),
            slot: u16::try_from(slot).ok(),
            ..summary(State::Active)
        });
        assert_eq!(exit_of(&with(full.collect()).unwrap_err()), Exit::Failed);
    }

    #[test]
    fn revoking_sends_the_reason_and_lists_come_as_text_or_json() {
        let revoked = || listed(vec![summary(State::Revoked)]);
        let bed_ = bed(vec![done(), revoked()]);
        let (shown, requests) = bed_.run(|_, socket, out| revoke("m-1", "quashed", socket, now(), out));
        assert!(
            shown.unwrap().starts_with(
                "revoked (generation 7); no packet passes any more by:\nm-1, version 1: revoked"
            )
        );
        let request = Request::ExemptionRevoke { id: "m-1".into(), why: "quashed".into() };
        assert_eq!(requests[0], request);

        let (shown, _) = bed(vec![revoked()]).run(|_, socket, out| list(false, socket, now(), out));
        assert!(shown.unwrap().ends_with("0 open, 1 closed\n"));
        let (shown, _) = bed(vec![revoked()]).run(|_, socket, out| list(true, socket, now(), out));
        let read: Vec<Summary> = serde_json::from_str(&shown.unwrap()).unwrap();
        assert_eq!(read, [summary(State::Revoked)]);
    }
}
