use std::net::Ipv4Addr;

use guard_common::abi::{Place, PlacedBy};

use super::super::{Attachment, LinkType};
use super::*;

/// Geo tables in which everything is in Ireland.
fn geo() -> GeoImage {
    let ireland = Place::new("IE".parse().unwrap(), PlacedBy::Database);
    let first = u32::from(Ipv4Addr::UNSPECIFIED);
    GeoImage::build([(first, ireland)].into_iter(), [(0, ireland)].into_iter()).unwrap()
}

/// A table with exemptions in these slots, each with an account of its own.
fn table(generation: u64, slots: &[u16]) -> Box<PolicyTable> {
    let mut table = PolicyTable::zeroed();
    table.generation = generation;
    for &slot in slots {
        table.dimensions |= dimension::EXEMPTION;
        table.exempt_pins[0][usize::from(slot) / 64] |= 1 << (slot % 64);
        table.exemptions[usize::from(slot)] = Exemption {
            pins: 1,
            valid_from_ns: 100,
            valid_until_ns: 200,
            quota: 1000,
            account: slot.into(),
            pad: 0,
        };
    }
    table
}

fn started() -> (MemoryKernel, Host) {
    let mut kernel = MemoryKernel::new();
    kernel.publish(&table(1, &[]), Some(&geo())).unwrap();
    let host = kernel.host();
    (kernel, host)
}

fn attach(kernel: &mut MemoryKernel, nic: Nic, ingress: bool) {
    let interface = kernel.host().interface(nic).unwrap();
    kernel.attach(&interface, ingress).unwrap();
}

fn attachments(kernel: &mut MemoryKernel, name: &str) -> Vec<Attachment> {
    let observed = kernel.observe().unwrap();
    observed.interfaces.into_iter().find(|it| it.interface.name == name).unwrap().attachments
}

#[test]
fn generations_rise_and_the_first_one_brings_geo_tables() {
    let mut kernel = MemoryKernel::new();
    assert!(matches!(kernel.publish(&table(1, &[]), None), Err(KernelError::NoGeo)));
    let lo = kernel.observe().unwrap().interfaces[0].interface.clone();
    assert!(matches!(kernel.attach(&lo, false), Err(KernelError::NotPublished)));
    kernel.publish(&table(4, &[]), Some(&geo())).unwrap();
    let old = kernel.publish(&table(4, &[]), None);
    assert!(matches!(old, Err(KernelError::OldGeneration { given: 4, live: 4 })), "{old:?}");
    let host = kernel.host();
    host.fail(Operation::Publish, Failure::Next(1));
    assert!(kernel.publish(&table(5, &[]), None).is_err() && kernel.generation() == 4);
    host.fail(Operation::Wait, Failure::Always);
    let flipped = kernel.publish(&table(6, &[]), None);
    assert!(
        matches!(flipped, Err(KernelError::GracePeriod { generation: 6, .. })) && kernel.generation() == 6
    );
    host.mend();
    kernel.publish(&table(7, &[]), None).unwrap();
    assert_eq!((host.published(), host.calls(Operation::Publish)), (vec![4, 6, 7], 6));
    host.live(|table| assert_eq!(table.map(|table| table.generation), Some(7)));
}

#[test]
fn what_the_live_table_opens_is_known_by_window_and_quota() {
    let (mut kernel, host) = started();
    assert_eq!((host.exemptions(), host.open_accounts(150)), (vec![], [].into()));
    kernel.publish(&table(2, &[3, 200]), None).unwrap();
    let slots: Vec<u16> = host.exemptions().into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(slots, [3, 200]);
    assert_eq!((host.open_accounts(99), host.open_accounts(100)), ([].into(), [3, 200].into()));
    assert_eq!((host.open_accounts(199), host.open_accounts(200)), ([3, 200].into(), [].into()));
    host.spend(3, ExemptionUse { bytes: 900, packets: 1, charged: 1000 });
    assert_eq!(host.open_accounts(150), [200].into());
    assert_eq!(kernel.exemption_uses().unwrap()[3].bytes, 900);
    kernel.reset_exemption_use(3, ExemptionUse::default()).unwrap();
    assert_eq!(host.open_accounts(150), [3, 200].into());
    assert!(kernel.reset_exemption_use(256, ExemptionUse::default()).is_err());
    // An exemption of no pin's opens nothing, nor does one whose dimension the table leaves out.
    let mut odd = table(3, &[3, 4]);
    odd.exempt_pins[0][0] &= !(1 << 3);
    assert_eq!(exemptions(&odd).len(), 1);
    odd.dimensions = 0;
    assert_eq!(exemptions(&odd), []);
}

#[test]
fn attachments_follow_the_interface_itself() {
    let (mut kernel, host) = started();
    let (eth0, eth1) = (host.add("eth0"), host.add("eth1"));
    attach(&mut kernel, eth0, true);
    let before = attachments(&mut kernel, "eth0");
    assert_eq!(before.len(), 2);
    host.rename(eth0, "stor0");
    assert_eq!(attachments(&mut kernel, "stor0"), before);
    host.swap_names(eth0, eth1);
    assert_eq!(attachments(&mut kernel, "eth1"), before);

    // Another one gets the index: it is not guarded, and has entries of its own when it is.
    let index = host.interface(eth0).unwrap().index;
    host.move_away(eth0);
    let twin = host.add_with("eth1", index, LinkType::ETHERNET);
    let observed = kernel.observe().unwrap();
    assert!(observed.strays.len() == 2 && observed.strays.iter().all(|stray| stray.is_alive), "{observed:?}");
    assert!(matches!(kernel.forget(&observed.strays[0]), Err(KernelError::StillAttached { .. })));
    assert_eq!(attachments(&mut kernel, "eth1"), []);
    attach(&mut kernel, twin, false);
    assert!(host.is_guarded(eth0) && host.is_guarded(twin) && !host.is_guarded_at_ingress(twin));
    kernel.release(&host.interface(twin).unwrap()).unwrap();
    assert!(host.is_guarded(eth0) && !host.is_guarded(twin));

    host.move_back(eth0);
    assert_ne!(host.interface(eth0).unwrap().index, index, "it is taken");
    let observed = kernel.observe().unwrap();
    assert_eq!((observed.strays.len(), host.is_guarded_at_ingress(eth0)), (0, true));

    host.delete(eth0);
    let observed = kernel.observe().unwrap();
    assert!(observed.strays.len() == 2 && observed.strays.iter().all(|stray| !stray.is_alive));
    observed.strays.iter().for_each(|stray| kernel.forget(stray).unwrap());
    assert_eq!(kernel.observe().unwrap().strays, []);
}

#[test]
fn what_an_attacker_does_is_seen() {
    let (mut kernel, host) = started();
    let eth0 = host.add("eth0");
    attach(&mut kernel, eth0, true);
    host.put_before(eth0, &["evil"]);
    assert_eq!(attachments(&mut kernel, "eth0")[0].before, ["evil"]);
    host.put_before(eth0, &[]);

    host.remove_entry(eth0, Hook::Egress);
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.missing_entries, ["links/2-eth0-egress"]);
    assert!(!observed.interfaces[1].attachments[0].is_kept && host.is_guarded(eth0));
    host.remove_folder();
    let missing = kernel.observe().unwrap().missing_entries;
    assert_eq!(missing, [".", "maps/CONTROL", "links/2-eth0-egress", "links/2-eth0-ingress"]);
    kernel.restore_entries().unwrap();
    assert_eq!(kernel.observe().unwrap().missing_entries, [""; 0]);

    host.take_off(eth0, Hook::Egress);
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.interfaces[1].at(Hook::Egress), None);
    assert_eq!((observed.strays.len(), observed.strays[0].is_alive), (1, false));
    attach(&mut kernel, eth0, true);
    let observed = kernel.observe().unwrap();
    assert_eq!((observed.strays.len(), observed.interfaces[1].attachments.len()), (0, 2));
}

#[test]
fn a_process_that_ends_leaves_what_has_an_entry() {
    let (mut kernel, host) = started();
    let (eth0, eth1) = (host.add("eth0"), host.add("eth1"));
    attach(&mut kernel, eth0, false);
    attach(&mut kernel, eth1, false);
    kernel.hold(7, true).unwrap();
    kernel.hold(8, true).unwrap();
    kernel.hold(8, false).unwrap();
    host.remove_entry(eth1, Hook::Egress);
    drop(kernel);
    let mut kernel = host.open();
    assert!(kernel.adopted() && kernel.generation() == 1 && kernel.held().unwrap() == [7].into());
    assert!(host.is_guarded(eth0) && !host.is_guarded(eth1));
    let old = attachments(&mut kernel, "eth0")[0].clone();
    assert!(!old.is_current);
    attach(&mut kernel, eth0, false);
    let new = attachments(&mut kernel, "eth0")[0].clone();
    assert!(new.is_current && new.link == old.link && new.program != old.program);
    attach(&mut kernel, eth0, false);
    assert_eq!(attachments(&mut kernel, "eth0"), [new], "nothing changes when it is asked for again");
}

#[test]
fn a_process_that_finds_no_maps_begins_anew() {
    let (mut kernel, host) = started();
    let (eth0, eth1) = (host.add("eth0"), host.add("eth1"));
    attach(&mut kernel, eth0, true);
    kernel.hold(7, true).unwrap();
    host.remove_folder();
    // Guarded, and kept by the process alone.
    attach(&mut kernel, eth1, false);
    assert!(host.is_guarded(eth1) && !attachments(&mut kernel, "eth1")[0].is_kept);
    let mut kernel = host.open();
    assert!(!kernel.adopted() && kernel.generation() == 0 && kernel.held().unwrap().is_empty());
    assert!(!host.is_guarded(eth0) && !host.is_guarded(eth1));
    assert_eq!(kernel.observe().unwrap().missing_entries, [""; 0]);
}

#[test]
fn of_two_ingress_links_on_one_index_the_wrong_one_is_never_taken_off() {
    let (mut kernel, host) = started();
    let eth0 = host.add("eth0");
    attach(&mut kernel, eth0, true);
    host.move_away(eth0);
    let twin = host.add_with("eth0", host.interface(eth0).unwrap().index, LinkType::ETHERNET);
    attach(&mut kernel, twin, true);
    let interface = host.interface(twin).unwrap();
    assert!(matches!(kernel.release(&interface), Err(KernelError::Ambiguity { .. })));
    assert!(host.is_guarded_at_ingress(eth0) && host.is_guarded_at_ingress(twin));
    host.delete(eth0);
    kernel.release(&interface).unwrap();
    assert!(!host.is_guarded_at_ingress(twin));
}

#[test]
fn failures_come_when_they_are_asked_for() {
    let (mut kernel, host) = started();
    let eth0 = host.add("eth0");
    let interface = host.interface(eth0).unwrap();
    host.fail(Operation::AttachIngress, Failure::Always);
    assert!(kernel.attach(&interface, true).is_err());
    assert!(host.is_guarded(eth0) && !host.is_guarded_at_ingress(eth0), "egress stays guarded");
    host.fail(Operation::Observe, Failure::Next(2));
    let looks: Vec<bool> = (0..3).map(|_| kernel.observe().is_ok()).collect();
    assert_eq!(looks, [false, false, true]);
    host.fail(Operation::Release, Failure::Next(1));
    assert!(kernel.release(&interface).is_err() && host.is_guarded(eth0));

    // What can't be looked at is as it was, and is named.
    host.hide(eth0, true);
    host.take_off(eth0, Hook::Egress);
    let observed = kernel.observe().unwrap();
    assert_eq!((observed.blind.len(), observed.interfaces[1].attachments.len()), (1, 1));
    host.hide(eth0, false);
    assert_eq!(attachments(&mut kernel, "eth0"), []);

    let can = host.add_with("can0", 9, LinkType(280));
    let refused = kernel.attach(&host.interface(can).unwrap(), false);
    assert!(matches!(refused, Err(KernelError::LinkType { .. })));
    host.delete(can);
    let gone = Interface { index: 9, name: "can0".to_owned(), link_type: LinkType(280) };
    assert!(matches!(kernel.attach(&gone, false), Err(KernelError::NoInterface { .. })));
    kernel.release(&gone).unwrap();
}
