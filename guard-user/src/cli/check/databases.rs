//! What `check` tells of each geo database: its age, its families and its size.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::table::{plain, write_wrapped};
use crate::geo::{Info, Warning};
use crate::report::number::grouped;

/// Below a database's name.
const BELOW: &str = "  ";

/// Two lines or more for each.
pub(super) fn write(databases: &[Info], now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    for info in databases {
        write_wrapped("", BELOW, &format!("geo database: {}", plain(&info.source)), out)?;
        let [v4, v6] = families(info);
        let families = match (v4, v6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4 alone",
            (false, true) => "IPv6 alone",
            (false, false) => "no address",
        };
        let made = match (info.generated, days(info, now)) {
            // The file's clock or this host's is wrong.
            (Some(made), Some(days)) if days < 0 => {
                format!("made {}, {} days from now", made.strftime("%Y-%m-%d"), -days)
            }
            (Some(made), Some(days)) => format!("made {}, {days} days ago", made.strftime("%Y-%m-%d")),
            _ => "without a date".to_owned(),
        };
        let mut facts = vec![made, families.to_owned()];
        facts.extend(info.bytes.map(|bytes| format!("{} bytes", grouped(bytes))));
        if info.records > 0 {
            let (records, unplaced) = (grouped(info.records as u64), grouped(info.unplaced() as u64));
            facts.push(format!("{records} records, {unplaced} of them without a country"));
        }
        write_wrapped(BELOW, BELOW, &facts.join("; "), out)?;
    }
    Ok(())
}

/// One object.
pub(super) fn json(info: &Info, now: Timestamp) -> Value {
    let [v4, v6] = families(info);
    json!({
        "source": info.source,
        "file": info.path.as_ref().map(|path| path.to_string_lossy()),
        "generated": info.generated.map(|made| made.to_string()),
        "age_days": days(info, now),
        "ipv4": v4,
        "ipv6": v6,
        "bytes": info.bytes,
        "records": info.records,
        "unplaced": info.unplaced(),
    })
}

/// Whether it says anything of IPv4, and of IPv6.
fn families(info: &Info) -> [bool; 2] {
    [Warning::NoIpv4, Warning::NoIpv6].map(|lack| !info.warnings.contains(&lack))
}

fn days(info: &Info, now: Timestamp) -> Option<i64> {
    info.age(now).map(|age| age.as_hours() / 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_tells_its_age_families_and_size() {
        let now = "2026-11-08T12:00:00Z".parse().unwrap();
        let mut info = Info {
            source: "Test-Country from /a.mmdb".to_owned(),
            path: Some("/a.mmdb".into()),
            generated: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            bytes: Some(12_345),
            records: 1_000,
            warnings: vec![Warning::NoIpv6],
            ..Info::default()
        };
        info.skipped.insert("EU".to_owned(), 12);
        let undated = Info { source: "x".repeat(90), ..Info::default() };
        let mut out = Vec::new();
        write(&[info.clone(), undated], now, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let expected = format!(
            "geo database: Test-Country from /a.mmdb\n  made 2026-11-01, 7 days ago; IPv4 alone; 12,345 bytes; 1,000 \
             records, 12 of\n  them without a country\ngeo database:\n  {}\n  without a date; IPv4 and IPv6\n",
            "x".repeat(90)
        );
        assert_eq!(shown, expected);
        let object = json(&info, now);
        assert_eq!(
            (&object["age_days"], &object["ipv4"], &object["ipv6"]),
            (&json!(7), &json!(true), &json!(false))
        );
        assert_eq!((&object["unplaced"], &object["file"]), (&json!(12), &json!("/a.mmdb")));

        info.generated = Some("2026-11-20T12:00:00Z".parse().unwrap());
        let mut out = Vec::new();
        write(&[info], now, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.contains("made 2026-11-20, 12 days from now;"), "{shown}");
    }
}
