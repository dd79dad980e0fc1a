//! Which checkpoints a trail is held against.

use super::*;
use crate::cli::exit_of;

fn start(host: &str) -> Vec<u8> {
    let head = "{\"sequence\":1,\"time\":\"2026-12-01T00:00:00Z\",\"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\"";
    let who = "\"who\":{\"uid\":0,\"user\":null,\"pid\":1},\"subject\":\"\",\"why\":\"\"";
    format!("{head},\"kind\":\"start\",{who},\"detail\":{{\"host\":{host:?}}}}}").into_bytes()
}

#[test]
fn a_checkpoint_of_another_host_accuses_and_clears_no_export() {
    let of = |host: &str| Checkpoint::new(host, Timestamp::UNIX_EPOCH, Head::START);
    let lines = [start("mail1"), start("mail 2")];
    assert_eq!(hosts_of(&lines), ["mail 2", "mail1"]);
    let held = |hosts: &[&str], named, known: &[Checkpoint]| {
        of_one_host(known, (Some(hosts.iter().map(|&host| host.to_owned()).collect()), named))
    };
    let own = ["mail 2", "mail1"];
    // A character that no host's name can have is a hyphen in each checkpoint.
    held(&own, None, &[of("mail1"), of("mail 2")]).unwrap();
    let refused = held(&own, None, &[of("mail1"), of("mail3")]).unwrap_err();
    assert_eq!(exit_of(&refused), Exit::BadInput);
    assert!(
        refused.to_string().contains("the host \"mail3\", and the trail of \"mail 2\" and \"mail1\""),
        "{refused}"
    );
    held(&own, Some("mail3"), &[of("mail1")]).unwrap_err();
    held(&own, Some("mail3"), &[of("mail3")]).unwrap();
    held(&[], None, &[of("mail3"), of("mail3")]).unwrap();
    held(&[], None, &[of("mail3"), of("mail1")]).unwrap_err();
}

/// A record that a key was revoked, of this subject and with this detail.
fn revoked(sequence: u64, subject: &str, detail: &Value) -> Vec<u8> {
    let who = r#""who":{"uid":0,"user":null,"pid":1}"#;
    let previous = "0".repeat(64);
    format!(
        r#"{{"sequence":{sequence},"time":"2026-12-01T10:00:00Z","previous":"{previous}","kind":"revoke-key",{who},"subject":"{subject}","why":"it was stolen","detail":{detail}}}"#
    )
    .into_bytes()
}

#[test]
fn a_checkpoint_of_a_key_that_a_trail_names_as_revoked_is_refused() {
    let by = |fingerprint: &str| Approval {
        identity: "keeper@example.org".to_owned(),
        fingerprint: fingerprint.to_owned(),
        algorithm: "ssh-ed25519".to_owned(),
        line: 1,
    };
    let of = |by| Signed {
        file: PathBuf::from("kept.checkpoint"),
        checkpoint: Checkpoint::new("mail1", Timestamp::UNIX_EPOCH, Head::START),
        by,
    };
    // Of what it closed the detail names it, also where that is confidential; where it closed nothing it is the subject.
    let lines = [
        start("mail1"),
        revoked(2, "mlat-1", &json!({"version": 1, "why_sha256": "07", "key": "SHA256:one"})),
        revoked(3, "SHA256:two", &json!({"covers": "key"})),
    ];
    for (key, record) in [("SHA256:one", 2), ("SHA256:two", 3)] {
        for (trails, whose) in [
            ([("the trail", &lines[..]), ("this host's own trail", &lines[..0])], "the trail"),
            ([("the trail", &lines[..1]), ("this host's own trail", &lines[..])], "this host's own trail"),
        ] {
            let refused = refuse_revoked(&of(Some(by(key))), &trails).unwrap_err();
            assert_eq!(exit_of(&refused), Exit::BadInput);
            let said = refused.to_string();
            let names = format!(
                "{key} of keeper@example.org, which signed this checkpoint, is revoked by record {record} of"
            );
            assert!(
                said.contains(&names) && said.contains(&format!("of {whose}, since 2026-12-01T10:00:00Z")),
                "{said}"
            );
            assert!(said.starts_with("kept.checkpoint: ") && said.contains("another key signed"), "{said}");
        }
        refuse_revoked(&of(Some(by(key))), &[("the trail", &lines[..1])]).unwrap();
    }
    refuse_revoked(&of(Some(by("SHA256:three"))), &[("the trail", &lines[..])]).unwrap();
    refuse_revoked(&of(None), &[("the trail", &lines[..])]).unwrap();
}

/// A trail that was made anew need not have the record of the revocation: who could not ask the host's own must know that.
#[test]
fn that_the_own_trail_could_not_be_asked_is_said_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("policy.toml");
    let (socket, state) = (folder.path().join("control.sock"), folder.path().join("state"));
    let text = format!("[control]\nsocket = {socket:?}\n[state]\ndirectory = {state:?}\n");
    std::fs::write(&config, text).unwrap();
    let why = own_lines(&Target { config: Some(config), socket: None }).unwrap_err();
    assert!(why.contains(&*state.to_string_lossy()), "{why}");
    let said = |unread: Option<&str>, json: bool| {
        let mut out = Vec::new();
        assert_eq!(report_on(&[], (&[], unread), json, &mut out).unwrap(), Exit::Ok);
        String::from_utf8(out).unwrap()
    };
    let words = said(Some(why.as_str()), false).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("this host's own trail can't be read: ") && words.contains(&why), "{words}");
    assert!(!said(None, false).contains("own trail"));
    for unread in [None, Some(why.as_str())] {
        let object: Value = serde_json::from_str(&said(unread, true)).unwrap();
        assert_eq!(object["own_trail_unread"], json!(unread));
    }
}

/// The record that a start made of a key which the mark of an older store had as revoked.
#[test]
fn a_key_that_was_taken_from_the_mark_is_revoked_since_it_was_revoked() {
    let detail = json!({"covers": "key", "key": "SHA256:one", "revoked_at": "2026-11-30T08:00:00Z"});
    let by = Approval {
        identity: "keeper@example.org".to_owned(),
        fingerprint: "SHA256:one".to_owned(),
        algorithm: "ssh-ed25519".to_owned(),
        line: 1,
    };
    let checkpoint = Checkpoint::new("mail1", Timestamp::UNIX_EPOCH, Head::START);
    let signed = Signed { file: PathBuf::from("kept.checkpoint"), checkpoint, by: Some(by) };
    let lines = [revoked(2, "SHA256:one", &detail)];
    let refused = refuse_revoked(&signed, &[("the trail", &lines[..])]).unwrap_err();
    assert!(refused.to_string().contains("since 2026-11-30T08:00:00Z"), "{refused}");
}
