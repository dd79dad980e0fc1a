//! The policy of a trial: the host's own, with a pin of the trial's beside its pins, and with places for its destinations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use crate::config::policy::{Policy, Site};
use crate::config::{self, ConfigErrors, Surroundings, limits};

/// The name of the trial's own pin, which no pin of a config can have.
pub(super) const OWN_PIN: &str = "(self-test)";
/// It is at home in one country, and the destination that it forbids is in another.
const OWN: &str = r#"approval = "none"
[host]
interfaces = ["selftest0"]
[[site]]
name = "abroad"
jurisdiction = "US"
cidrs = ["203.0.113.99/32", "3fff:fff:0:bd:0:1::/128"]
[[pin]]
name = "own"
home = "IE"
action = "drop"
[pin.select]
sources = ["198.51.100.250/32", "3fff:fff:0:bd:0:2::/128"]
"#;

/// From where the trial's own pin sends.
pub(super) const FROM_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 250);
pub(super) const FROM_V6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0xfff, 0, 0xbd, 0, 2, 0, 0);
/// Where that pin forbids it to send.
pub(super) const ABROAD_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);
pub(super) const ABROAD_V6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0xfff, 0, 0xbd, 0, 1, 0, 0);

/// The policy of a trial. The trial's own pin is the last one; it is left out where there is no room for it.
///
/// # Errors
/// Where the trial's own pin can't be read.
pub(super) fn of_trial(mut policy: Policy) -> Result<Policy, ConfigErrors> {
    let own = config::parse(Path::new(OWN_PIN), OWN.as_bytes(), &Surroundings::new(None))?.policy;
    policy.sites.extend(own.sites);
    for mut pin in own.pins {
        if policy.pins.len() < limits::PINS {
            pin.name = OWN_PIN.to_owned();
            policy.pins.push(pin);
        }
    }
    let homes = homes(&policy);
    policy.sites.extend((0_u8..).zip(homes).map(|(number, jurisdiction)| {
        let [v4, v6] = at_home(number);
        let name = format!("(self-test) {jurisdiction}");
        Site { name, jurisdiction, cidrs: vec![IpNetwork::from(v4), IpNetwork::from(v6)], line: 1 }
    }));
    Ok(policy)
}

/// An address that is placed at this home, of the same family as another address.
pub(super) fn home_address(policy: &Policy, home: Jurisdiction, like: IpAddr) -> Option<IpAddr> {
    let number = homes(policy).iter().position(|it| *it == home)?;
    let [v4, v6] = at_home(u8::try_from(number).ok()?);
    Some(if like.is_ipv4() { v4 } else { v6 })
}

/// The homes of the pins, each once.
fn homes(policy: &Policy) -> Vec<Jurisdiction> {
    let mut homes: Vec<Jurisdiction> = Vec::new();
    for pin in policy.distinct_pins().filter(|pin| pin.home.is_country()) {
        if !homes.contains(&pin.home) {
            homes.push(pin.home);
        }
    }
    homes
}

/// The documentation addresses for the home of this number (RFC 5737, RFC 9637), of which there are
/// [`limits::PINS`] at most.
fn at_home(number: u8) -> [IpAddr; 2] {
    let v4 = Ipv4Addr::new(203, 0, 113, number.saturating_add(100));
    [v4.into(), Ipv6Addr::new(0x3fff, 0xfff, 0, 0xbd, 0, 0, 0, u16::from(number) + 1).into()]
}
