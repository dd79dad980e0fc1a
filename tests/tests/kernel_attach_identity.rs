//! An attachment is known by what it is: renamed interfaces, swapped names, indexes given anew, moves to another
//! network namespace, entries that somebody removed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs;
use std::path::Path;

use aya::programs::links::PinnedLink;
use guard_common::abi::Hook;
use guard_common::verdict::Reason;
use guard_tests::bpffs;
use guard_user::kernel::{
    Attachment, How, Interface, Kernel as _, KernelError, LinuxKernel, Marks, Observed, ObservedInterface,
    View,
};
use support::{
    FrameSocket, Network, PinPlace, STORAGE, add_address, add_veth, add_veth_with_index, delete, frame,
    guarded, in_own_network, rename, rename_to_bytes, set_up,
};

fn found<'a>(observed: &'a Observed, name: &str) -> &'a ObservedInterface {
    let mut all = observed.interfaces.iter();
    all.find(|it| it.interface.name == name).unwrap_or_else(|| panic!("{name} is not in {observed:#?}"))
}

/// The links and programs of an interface, by hook.
fn identity(it: &ObservedInterface) -> Vec<(Hook, u32, u32)> {
    it.attachments.iter().map(|found| (found.hook, found.link, found.program)).collect()
}

fn look(kernel: &mut LinuxKernel) -> Observed {
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.blind, [""; 0], "everything can be looked at");
    observed
}

/// Whether egress is by TCX, whose links go with their interface, where clsact filters do not.
fn has_tcx(it: &ObservedInterface) -> bool {
    it.at(Hook::Egress).unwrap().how == How::Tcx
}

fn forbidden(view: &View) -> u64 {
    let totals = view.totals().unwrap();
    totals.iter().filter(|row| row.reason == Reason::Forbidden).map(|row| row.count.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_renamed_interface_is_still_shown_guarded() {
    let pins = PinPlace::new("renamed");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let before = found(&look(&mut kernel), "bgk0").clone();
        rename("bgk0", "bgk0.7");
        let observed = look(&mut kernel);
        let after = found(&observed, "bgk0.7");
        assert_eq!(
            (after.interface.index, &after.attachments),
            (before.interface.index, &before.attachments)
        );
        assert_eq!((&observed.strays, &observed.missing_entries), (&vec![], &vec![]));
        FrameSocket::on("bgk0.7").send(&frame(STORAGE));
        assert_eq!(forbidden(&kernel), 1);

        // Guarded under its new name it is the same one; another one takes the old name and is guarded too.
        add_veth("bgk0", "bgk2");
        assert_eq!(found(&look(&mut kernel), "bgk0").attachments, []);
        for name in ["bgk0", "bgk0.7"] {
            kernel.attach(&Interface::by_name(name).unwrap(), true).unwrap();
        }
        let observed = look(&mut kernel);
        assert_eq!(identity(found(&observed, "bgk0.7")), identity(&before));
        assert_eq!(found(&observed, "bgk0").attachments.len(), 2);

        // Released is the one that is asked for.
        kernel.release(&found(&observed, "bgk0.7").interface).unwrap();
        let observed = look(&mut kernel);
        assert_eq!((found(&observed, "bgk0.7").attachments.len(), &observed.strays), (0, &vec![]));
        assert_eq!(found(&observed, "bgk0").attachments.len(), 2);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn interfaces_that_swap_their_names_keep_what_is_on_them() {
    let pins = PinPlace::new("swapped");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        add_veth("bgk2", "bgk3");
        kernel.attach(&Interface::by_name("bgk2").unwrap(), false).unwrap();
        let before = look(&mut kernel);
        rename("bgk0", "bgk-aside");
        rename("bgk2", "bgk0");
        rename("bgk-aside", "bgk2");
        let after = look(&mut kernel);
        assert_eq!(identity(found(&after, "bgk2")), identity(found(&before, "bgk0")));
        assert_eq!(identity(found(&after, "bgk0")), identity(found(&before, "bgk2")));
        // Asked for again by their new names, nothing is made twice.
        kernel.attach(&found(&after, "bgk0").interface, true).unwrap();
        kernel.attach(&found(&after, "bgk2").interface, true).unwrap();
        let again = look(&mut kernel);
        assert_eq!(identity(found(&again, "bgk2")), identity(found(&before, "bgk0")));
        assert_eq!(found(&again, "bgk0").attachments.len(), 2);
        // And they are known by the names by which they were asked for.
        let mut egress = found(&after, "bgk0").at(Hook::Egress).cloned().unwrap();
        assert_eq!(egress.attached_as, "bgk2");
        "bgk0".clone_into(&mut egress.attached_as);
        assert_eq!(found(&again, "bgk0").at(Hook::Egress), Some(&egress));
        assert_eq!(again.strays, []);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_with_the_index_of_another_one_is_not_taken_for_guarded() {
    let pins = PinPlace::new("index");
    in_own_network(|| {
        let elsewhere = Network::new();
        let mut kernel = guarded(&pins, "\"IE\"", false);
        let first = found(&look(&mut kernel), "bgk0").clone();
        let index = first.interface.index;
        elsewhere.take("bgk0");
        add_veth_with_index("bgk0", index, "bgk2");
        let observed = look(&mut kernel);
        let second = found(&observed, "bgk0");
        assert_eq!((second.interface.index, &second.attachments), (index, &vec![]), "it was never guarded");
        if has_tcx(&first) {
            let [stray] = &observed.strays[..] else { panic!("{:?}", observed.strays) };
            assert!(stray.is_alive && stray.interface == "bgk0", "{stray:?}");
            let kept = kernel.forget(stray).unwrap_err();
            assert!(matches!(kept, KernelError::StillAttached { .. }), "{kept}");
        }

        // Guarded, it has an entry of its own, and the other one's link stays where it is.
        kernel.attach(&second.interface, false).unwrap();
        let observed = look(&mut kernel);
        let egress = found(&observed, "bgk0").at(Hook::Egress).unwrap();
        assert!(egress.is_kept && egress.is_current, "{egress:?}");
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(forbidden(&kernel), 1);
        kernel.release(&second.interface).unwrap();
        assert_eq!(found(&look(&mut kernel), "bgk0").attachments, []);
        if has_tcx(&first) {
            elsewhere.run(|| {
                set_up("bgk0");
                FrameSocket::on("bgk0").send(&frame(STORAGE));
            });
            assert_eq!(forbidden(&kernel), 2, "what was moved away is guarded there");
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn of_two_ingress_links_on_one_index_the_wrong_one_is_never_taken_off() {
    let pins = PinPlace::new("twins");
    in_own_network(|| {
        let elsewhere = Network::new();
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let first = found(&look(&mut kernel), "bgk0").clone();
        elsewhere.take("bgk0");
        add_veth_with_index("bgk0", first.interface.index, "bgk2");
        let second = found(&look(&mut kernel), "bgk0").clone();
        assert_eq!(second.attachments, []);
        kernel.attach(&second.interface, true).unwrap();
        let observed = look(&mut kernel);
        let both = &found(&observed, "bgk0").attachments;
        assert_eq!(both.iter().filter(|it| it.is_current && it.is_kept).count(), 2, "{both:?}");
        // Both run the same program on the same index: the kernel does not show which is here.
        let refused = kernel.release(&second.interface).unwrap_err();
        assert!(matches!(refused, KernelError::Ambiguity { .. }), "{refused}");

        // A new daemon renews both.
        drop(kernel);
        let mut kernel = pins.open();
        kernel.attach(&second.interface, true).unwrap();
        let observed = look(&mut kernel);
        assert!(found(&observed, "bgk0").attachments.iter().all(|it| it.is_current && it.is_kept));
        // When the other one is gone, so is the doubt.
        elsewhere.run(|| delete("bgk0"));
        kernel.release(&second.interface).unwrap();
        assert_eq!(found(&look(&mut kernel), "bgk0").attachments, []);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_that_was_moved_away_and_back_is_seen_as_it_is() {
    let pins = PinPlace::new("moved");
    in_own_network(|| {
        let (here, elsewhere) = (Network::here(), Network::new());
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let before = found(&look(&mut kernel), "bgk0").clone();
        elsewhere.take("bgk0");
        let away = look(&mut kernel);
        assert!(away.interfaces.iter().all(|it| it.interface.name != "bgk0"));
        let alive = away.strays.iter().filter(|stray| stray.is_alive).count();
        assert_eq!(alive, if has_tcx(&before) { 2 } else { 1 }, "{:?}", away.strays);

        elsewhere.run(|| here.take("bgk0"));
        set_up("bgk0");
        let back = look(&mut kernel);
        let after = found(&back, "bgk0");
        assert_eq!(after.at(Hook::Ingress), before.at(Hook::Ingress));
        if has_tcx(&before) {
            assert_eq!(identity(after), identity(&before));
        } else {
            // The qdisc went with the namespace.
            assert_eq!(after.at(Hook::Egress), None);
            kernel.attach(&after.interface, true).unwrap();
        }
        assert_eq!(back.strays.iter().filter(|stray| stray.is_alive).count(), 0);
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(forbidden(&kernel), 1);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_name_that_is_not_utf_8_hides_neither_its_interface_nor_others() {
    let pins = PinPlace::new("bytes");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        add_veth("bgk2", "bgk3");
        rename_to_bytes("bgk2", b"n\xffm.1");
        rename_to_bytes("bgk3", b"n\xfem.1");
        let observed = look(&mut kernel);
        assert_eq!(found(&observed, "bgk0").attachments.len(), 2);
        let odd = found(&observed, "n\\xffm.1").interface.clone();
        assert_eq!(found(&observed, "n\\xfem.1").attachments, []);
        kernel.attach(&odd, true).unwrap();
        let observed = look(&mut kernel);
        let attachments = &found(&observed, "n\\xffm.1").attachments;
        assert_eq!(attachments.iter().filter(|it| it.is_current && it.is_kept).count(), 2, "{attachments:?}");
        assert_eq!(found(&observed, "n\\xfem.1").attachments, []);
        delete("n\\xffm.1");
        for stray in &look(&mut kernel).strays {
            assert_eq!(stray.interface, "n\\xffm.1");
            kernel.forget(stray).unwrap();
        }
        assert_eq!(look(&mut kernel).strays, []);
    });
}

/// Hooks whose link has no entry.
fn unkept(observed: &Observed, name: &str) -> Vec<Hook> {
    let attachments = found(observed, name).attachments.iter();
    attachments.filter(|it| !it.is_kept).map(|it| it.hook).collect()
}

/// Removes everything below a folder.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { empty(&path) } else { fs::remove_file(&path).unwrap() }
    }
    fs::remove_dir(folder).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn an_entry_that_was_removed_is_missed_and_made_anew_and_the_link_stays() {
    let pins = PinPlace::new("entry");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let before = look(&mut kernel);
        let links = pins.path().join("links");
        let names: Vec<String> = fs::read_dir(&links)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.iter().for_each(|name| fs::remove_file(links.join(name)).unwrap());
        fs::remove_file(pins.map("TOTALS")).unwrap();
        // Another object in the place of one.
        fs::remove_file(pins.map("FLOWS")).unwrap();
        aya::maps::MapData::from_pin(pins.map("LOST")).unwrap().pin(pins.map("FLOWS")).unwrap();

        let observed = look(&mut kernel);
        let links_of = |observed: &Observed| identity(found(observed, "bgk0"));
        assert_eq!(links_of(&observed), links_of(&before), "nothing was detached");
        assert_eq!(unkept(&observed, "bgk0").len(), names.len());
        let mut missing = observed.missing_entries.clone();
        missing.sort();
        let mut wanted: Vec<String> = names.iter().map(|name| format!("links/{name}")).collect();
        wanted.extend(["maps/FLOWS".to_owned(), "maps/TOTALS".to_owned()]);
        wanted.sort();
        assert_eq!(missing, wanted);
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(forbidden(&kernel), 1);

        kernel.restore_entries().unwrap();
        let observed = look(&mut kernel);
        assert_eq!(observed, before);
        drop(kernel);
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(forbidden(&view), 2, "kept without the process");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_renamed_interface_s_entry_is_made_anew_by_attaching_too() {
    let pins = PinPlace::new("rekept");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        rename("bgk0", "bgk7");
        let before = look(&mut kernel);
        let (links, filters) = (pins.path().join("links"), pins.path().join("filters"));
        for entry in fs::read_dir(&links).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        // A clsact filter has a note instead of an entry.
        let notes = || fs::read_dir(&filters).into_iter().flatten().map(|note| note.unwrap());
        notes().for_each(|note| fs::remove_dir(note.path()).unwrap());
        kernel.attach(&found(&before, "bgk7").interface, true).unwrap();
        let after = look(&mut kernel);
        let mut expected = found(&before, "bgk7").clone();
        for attachment in &mut expected.attachments {
            "bgk7".clone_into(&mut attachment.attached_as);
        }
        assert_eq!(found(&after, "bgk7"), &expected);
        assert_eq!(after.missing_entries, [""; 0]);
        let entries = fs::read_dir(&links).unwrap().map(|entry| entry.unwrap());
        let names: Vec<_> = entries.chain(notes()).map(|entry| entry.file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().all(|name| name.to_str().unwrap().contains("-bgk7-")), "{names:?}");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_folder_that_was_removed_is_made_anew_with_all_that_was_in_it() {
    let pins = PinPlace::new("folder");
    in_own_network(|| {
        let elsewhere = Network::new();
        let mut kernel = guarded(&pins, "\"IE\"", true);
        add_veth("bgk2", "bgk3");
        kernel.attach(&Interface::by_name("bgk2").unwrap(), true).unwrap();
        elsewhere.take("bgk2");
        let before = look(&mut kernel);
        empty(&pins.path());
        let observed = look(&mut kernel);
        assert_eq!(identity(found(&observed, "bgk0")), identity(found(&before, "bgk0")));
        for entry in [".", "maps/CONTROL", "maps/EVENTS"] {
            assert!(observed.missing_entries.iter().any(|it| it == entry), "{:?}", observed.missing_entries);
        }
        let away: Vec<&String> = observed.missing_entries.iter().filter(|it| it.contains("-bgk2-")).collect();
        assert!(!away.is_empty(), "links on interfaces elsewhere have lost theirs too");

        kernel.restore_entries().unwrap();
        let restored = look(&mut kernel);
        assert_eq!(found(&restored, "bgk0"), found(&before, "bgk0"));
        let alive = |observed: &Observed| observed.strays.iter().filter(|stray| stray.is_alive).count();
        assert_eq!((&restored.missing_entries, alive(&restored)), (&vec![], alive(&before)));
        let locked = LinuxKernel::open(&pins.path()).unwrap_err();
        assert!(matches!(locked, KernelError::Locked { .. }), "{locked}");
        drop(kernel);
        let mut kernel = pins.open();
        assert!(kernel.adopted() && kernel.generation() == 1);
        assert_eq!(identity(found(&look(&mut kernel), "bgk0")), identity(found(&before, "bgk0")));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_folder_that_another_daemon_has_made_is_left_to_it() {
    let pins = PinPlace::new("usurped");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        empty(&pins.path());
        let other = pins.open();
        assert!(look(&mut kernel).missing_entries.contains(&".".to_owned()));
        let locked = kernel.restore_entries().unwrap_err();
        assert!(matches!(locked, KernelError::Locked { .. }), "{locked}");
        drop(other);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_link_that_somebody_detached_is_not_taken_for_guarding() {
    let pins = PinPlace::new("detached");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let before = found(&look(&mut kernel), "bgk0").clone();
        let entries: Vec<_> =
            fs::read_dir(pins.path().join("links")).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.iter().for_each(|entry| bpffs::detach(entry).unwrap());
        let observed = look(&mut kernel);
        let is_link = |it: &&Attachment| it.link != 0;
        assert_eq!(found(&observed, "bgk0").attachments.iter().filter(is_link).count(), 0);
        assert_eq!(observed.strays.len(), entries.len());
        assert!(observed.strays.iter().all(|stray| !stray.is_alive));
        kernel.attach(&before.interface, true).unwrap();
        let observed = look(&mut kernel);
        let after = found(&observed, "bgk0");
        assert_eq!(after.attachments.len(), 2);
        assert!(after.attachments.iter().all(|it| it.is_kept && it.is_current), "{after:?}");
        assert!(after.at(Hook::Ingress).unwrap().link > before.at(Hook::Ingress).unwrap().link);
        assert_eq!(observed.strays, [], "the dead links' entries were taken over");
        FrameSocket::on("bgk0").send(&frame(STORAGE));
        assert_eq!(forbidden(&kernel), 1);
        // What the loader reads of an entry agrees.
        for entry in &entries {
            let info =
                aya::programs::links::FdLink::from(PinnedLink::from_pin(entry).unwrap()).info().unwrap();
            assert!(
                after.attachments.iter().any(|it| (it.link, it.program) == (info.id(), info.program_id()))
            );
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn interfaces_that_a_route_leads_out_by_are_known() {
    let pins = PinPlace::new("routes");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        set_up("lo");
        let observed = look(&mut kernel);
        assert!(observed.interfaces.iter().all(|it| !it.has_route), "{observed:?}");
        add_address("bgk1", STORAGE.into(), 24);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let observed = look(&mut kernel);
        assert!(found(&observed, "bgk1").has_route);
        assert!(!found(&observed, "bgk0").has_route && !found(&observed, "lo").has_route);
    });
}

/// Exchanges the names of two entries of maps.
fn exchange(maps: &Path, one: &str, other: &str) {
    let beside = maps.join("BESIDE");
    fs::rename(maps.join(one), &beside).unwrap();
    fs::rename(maps.join(other), maps.join(one)).unwrap();
    fs::rename(beside, maps.join(other)).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_start_says_what_to_do_where_entries_of_maps_were_exchanged() {
    let pins = PinPlace::new("exchanged");
    in_own_network(|| {
        let before = {
            let mut kernel = guarded(&pins, "\"IE\"", true);
            kernel.hold(3, true).unwrap();
            found(&look(&mut kernel), "bgk0").clone()
        };
        let maps = pins.path().join("maps");
        for (one, other) in [("HELD", "HIGH_WATER"), ("V4_ENTRIES", "V6_ENTRIES"), ("CONTROL", "POLICY")] {
            exchange(&maps, one, other);
            let refused = LinuxKernel::open(&pins.path()).unwrap_err();
            let said = refused.to_string();
            assert!(matches!(refused, KernelError::MapExchanged { .. }), "{refused:?}");
            for word in [one, other, "`mv`", "borderguard detach", "docs/problems.md"] {
                assert!(said.contains(word), "{said}");
            }
            let marks = Marks::open(&pins.path());
            assert_eq!(marks.is_err(), one == "HELD", "no order is taken for none");
            exchange(&maps, one, other);
        }
        let mut kernel = pins.open();
        assert_eq!(identity(found(&look(&mut kernel), "bgk0")).len(), before.attachments.len());
        assert!(kernel.adopted() && kernel.held().unwrap().contains(&3), "nothing was lost");
        // Who detaches gets all off, whatever the names are.
        drop(kernel);
        exchange(&maps, "HELD", "HIGH_WATER");
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        assert_eq!(removed.left, None);
        let mut kernel = pins.open();
        assert_eq!(found(&look(&mut kernel), "bgk0").attachments, [], "and a start begins anew");
    });
}
