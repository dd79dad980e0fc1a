//! Two recipients of one exemption: what each of them got by its own device's counters is what every list and record says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use guard_tests::bed::{self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, US, exemption};
use guard_tests::proc::Process;
use guard_tests::wire::Received;
use rustix::process::Signal;
use serde_json::Value;

/// The pin, the office in Belgium placed in Canada, and a key for receipts.
fn config(bed: &Bed) -> String {
    let key = bed.file("host_key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let site = "[[site]]\nname = \"toronto\"\njurisdiction = \"CA\"\ncidrs = [\"198.51.100.10/32\"]\n";
    format!("{PIN}{site}[record]\nhost_key = {key:?}\n")
}

/// Of an authority in the US and of an office in Canada, in this order.
fn both() -> String {
    let office =
        "[[recipient]]\nname = \"Office, Toronto\"\njurisdiction = \"CA\"\ncidrs = [\"198.51.100.10/32\"]\n";
    exemption("both", "mail", &["203.0.113.10/32"], 3600, Some(2_000_000)) + office
}

/// The devices of both, and what they had received before.
struct Devices<'b> {
    bed: &'b Bed,
    before: [Received; 2],
}

impl<'b> Devices<'b> {
    const HOSTS: [&'static str; 2] = [US, BELGIUM];

    fn of(bed: &'b Bed) -> Self {
        let before = Self::HOSTS.map(|host| Received::by(bed.host(host).unwrap()).unwrap());
        Self { bed, before }
    }

    /// Sends so many datagrams of this size to each.
    fn send(&self, counts: [u64; 2], size: usize) {
        let socket = self.bed.sender(MAIL_PORT, Family::V4).unwrap();
        for (host, count) in Self::HOSTS.into_iter().zip(counts) {
            let to = SocketAddr::new(bed::address(host, Family::V4).unwrap(), CLIENT_PORT);
            for _ in 0..count {
                socket.send_to(&vec![b'm'; size], to).unwrap();
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    /// Bytes and packets that each device has received since, by the counters of its own kernel.
    fn got(&self) -> [(u64, u64); 2] {
        let got = |at: usize| {
            let now = Received::by(self.bed.host(Self::HOSTS[at]).unwrap()).unwrap();
            let since = now.since(self.before[at]);
            (since.wire_bytes(), since.packets)
        };
        [got(0), got(1)]
    }

    /// Holds the daemon's list, its words and each form of the report against what the devices got.
    fn hold(&self, when: &str) {
        let got = self.got();
        let shown = self.bed.exemption("both").unwrap();
        let told: Vec<_> = shown.recipients.iter().map(|it| (it.used_bytes, it.used_packets)).collect();
        assert_eq!(told, got, "{when}");
        let sum = (got[0].0 + got[1].0, got[0].1 + got[1].1);
        assert_eq!((shown.used_bytes, shown.used_packets), sum, "{when}");
        assert_eq!((shown.unattributed_bytes, shown.unattributed_packets), (0, 0), "{when}");
        let words = self.bed.tell(&["exemption", "show", "both"]).unwrap();
        let lines: Vec<&str> = words.lines().filter_map(|line| line.strip_prefix("  got      ")).collect();
        let grouped = |number: u64| match number {
            0..1000 => number.to_string(),
            _ => format!("{},{:03}", number / 1000, number % 1000),
        };
        let line = |(bytes, packets): (u64, u64)| {
            format!("{} on the wire, in {} packets", grouped(bytes), grouped(packets))
        };
        assert_eq!(lines, got.map(line), "{when}");

        let report: Value =
            serde_json::from_str(&self.bed.tell(&["report", "--format", "json"]).unwrap()).unwrap();
        assert_eq!(by_recipient(&report["exemptions"][0]["use_by_day"]), named(got), "{when}");
        let register = self.bed.tell(&["report", "--format", "register"]).unwrap();
        let mut rows = register.split("\r\n").filter(|line| !line.is_empty()).map(cells);
        let names = rows.next().unwrap();
        let activity = names.iter().position(|it| it == "processing activity").unwrap();
        let rows = rows.filter(|row| row[activity] == "both").map(|row| {
            let cell = |name: &str| row[names.iter().position(|it| it == name).unwrap()].clone();
            let number = |name: &str| cell(name).parse::<u64>().unwrap();
            (cell("third country"), cell("recipient"), number("bytes"), number("packets"))
        });
        let expected: Vec<_> = named(got)
            .into_iter()
            .map(|((place, name), (bytes, packets))| (place, name, bytes, packets))
            .collect();
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        assert_eq!(rows, expected, "{when}: {register}");
    }
}

/// The cells of a line of CSV (RFC 4180) in which no cell has a quotation mark or a line break.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => cells.last_mut().unwrap().push(letter),
        }
    }
    cells
}

/// Bytes and packets by jurisdiction and name.
type Named = BTreeMap<(String, String), (u64, u64)>;

fn named([us, toronto]: [(u64, u64); 2]) -> Named {
    let key = |place: &str, name: &str| (place.to_owned(), name.to_owned());
    BTreeMap::from([(key("US", "Requesting authority, Boston"), us), (key("CA", "Office, Toronto"), toronto)])
}

/// The sums of rows of a report or a receipt.
fn by_recipient(rows: &Value) -> Named {
    let mut sums = Named::new();
    for row in rows.as_array().unwrap() {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let number = |name: &str| row[name].as_u64().unwrap();
        let expected = if text("jurisdiction") == "US" { 1 } else { 2 };
        assert_eq!(number("number"), expected, "{row}");
        let sum = sums.entry((text("jurisdiction"), text("recipient"))).or_default();
        *sum = (sum.0 + number("bytes"), sum.1 + number("packets"));
    }
    sums
}

fn end(daemon: &Process) {
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success(), "{}", daemon.log_tail());
}

#[test]
#[ignore = "needs root and BPF"]
fn each_recipient_is_told_what_its_own_device_received() {
    let bed = Bed::new("recipients").unwrap();
    bed.configure(&config(&bed)).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let devices = Devices::of(&bed);
    devices.send([5, 5], 21);
    assert_eq!(devices.got(), [(0, 0); 2], "nobody may get anything yet");
    bed.load("both.toml", &both()).unwrap();
    devices.send([40, 7], 21);
    devices.send([3, 11], 900);
    let [us, toronto] = devices.got();
    assert!(us.1 == 43 && toronto.1 == 18 && us.0 != toronto.0, "{us:?}, {toronto:?}");
    devices.hold("at once");

    // Also what passes while no daemon runs.
    end(&daemon);
    devices.send([2, 9], 300);
    let daemon = bed.start(&[]).unwrap();
    devices.hold("after a restart");
    bed.tell(&["exemption", "stay", "both", "--order", "High Court"]).unwrap();
    let stayed = devices.got();
    devices.send([4, 4], 21);
    assert_eq!(devices.got(), stayed, "stayed");
    // Another one may have its places meanwhile, whose bytes are not theirs.
    bed.exempt("other", &["203.0.113.99/32"], 3600, None).unwrap();
    let resume = ["exemption", "resume", "both", "--why", "lifted"];
    guard_tests::proc::retry_until(PATIENCE, "the places to be free", || {
        bed.ask(&resume).ok().filter(|answer| answer.status.success())
    })
    .unwrap();
    devices.send([1, 6], 500);
    devices.hold("after a stay");
    end(&daemon);
    bed.tell(&["detach"]).unwrap();
    let daemon = bed.start(&[]).unwrap();
    devices.send([8, 0], 77);
    devices.hold("after all was detached");

    bed.tell(&["exemption", "revoke", "both", "--why", "done"]).unwrap();
    let folder = bed.file("receipts");
    fs::create_dir(&folder).unwrap();
    let into = folder.to_string_lossy().into_owned();
    bed.tell(&["exemption", "receipt", "both", "--into", &into, "--no-time-stamp"]).unwrap();
    let file = folder.join("both-1.receipt.json");
    let receipt: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let got = devices.got();
    assert_eq!(by_recipient(&receipt["use"]), named(got));
    assert_eq!(receipt["bytes"], got[0].0 + got[1].0);
    // By a program that is not ours, and by ours.
    let public = fs::read_to_string(bed.file("host_key.pub")).unwrap();
    let host = receipt["host"].as_str().unwrap();
    let allowed = bed.write("allowed", format!("{host} {public}")).unwrap();
    let signature = format!("{}.sig", file.display());
    let by_ssh = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-f", &allowed, "-I", host, "-n", "borderguard-receipt", "-s", &signature])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(by_ssh.status.success(), "{by_ssh:?}");
    let verify = ["exemption", "receipt", "--verify", &file.to_string_lossy(), "--allowed-signers", &allowed];
    bed.tell(&[&verify[..], &["--no-time-stamp"]].concat()).unwrap();
    drop(daemon);
}
