//! Ways past the hooks of interfaces are refused to processes of a cgroup, but for those that are allowed: asked of the
//! kernel as a process asks it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guard_common::abi::{Bypass, bypass_index};
use guard_tests::bpffs;
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::sockopt;
use guard_user::kernel::{BypassTarget, CgroupAttachment, Kernel as _, LinuxKernel, View};
use support::PinPlace;

/// What a kernel says to an option that it has not got.
type Answer = Result<(), Option<i32>>;
const REFUSED: Answer = Err(Some(libc::EPERM));

fn target(on: &Cgroup, allowed: &[&Cgroup]) -> BypassTarget {
    let allowed = allowed.iter().map(|cgroup| cgroup.id().unwrap()).collect();
    BypassTarget { cgroup: on.path().to_owned(), id: on.id().unwrap(), allowed }
}

fn answer(outcome: io::Result<()>) -> Answer {
    outcome.map_err(|error| error.raw_os_error())
}

/// What a process of this cgroup is told that asks for sending past TC.
fn ask_for_qdisc(from: &Cgroup) -> Answer {
    let ask = || {
        let socket = sockopt::packet_socket().unwrap();
        let told = answer(sockopt::bypass_qdisc(&socket, 1));
        assert_eq!(sockopt::bypasses_qdisc(&socket).unwrap(), told.is_ok());
        told
    };
    cgroup::inside(from.path(), ask).unwrap()
}

/// Likewise for a ring to send from, and for a header that names a checksum's place: both are answered alike.
fn ask_for_rewriting(from: &Cgroup) -> Answer {
    let ask = || {
        let ring = answer(sockopt::make_tx_ring(sockopt::packet_socket().unwrap()));
        let header = answer(sockopt::set_vnet_header(sockopt::packet_socket().unwrap(), 1));
        assert_eq!(ring, header);
        ring
    };
    cgroup::inside(from.path(), ask).unwrap()
}

/// Likewise for memory for XDP. Where the kernel has no such sockets another one is asked for it, and does not know it.
fn ask_for_umem(from: &Cgroup) -> Answer {
    let ask = || match sockopt::xdp_socket() {
        Ok(socket) => answer(sockopt::register_umem(socket)),
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            println!("this kernel has no AF_XDP");
            match answer(sockopt::register_umem(sockopt::packet_socket().unwrap())) {
                Err(Some(libc::ENOPROTOOPT)) => Ok(()),
                told => told,
            }
        }
        Err(error) => panic!("{error}"),
    };
    cgroup::inside(from.path(), ask).unwrap()
}

fn counted(kernel: &LinuxKernel, bypass: Bypass) -> [u64; 2] {
    let counts = View::bypasses(kernel).unwrap();
    [false, true].map(|allowed| counts[bypass_index(bypass, allowed) as usize])
}

fn seen(kernel: &mut LinuxKernel) -> Vec<CgroupAttachment> {
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.blind, Vec::<String>::new());
    observed.bypass.unwrap().attachments
}

#[test]
#[ignore = "needs root and BPF"]
fn ways_past_the_hooks_are_refused_and_allowed_and_both_are_counted() {
    let pins = PinPlace::new("bypass");
    let mut kernel = pins.open();
    let (on, beside) = (Cgroup::new("bypass").unwrap(), Cgroup::new("beside").unwrap());
    let (below, allowed) = (on.child("below").unwrap(), on.child("allowed").unwrap());
    let under = allowed.child("under").unwrap();
    for cgroup in [&on, &below, &allowed] {
        assert_eq!((ask_for_qdisc(cgroup), ask_for_umem(cgroup)), (Ok(()), Ok(())), "before there is a hook");
        assert_eq!(ask_for_rewriting(cgroup), Ok(()), "before there is a hook");
    }

    kernel.refuse_bypass(Some(&target(&on, &[&allowed]))).unwrap();
    assert_eq!(counted(&kernel, Bypass::PacketQdisc), [0, 0]);
    for cgroup in [&on, &below] {
        assert_eq!((ask_for_qdisc(cgroup), ask_for_umem(cgroup)), (REFUSED, REFUSED));
        assert_eq!(ask_for_rewriting(cgroup), REFUSED);
    }
    for cgroup in [&allowed, &under] {
        assert_eq!((ask_for_qdisc(cgroup), ask_for_umem(cgroup)), (Ok(()), Ok(())));
        assert_eq!(ask_for_rewriting(cgroup), Ok(()));
    }
    for bypass in Bypass::ALL {
        assert_eq!(counted(&kernel, bypass), [2, 2], "{bypass:?}");
    }
    assert_eq!((ask_for_qdisc(&beside), ask_for_umem(&beside)), (Ok(()), Ok(())), "not below it");
    assert_eq!(counted(&kernel, Bypass::PacketQdisc), [2, 2], "nor asked");

    // Another list, at once and with the same link.
    let before = seen(&mut kernel);
    kernel.refuse_bypass(Some(&target(&on, &[&below]))).unwrap();
    assert_eq!(seen(&mut kernel), before);
    assert_eq!((ask_for_qdisc(&allowed), ask_for_qdisc(&below)), (REFUSED, Ok(())));
    assert_eq!(kernel.observe().unwrap().bypass.unwrap().allowed, BTreeSet::from([below.id().unwrap()]));

    kernel.refuse_bypass(None).unwrap();
    assert_eq!(seen(&mut kernel), []);
    assert_eq!((ask_for_qdisc(&on), ask_for_umem(&on)), (Ok(()), Ok(())));
}

#[test]
#[ignore = "needs root and BPF"]
fn what_opens_no_way_past_the_hooks_is_as_it_was() {
    let pins = PinPlace::new("others");
    let mut kernel = pins.open();
    let on = Cgroup::new("others").unwrap();
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    cgroup::inside(on.path(), || {
        let socket = sockopt::packet_socket().unwrap();
        assert_eq!(answer(sockopt::bypass_qdisc(&socket, 0)), Ok(()), "it is off already");
        assert_eq!(answer(sockopt::set_vnet_header(&socket, 0)), Ok(()), "it is off already");
        assert_eq!(answer(sockopt::bypass_qdisc(&socket, 0x0100_0000)), REFUSED, "any bit");
        for odd in [&[1][..], &[1, 0, 0], &[0, 0, 0, 0, 1], &[]] {
            assert!(sockopt::set(&socket, libc::SOL_PACKET, 20, odd).is_err(), "{odd:?}");
        }
        assert!(!sockopt::bypasses_qdisc(&socket).unwrap());
        // A value of which the kernel copies a page, and the rest is the process's own.
        for len in [4, 4096, 4097, 70_000] {
            let mut value = vec![0; len];
            value[1] = 0x40;
            sockopt::set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &value).unwrap();
        }
    })
    .unwrap();
    assert_eq!(counted(&kernel, Bypass::PacketQdisc), [5, 0]);
}

/// The value that is looked at is the one that counts, whatever another thread writes meanwhile.
#[test]
#[ignore = "needs root and BPF"]
fn a_value_that_changes_while_it_is_looked_at_opens_nothing() {
    let pins = PinPlace::new("race");
    let mut kernel = pins.open();
    let on = Cgroup::new("race").unwrap();
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    cgroup::inside(on.path(), || {
        let (value, done) = (AtomicU32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    value.fetch_xor(1, Ordering::Relaxed);
                }
            });
            let socket = sockopt::packet_socket().unwrap();
            let (mut passed, mut refused) = (0, 0);
            for _ in 0..20_000 {
                // SAFETY: the kernel reads the four bytes of the value, which are there until the call returns.
                let set = unsafe {
                    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
                    libc::setsockopt(fd, libc::SOL_PACKET, 20, value.as_ptr().cast(), 4)
                };
                *(if set == 0 { &mut passed } else { &mut refused }) += 1;
                assert!(!sockopt::bypasses_qdisc(&socket).unwrap(), "after {passed} and {refused}");
            }
            done.store(true, Ordering::Relaxed);
            println!("{passed} passed, {refused} were refused");
        });
    })
    .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn the_hook_outlives_its_process_is_taken_over_and_taken_off() {
    let pins = PinPlace::new("outlives");
    let (on, other) = (Cgroup::new("outlives").unwrap(), Cgroup::new("other").unwrap());
    let mut kernel = pins.open();
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    let [first] = &seen(&mut kernel)[..] else { panic!("one link") };
    assert_eq!((first.cgroup, first.is_current, first.is_kept), (on.id().unwrap(), true, true));
    let link = first.link;
    drop(kernel);
    assert_eq!(ask_for_qdisc(&on), REFUSED, "without a daemon");

    let mut kernel = pins.open();
    let [adopted] = &seen(&mut kernel)[..] else { panic!("one link") };
    assert_eq!((adopted.link, adopted.is_current), (link, false));
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    let [renewed] = &seen(&mut kernel)[..] else { panic!("one link") };
    assert_eq!((renewed.link, renewed.is_current), (link, true));

    // To another cgroup, and back.
    kernel.refuse_bypass(Some(&target(&other, &[]))).unwrap();
    assert_eq!((ask_for_qdisc(&on), ask_for_qdisc(&other)), (Ok(()), REFUSED));
    assert_eq!(seen(&mut kernel).len(), 1);
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    assert_eq!((ask_for_qdisc(&on), ask_for_qdisc(&other)), (REFUSED, Ok(())));

    drop(kernel);
    let removed = LinuxKernel::detach(&pins.path()).unwrap();
    assert_eq!((removed.links, removed.left), (vec!["cgroup setsockopt".to_owned()], None));
    assert_eq!(ask_for_qdisc(&on), Ok(()));
}

#[test]
#[ignore = "needs root and BPF"]
fn what_somebody_takes_away_is_seen_and_made_anew() {
    let pins = PinPlace::new("away");
    let on = Cgroup::new("away").unwrap();
    let mut kernel = pins.open();
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    let entry = format!("links/cgroup-{}-setsockopt", on.id().unwrap());

    fs::remove_file(pins.path().join(&entry)).unwrap();
    let [unkept] = &seen(&mut kernel)[..] else { panic!("one link") };
    assert!(!unkept.is_kept);
    assert_eq!(kernel.observe().unwrap().missing_entries, std::slice::from_ref(&entry));
    assert_eq!(ask_for_qdisc(&on), REFUSED, "this process keeps it");
    kernel.restore_entries().unwrap();
    assert_eq!(kernel.observe().unwrap().missing_entries, Vec::<String>::new());
    assert!(seen(&mut kernel)[0].is_kept);

    // BPF_LINK_DETACH of its entry, as `bpftool link detach` does.
    bpffs::detach(&pins.path().join(&entry)).unwrap();
    let [detached] = &seen(&mut kernel)[..] else { panic!("one link") };
    assert_eq!(detached.cgroup, 0);
    assert_eq!(ask_for_qdisc(&on), Ok(()));
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    assert_eq!(ask_for_qdisc(&on), REFUSED);
    assert_eq!(seen(&mut kernel).len(), 1);

    // The cgroup is made anew.
    let folder = on.path().to_owned();
    fs::remove_dir(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    // Its link is taken off it some time later.
    assert_ne!(seen(&mut kernel)[0].cgroup, on.id().unwrap());
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    assert_eq!(ask_for_qdisc(&on), REFUSED);
    assert_eq!(seen(&mut kernel).len(), 1);
}

/// `setsockopt` by the 32-bit system call of a 64-bit process, with a value below 4 GiB.
#[cfg(target_arch = "x86_64")]
fn set_by_32_bits(socket: &std::os::fd::OwnedFd, option: u32) -> i32 {
    let fd = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(socket)).unwrap();
    // SAFETY: a new mapping below 4 GiB, of which the kernel reads four bytes; the call changes the registers that are
    // named, and `rbx`, which is put back.
    unsafe {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT);
        let value = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        assert_ne!(value, libc::MAP_FAILED);
        value.cast::<u32>().write(1);
        let answer: u64;
        std::arch::asm!(
            "xchg {fd}, rbx", "int 0x80", "xchg {fd}, rbx",
            fd = inout(reg) fd => _,
            // 366 is setsockopt in the 32-bit table.
            inlateout("rax") 366_u64 => answer,
            in("rcx") 263_u64, in("rdx") u64::from(option), in("rsi") value as u64, in("rdi") 4_u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
        libc::munmap(value, 4096);
        answer as u32 as i32
    }
}

/// What docs/limits.md says: the kernel asks no program at a 32-bit call. Where one does, that line can go.
#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "needs root and BPF"]
fn a_32_bit_system_call_is_not_asked() {
    let pins = PinPlace::new("compat");
    let on = Cgroup::new("compat").unwrap();
    let mut kernel = pins.open();
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    let socket = cgroup::inside(on.path(), || sockopt::packet_socket().unwrap()).unwrap();
    // SAFETY: the child makes system calls alone, and ends.
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(-set_by_32_bits(&socket, 20));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        status
    };
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) == libc::ENOSYS {
        return println!("this kernel has no 32-bit calls");
    }
    assert_eq!(libc::WEXITSTATUS(status), 0);
    assert!(sockopt::bypasses_qdisc(&socket).unwrap());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_cgroup_that_is_not_there_is_said_and_changes_nothing() {
    let pins = PinPlace::new("absent");
    let on = Cgroup::new("absent").unwrap();
    let mut kernel = pins.open();
    kernel.refuse_bypass(Some(&target(&on, &[]))).unwrap();
    let absent = BypassTarget { cgroup: on.path().join("absent"), id: u64::MAX, allowed: BTreeSet::new() };
    let error = kernel.refuse_bypass(Some(&absent)).unwrap_err();
    assert!(error.to_string().contains("absent for setsockopt: No such file"), "{error}");
    assert_eq!(ask_for_qdisc(&on), REFUSED);
}
