//! Sites against what the host's databases say of them.

use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;

use super::host::now;
use super::{GOOD, small_groups};
use crate::config::host::{GeoFault, HostView, SeenInterface, SeenVolume};
use crate::config::policy::{NamedPack, Policy};
use crate::config::{Surroundings, parse};
use crate::geo::{GeoDb, Info, Runs};

#[test]
fn sites_are_held_against_the_database_of_the_host() {
    /// A host whose database has all IPv4 addresses in Belgium.
    struct Belgium;
    impl HostView for Belgium {
        fn now(&self) -> Timestamp {
            now()
        }
        fn geo(&self, _: &Policy) -> Result<Option<GeoDb>, Vec<GeoFault>> {
            let place = Jurisdiction::from_alpha2(*b"BE").unwrap();
            let info = Info { generated: Some(now()), ..Info::default() };
            let v4 = Runs { starts: vec![0], places: vec![place] };
            Ok(Some(GeoDb { v4, v6: Runs::unknown(), info }))
        }
        fn pin_path_fault(&self, _: &Path) -> Option<String> {
            None
        }
        fn state_fault(&self, _: &Path) -> Option<String> {
            None
        }
        fn socket_fault(&self, _: &Path) -> Option<String> {
            None
        }
        fn law_fault(&self, _: &NamedPack) -> Option<String> {
            None
        }
        fn signers_fault(&self, _: &Path) -> Option<String> {
            None
        }
        fn group_fault(&self, _: &str) -> Option<String> {
            None
        }
        fn uid_of(&self, _: &str) -> Result<u32, String> {
            Ok(1)
        }
        fn sender_fault(&self) -> Option<String> {
            None
        }
        fn ephemeral_ports(&self) -> Option<(u16, u16)> {
            None
        }
        fn forwards(&self) -> bool {
            false
        }
        fn carrier_fault(&self) -> Option<String> {
            None
        }
        fn volume(&self, _: &Path) -> SeenVolume {
            SeenVolume::Mounted
        }
        fn has_cgroup(&self, _: &str) -> bool {
            true
        }
        fn interfaces(&self) -> Option<Vec<SeenInterface>> {
            None
        }
    }
    let surroundings = Surroundings { groups: &small_groups, ..Surroundings::of_host(&Belgium) };
    let codes = |text: &str| -> Vec<&str> {
        let found = parse(Path::new("policy.toml"), text.as_bytes(), &surroundings).unwrap();
        found.warnings.iter().map(|it| it.kind.code()).filter(|code| *code != "ports-alone").collect()
    };
    assert_eq!(codes(&GOOD.replace("10.1.0.0/16", "9.1.0.0/16")), ["site-contradicts-database"]);
    assert_eq!(codes(GOOD), [""; 0], "what a database says of private addresses counts for nothing");
}
