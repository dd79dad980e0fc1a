//! The story that the project comes from, case by case, on the real kernel with real services and clients: a
//! warrant in the US, an address book on servers there, and e-mail in a data centre in Dublin.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use guard_tests::bed::{self, BELGIUM, Bed, Family, PATIENCE, STORE, US, exemption, exemption_within};
use guard_tests::geo_file;
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::proc::retry_until;
use guard_tests::service::{ADDRESS_BOOK_PORT, Item};
use guard_tests::signing::{APPROVAL, COMPLIANCE, LEGAL, STRANGER};
use guard_tests::story::{Fetched, Story, ip, pin};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The authority in Boston that the treaty request names.
const RECIPIENT: [&str; 2] = ["203.0.113.10/32", "2001:db8:3::10/128"];
/// The desk beside it.
const NEIGHBOUR: [&str; 2] = ["203.0.113.11", "2001:db8:3::11"];

const WHOLE: [Fetched; 2] = [Fetched::Whole; 2];
const NOTHING: [Fetched; 2] = [Fetched::Nothing; 2];

/// A treaty request for the mail, for ten minutes, that asks for two approvals.
fn request(id: &str, cidrs: &[&str]) -> String {
    exemption(id, "mail", cidrs, 600, None) + APPROVAL
}

/// The document that the story is about.
fn treaty_request() -> String {
    request("mlat-2013", &RECIPIENT)
}

fn neighbour(story: &Story) {
    let us = story.bed.host(US).unwrap();
    us.add_address(HOST_INTERFACE, format!("{}/24", NEIGHBOUR[0]).parse().unwrap()).unwrap();
    us.add_address(HOST_INTERFACE, format!("{}/64", NEIGHBOUR[1]).parse().unwrap()).unwrap();
}

/// What somebody at one of these addresses of the US host gets of the mail.
fn fetch_as(story: &Story, clients: [&str; 2]) -> [Fetched; 2] {
    let requests = [0, 1].map(|at| {
        let client: IpAddr = clients[at].parse().unwrap();
        let server = bed::address(STORE, Family::ALL[at]).unwrap();
        story.ask_from(client, story.bed.host(US).unwrap(), server, Item::Mailbox).unwrap()
    });
    requests.map(|request| story.fetched(request, Item::Mailbox).unwrap())
}

/// The event about a request for the mail of which nothing may come.
fn refused_event(story: &Story, host: &str, family: Family) -> Value {
    let request = story.ask(host, family, Item::Mailbox).unwrap();
    let client = request.client_end();
    assert_eq!(story.fetched(request, Item::Mailbox).unwrap(), Fetched::Nothing, "{family:?}");
    story.event(client).unwrap()
}

fn state(story: &Story, id: &str) -> String {
    let status = story.bed.status().unwrap();
    let found = status.exemptions.iter().find(|exemption| exemption.id == id);
    found.map_or_else(|| "none".to_owned(), |exemption| exemption.state.name().to_owned())
}

fn until(moment: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default()
}

#[test]
#[ignore = "needs root and BPF"]
fn story_1_what_is_stored_in_the_us_is_handed_over_there() {
    // The address book lies on a server in the US, and is guarded there.
    let book = format!(
        "[[pin]]\nname = \"contacts\"\nhome = \"US\"\naction = \"drop\"\n[pin.select]\n\
         sources = [\"203.0.113.10/32\", \"2001:db8:3::10/128\"]\nports = [\"tcp/{ADDRESS_BOOK_PORT}\"]\n"
    );
    let story = Story::on(Bed::new("story-1").unwrap(), US, &book).unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    // Who asks is in the same city, on the other side of the guarded interface.
    for (family, client) in Family::ALL.into_iter().zip(["203.0.113.1", "2001:db8:3::1"]) {
        let server = bed::address(US, family).unwrap();
        let asked =
            story.ask_from(client.parse().unwrap(), story.bed.router(), server, Item::AddressBook).unwrap();
        assert_eq!(story.fetched(asked, Item::AddressBook).unwrap(), Fetched::Whole, "{family:?}");
        // It is the place that lets it go, not that nobody looks: Dublin does not get it.
        let (client, dublin) = (bed::address(STORE, family).unwrap(), story.bed.host(STORE).unwrap());
        let asked = story.ask_from(client, dublin, server, Item::AddressBook).unwrap();
        let end = asked.client_end();
        assert_eq!(story.fetched(asked, Item::AddressBook).unwrap(), Fetched::Nothing, "{family:?}");
        let event = story.event(end).unwrap();
        assert_eq!((&event["pins"], &event["jurisdiction"]), (&json!(["contacts"]), &json!("IE")), "{event}");
    }
    let counters = story.bed.status().unwrap().counters;
    let to_us = counters.iter().find(|row| row.jurisdiction.as_deref() == Some("US")).unwrap();
    assert_eq!((to_us.verdict.as_str(), to_us.reason.as_str()), ("pass", "permitted"), "{counters:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn story_2_mail_in_dublin_does_not_reach_the_us_and_that_is_told() {
    let story = Story::new("story-2").unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE, "nothing guards yet");
    let _daemon = story.bed.start(&[]).unwrap();
    for family in Family::ALL {
        let event = refused_event(&story, US, family);
        let told = ["verdict", "reason", "jurisdiction", "placed_by", "action"].map(|key| &event[key]);
        assert_eq!(told, ["drop", "forbidden", "US", "site", "dropped"], "{event}");
        assert_eq!(event["pins"], json!(["mail"]), "{event}");
        assert_eq!(event["rule"]["pin"], "mail", "{event}");
        assert_eq!(event["exemption"], Value::Null, "{event}");
    }
    assert_eq!(story.fetch(US, Item::AddressBook).unwrap(), WHOLE, "what is not pinned passes");
    assert!(story.counted("forbidden").unwrap().0 >= 2);
    assert_eq!(story.counted("exempt").unwrap(), (0, 0));
}

#[test]
#[ignore = "needs root and BPF"]
fn story_3_a_warrant_alone_is_no_ground() {
    let story = Story::new("story-3").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    let without_agreement: String = {
        let text = treaty_request();
        text.lines().filter(|line| !line.starts_with("agreement")).map(|line| format!("{line}\n")).collect()
    };
    let warrant = treaty_request().replace("\"treaty-request\"", "\"foreign-order\"");
    let cases = [("warrant", warrant, "foreign-order-alone"), ("letter", without_agreement, "no-agreement")];
    for (number, (name, text, rule)) in cases.into_iter().enumerate() {
        let file = story.written(name, &text).unwrap();
        let lint = story.bed.ask(&["exemption", "lint", &file, "--json"]).unwrap();
        let said: Value = serde_json::from_str(&lint.out).unwrap();
        assert_eq!((lint.status.code(), &said["usable"]), (Some(2), &json!(false)), "{said}");
        let errors = said["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error["code"] == rule), "{said}");
        let signing = story.signers.key(LEGAL);
        let signed =
            story.bed.ask(&["exemption", "sign", &file, "--key", &signing.to_string_lossy()]).unwrap();
        assert_eq!(signed.status.code(), Some(2), "it is not signed either: {signed:?}");

        let loaded = story.try_load(&file).unwrap();
        assert_eq!(loaded.status.code(), Some(2), "{loaded:?}");
        assert!(loaded.complaint.contains("Art. 48"), "{loaded:?}");
        let refusals = story.audit("refusal").unwrap();
        assert_eq!(refusals.len(), number + 1, "{refusals:?}");
        let last = refusals.last().unwrap();
        assert_eq!(last["subject"], file.as_str(), "{last}");
        assert_eq!(last["detail"]["request"], "exemption-load", "{last}");
        // The rule by its code: the document's text may be confidential.
        assert!(last["detail"]["codes"].as_array().unwrap().contains(&json!(rule)), "{last}");
        assert_eq!(last["who"]["uid"], 0, "{last}");
    }
    assert_eq!(story.bed.status().unwrap().exemptions, []);
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
}

#[test]
#[ignore = "needs root and BPF"]
fn story_4_a_treaty_request_reaches_exactly_its_recipient() {
    let story = Story::new("story-4").unwrap();
    neighbour(&story);
    let _daemon = story.bed.start(&[]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    let said = story.load("mlat", &treaty_request()).unwrap();
    assert!(said.contains(LEGAL) && said.contains(COMPLIANCE), "{said}");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    assert_eq!(fetch_as(&story, NEIGHBOUR), NOTHING, "not who sits beside it");
    let status = story.bed.status().unwrap();
    let [exemption] = status.exemptions.as_slice() else { panic!("{:?}", status.exemptions) };
    assert_eq!(exemption.approved_by, [COMPLIANCE, LEGAL]);
    assert_eq!((exemption.used_packets, exemption.used_bytes), story.counted("exempt").unwrap());
    let approvals = story.audit("approval").unwrap();
    assert_eq!(approvals.len(), 2, "{approvals:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn story_4_a_treaty_request_is_nothing_without_its_approvals() {
    let story = Story::new("story-4-approval").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    let mut refused = 0;
    let mut is_refused = |file: &str, why: &str| {
        let answer = story.try_load(file).unwrap();
        assert_eq!(answer.status.code(), Some(2), "{why}: {answer:?}");
        assert!(answer.complaint.contains(why), "{why}: {answer:?}");
        refused += 1;
        assert_eq!(story.audit("refusal").unwrap().len(), refused, "{why}");
    };
    let file = story.written("mlat", &treaty_request()).unwrap();
    is_refused(&file, "approvals are missing");
    story.sign(&file, LEGAL).unwrap();
    is_refused(&file, "approvals are missing: 1 as \"compliance\"");
    story.sign(&file, STRANGER).unwrap();
    is_refused(&file, "mallory");
    std::fs::remove_file(format!("{file}.mallory.sig")).unwrap();
    story.sign(&file, COMPLIANCE).unwrap();
    // The second signature is right, and one more recipient is in the file.
    let approved = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, approved.replace("203.0.113.10/32", "203.0.113.0/28")).unwrap();
    is_refused(&file, "signature");
    assert_eq!(story.bed.status().unwrap().exemptions, []);
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);

    // Documents that ask for less than the config, with all that they ask for.
    let one = approved.replace("\n[[approval.required]]\nrole = \"compliance\"\ncount = 1\n", "");
    let none = one.replace("\n[[approval.required]]\nrole = \"legal\"\ncount = 1\n", "");
    for (name, text) in [("one", one), ("none", none)] {
        assert!(text.len() < approved.len(), "{text}");
        let less = story.written(name, &text).unwrap();
        story.sign(&less, LEGAL).unwrap();
        is_refused(&less, "approvals are missing: 1 as \"compliance\"");
    }
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);

    std::fs::write(&file, approved).unwrap();
    let loaded = story.try_load(&file).unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
}

#[test]
#[ignore = "needs root and BPF"]
fn story_4_a_treaty_request_keeps_its_window_by_the_kernels_own_clock() {
    let story = Story::new("story-4-window").unwrap();
    let daemon = story.bed.start(&[]).unwrap();
    let begin = Timestamp::now() + SignedDuration::from_secs(9);
    let end = begin + SignedDuration::from_secs(12);
    let document = exemption_within("mlat-2013", "mail", &RECIPIENT, begin..end, None) + APPROVAL;
    story.load("mlat", &document).unwrap();
    assert_eq!(state(&story, "mlat-2013"), "not-yet-valid");
    // From here on the kernel is alone.
    daemon.kill(PATIENCE).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "too early");
    assert!(Timestamp::now() < begin, "too slow to tell");
    assert!(story.counted("exemption-not-yet-valid").unwrap().0 >= 2);

    std::thread::sleep(until(begin) + Duration::from_millis(200));
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE, "in time");
    std::thread::sleep(until(end).saturating_sub(Duration::from_secs(4)));
    let running = Family::ALL.map(|family| story.ask(US, family, Item::Archive).unwrap());
    running.iter().for_each(|request| request.wait_past(100_000).unwrap());
    assert!(Timestamp::now() < end, "too slow to tell");
    std::thread::sleep(until(end) + Duration::from_millis(200));
    let at_end = story.counted("exempt").unwrap();
    assert!(running.iter().all(guard_tests::story::Request::goes_on), "cut while under way");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "too late");
    assert_eq!(story.counted("exempt").unwrap(), at_end, "not a packet after its end");
    assert!(story.counted("exemption-expired").unwrap().0 >= 2);
}

#[test]
#[ignore = "needs root and BPF"]
fn story_4_a_treaty_request_keeps_its_bytes() {
    const QUOTA: u64 = 300_000;
    // A packet is no longer than this: the host leaves the cutting of long ones to nobody.
    const PACKET: u64 = 1514;
    for family in Family::ALL {
        let story = Story::new("story-4-bytes").unwrap();
        let store = story.bed.host(STORE).unwrap();
        ip(store, &["link set dev eth0 gso_max_segs 1"]).unwrap();
        let _daemon = story.bed.start(&[]).unwrap();
        let document = exemption("mlat-2013", "mail", &RECIPIENT, 600, Some(QUOTA)) + APPROVAL;
        story.load("mlat", &document).unwrap();
        let request = story.ask(US, family, Item::Mailbox).unwrap();
        // What is left may still do for a packet without content, until the daemon closes it for good.
        retry_until(PATIENCE, "the quota to be spent", || {
            (state(&story, "mlat-2013") == "exhausted" && story.audit("exhaust").unwrap().len() == 1)
                .then_some(())
        })
        .unwrap();
        let spent = story.counted("exempt").unwrap().1;
        assert!(spent <= QUOTA && spent + PACKET > QUOTA, "{spent} of {QUOTA}, {family:?}");
        let received = request.received();
        assert!(received < QUOTA && received > QUOTA / 2, "{received} bytes of mail, {family:?}");
        assert!(story.counted("exemption-exhausted").unwrap().0 > 0);
        // Not by a timeout of its own: the daemon closes the service's end once it sees the quota spent.
        assert!(!story.is_connected(request.client_end()).unwrap(), "{family:?}");
        drop(request);
        assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "nothing more, {family:?}");
        assert_eq!(story.counted("exempt").unwrap().1, spent, "{family:?}");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn story_5_a_stay_cuts_the_live_flow_and_its_lifting_restores_it() {
    let story = Story::new("story-5").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    story.load("mlat", &treaty_request()).unwrap();
    let running = Family::ALL.map(|family| story.ask(US, family, Item::Archive).unwrap());
    for request in &running {
        request.wait_past(500_000).unwrap();
        assert!(request.goes_on() && story.is_connected(request.client_end()).unwrap());
    }
    story.bed.tell(&["exemption", "stay", "mlat-2013", "--order", "2nd Cir. 14-2985"]).unwrap();
    let at_stay = story.counted("exempt").unwrap();
    let began = Instant::now();
    for request in &running {
        assert!(!story.is_connected(request.client_end()).unwrap(), "the service's end is closed");
        let outcome = request.outcome().unwrap();
        assert_eq!(outcome.code, Some(56), "a reset, and no hang, {}", request.client);
        assert!((outcome.content.len() as u64) < story.service.length(Item::Archive).unwrap());
    }
    assert!(began.elapsed() < Duration::from_secs(10), "at once: {:?}", began.elapsed());
    assert_eq!(state(&story, "mlat-2013"), "stayed");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "while it is stayed");
    assert_eq!(story.counted("exempt").unwrap(), at_stay, "not a packet since the stay");

    story.lift("lift", &["exemption", "resume", "mlat-2013", "--why", "the stay was lifted"]).unwrap();
    assert_eq!(state(&story, "mlat-2013"), "active");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE, "and a new transfer passes");
    let stays = story.audit("stay").unwrap();
    assert_eq!(stays.len(), 1);
    assert_eq!((&stays[0]["subject"], &stays[0]["why"]), (&json!("mlat-2013"), &json!("2nd Cir. 14-2985")));
    assert_eq!(story.audit("resume").unwrap()[0]["why"], "the stay was lifted");
}

#[test]
#[ignore = "needs root and BPF"]
fn story_6_dublin_to_belgium_stays_in_the_eu() {
    let story = Story::new("story-6").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    assert_eq!(story.fetch(BELGIUM, Item::Mailbox).unwrap(), WHOLE);
    let counters = story.bed.status().unwrap().counters;
    let mail: Vec<_> = counters.iter().filter(|row| row.pin.as_deref() == Some("mail")).collect();
    let [row] = mail.as_slice() else { panic!("one judgement: {counters:?}") };
    assert_eq!((row.verdict.as_str(), row.reason.as_str()), ("pass", "permitted"));
    assert_eq!(row.jurisdiction.as_deref(), Some("BE"));
    assert_eq!(story.bed.events().unwrap(), Vec::<Value>::new(), "nothing to report");
}

#[test]
#[ignore = "needs root and BPF"]
fn story_7_where_the_place_is_uncertain_the_pin_chooses() {
    // An office that no site names, and two databases that disagree on: one believes what its customer says.
    const OFFICE: [&str; 2] = ["203.0.113.200", "2001:db8:3:0:8000::200"];
    const NETWORKS: [&str; 2] = ["203.0.113.128/25", "2001:db8:3:0:8000::/65"];
    let story = Story::new("story-7").unwrap();
    let us = story.bed.host(US).unwrap();
    us.add_address(HOST_INTERFACE, format!("{}/24", OFFICE[0]).parse().unwrap()).unwrap();
    us.add_address(HOST_INTERFACE, format!("{}/64", OFFICE[1]).parse().unwrap()).unwrap();
    let files = ["IE", "US"].map(|code| {
        let file = story.bed.file(&format!("{code}.mmdb"));
        std::fs::write(&file, geo_file::countries(&NETWORKS.map(|network| (network, code))).unwrap())
            .unwrap();
        file
    });
    let configure = |permit: &str, files: &[std::path::PathBuf]| {
        let pin = pin().replace("permit = [\"EU\"]", permit);
        let geo = format!("[geo]\nfiles = {files:?}\nmax_age = \"36500d\"\n");
        story.bed.configure(&format!("{pin}{geo}{}", story.signers.config())).unwrap();
        let text = std::fs::read_to_string(story.bed.config()).unwrap();
        let text =
            text.replace("203.0.113.0/24", "203.0.113.0/25").replace("2001:db8:3::/64", "2001:db8:3::/65");
        std::fs::write(story.bed.config(), text).unwrap();
    };
    configure("permit = [\"EU\"]", &files);
    let _daemon = story.bed.start(&[]).unwrap();
    let ask = |at: usize| {
        let server = bed::address(STORE, Family::ALL[at]).unwrap();
        story.ask_from(OFFICE[at].parse().unwrap(), us, server, Item::Mailbox).unwrap()
    };
    for at in [0, 1] {
        let request = ask(at);
        let client = request.client_end();
        assert_eq!(story.fetched(request, Item::Mailbox).unwrap(), Fetched::Nothing, "{client:?}");
        let event = story.event(client).unwrap();
        let told = ["verdict", "reason", "jurisdiction", "placed_by"].map(|key| &event[key]);
        assert_eq!(told, ["drop", "place-uncertain", "uncertain", "database"], "{event}");
    }
    configure("permit = [\"EU\", \"uncertain\"]", &files);
    story.bed.tell(&["reload"]).unwrap();
    assert_eq!(fetch_as(&story, OFFICE), WHOLE, "the pin permits what is uncertain");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "and not what is surely in the US");
    // It is the disagreement that makes it uncertain.
    configure("permit = [\"EU\"]", &files[..1]);
    story.bed.tell(&["reload"]).unwrap();
    assert_eq!(fetch_as(&story, OFFICE), WHOLE, "with one database it is in Ireland");
}

#[test]
#[ignore = "needs root and BPF"]
fn story_8_the_same_mail_is_caught_inside_a_tunnel() {
    // Who is beyond the tunnel: one who pretends to nothing but is in the US, and one in Belgium.
    const BEYOND: [(&str, [&str; 2]); 2] =
        [(US, ["203.0.113.66", "2001:db8:3::66"]), (BELGIUM, ["198.51.100.66", "2001:db8:2::66"])];
    let pins =
        pin().replace("192.0.2.10/32", "192.0.2.0/24").replace("2001:db8:1::10/128", "2001:db8:1::/64");
    let story = Story::on(Bed::new("story-8").unwrap(), STORE, &pins).unwrap();
    let (store, belgium) = (story.bed.host(STORE).unwrap(), story.bed.host(BELGIUM).unwrap());
    let inside = ["192.0.2.99", "2001:db8:1::99"];
    let tunnel = |local: &str, remote: &str| {
        format!("link add vxlan0 type vxlan id 42 local {local} remote {remote} dstport 4789")
    };
    ip(store, &[&tunnel("192.0.2.10", "198.51.100.10"), "link set vxlan0 up"]).unwrap();
    ip(belgium, &[&tunnel("198.51.100.10", "192.0.2.10"), "link set vxlan0 up"]).unwrap();
    for at in [0, 1] {
        let (bits, nodad) = if at == 0 { (32, "") } else { (128, " nodad") };
        let own = inside[at];
        ip(store, &[&format!("address add {own}/{bits} dev vxlan0{nodad}")]).unwrap();
        for (_, clients) in BEYOND {
            let client = clients[at];
            ip(store, &[&format!("route add {client}/{bits} dev vxlan0 src {own}")]).unwrap();
            ip(belgium, &[&format!("address add {client}/{bits} dev vxlan0{nodad}")]).unwrap();
        }
        ip(belgium, &[&format!("route add {own}/{bits} dev vxlan0")]).unwrap();
    }
    let ask = |client: &str, at: usize| {
        story.ask_from(client.parse().unwrap(), belgium, inside[at].parse().unwrap(), Item::Mailbox).unwrap()
    };
    let fetch = |clients: [&str; 2]| {
        [0, 1].map(|at| ask(clients[at], at)).map(|request| story.fetched(request, Item::Mailbox).unwrap())
    };
    let [(_, us), (_, belgians)] = BEYOND;
    assert_eq!(fetch(us), WHOLE, "the tunnel carries mail, and nothing guards yet");
    let _daemon = story.bed.start(&[]).unwrap();
    assert_eq!(fetch(belgians), WHOLE, "Belgium inside, Belgium outside");
    for at in [0, 1] {
        let request = ask(us[at], at);
        let client = request.client_end();
        assert_eq!(story.fetched(request, Item::Mailbox).unwrap(), Fetched::Nothing, "{client:?}");
        let event = story.event(client).unwrap();
        let told = ["verdict", "reason", "jurisdiction", "tunnel", "tunnel_source"].map(|key| &event[key]);
        assert_eq!(told, ["drop", "forbidden", "US", "198.51.100.10", "192.0.2.10"], "{event}");
        assert_eq!(
            (&event["pins"], &event["source"]["ip"]),
            (&json!(["mail"]), &json!(inside[at])),
            "{event}"
        );
    }
    assert!(story.counted("forbidden").unwrap().0 >= 2);
}

#[test]
#[ignore = "needs root and BPF"]
fn story_an_instrument_falls_and_all_that_rests_on_it() {
    const OTHER: [&str; 2] = ["203.0.113.12", "2001:db8:3::12"];
    let story = Story::new("story-falls").unwrap();
    neighbour(&story);
    let us = story.bed.host(US).unwrap();
    us.add_address(HOST_INTERFACE, format!("{}/24", OTHER[0]).parse().unwrap()).unwrap();
    us.add_address(HOST_INTERFACE, format!("{}/64", OTHER[1]).parse().unwrap()).unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    let hosts = |hosts: [&str; 2]| [format!("{}/32", hosts[0]), format!("{}/128", hosts[1])];
    let (beside, other) = (hosts(NEIGHBOUR), hosts(OTHER));
    story.load("first", &request("first", &RECIPIENT)).unwrap();
    story.load("second", &request("second", &beside.each_ref().map(String::as_str))).unwrap();
    let elsewhere = request("elsewhere", &other.each_ref().map(String::as_str));
    let elsewhere = elsewhere.replace("US-Ireland MLAT 2001", "Budapest Convention");
    story.load("elsewhere", &elsewhere).unwrap();
    assert_eq!((fetch_as(&story, NEIGHBOUR), fetch_as(&story, OTHER)), (WHOLE, WHOLE));
    let running = story.ask(US, Family::V4, Item::Archive).unwrap();
    running.wait_past(500_000).unwrap();

    let invalidate = ["instrument", "invalidate", "US-Ireland MLAT 2001", "--why", "C-362/14"];
    let planned = story.bed.tell(&[&invalidate[..], &["--dry-run"]].concat()).unwrap();
    assert!(planned.contains("first") && planned.contains("second") && !planned.contains("elsewhere"));
    assert!(running.goes_on() && state(&story, "first") == "active", "a dry run changes nothing");
    story.bed.tell(&invalidate).unwrap();
    let closed = story.counted("exempt").unwrap();
    assert!(!story.is_connected(running.client_end()).unwrap());
    assert_eq!(running.outcome().unwrap().code, Some(56), "the transfer is cut");
    assert_eq!(
        ["first", "second", "elsewhere"].map(|id| state(&story, id)),
        ["revoked", "revoked", "active"]
    );
    assert_eq!((story.fetch(US, Item::Mailbox).unwrap(), fetch_as(&story, NEIGHBOUR)), (NOTHING, NOTHING));
    assert_eq!(story.counted("exempt").unwrap(), closed, "not a packet by either");
    assert_eq!(fetch_as(&story, OTHER), WHOLE, "what rests on another instrument stays");
    let fell = story.audit("invalidate").unwrap();
    assert!(!fell.is_empty() && fell.iter().all(|record| record["why"] == "C-362/14"), "{fell:?}");
}
