//! Files of other formats: geo databases and captures.

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use guard_common::packet::Link;
use guard_user::explain::capture;
use guard_user::explain::frames::parse_frame;
use guard_user::geo::mmdb;

use super::target::Target;
use crate::frames::frames;
use crate::geo_file::countries;
use crate::pcap::{LinkType, Writer};

pub(super) const DATABASE: Target = Target {
    name: "database",
    what: "a geo database (MMDB)",
    needs_bpf: false,
    take: database,
    seeds: databases,
    longest: 1 << 14,
};

pub(super) const CAPTURE: Target = Target {
    name: "capture",
    what: "a capture (pcap or pcapng)",
    needs_bpf: false,
    take: captured,
    seeds: captures,
    longest: 1 << 12,
};

fn database(input: &[u8]) {
    let Ok(database) = mmdb::parse(input, Path::new("fuzz.mmdb")) else { return };
    // Every address has one place, also at the ends.
    let ends = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::BROADCAST].map(IpAddr::V4);
    let ends_v6 = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)].map(IpAddr::V6);
    for address in ends.into_iter().chain(ends_v6) {
        let _place = database.lookup(address);
    }
    assert!(database.v4.starts.windows(2).all(|it| it[0] < it[1]), "{:?}", database.v4.starts);
    assert!(database.v6.starts.windows(2).all(|it| it[0] < it[1]), "{:?}", database.v6.starts);
}

fn captured(input: &[u8]) {
    let mut frames = 0;
    let read = capture::read(Cursor::new(input), |frame| {
        frames += 1;
        assert_eq!(frame.number, frames);
        let _read = parse_frame(frame.link, frame.bytes);
        Ok(())
    });
    if let Ok(number) = read {
        assert_eq!(number, frames);
    }
}

fn databases() -> Result<Vec<Vec<u8>>> {
    let networks = [("192.0.2.0/24", "IE"), ("198.51.100.0/24", "BE"), ("2001:db8::/32", "US")];
    Ok(vec![countries(&networks)?, countries(&networks[..1])?])
}

fn captures() -> Result<Vec<Vec<u8>>> {
    let mut captures = Vec::new();
    for (link_type, link) in [(LinkType::Ethernet, Link::Ethernet), (LinkType::RawIp, Link::Raw)] {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, link_type)?;
        for (_, frame) in frames().into_iter().filter(|(of, _)| *of == link).step_by(91).take(8) {
            writer.write(Duration::from_secs(1), &frame)?;
        }
        writer.finish()?;
        captures.push(bytes);
    }
    Ok(captures)
}
