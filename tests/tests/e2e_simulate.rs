//! What `simulate` says of a config, a database and an exemption comes true: judged by what the clients receive, by the events
//! and by the counters.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeSet;
use std::fs;

use guard_tests::bed::{
    self, BELGIUM, Bed, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, US, address, exemption,
};
use guard_tests::cgroup;
use guard_tests::geo_file;
use guard_tests::proc::retry_until;
use serde_json::{Value, json};

const TO_BELGIUM: u64 = 5;
const TO_US: u64 = 7;

/// The pin that permits this, with a record of each of its flows.
fn pin(permit: &str) -> String {
    PIN.replace("permit = [\"EU\"]", &format!("permit = [{permit}]\nrecord = \"all\""))
}

/// What arrives of datagrams of the pin by each family, in Belgium and in the US. Of another service's all does.
fn traffic(bed: &Bed) -> [[u64; 2]; 2] {
    cgroup::inside(bed.cgroup().path(), || {
        Family::ALL.map(|family| {
            assert_eq!(bed.send(2, OTHER_PORT, US, family).unwrap(), 2);
            let belgium = bed.send(TO_BELGIUM, MAIL_PORT, BELGIUM, family).unwrap();
            [belgium, bed.send(TO_US, MAIL_PORT, US, family).unwrap()]
        })
    })
    .unwrap()
}

/// The exit code, and what is told.
fn simulate(bed: &Bed, words: &[&str]) -> (i32, Value) {
    let answer = bed.ask(&[&["simulate", "--json"], words].concat()).unwrap();
    let told = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    (answer.status.code().unwrap(), told)
}

/// The peers of what differs in this way.
fn peers(told: &Value, kind: &str) -> BTreeSet<String> {
    let changes = told["changes"].as_array().unwrap().iter();
    let of_kind = changes.filter(|it| it["kind"] == kind);
    of_kind.map(|it| it["peer"].as_str().unwrap().to_owned()).collect()
}

fn addresses(host: &str) -> BTreeSet<String> {
    Family::ALL.map(|family| address(host, family).unwrap().to_string()).into()
}

/// Text without its line breaks.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The verdict that the latest event of each peer has.
fn latest(bed: &Bed, peer: &str) -> Option<String> {
    let events = bed.events().unwrap();
    let last = events.iter().rfind(|event| event["destination"]["ip"] == peer)?;
    last["verdict"].as_str().map(str::to_owned)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_config_does_what_was_said_of_it() {
    let bed = Bed::new("simulate").unwrap();
    let text_of = |permit: &str| {
        bed.configure(&pin(permit)).unwrap();
        fs::read_to_string(bed.config()).unwrap()
    };
    let (new_text, old_text) = (text_of("\"US\""), text_of("\"BE\""));
    let (new, old) = (bed.write("new.toml", &new_text).unwrap(), bed.write("old.toml", &old_text).unwrap());
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);

    // The file as a reload would read it, and a copy of it.
    for words in [&[][..], &[old.as_str()]] {
        let (code, told) = simulate(&bed, words);
        assert_eq!((code, &told["differs"], &told["same"]["flows"]), (0, &false.into(), &4.into()), "{told}");
    }
    let (code, told) = simulate(&bed, &[&new]);
    assert_eq!(code, 1, "{told}");
    let amount = |kind: &str| {
        let total = &told["totals"][kind];
        (total["flows"].as_u64().unwrap(), total["packets"].as_u64().unwrap())
    };
    assert_eq!((amount("drops"), amount("opens")), ((2, 2 * TO_BELGIUM), (2, 2 * TO_US)), "{told}");
    assert_eq!((amount("flags"), amount("unflags")), ((0, 0), (0, 0)), "{told}");
    assert_eq!((peers(&told, "drops"), peers(&told, "opens")), (addresses(BELGIUM), addresses(US)));
    assert_eq!((&told["not_known"], &told["unrecorded"]["pins"]), (&json!([]), &json!([])), "{told}");
    assert_eq!(
        (&told["window"]["records"], &told["window"]["is_full"]),
        (&4.into(), &false.into()),
        "{told}"
    );
    let command = bed.events().unwrap()[0]["process"]["command"].as_str().unwrap().to_owned();
    for change in told["changes"].as_array().unwrap() {
        assert_eq!(change["pins"], json!(["mail"]));
        assert!(change["process"].as_str().unwrap().starts_with(&command), "{change}");
        let place = if change["kind"] == "drops" { "BE" } else { "US" };
        assert_eq!((&change["then"]["jurisdiction"], &change["hook"]), (&place.into(), &"egress".into()));
    }
    let text = bed.ask(&["simulate", &new]).unwrap();
    assert_eq!(text.status.code(), Some(1));
    let says = |words: &str| assert!(text.out.contains(words), "{words}: {}", text.out);
    says("would newly drop: 2 flows, 10 packets, ");
    says("would open: 2 flows, 14 packets, ");
    says("would newly be flagged: nothing");
    // A path has no place to be wrapped.
    let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains('/');
    assert_eq!(text.out.lines().find(is_wide), None, "{}", text.out);

    let before = bed.status().unwrap();
    fs::write(bed.config(), &new_text).unwrap();
    let (code, of_file) = simulate(&bed, &[]);
    assert_eq!((code, &of_file["changes"]), (1, &told["changes"]), "the file as a reload would read it");
    bed.tell(&["reload"]).unwrap();
    assert_eq!(traffic(&bed), [[0, TO_US]; 2]);
    let after = bed.status().unwrap();
    let counted = |verdict: &str, reason: &str| {
        bed::packets(&after, "egress", verdict, reason) - bed::packets(&before, "egress", verdict, reason)
    };
    assert_eq!(counted("drop", "forbidden"), amount("drops").1);
    assert_eq!(counted("pass", "permitted"), amount("opens").1);
    for peer in peers(&told, "drops") {
        let dropped = || latest(&bed, &peer).filter(|verdict| verdict == "drop").map(drop);
        retry_until(PATIENCE, "an event of what is dropped now", dropped).unwrap();
    }
    let (code, told) = simulate(&bed, &[]);
    assert_eq!((code, &told["changes"]), (0, &json!([])), "{told}");

    // The other way round: of what was seen under both, of what a new daemon finds, and of the history alone.
    let back = |bed: &Bed, of: &str| {
        let (code, told) = simulate(bed, &[&old]);
        assert_eq!(code, 1, "{of}: {told}");
        assert_eq!(
            (peers(&told, "drops"), peers(&told, "opens")),
            (addresses(US), addresses(BELGIUM)),
            "{of}"
        );
        assert_eq!(told["not_known"], json!([]), "{of}");
        told
    };
    assert_eq!(back(&bed, "both")["window"]["records"], 8);
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(back(&bed, "a new daemon")["window"]["records"], 8);
    daemon.kill(PATIENCE).unwrap();
    bed.tell(&["detach"]).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let told = back(&bed, "the history");
    assert_eq!((&told["window"]["records"], &told["window"]["table"]), (&0.into(), &0.into()), "{told}");
    assert!(told["window"]["events"].as_u64().unwrap() >= 4, "{told}");
    let (code, none) = simulate(&bed, &[&old, "--since", "2099-01-01"]);
    assert_eq!((code, &none["window"]["events"]), (0, &0.into()), "{none}");
}

/// What Boston's networks are in, by a database.
fn database(country: &'static str) -> Vec<u8> {
    geo_file::countries(&[("203.0.113.0/24", country), ("2001:db8:3::/64", country)]).unwrap()
}

/// The pin, and the sites without Boston's: its place is the database's.
fn configure(bed: &Bed) {
    let file = bed.file("geo.mmdb");
    let geo = format!("[geo]\nfiles = [{file:?}]\nmax_age = \"36500d\"\nask_above = \"never\"\n");
    bed.configure(&format!("{}{geo}", pin("\"BE\""))).unwrap();
    let text = fs::read_to_string(bed.config()).unwrap();
    let (before, site) = text.split_once("[[site]]\nname = \"boston\"").unwrap();
    let (_, after) = site.split_once("[[pin]]").unwrap();
    fs::write(bed.config(), format!("{before}[[pin]]{after}")).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_database_and_an_exemption_do_what_was_said_of_them() {
    let bed = Bed::new("simulate-geo").unwrap();
    let (of_us, of_be) = (database("US"), database("BE"));
    let (us, be) = (bed.write("us.mmdb", &of_us).unwrap(), bed.write("be.mmdb", &of_be).unwrap());
    let in_place = bed.write("geo.mmdb", &of_us).unwrap();
    configure(&bed);
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);
    // What the daemon keeps of the database in force is written beside its work.
    let unchanged = || (simulate(&bed, &[]).0 == 0).then_some(());
    retry_until(PATIENCE, "the database in force to be kept", unchanged).unwrap();

    let (code, told) = simulate(&bed, &["--geo", &be]);
    assert_eq!(
        (code, peers(&told, "opens"), peers(&told, "drops")),
        (1, addresses(US), BTreeSet::new()),
        "{told}"
    );
    let change = &told["changes"][0];
    assert_eq!(
        (&change["now"]["jurisdiction"], &change["then"]["jurisdiction"]),
        (&"US".into(), &"BE".into())
    );
    fs::write(&in_place, &of_be).unwrap();
    bed.tell(&["reload"]).unwrap();
    assert_eq!(traffic(&bed), [[TO_BELGIUM, TO_US]; 2]);
    retry_until(PATIENCE, "the database in force to be kept", unchanged).unwrap();
    let (code, told) = simulate(&bed, &["--geo", &us]);
    assert_eq!(
        (code, peers(&told, "drops"), peers(&told, "opens")),
        (1, addresses(US), BTreeSet::new()),
        "{told}"
    );
    fs::write(&in_place, &of_us).unwrap();
    bed.tell(&["reload"]).unwrap();
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);
    retry_until(PATIENCE, "the database in force to be kept", unchanged).unwrap();

    let one = address(US, Family::V4).unwrap().to_string();
    let only: BTreeSet<String> = [one.clone()].into();
    let document = exemption("x-1", "mail", &[&format!("{one}/32")], 600, Some(100));
    let file = bed.write("x.toml", &document).unwrap();
    let (code, told) = simulate(&bed, &["--exemption", &file]);
    assert_eq!(
        (code, peers(&told, "opens"), peers(&told, "drops")),
        (1, only.clone(), BTreeSet::new()),
        "{told}"
    );
    assert_eq!(told["changes"][0]["then"]["exemption"], "x-1", "{told}");
    let added = &told["exemptions"]["added"][0];
    assert!(added["would_let_pass"]["bytes"].as_u64() > added["quota"].as_u64(), "{added}");
    let text = unwrapped(&bed.ask(&["simulate", "--exemption", &file]).unwrap().out);
    assert!(text.contains("x-1 would let pass") && text.contains("MORE than its quota of 100 B"), "{text}");
    let (code, refused) = simulate(&bed, &["--without", "x-1"]);
    assert_eq!((code, &refused["error"]["kind"]), (2, &"bad-input".into()), "{refused}");

    bed.load("y.toml", &exemption("x-1", "mail", &[&format!("{one}/32")], 600, None)).unwrap();
    assert_eq!(traffic(&bed), [[TO_BELGIUM, TO_US], [TO_BELGIUM, 0]]);
    assert_eq!(simulate(&bed, &[]).0, 0);
    let (code, told) = simulate(&bed, &["--without", "x-1"]);
    assert_eq!((code, peers(&told, "drops"), peers(&told, "opens")), (1, only, BTreeSet::new()), "{told}");
    bed.tell(&["exemption", "revoke", "x-1", "--why", "a test"]).unwrap();
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);
    assert_eq!(simulate(&bed, &[]).0, 0);
    daemon.kill(PATIENCE).unwrap();
    let gone = bed.ask(&["simulate"]).unwrap();
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
}

/// Permitted flows without records are not told one by one, and not taken for unchanged.
#[test]
#[ignore = "needs root and BPF"]
fn what_has_no_records_is_told_by_its_sums() {
    let bed = Bed::new("simulate-sums").unwrap();
    bed.configure(&PIN.replace("\"EU\"", "\"US\"")).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.send(TO_BELGIUM, MAIL_PORT, BELGIUM, Family::V4).unwrap(), TO_BELGIUM);
    let (code, told) = simulate(&bed, &[&new]);
    assert_eq!((code, &told["changes"], &told["differs"]), (1, &json!([]), &true.into()), "{told}");
    let sums = &told["unrecorded"]["forbidden"];
    assert_eq!((&sums[0]["pin"], &sums[0]["jurisdiction"]), (&"mail".into(), &"BE".into()), "{told}");
    assert_eq!(sums[0]["packets"], TO_BELGIUM, "{told}");
    let text = unwrapped(&bed.ask(&["simulate", &new]).unwrap().out);
    assert!(text.contains("NOT SEEN one by one: the pin mail permitted 5 packets of "), "{text}");
}
