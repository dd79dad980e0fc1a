//! What the guard's programs add to open(2), in instructions: in a guest of `cargo xtask vm` whose time stamp counter goes on
//! by one for each instruction (`-icount` of qemu), for the programs are refused on other machines or counters are not there.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use guard_tests::cgroup::{self, Cgroup};
use guard_user::kernel::{Kernel as _, LinuxKernel};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::PinPlace;
use support::volume::*;

/// The most instructions that the programs may add to open(2): of a file on a volume, and elsewhere.
const ON_A_VOLUME: u64 = 1_000;
const ELSEWHERE: u64 = 300;
/// How often each is done: interrupts add to some, and the least counts.
const TIMES: usize = 500;
/// How many processes open a file of the volume for the first time.
const PROCESSES: usize = 30;

fn instructions() -> u64 {
    // SAFETY: it reads a register, which every processor of this kind has.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Instructions of one open(2), with those of the system call.
fn open_once(path: &CStr) -> u64 {
    let begin = instructions();
    // SAFETY: the path is a string that ends with a zero.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let end = instructions();
    // SAFETY: the descriptor is this function's own.
    assert!(file >= 0 && unsafe { libc::close(file) } == 0, "{path:?}");
    end - begin
}

fn open(path: &CStr) -> u64 {
    (0..TIMES).map(|_| open_once(path)).min().unwrap()
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A figure of a process of its own, in this cgroup.
fn of_a_process(within: &Cgroup, figure: impl Fn() -> u64) -> u64 {
    let (out, into) = rustix::pipe::pipe().unwrap();
    in_a_process(|| {
        let found = cgroup::inside(within.path(), figure).unwrap();
        rustix::io::write(&into, &found.to_ne_bytes()).unwrap();
    });
    let mut bytes = [0; 8];
    assert_eq!(rustix::io::read(&out, &mut bytes).unwrap(), 8);
    u64::from_ne_bytes(bytes)
}

/// Shown by `cargo xtask vm`, also where the test passes.
fn show(what: &str) {
    let line = format!("\nBORDERGUARD-VM-NOTE {what}\n");
    // Not by what the test's own output goes by.
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// What is opened, and by whom.
struct Files {
    on_volume: CString,
    elsewhere: CString,
    unit: Cgroup,
}

impl Files {
    /// Instructions of a file on the volume for a process that has opened it before, of the first one, and of a file
    /// elsewhere.
    fn figures(&self) -> [u64; 3] {
        let again = of_a_process(&self.unit, || open(&self.on_volume));
        let first = || {
            of_a_process(&self.unit, || {
                open(&self.elsewhere);
                open_once(&self.on_volume)
            })
        };
        let first = (0..PROCESSES).map(|_| first()).min().unwrap();
        [again, first, of_a_process(&self.unit, || open(&self.elsewhere))]
    }
}

fn opening_costs_little(label: &str, spread: &str) {
    assert!(std::env::var_os("BORDERGUARD_COUNTED").is_some(), "this machine does not count instructions");
    let (pins, on) = (PinPlace::new(label), Cgroup::new(label).unwrap());
    let (volume, other) = (Volume::new(label), Volume::new(&format!("{label}-other")));
    let files = Files {
        on_volume: c_path(&volume.mail()),
        elsewhere: c_path(&other.mail()),
        unit: on.child("unit").unwrap(),
    };
    let mut kernel: LinuxKernel = pins.open();
    let before = files.figures();
    assert_eq!(before, files.figures(), "the count is not of instructions alone");
    kernel.note_sockets(Some(&target(&on, &volume, spread))).unwrap();
    let hold = |figures: [u64; 3], what: &str| {
        let added = [0, 1, 2].map(|at| figures[at].saturating_sub(before[at]));
        let [again, first, elsewhere] = added;
        show(&format!(
            "{label}: open(2), of {} instructions, takes {again} more on a volume ({first} for a process's first), and \
             {elsewhere} elsewhere{what}",
            before[2]
        ));
        assert!(again <= ON_A_VOLUME && elsewhere <= ELSEWHERE, "{added:?}");
    };
    hold(files.figures(), "");
    // A file elsewhere is looked for once any has data of the volume.
    in_a_process(|| {
        let mail = fs::read(volume.mail()).unwrap();
        File::create(other.0.join("copy")).unwrap().write_all(&mail).unwrap();
    });
    // What moves a process to its cgroup is a file too.
    assert!(kernel.carriers().unwrap().copies > 0);
    hold(files.figures(), ", where a file elsewhere has data of it");
    kernel.note_sockets(None).unwrap();
    assert_eq!(files.figures(), before, "what is off costs nothing");
}

#[test]
#[ignore = "needs root and BPF"]
fn opening_a_file_takes_few_instructions_more() {
    opening_costs_little("cost", "cgroup");
    opening_costs_little("cost-process", "process");
}

#[test]
#[ignore = "needs root and BPF"]
fn by_tracing_programs_too() {
    unmount("/sys/kernel/security", UnmountFlags::empty()).unwrap();
    opening_costs_little("cost-fentry", "cgroup");
    mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None).unwrap();
}
