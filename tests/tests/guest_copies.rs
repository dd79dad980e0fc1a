//! A carrier that writes off its volumes is an event, by whatever way it writes, and a storm of them is bounded. In the guests
//! of `cargo xtask vm` alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use guard_common::abi::{COPY_EVENT_BURST, COPY_EVENT_RATE, Loss, PinnedCopy};
use guard_tests::bed::{self, Bed};
use guard_tests::cgroup::Cgroup;
use guard_tests::proc::retry_until;
use guard_user::kernel::{EventReader, Kernel as _, LinuxKernel, RingEntry, View};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::volume::*;
use support::{PinPlace, in_own_network};

fn copies(events: &mut EventReader) -> Vec<PinnedCopy> {
    let entries = std::iter::from_fn(|| events.entry());
    entries.filter_map(|it| if let RingEntry::Copy(copy) = it { Some(*copy) } else { None }).collect()
}

fn name(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap().trim_end_matches('\0')
}

/// Some work by a process that has read the volume.
fn by_a_carrier(volume: &Volume, work: impl FnOnce()) {
    in_a_process(|| {
        read_of(&volume.mail());
        work();
    });
}

/// Writes by a mapping that others share.
fn write_by_mapping(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    // SAFETY: a new mapping of a page of the file, one byte of which is written.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED);
        *at.cast::<u8>() = b'A';
    }
}

fn writes_are_told(label: &str) {
    let (pins, on) = (PinPlace::new(label), Cgroup::new(label).unwrap());
    let (volume, other) = (Volume::new(label), Volume::new(&format!("{label}-other")));
    let folder = other.0.join("a/folder");
    fs::create_dir_all(&folder).unwrap();
    in_own_network(|| {
        let mut kernel = guarded(&pins, &on, &volume, "process");
        let mut events = kernel.events().unwrap();
        let file = folder.join("dump");
        // Who carries nothing writes unseen, and so does a carrier on the volume itself, or to what is no file.
        in_a_process(|| fs::write(&file, "of nobody").unwrap());
        let (_out, into) = rustix::pipe::pipe().unwrap();
        by_a_carrier(&volume, || {
            fs::write(volume.0.join("new"), "a mail").unwrap();
            rustix::io::write(&into, b"a mail").unwrap();
        });
        assert_eq!(copies(&mut events), Vec::new());
        // Many writes of one process to one file are one event.
        by_a_carrier(&volume, || {
            let mut file = File::create(&file).unwrap();
            (0..9).for_each(|_| file.write_all(b"a mail").unwrap());
        });
        let [told] = copies(&mut events)[..] else { panic!("{label}") };
        let wanted = fs::metadata(&file).unwrap();
        assert_eq!((told.volumes, told.followed, told.file.inode), (1, 1, wanted.ino()));
        let device = wanted.dev();
        assert_eq!(told.file.device, libc::major(device) << 20 | libc::minor(device));
        assert_eq!(told.names.each_ref().map(|it| name(it))[..4], ["dump", "folder", "a", ""]);
        assert!(told.process.pid != 0 && told.process.cgroup != 0, "{told:?}");
        // Another process is another event, whatever call it writes by.
        let ways: [(&str, &dyn Fn()); 3] = [
            ("a copy in the kernel", &|| copy(&volume.mail(), &file)),
            ("a mapping", &|| write_by_mapping(&file)),
            ("an open file's end", &|| {
                File::options().append(true).open(&file).unwrap().write_all(b"a mail").unwrap();
            }),
        ];
        for (way, work) in ways {
            by_a_carrier(&volume, work);
            assert_eq!(copies(&mut events).len(), 1, "{way}");
        }
        // What is not followed is told all the same.
        let mut unfollowed = target(&on, &volume, "process");
        unfollowed.volumes.as_mut().unwrap().copied = 0;
        kernel.note_sockets(Some(&unfollowed)).unwrap();
        by_a_carrier(&volume, || fs::write(folder.join("unfollowed"), "a mail").unwrap());
        let [copy] = copies(&mut events)[..] else { panic!("{label}") };
        assert_eq!((copy.volumes, copy.followed), (1, 0));
        assert_eq!(kernel.carriers().unwrap().reported, 5);
        a_storm_is_bounded(&kernel, &pins, (&volume, &folder), &mut events);
        kernel.note_sockets(None).unwrap();
        assert_eq!(kernel.carriers().unwrap(), Default::default());
    });
}

/// More files than may have events: of the others all are counted, and none is sent twice.
fn a_storm_is_bounded(
    kernel: &LinuxKernel,
    pins: &PinPlace,
    (volume, folder): (&Volume, &Path),
    events: &mut EventReader,
) {
    const FILES: u64 = 2_000;
    let before = kernel.carriers().unwrap().reported;
    let begin = std::time::Instant::now();
    by_a_carrier(volume, || {
        (0..FILES).for_each(|number| fs::write(folder.join(number.to_string()), "a mail").unwrap());
    });
    let seconds = begin.elapsed().as_secs() + 1;
    let got = copies(events);
    let (sent, lost) = (got.len() as u64, View::open(&pins.path()).unwrap().lost().unwrap());
    assert_eq!(sent + lost[Loss::Copies as usize], FILES);
    assert_eq!(kernel.carriers().unwrap().reported - before, sent);
    let most = COPY_EVENT_BURST + COPY_EVENT_RATE * seconds;
    assert!((COPY_EVENT_BURST / 2..=most).contains(&sent), "{sent} in {seconds} s");
    let files: std::collections::BTreeSet<_> = got.iter().map(|copy| copy.file).collect();
    assert_eq!(files.len(), got.len());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_carrier_that_writes_elsewhere_is_an_event() {
    writes_are_told("copies-lsm");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_bpf_lsm_it_is_one_by_tracing_programs() {
    unmount("/sys/kernel/security", UnmountFlags::empty()).unwrap();
    writes_are_told("copies-fentry");
    mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn the_daemon_tells_what_a_carrier_wrote_and_where() {
    let bed = Bed::new("copies").unwrap();
    let path = std::env::temp_dir().join(format!("volume-copies-{}", std::process::id()));
    let (volume, other) = (Volume::at(path.clone()), Volume::new("copies-daemon-other"));
    bed.configure(&format!(
        "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n[pin.select]\n\
         volumes = [{path:?}]\nspread = \"process\"\n"
    ))
    .unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let file = other.0.join("dump");
    in_a_process(|| fs::write(&file, "of nobody").unwrap());
    by_a_carrier(&volume, || fs::write(&file, "a mail").unwrap());
    let is_told = |event: &serde_json::Value| event["kind"] == "pinned-copy";
    let event = bed.event(bed::PATIENCE, "an event", is_told).unwrap();
    assert_eq!(event["volumes"][0], path.to_str().unwrap());
    assert_eq!((&event["followed"], event["file"].as_str()), (&event["volumes"], Some("/dump")));
    assert_eq!(event["inode"], fs::metadata(&file).unwrap().ino());
    assert_eq!(event["process"]["uid"], 0, "{event}");
    let count = || (bed.status().unwrap().carriers.copy_events == 1).then_some(());
    retry_until(bed::PATIENCE, "the event to be counted", count).unwrap();
}
