//! Where the config says so nobody but the daemon changes what is the guard's in the kernel: neither its maps, by entry or number,
//! nor its links, nor its entries in bpffs, nor its process. Everybody reads, the daemon works on, and what is not the guard's is
//! nobody's concern. In the guests of `cargo xtask vm` alone: the programs are asked for the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::ffi::{CString, c_long};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_tests::bed::{Bed, PATIENCE, PIN, STORE, US};
use guard_tests::proc::{Process, retry_until};
use guard_user::health::{Problem, ProblemCode};
use rustix::mount::{MountFlags, UnmountFlags};

/// Commands of `enum bpf_cmd` (linux/bpf.h).
const MAP_CREATE: c_long = 0;
const MAP_LOOKUP: c_long = 1;
const MAP_UPDATE: c_long = 2;
const MAP_DELETE: c_long = 3;
const PROGRAM_LOAD: c_long = 5;
const OBJECT_PIN: c_long = 6;
const OBJECT_GET: c_long = 7;
const PROGRAM_TEST_RUN: c_long = 10;
const PROGRAM_BY_ID: c_long = 13;
const MAP_BY_ID: c_long = 14;
const OBJECT_INFO: c_long = 15;
const MAP_FREEZE: c_long = 22;
const LINK_CREATE: c_long = 28;
const LINK_UPDATE: c_long = 29;
const LINK_BY_ID: c_long = 30;
const LINK_DETACH: c_long = 34;
/// `BPF_F_RDONLY`.
const READ_ONLY: u64 = 1 << 3;
/// `BPF_PROG_TYPE_SOCKET_FILTER` and `BPF_PROG_TYPE_CGROUP_SKB`.
const SOCKET_FILTER: u64 = 1;
const CGROUP_SKB: u64 = 8;
/// `BPF_CGROUP_INET_EGRESS`.
const CGROUP_EGRESS: u64 = 1;

const PROTECTED: &str = "[protect]\nlsm = true\n";

/// One bpf(2) call with these words: two 32-bit numbers each are one of them.
///
/// # Safety
///
/// Addresses among them must be valid for what the command does to them.
unsafe fn bpf(command: c_long, words: &mut [u64]) -> io::Result<c_long> {
    // SAFETY: the words live until the call returns, and their size is given; the caller vouches for addresses.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, words.as_mut_ptr(), size_of_val(words)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

/// Likewise, of a command that makes a descriptor.
///
/// # Safety
///
/// As for [`bpf`].
unsafe fn bpf_for_fd(command: c_long, words: &mut [u64]) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for addresses; the descriptor is a new one that nobody else has.
    unsafe {
        let fd = bpf(command, words)?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?))
    }
}

fn raw(fd: &OwnedFd) -> u64 {
    u64::from(fd.as_raw_fd().unsigned_abs())
}

const fn both(low: u64, high: u64) -> u64 {
    low | high << 32
}

fn get(path: &Path, flags: u64) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero and lives until the call returns.
    unsafe { bpf_for_fd(OBJECT_GET, &mut [path.as_ptr() as u64, both(0, flags)]) }
}

fn pin(fd: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: as above.
    unsafe { bpf(OBJECT_PIN, &mut [path.as_ptr() as u64, raw(fd)]) }.map(drop)
}

fn by_id(command: c_long, id: u64, flags: u64) -> io::Result<OwnedFd> {
    // SAFETY: there are no addresses.
    unsafe { bpf_for_fd(command, &mut [id, flags]) }
}

/// Id of a map or program, and of a map its key and value sizes. A link's id comes first likewise.
fn info(fd: &OwnedFd) -> [u32; 8] {
    let mut info = [0_u32; 8];
    // SAFETY: the kernel writes no more than the length, which is the room that there is.
    unsafe { bpf(OBJECT_INFO, &mut [both(raw(fd), size_of_val(&info) as u64), info.as_mut_ptr() as u64]) }
        .unwrap();
    info
}

/// An array of one word.
fn own_map() -> OwnedFd {
    // SAFETY: there are no addresses: type, key size, value size, entries.
    unsafe { bpf_for_fd(MAP_CREATE, &mut [both(2, 4), both(8, 1), 0]) }.unwrap()
}

fn set(map: &OwnedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut words = [raw(map), key.as_ptr() as u64, value.as_ptr() as u64, 0];
    // SAFETY: key and value have at least the sizes of the map's, which callers give.
    unsafe { bpf(MAP_UPDATE, &mut words) }.map(drop)
}

/// Loads a program that answers with this number, over a map or none.
fn program(kind: u64, attach_type: u64, answer: u64, map: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    // `r1 = map` of two instructions (BPF_PSEUDO_MAP_FD), `r0 = answer`, `exit`.
    let load = map.map(|map| [0x1118 | raw(map) << 32, 0]);
    let end = [0xb7 | answer << 32, 0x95];
    let code: Vec<u64> = load.into_iter().flatten().chain(end).collect();
    let license = c"GPL";
    let mut words = [0_u64; 9];
    words[0] = both(kind, code.len() as u64);
    (words[1], words[2]) = (code.as_ptr() as u64, license.as_ptr() as u64);
    // Interface, and the attach type behind it.
    words[8] = both(0, attach_type);
    // SAFETY: instructions and licence live until the call returns, and their number is told.
    unsafe { bpf_for_fd(PROGRAM_LOAD, &mut words) }
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    // SAFETY: there are no addresses.
    unsafe { bpf(LINK_DETACH, &mut [raw(link)]) }.map(drop)
}

#[track_caller]
fn refused<T>(done: io::Result<T>, what: &str) {
    let code = done.err().and_then(|error| error.raw_os_error());
    assert!(matches!(code, Some(libc::EPERM | libc::EACCES)), "{what}: {code:?}");
}

fn guarded(label: &str) -> (Bed, Process) {
    assert!(std::env::var_os("BORDERGUARD_GUEST").is_some(), "this would refuse things to the whole machine");
    let bed = Bed::new(label).unwrap();
    bed.configure(&format!("{PROTECTED}{PIN}")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    assert!(status.protect.lsm && status.protect.on, "{:?} {}", status.protect, daemon.log_tail());
    (bed, daemon)
}

fn entries(bed: &Bed, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(bed.pin_path().join(part)).unwrap();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    assert!(!entries.is_empty(), "{part}");
    entries
}

fn told(bed: &Bed) -> Vec<Problem> {
    let problems = bed.status().unwrap().problems;
    problems.into_iter().filter(|it| it.code == ProblemCode::ChangeDenied).collect()
}

/// What was tried, as the audit trail has it.
fn recorded(bed: &Bed) -> Vec<String> {
    let records = bed.trail().unwrap().into_iter().filter(|it| it.kind == "change-denied");
    records.map(|record| record.detail["attempt"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the look has seen that this was tried.
fn is_on_record(bed: &Bed, attempt: &str) {
    retry_until(PATIENCE, attempt, || recorded(bed).iter().any(|it| it == attempt).then_some(())).unwrap();
}

/// That nothing of the guard was changed, and the daemon works on.
fn is_well(bed: &Bed) {
    assert!(!bed.passes(US).unwrap());
    let problems = bed.status().unwrap().problems;
    // A guest on a busy machine is slow at times.
    let expected = [ProblemCode::ChangeDenied, ProblemCode::LoopSlow, ProblemCode::StoreSlow];
    let others: Vec<_> = problems.iter().filter(|it| !expected.contains(&it.code)).collect();
    assert!(others.is_empty(), "{others:?}");
    bed.tell(&["reload"]).unwrap();
    assert_eq!(told(bed), []);
    assert!(bed.status().unwrap().protect.on);
}

#[test]
#[ignore = "needs root and BPF"]
fn nobody_but_the_daemon_writes_its_maps() {
    let (bed, _daemon) = guarded("protect-maps");
    for entry in entries(&bed, "maps") {
        let name = entry.display().to_string();
        refused(get(&entry, 0), &name);
        let read = get(&entry, READ_ONLY).unwrap();
        let id = u64::from(info(&read)[1]);
        refused(by_id(MAP_BY_ID, id, 0), &name);
        let read = by_id(MAP_BY_ID, id, both(READ_ONLY, 0)).unwrap();
        refused(set(&read, &[0; 64], &[0; 64]), &name);
        // SAFETY: there are no addresses.
        refused(unsafe { bpf(MAP_FREEZE, &mut [raw(&read)]) }, &name);
        refused(program(SOCKET_FILTER, 0, 0, Some(&read)), &name);
    }
    // What is read is what is there.
    let read = get(&bed.pin_path().join("maps/CONTROL"), READ_ONLY).unwrap();
    let (key, mut value) = ([0_u8; 4], [0_u8; 8]);
    let mut words = [raw(&read), key.as_ptr() as u64, value.as_mut_ptr() as u64, 0];
    // SAFETY: key and value have the map's sizes.
    unsafe { bpf(MAP_LOOKUP, &mut words) }.unwrap();
    assert_ne!(value, [0; 8]);
    for attempt in ["open-map", "freeze-map", "load-program"] {
        is_on_record(&bed, attempt);
    }
    let problems = told(&bed);
    assert!(problems.iter().all(|it| it.message.contains("Nothing was changed")), "{problems:?}");
    is_well(&bed);
}

#[test]
#[ignore = "needs root and BPF"]
fn nobody_but_the_daemon_detaches_or_removes() {
    let (bed, _daemon) = guarded("protect-links");
    let other = program(CGROUP_SKB, CGROUP_EGRESS, 1, None).unwrap();
    for entry in entries(&bed, "links") {
        let name = entry.display().to_string();
        let link = get(&entry, 0).unwrap();
        let id = u64::from(info(&link)[1]);
        let again = by_id(LINK_BY_ID, id, 0).unwrap();
        for link in [&link, &again] {
            refused(detach(link), &name);
            // SAFETY: there are no addresses.
            refused(unsafe { bpf(LINK_UPDATE, &mut [both(raw(link), raw(&other)), 0]) }, &name);
        }
        // Its program can be looked at, and not run.
        let program = by_id(PROGRAM_BY_ID, u64::from(info(&link)[2]), 0).unwrap();
        // SAFETY: the kernel is given no addresses.
        refused(unsafe { bpf(PROGRAM_TEST_RUN, &mut [raw(&program), 0, 0, 0, 0, 0, 0, 0, 0]) }, &name);
        refused(fs::remove_file(&entry), &name);
        refused(fs::rename(&entry, entry.with_file_name("other")), &name);
    }
    for entry in entries(&bed, "maps") {
        refused(fs::remove_file(&entry), "an entry of a map");
    }
    for folder in [bed.pin_path(), bed.pin_path().join("links")] {
        refused(fs::remove_dir(&folder), "a folder");
        refused(fs::rename(&folder, folder.with_file_name("other")), "a folder");
    }
    for attempt in ["change-link", "change-entry", "run-program"] {
        is_on_record(&bed, attempt);
    }
    is_well(&bed);
}

#[test]
#[ignore = "needs root and BPF"]
fn nobody_reaches_into_the_daemon() {
    let (bed, daemon) = guarded("protect-process");
    let pid = daemon.pid();
    let memory = fs::OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
    refused(memory, "its memory");
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let pidfd = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).unwrap();
    let taken = rustix::process::pidfd_getfd(&pidfd, 3, rustix::process::PidfdGetfdFlags::empty());
    refused(taken.map_err(io::Error::from), "a descriptor of its");
    // SAFETY: the call takes numbers alone; it is refused.
    let attached = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_u64, 0_u64) };
    refused(if attached == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }, "itself");
    // What only looks is as ever.
    assert!(fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() > 3);
    assert!(!fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().is_empty());
    is_on_record(&bed, "trace-daemon");
    is_well(&bed);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_not_the_guards_is_refused_to_nobody() {
    let (bed, _daemon) = guarded("protect-others");
    let map = own_map();
    set(&map, &[0; 4], &[7; 8]).unwrap();
    let beside = bed.pin_path().with_file_name("own");
    pin(&map, &beside).unwrap();
    let again = get(&beside, 0).unwrap();
    set(&again, &[0; 4], &[8; 8]).unwrap();
    set(&by_id(MAP_BY_ID, u64::from(info(&map)[1]), 0).unwrap(), &[0; 4], &[9; 8]).unwrap();
    let filter = program(SOCKET_FILTER, 0, 0, Some(&map)).unwrap();
    assert!(by_id(PROGRAM_BY_ID, u64::from(info(&filter)[1]), 0).is_ok());
    // An array has no element that could be removed: the kernel's own answer, and not a refusal.
    // SAFETY: the key has the map's size.
    let removed = unsafe { bpf(MAP_DELETE, &mut [raw(&map), [0_u8; 4].as_ptr() as u64, 0, 0]) };
    assert_eq!(removed.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    // SAFETY: there are no addresses.
    unsafe { bpf(MAP_FREEZE, &mut [raw(&map)]) }.unwrap();
    let moved = beside.with_file_name("moved");
    fs::rename(&beside, &moved).unwrap();
    fs::remove_file(&moved).unwrap();
    let folder = beside.with_file_name("folder");
    fs::create_dir(&folder).unwrap();
    fs::remove_dir(&folder).unwrap();
    let cgroup = OwnedFd::from(fs::File::open(bed.cgroup().path()).unwrap());
    let lets = program(CGROUP_SKB, CGROUP_EGRESS, 1, None).unwrap();
    // SAFETY: there are no addresses: program, cgroup, attach type, flags.
    let link = unsafe { bpf_for_fd(LINK_CREATE, &mut [both(raw(&lets), raw(&cgroup)), CGROUP_EGRESS, 0, 0]) };
    let link = link.unwrap();
    let other = program(CGROUP_SKB, CGROUP_EGRESS, 1, None).unwrap();
    // SAFETY: there are no addresses.
    unsafe { bpf(LINK_UPDATE, &mut [both(raw(&link), raw(&other)), 0]) }.unwrap();
    detach(&link).unwrap();
    // Two looks.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((told(&bed), recorded(&bed)), (vec![], vec![]));
    assert_eq!(bed.status().unwrap().protect.denied, 0);
}

#[test]
#[ignore = "needs root and BPF"]
fn the_daemon_works_on_and_its_commands_are_refused_nothing() {
    let (bed, daemon) = guarded("protect-works");
    bed.exempt("loaded", &["203.0.113.10/32"], 600, None).unwrap();
    assert!(bed.passes(US).unwrap());
    bed.tell(&["exemption", "revoke", "loaded", "--why", "a test"]).unwrap();
    assert!(!bed.passes(US).unwrap());
    bed.tell(&["reload"]).unwrap();
    let mut check = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    let checked = check.arg("check").arg(bed.config()).output().unwrap();
    let said = [checked.stdout, checked.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(checked.status.success() && !said.contains("pin_path"), "{said}");
    bed.ask(&["doctor"]).unwrap();
    let detach = bed.ask(&["detach"]).unwrap();
    assert!(detach.complaint.contains("end it first"), "{detach:?}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(bed.status().unwrap().protect.denied, 0, "{:?}", told(&bed));
    // Killed, it locks out nobody: the next one takes over, and has it on again.
    daemon.kill(PATIENCE).unwrap();
    assert!(get(&bed.pin_path().join("maps/CONTROL"), 0).is_ok(), "the way back");
    let daemon = bed.start(&[]).unwrap();
    assert!(bed.status().unwrap().protect.on, "{}", daemon.log_tail());
    refused(get(&bed.pin_path().join("maps/CONTROL"), 0), "a map of the next daemon");
    assert!(!bed.passes(US).unwrap());
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    bed.tell(&["detach"]).unwrap();
    assert!(bed.passes(US).unwrap());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_reload_turns_it_off_and_on() {
    let (bed, _daemon) = guarded("protect-reload");
    bed.configure(PIN).unwrap();
    bed.tell(&["reload"]).unwrap();
    let is = |on: bool| {
        retry_until(PATIENCE, "the look", || (bed.status().unwrap().protect.on == on).then_some(())).unwrap();
    };
    is(false);
    let control = bed.pin_path().join("maps/CONTROL");
    assert!(get(&control, 0).is_ok());
    bed.configure(&format!("{PROTECTED}{PIN}")).unwrap();
    bed.tell(&["reload"]).unwrap();
    is(true);
    refused(get(&control, 0), "a map");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_bpf_lsm_it_guards_and_says_so() {
    assert!(std::env::var_os("BORDERGUARD_GUEST").is_some(), "this would unmount what the machine needs");
    rustix::mount::unmount("/sys/kernel/security", UnmountFlags::empty()).unwrap();
    let bed = Bed::new("protect-none").unwrap();
    bed.configure(&format!("{PROTECTED}{PIN}")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    let codes: Vec<ProblemCode> = status.problems.iter().map(|it| it.code).collect();
    assert_eq!(codes, [ProblemCode::ProtectUnavailable]);
    assert!(status.protect.not_on.unwrap().contains("security modules"));
    assert!(!bed.passes(US).unwrap());
    assert!(get(&bed.pin_path().join("maps/CONTROL"), 0).is_ok());
    rustix::mount::mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None)
        .unwrap();
    // It is tried again.
    let is_on = || bed.status().unwrap().protect.on.then_some(());
    retry_until(Duration::from_secs(30), "it to be on", is_on).unwrap();
}
