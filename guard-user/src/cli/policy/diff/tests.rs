//! The command over configs of a test's own.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::cli::exit_of;
use crate::cli::table::WIDTH;
use crate::geo::mmdb::writer::{Value as Field, Writer};

const POLICY: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"dublin\"\njurisdiction = \"IE\"\n\
                      cidrs = [\"198.51.100.0/24\"]\n[[site]]\nname = \"boston\"\njurisdiction = \"US\"\n\
                      cidrs = [\"203.0.113.0/24\", \"2001:db8:3::/64\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
                      permit = [\"BE\"]\naction = \"drop\"\nselect.ports = [\"tcp/143\", \"tcp/993\"]\n";

/// A database of two countries.
fn places() -> Vec<u8> {
    let mut writer = Writer::new(6);
    for (first, code) in [([8, 8, 0, 0], "BE"), ([9, 9, 0, 0], "FR")] {
        let country = Field::Map(vec![("iso_code", Field::Text(code))]);
        let record = writer.record(&Field::Map(vec![("country", country)]));
        writer.network(u128::from(u32::from_be_bytes(first)), 112, record);
    }
    writer.bytes()
}

/// The exit code and what is said, of a config and another one.
fn diff(new: &str, json: bool) -> Result<(Exit, String)> {
    let folder = tempfile::tempdir().unwrap();
    let (old_file, new_file) = (folder.path().join("old.toml"), folder.path().join("new.toml"));
    let database = folder.path().join("geo.mmdb");
    fs::write(&database, places()).unwrap();
    // The embedded one takes seconds in an unoptimized program; `openings` compares it.
    let geo = format!("[geo]\nfiles = [{database:?}]\nincomplete = true\n[host]");
    fs::write(&old_file, POLICY.replace("[host]", &geo)).unwrap();
    fs::write(&new_file, new.replace("[host]", &geo)).unwrap();
    let args = Args { old: old_file, new: new_file, old_geo: Vec::new(), new_geo: Vec::new(), json };
    let mut out = Vec::new();
    let exit = run(&args, &mut out)?;
    let text = String::from_utf8(out).unwrap().replace(folder.path().to_str().unwrap(), "/etc");
    assert!(json || text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    Ok((exit, text))
}

#[test]
fn the_exit_code_says_whether_anything_opens_and_not_what_closes() {
    let (exit, text) = diff(POLICY, false).unwrap();
    assert_eq!((exit, text.as_str()), (Exit::Ok, "nothing opens\n\nnothing closes\n"));
    let (exit, text) = diff(&POLICY.replace(", \"tcp/993\"", ", \"tcp/993\", \"tcp/995\""), false).unwrap();
    assert!(exit == Exit::Ok && text.starts_with("nothing opens\n\n1 change closes\n"), "{text}");
    let (exit, text) = diff(&POLICY.replace(", \"tcp/993\"", ""), false).unwrap();
    assert_eq!(exit, Exit::Failed);
    let expected = "1 change opens\n\n  pin mail: select.ports\n    was:  [tcp/143, tcp/993]\n    is:   [tcp/143]\n    \
                    which: tcp/993\n    at:   egress drop becomes pass\n    to:   wherever the pin forbids\n\nnothing closes\n";
    assert_eq!(text, expected);
}

#[test]
fn one_address_of_a_site_is_told_with_its_way() {
    let moved = POLICY
        .replace("\"198.51.100.0/24\"", "\"198.51.100.0/24\", \"203.0.113.9/32\", \"2001:db8:3::9/128\"");
    let (exit, text) = diff(&moved, false).unwrap();
    assert_eq!(exit, Exit::Failed);
    let to = "    to:   US, now IE: 1 IPv4 address, 1 IPv6 address, IPv6 addresses that carry\n          \
              such an IPv4 address: 203.0.113.9/32, 2001:db8:3::9/128\n";
    assert!(text.contains("  pin mail: site\n") && text.contains(to), "{text}");
    let (_, text) = diff(&moved, true).unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&object["opens"], &object["new"]["file"]), (&json!(true), &json!("/etc/new.toml")));
    let [flow] = object["openings"]["flows"].as_array().unwrap().as_slice() else { panic!("{object}") };
    assert_eq!((&flow["pin"], &flow["packets"]), (&json!("mail"), &json!("any")));
    assert_eq!(flow["hooks"], json!([{ "hook": "egress", "was": "drop", "is": "pass" }]));
    assert_eq!(
        flow["to"],
        json!([{
            "from": "US", "to": "IE", "moved_by": "sites", "ipv4": 1, "ipv6": "1",
            "first": [
                { "first": "203.0.113.9", "last": "203.0.113.9" },
                { "first": "2001:db8:3::9", "last": "2001:db8:3::9" },
            ],
            "carriers": [
                { "first": "64:ff9b::", "last": "64:ff9b::ffff:ffff" },
                { "first": "2001::", "last": "2001:0:ffff:ffff:ffff:ffff:ffff:ffff" },
                { "first": "2002::", "last": "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
            ],
        }])
    );
    assert_eq!(object["closings"], json!({ "flows": [], "changes": [] }));
}

#[test]
fn what_opens_is_told_beside_what_closes() {
    let new = POLICY.replace("[\"BE\"]", "[\"FR\"]").replace("action = \"drop\"", "action = \"flag\"");
    let (exit, text) = diff(&new, false).unwrap();
    assert_eq!(exit, Exit::Failed);
    for line in [
        "  pin mail: action",
        "    at:   egress drop becomes flag",
        "  pin mail: permit",
        "    was:  BE, IE",
        "    is:   FR, IE",
        "  bypass.refuse",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    let (opens, closes) = text.split_once("closes\n").unwrap();
    assert!(opens.contains("to:   FR: ") && !opens.contains("to:   BE: "), "{text}");
    assert!(closes.contains("to:   BE: ") && !closes.contains("to:   FR: "), "{text}");
}

#[test]
fn what_can_t_be_used_is_bad_input() {
    let error = diff("nonsense", false).unwrap_err();
    assert_eq!(exit_of(&error), Exit::BadInput);
}
