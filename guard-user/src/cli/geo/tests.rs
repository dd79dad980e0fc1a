//! The command over databases of a test's own.

use std::fs;

use ipnetwork::IpNetwork;

use super::*;
use crate::geo::mmdb::writer::{Value as Field, Writer};

/// A folder with a config and databases.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new(geo: &str) -> Self {
        let bed = Self { folder: tempfile::tempdir().unwrap() };
        let state = bed.file("state");
        fs::create_dir(&state).unwrap();
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[state]\ndirectory = {state:?}\n[geo]\nfiles = [{:?}]\n{geo}\n[[pin]]\n\
             name = \"mail\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n",
            bed.file("files.mmdb")
        );
        fs::write(bed.file("policy.toml"), text).unwrap();
        bed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self, name: &str, networks: &[(&str, &'static str)]) -> PathBuf {
        let mut writer = Writer::new(6);
        for (network, country) in networks {
            let country = Field::Map(vec![("iso_code", Field::Text(country))]);
            let record = writer.record(&Field::Map(vec![("country", country)]));
            match network.parse().unwrap() {
                IpNetwork::V4(it) => {
                    writer.network(u32::from(it.ip()).into(), u32::from(it.prefix()) + 96, record)
                }
                IpNetwork::V6(it) => writer.network(it.ip().into(), it.prefix().into(), record),
            }
        }
        fs::write(self.file(name), writer.bytes()).unwrap();
        self.file(name)
    }

    fn diff(&self, new: &[&Path], old: &[&Path], json: bool) -> (Exit, String) {
        let args = DiffArgs {
            new: new.iter().map(|it| it.to_path_buf()).collect(),
            old: old.iter().map(|it| it.to_path_buf()).collect(),
            config: self.file("policy.toml"),
            limit: 2,
            json,
        };
        let mut out = Vec::new();
        let exit = run(&Args { command: Command::Diff(args) }, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap().replace(self.folder.path().to_str().unwrap(), "/geo"))
    }
}

const OLD: [(&str, &str); 3] = [("198.51.100.0/24", "IE"), ("203.0.113.0/24", "US"), ("2001:db8::/32", "IE")];
const NEW: [(&str, &str); 4] = [
    ("198.51.100.0/25", "IE"),
    ("198.51.100.128/25", "US"),
    ("203.0.113.0/26", "BE"),
    ("2001:db8::/32", "IE"),
];

#[test]
fn what_moves_is_listed_with_what_pins_would_do() {
    let bed = Bed::new("");
    let (old, new) = (bed.database("old.mmdb", &OLD), bed.database("new.mmdb", &NEW));
    let (exit, shown) = bed.diff(&[&new], &[&old], false);
    let expected = "\
old: Test-Country from /geo/old.mmdb, made 2026-09-21
new: Test-Country from /geo/new.mmdb, made 2026-09-21

pins: destinations that change (IPv6 in /64 networks)
  pin   family    permits now  would drop  would permit  change
  mail  IPv4              256         128            64  75.00%
  mail  IPv6    4,294,967,296           0             0   0.00%

networks that change their jurisdiction: 4
  network            from  to  pins
  198.51.100.128/25  IE    US  drops mail
  203.0.113.0/26     US    BE  permits mail
  and 2 more; --limit 0 lists all

the pin mail changes by 75.00%, more than 25% (geo.ask_above): it would wait for
`borderguard geo accept`
";
    assert_eq!((exit, shown.as_str()), (Exit::Failed, expected));
    let (exit, shown) = bed.diff(&[&new], &[&old], true);
    let object: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((exit, &object["would_wait"]), (Exit::Failed, &json!(true)));
    let networks = object["networks"].as_array().unwrap();
    assert_eq!(
        networks.iter().map(|it| it["network"].as_str().unwrap()).collect::<Vec<_>>(),
        ["198.51.100.128/25", "203.0.113.0/26", "203.0.113.64/26", "203.0.113.128/25"]
    );
    assert_eq!(networks[0]["drops"], json!(["mail"]));
    assert_eq!(
        networks[2],
        json!({"network": "203.0.113.64/26", "from": "US", "to": "unknown", "drops": [], "permits": []})
    );
    assert_eq!(
        object["pins"][0]["ipv4"],
        json!({"permitted": 256, "dropped": 128, "opened": 64, "percent": 75.0})
    );
    let (exit, shown) = bed.diff(&[&old], &[&old], false);
    assert!(
        exit == Exit::Ok && shown.contains("jurisdiction: 0\n") && shown.contains("it would be taken"),
        "{shown}"
    );
}

#[test]
fn without_files_the_kept_one_is_compared_with_those_of_the_config() {
    let bed = Bed::new("ask_above = \"never\"");
    bed.database("files.mmdb", &NEW);
    let args = || DiffArgs {
        new: Vec::new(),
        old: Vec::new(),
        config: bed.file("policy.toml"),
        limit: 0,
        json: false,
    };
    let error = run(&Args { command: Command::Diff(args()) }, &mut Vec::new()).unwrap_err();
    assert!(
        error.to_string().contains("no daemon has kept a database in")
            && error.to_string().contains("--old FILE")
    );
    let old = crate::geo::mmdb::read(&bed.database("old.mmdb", &OLD)).unwrap();
    last_database::write(&bed.file("state"), &old).unwrap();
    let (exit, shown) = bed.diff(&[], &[], false);
    assert_eq!(exit, Exit::Ok, "{shown}");
    assert!(shown.contains("jurisdiction: 4\n") && shown.contains("no change waits for a yes"), "{shown}");
    fs::write(bed.file("bad.mmdb"), "no database").unwrap();
    let bad = DiffArgs { new: vec![bed.file("bad.mmdb")], ..args() };
    let error = run(&Args { command: Command::Diff(bad) }, &mut Vec::new()).unwrap_err();
    assert_eq!(crate::cli::exit_of(&error), Exit::BadInput);
}

#[test]
fn a_part_of_a_network_counts_as_one() {
    assert_eq!((networks_of(0, 64), networks_of(1, 64), networks_of(1 << 64, 64)), (0, 1, 1));
    assert_eq!((networks_of((1 << 64) + 1, 64), networks_of(7, 0)), (2, 7));
    assert_eq!(networks_of(u128::MAX, 64), u64::MAX);
}
