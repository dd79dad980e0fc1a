//! How requests and answers look.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::control::line::{API, parse_request};

#[test]
fn requests_look_as_documented() {
    let apply = |guard_nothing| Request::Apply {
        wanted: Box::new(ApplyWanted {
            name: "new.toml".into(),
            config: "x".to_owned(),
            signatures: Vec::new(),
            seconds: 300,
            guard_nothing,
        }),
    };
    let cases = [
        (json!({"request": "status"}), Request::Status {}),
        (
            json!({"request": "events"}),
            Request::Events {
                follow: false,
                limit: None,
                format: EventFormat::Text,
                filter: Default::default(),
                brief: false,
            },
        ),
        (
            json!({"request": "events", "follow": true, "limit": 3, "format": "json"}),
            Request::Events {
                follow: true,
                limit: Some(3),
                format: EventFormat::Json,
                filter: Default::default(),
                brief: false,
            },
        ),
        (
            json!({"request": "events", "brief": true, "filter": {"untagged": true}}),
            Request::Events {
                follow: false,
                limit: None,
                format: EventFormat::Text,
                filter: Filter { untagged: true, ..Filter::default() },
                brief: true,
            },
        ),
        (json!({"request": "flows"}), Request::Flows { brief: false }),
        (json!({"request": "flows", "brief": true}), Request::Flows { brief: true }),
        (json!({"request": "reload"}), Request::Reload {}),
        (json!({"request": "reload-plan"}), Request::ReloadPlan {}),
        (json!({"request": "confirm"}), Request::Confirm { roll_back: false }),
        (json!({"request": "confirm", "roll_back": true}), Request::Confirm { roll_back: true }),
        (
            json!({"request": "apply", "wanted": {"name": "new.toml", "config": "x", "seconds": 300}}),
            apply(false),
        ),
        (
            json!({"request": "apply", "wanted": {
                "name": "new.toml", "config": "x", "seconds": 300, "guard_nothing": true,
            }}),
            apply(true),
        ),
        (json!({"request": "geo-accept"}), Request::GeoAccept {}),
        (
            json!({"request": "exemption-load", "document": "a", "name": "b"}),
            Request::ExemptionLoad {
                document: "a".into(),
                name: "b".into(),
                signatures: Vec::new(),
                dry_run: false,
                refused: false,
            },
        ),
        (
            json!({"request": "exemption-load", "document": "a", "name": "b", "dry_run": true,
                "signatures": [{"name": "c", "text": "d"}]}),
            Request::ExemptionLoad {
                document: "a".into(),
                name: "b".into(),
                signatures: vec![SignatureText { name: "c".into(), text: "d".into() }],
                dry_run: true,
                refused: false,
            },
        ),
        (json!({"request": "exemption-list"}), Request::ExemptionList {}),
        (
            json!({"request": "exemption-show", "id": "x"}),
            Request::ExemptionShow { id: "x".into(), version: None },
        ),
        (
            json!({"request": "exemption-receipt", "id": "x", "version": 2}),
            Request::ExemptionReceipt {
                id: "x".into(),
                version: Some(2),
                not_written: None,
                right_only: false,
            },
        ),
        (
            json!({
                "request": "exemption-done", "id": "x", "duty": "answer", "on": "1970-01-01T00:00:00Z", "why": "sent",
                "dry_run": true,
            }),
            Request::ExemptionDone {
                id: "x".into(),
                version: None,
                duty: "answer".into(),
                on: Some(jiff::Timestamp::UNIX_EPOCH),
                why: "sent".into(),
                dry_run: true,
            },
        ),
        (json!({"request": "exemption-open"}), Request::ExemptionOpen {}),
        (json!({"request": "exemption-orders"}), Request::ExemptionOrders {}),
        (
            json!({"request": "exemption-stay", "target": {"id": "x"}, "order": "y"}),
            Request::ExemptionStay {
                target: Target::Id("x".into()),
                order: "y".into(),
                not_loaded: false,
                dry_run: false,
            },
        ),
        (
            json!({"request": "exemption-resume", "target": "all", "order": "z", "why": "y", "dry_run": true}),
            Request::ExemptionResume {
                target: Target::All,
                order: Some("z".into()),
                why: "y".into(),
                lift: None,
                dry_run: true,
                to_sign: false,
            },
        ),
        (
            json!({"request": "exemption-resume", "target": {"id": "x"},
                "lift": {"document": "d", "signatures": [{"name": "c", "text": "t"}]}}),
            Request::ExemptionResume {
                target: Target::Id("x".into()),
                order: None,
                why: String::new(),
                lift: Some(SignedText {
                    document: "d".into(),
                    signatures: vec![SignatureText { name: "c".into(), text: "t".into() }],
                }),
                dry_run: false,
                to_sign: false,
            },
        ),
        (
            json!({"request": "exemption-revoke", "id": "x", "why": "y"}),
            Request::ExemptionRevoke { id: "x".into(), why: "y".into(), dry_run: false },
        ),
        (
            json!({"request": "instrument-invalidate", "name": "x", "why": "y"}),
            Request::InstrumentInvalidate {
                name: "x".into(),
                why: "y".into(),
                not_loaded: false,
                dry_run: false,
            },
        ),
        (
            json!({"request": "approval-revoke", "key": "x", "why": "y"}),
            Request::ApprovalRevoke { key: "x".into(), why: "y".into(), unknown: false, dry_run: false },
        ),
        (json!({"request": "audit", "from": 7}), Request::Audit { from: 7 }),
        (json!({"request": "audit-config", "sha256": "ab"}), Request::AuditConfig { sha256: "ab".into() }),
        (json!({"request": "audit-checkpoint"}), Request::AuditCheckpoint {}),
        (
            json!({"request": "report", "from": "2026-11-23"}),
            Request::Report { from: Some("2026-11-23".into()), until: None },
        ),
    ];
    for (text, request) in cases {
        let mut text = text;
        text["api"] = API.into();
        assert_eq!(parse_request(text.to_string().as_bytes()).unwrap(), request);
        let written = request.to_line().unwrap();
        assert_eq!(parse_request(written.as_bytes()).unwrap(), request);
    }
}

#[test]
fn what_is_no_request_gets_a_clear_error() {
    for text in ["", "status", "{}", "[]", r#"{"request":"stop"}"#, r#"{"request":"status","x":1}"#] {
        let Err(Response::Error { kind, message, .. }) = parse_request(text.as_bytes()) else {
            panic!("{text} was taken")
        };
        assert_eq!(kind, ErrorKind::BadRequest);
        assert!(message.contains("the request can't be read"), "{message}");
    }
}

#[test]
fn responses_are_one_line_each() {
    let response = Response::error(ErrorKind::NotFound, "two\nlines");
    let line = response.to_line();
    assert_eq!(line, "{\"response\":\"error\",\"kind\":\"not-found\",\"message\":\"two\\nlines\"}\n");
    assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
    let response = Response::error_with(ErrorKind::BadInput, "m", &["a", "b"]);
    let line = response.to_line();
    assert!(line.ends_with(",\"message\":\"m\",\"codes\":[\"a\",\"b\"]}\n"), "{line}");
    assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
    use ErrorKind::{BadInput, BadRequest, Busy, Failed, NotFound, NotPermitted};
    for kind in [BadInput, BadRequest, Busy, Failed, NotFound, NotPermitted] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = parse_request(&bytes);
    }

    #[test]
    fn documents_come_through_whole(document in any::<String>(), name in any::<String>()) {
        let signatures = vec![SignatureText { name: name.clone(), text: document.clone() }];
        let request = Request::ExemptionLoad { document, name, signatures, dry_run: false, refused: false };
        let line = request.to_line().unwrap();
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(parse_request(line.as_bytes()).unwrap(), request);
    }
}
