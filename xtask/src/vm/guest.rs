//! Running the guest and reading its console.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::kernel::Kernel;
use crate::{run, tally::Tally};

/// How long a guest may take for everything; emulation is some ten times slower than the machine.
const TIME_LIMIT: Duration = Duration::from_secs(45 * 60);
/// How many lines of the console are shown when the guest does not come to its end.
const TAIL_LINES: usize = 40;
/// How many lines of a failed suite's output are shown.
const SUITE_LINES: usize = 80;

/// A guest that came to its end by itself.
pub(super) struct Outcome {
    /// What `uname -r` said.
    pub(super) release: String,
    /// From qemu's start to the first test.
    pub(super) booted: Duration,
    /// From qemu's start to its end.
    pub(super) took: Duration,
    /// The tests of all suites.
    pub(super) tally: Tally,
}

/// Boots the kernel, shows each suite's result, and keeps the whole console in `log`. A guest that falls before it began
/// is booted once more: none of our code ran in it, and emulated processors now and then fall over code that the kernel
/// changes under them while it boots.
pub(super) fn run(qemu: Command, version: &str, guest: &Guest<'_>, log: &Path) -> Result<Outcome> {
    boot_twice(&mut with_guest(qemu, guest), version, log)
}

/// What boots.
pub(super) struct Guest<'a> {
    pub(super) kernel: &'a Kernel,
    /// Its file system in memory.
    pub(super) initramfs: &'a Path,
    /// Its disk, where it has one.
    pub(super) disk: Option<Disk<'a>>,
    pub(super) machine: Machine,
}

/// A disk of a guest's.
#[derive(Clone, Copy)]
pub(super) enum Disk<'a> {
    /// It is only read.
    Read(&'a Path),
    /// What is written to it is gone with the guest.
    Scratch(&'a Path),
}

/// How the machine is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// As fast as it can be, with two processors that take turns on one thread. On a thread each, qemu 7.2 at times goes on
    /// with an old copy of code that the other processor changes; a kernel that puts a breakpoint before a program's
    /// hook while it is attached falls over it ("qemu-x86_64 booting with 8.0.0 still see int3", linux-kernel, 2023;
    /// mended in qemu 8.1).
    Fast,
    /// With eight processors, likewise.
    Wide,
    /// With one processor, whose time stamp counter goes on by one for each instruction.
    Counted,
}

impl Machine {
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Fast => &["-accel", "tcg,thread=single", "-smp", "2"],
            Self::Wide => &["-accel", "tcg,thread=single", "-smp", "8"],
            Self::Counted => &["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"],
        }
    }

    /// The kernel gives its first process what it does not know of this line as environment.
    fn kernel_line(self) -> String {
        match self {
            Self::Fast | Self::Wide => KERNEL_LINE.to_owned(),
            Self::Counted => format!("{KERNEL_LINE} BORDERGUARD_COUNTED=1"),
        }
    }
}

fn boot_twice(qemu: &mut Command, version: &str, log: &Path) -> Result<Outcome> {
    match boot(qemu, version, log)? {
        (false, Err(error)) => {
            println!("Linux {version}: the guest fell before it began, and is booted once more: {error:#}");
            boot(qemu, version, log)?.1
        }
        (_, outcome) => outcome,
    }
}

/// Boots it once. Whether the guest began, and what came of it.
fn boot(qemu: &mut Command, version: &str, log: &Path) -> Result<(bool, Result<Outcome>)> {
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut qemu = qemu.spawn().context("cannot start qemu-system-x86_64")?;
    let console = qemu.stdout.take().context("the guest's console is not there to read")?;
    let started = Instant::now();

    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(std::result::Result::ok) {
            if send.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()).is_err() {
                break;
            }
        }
    });
    let mut console = Console::default();
    let in_time = loop {
        match lines.recv_timeout(TIME_LIMIT.saturating_sub(started.elapsed())) {
            Ok(line) => {
                writeln!(file, "{line}").with_context(|| format!("cannot write {}", log.display()))?;
                if let Some(shown) = console.line(&line, started.elapsed()) {
                    println!("Linux {version}: {shown}");
                }
                if console.trouble.is_some() {
                    break false;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        qemu.kill().context("cannot stop qemu")?;
    }
    let status = qemu.wait().context("cannot wait for qemu")?;
    if !in_time {
        let stopped = || format!("the guest was stopped after {}", run::duration(TIME_LIMIT));
        console.trouble.get_or_insert_with(stopped);
    } else if !status.success() {
        console.trouble = Some(format!("qemu: {status}"));
    }
    let has_begun = console.release.is_some();
    let outcome = console.outcome(started.elapsed()).map_err(|error| {
        anyhow!(
            "{error:#}; the end of {}:
{}",
            log.display(),
            run::tail(log, TAIL_LINES)
        )
    });
    Ok((has_begun, outcome))
}

/// What the guest has for its file system, which may take half of it, and for the tests.
const MEMORY: &str = "3G";
/// An emulated processor without the newest features: what kernels use of those (strings moved byte by byte, page tables
/// of five levels) is what an emulator does slowest. With it and without memory cleared twice, a suite that loads the
/// programs takes a fifth less of the machine's processor than with all that qemu can emulate.
const PROCESSOR: &str = "Nehalem";
/// A panic or an oops ends the guest at once, and `-no-reboot` ends qemu with it.
const KERNEL_LINE: &str =
    "console=ttyS0 panic=-1 oops=panic loglevel=4 mitigations=off init_on_alloc=0 lsm=yama,bpf";

fn with_guest(mut qemu: Command, guest: &Guest<'_>) -> Command {
    let Guest { kernel, initramfs, disk, machine } = guest;
    if let Some(disk) = disk {
        let (file, how) = match disk {
            Disk::Read(file) => (file, "readonly=on"),
            Disk::Scratch(file) => (file, "snapshot=on"),
        };
        // A comma in a path is written twice for qemu.
        let file = file.to_string_lossy().replace(',', ",,");
        qemu.arg("-drive").arg(format!("file={file},format=raw,if=virtio,{how}"));
    }
    qemu.args(machine.arguments())
        .args(["-cpu", PROCESSOR, "-m", MEMORY])
        .args(["-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &machine.kernel_line()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    qemu
}

/// The suite that runs at present, and what it has printed.
struct Running {
    name: String,
    begun: Duration,
    tally: Tally,
    lines: Vec<String>,
}

/// What has been understood of the console so far.
#[derive(Default)]
struct Console {
    release: Option<(String, Duration)>,
    suite: Option<Running>,
    sum: Tally,
    exit: Option<u32>,
    trouble: Option<String>,
}

impl Console {
    /// Takes one line, and returns what of it is worth showing at once.
    fn line(&mut self, line: &str, at: Duration) -> Option<String> {
        // A file system that is not whole lacks its last files, and tests fail for reasons that are none.
        if line.contains("Kernel panic - not syncing") || line.contains("Initramfs unpacking failed") {
            self.trouble.get_or_insert_with(|| line.to_owned());
            return None;
        }
        if let Some(suite) = &mut self.suite {
            suite.tally.line(line);
            suite.lines.push(format!("  | {line}"));
        }
        // A message of the kernel's may stand before it on the same line.
        let (_, ours) = line.split_once("BORDERGUARD-VM-")?;
        let (word, rest) = ours.split_once(' ')?;
        match word {
            "NOTE" => return Some(rest.to_owned()),
            "READY" => self.release = Some((rest.to_owned(), at)),
            "SUITE" => {
                let name = rest.to_owned();
                self.suite = Some(Running { name, begun: at, tally: Tally::default(), lines: Vec::new() });
            }
            "RESULT" => return self.suite_ends(rest, at),
            "EXIT" => self.exit = rest.parse().ok(),
            _ => {}
        }
        None
    }

    /// Takes `NAME EXIT-CODE` of a suite's end.
    fn suite_ends(&mut self, rest: &str, at: Duration) -> Option<String> {
        let Running { name, begun, mut tally, lines } = self.suite.take()?;
        let code = rest.rsplit(' ').next().unwrap_or_default();
        if code != "0" && tally.failed == 0 {
            tally.failed += 1;
            tally.failures.push(format!("the program itself (exit code {code})"));
        }
        for failure in &mut tally.failures {
            *failure = format!("{name}: {failure}");
        }
        tally.times.push((name.clone(), at.saturating_sub(begun)));
        let shown = if tally.failed == 0 {
            format!("{name}: ok, {} passed", tally.passed)
        } else {
            let printed =
                lines.get(lines.len().saturating_sub(SUITE_LINES)..).unwrap_or_default().join("\n  ");
            format!("{name}: FAILED, {} passed, {} failed\n  {printed}", tally.passed, tally.failed)
        };
        self.sum.add(tally);
        Some(shown)
    }

    /// The end of a guest that said its exit code; an error for any other.
    fn outcome(self, took: Duration) -> Result<Outcome> {
        if let Some(trouble) = self.trouble {
            bail!(trouble);
        }
        let (release, booted) = self.release.context("the guest did not come up")?;
        let code = self.exit.context("the guest ended in the middle of its tests")?;
        if (code == 0) != (self.sum.failed == 0) {
            bail!("the guest's exit code is {code}, but its console tells of {}", self.sum);
        }
        if self.sum.run() == 0 {
            bail!("no test ran in the guest");
        }
        Ok(Outcome { release, booted, took, tally: self.sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &str) -> Result<Outcome> {
        let mut read = Console::default();
        for line in console.lines() {
            read.line(line, Duration::from_secs(3));
        }
        read.outcome(Duration::from_secs(9))
    }

    const GOOD: &str = "[    1.2] booting\nBORDERGUARD-VM-READY 6.1.0-56-cloud-amd64\n\
        BORDERGUARD-VM-SUITE kernel_load\ntest loads ... ok\n\
        test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
        [    4.2] veth0: upBORDERGUARD-VM-RESULT kernel_load 0\nBORDERGUARD-VM-EXIT 0\n";

    #[test]
    fn a_good_run_is_understood() {
        let outcome = outcome(GOOD).unwrap();
        assert_eq!(outcome.release, "6.1.0-56-cloud-amd64");
        assert_eq!((outcome.tally.passed, outcome.tally.failed), (1, 0));
    }

    #[test]
    fn a_failed_test_is_named_with_its_suite() {
        let console = GOOD
            .replace("loads ... ok", "loads ... FAILED")
            .replace("ok. 1 passed; 0 failed", "FAILED. 0 passed; 1 failed")
            .replace("kernel_load 0", "kernel_load 101")
            .replace("EXIT 0", "EXIT 1");
        let outcome = outcome(&console).unwrap();
        assert_eq!(outcome.tally.failures, ["kernel_load: loads"]);
        assert_eq!(outcome.tally.failed, 1);
    }

    #[test]
    fn a_suite_that_dies_counts_as_failed() {
        let console = "BORDERGUARD-VM-READY 6.1\nBORDERGUARD-VM-SUITE kernel_load\n\
            BORDERGUARD-VM-RESULT kernel_load 139\nBORDERGUARD-VM-EXIT 1\n";
        assert_eq!(outcome(console).unwrap().tally.failed, 1);
    }

    #[test]
    fn a_guest_that_does_not_reach_its_end_is_an_error() {
        assert!(outcome("").is_err());
        assert!(outcome("BORDERGUARD-VM-READY 6.1\n").is_err());
        assert!(outcome(&GOOD.replace("BORDERGUARD-VM-EXIT 0\n", "")).is_err());
        assert!(outcome(&GOOD.replace("EXIT 0", "EXIT 1")).is_err());
        assert!(outcome(&format!("{GOOD}[9.0] Kernel panic - not syncing: oops")).is_err());
    }

    #[test]
    fn a_guest_that_falls_before_it_began_is_booted_once_more_and_no_other() {
        let folder = std::env::temp_dir().join(format!("bg-guest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (good, log, count) = (folder.join("good"), folder.join("log"), folder.join("count"));
        std::fs::write(&good, GOOD).unwrap();
        let outcome = |first: &str| {
            std::fs::write(&count, "").unwrap();
            let script = "echo >> $1; if [ $(wc -l < $1) = 1 ]; then printf \"$2\"; else cat $3; fi";
            let mut guest = Command::new("sh");
            guest.args(["-c", script, "guest"]).arg(&count).arg(first).arg(&good).stdout(Stdio::piped());
            let outcome = boot_twice(&mut guest, "6.1", &log).map(|outcome| outcome.tally.passed).ok();
            (outcome, std::fs::read_to_string(&count).unwrap().len())
        };
        let panic = "[4.4] Kernel panic - not syncing: oops\n";
        assert_eq!(outcome(panic), (Some(1), 2));
        assert_eq!(outcome(&format!("BORDERGUARD-VM-READY 6.1\n{panic}")), (None, 1));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_guest_without_tests_is_an_error() {
        assert!(outcome("BORDERGUARD-VM-READY 6.1\nBORDERGUARD-VM-EXIT 0\n").is_err());
    }
}
