//! `borderguard top` with a real daemon and real traffic, in a real terminal: that of `tmux`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US, address,
};
use guard_tests::cgroup;
use guard_tests::proc::{retry_until, run_to_end};
use guard_tests::user::as_user;
use guard_user::control::status::Status;
use rustix::process::{Pid, Signal, kill_process};

const SENT: u64 = 10;
/// The screen is looked at again so often, and is new within.
const SOON: Duration = Duration::from_secs(60);
/// A name that would clear the screen if a terminal got it as it is.
const HOSTILE: &str = "im\u{1b}[2Jap";

/// A terminal that a shell has, which runs `top` and then says what it left. It ends with this.
struct Terminal<'a> {
    bed: &'a Bed,
    socket: PathBuf,
    pid_file: PathBuf,
}

impl<'a> Terminal<'a> {
    fn new(bed: &'a Bed, (columns, rows): (u16, u16), environment: &str) -> Self {
        let pid_file = bed.file("top.pid");
        let _none_yet = fs::remove_file(&pid_file);
        let top = format!(
            "echo $$ > {:?}\nexec env {environment} {:?} top --interval 1 --config {:?}\n",
            pid_file,
            bed.program(),
            bed.config()
        );
        let top = bed.write("top.sh", top).unwrap();
        // What the terminal is afterwards is asked of it by stty, after whatever it had.
        let script =
            bed.write("shell.sh", format!("sh {top:?}\necho \"ended $?\"\nstty -a\nexec cat\n")).unwrap();
        let it = Self { bed, socket: bed.file("tmux.sock"), pid_file };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        it.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, &format!("sh {script:?}")]);
        it
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .env("LC_ALL", "C.UTF-8")
            .arg("-u")
            .arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null"])
            .args(words);
        let (status, out, complaint) = run_to_end("tmux", command, PATIENCE).unwrap();
        assert!(status.success(), "tmux {words:?}: {complaint}");
        out
    }

    fn screen(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits for a screen that has this.
    fn wait(&self, what: &str, is_it: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut last = Vec::new();
        let found = retry_until(SOON, what, || {
            last = self.screen();
            is_it(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}: {last:#?}"))
    }

    fn wait_for(&self, text: &str) -> Vec<String> {
        self.wait(text, |screen| screen.iter().any(|line| line.contains(text)))
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn signal(&self, signal: Signal) {
        let pid: i32 = fs::read_to_string(&self.pid_file).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// The terminal is as it was: its own screen, a cursor, lines that are echoed.
    fn is_sane(&self) {
        let screen = self.wait_for("ended 0").join("\n");
        let screen = if screen.contains("-iexten") || screen.contains(" iexten") {
            screen
        } else {
            self.wait_for("iexten").join("\n")
        };
        let modes: Vec<&str> = screen.split_whitespace().collect();
        for mode in ["icanon", "echo", "isig", "opost", "icrnl"] {
            assert!(modes.contains(&mode), "{mode}: {screen}");
        }
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"]);
        assert_eq!(flags.trim(), "0 1 0");
    }

    fn end(self) {
        drop(self);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        let gone = retry_until(PATIENCE, "the terminal's end", || (!self.socket_answers()).then_some(()));
        assert!(gone.is_ok() || std::thread::panicking());
        // It waits for keys that nobody will press, and is not to do so for ever.
        let pid = fs::read_to_string(&self.pid_file).unwrap_or_default();
        let of_top = format!("/proc/{}/cmdline", pid.trim());
        let is_there = || fs::read_to_string(&of_top).is_ok_and(|it| it.contains("\0top\0"));
        let ended = retry_until(PATIENCE, "`top` to end with its terminal", || (!is_there()).then_some(()));
        assert!(ended.is_ok() || std::thread::panicking());
        let _bed = self.bed;
    }
}

impl Terminal<'_> {
    fn socket_answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }
}

/// The cells of the first line that begins so.
fn row(screen: &[String], begin: &str) -> Option<Vec<String>> {
    let line = screen.iter().find(|line| line.starts_with(begin))?;
    Some(line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect())
}

fn packets(status: &Status, verdict: &str) -> u64 {
    status.totals.iter().filter(|it| it.verdict == verdict).map(|it| it.packets).sum()
}

/// Waits until the screen has the figures of the status, which nothing changes meanwhile.
fn agrees(bed: &Bed, terminal: &Terminal<'_>) -> Vec<String> {
    terminal.wait("the figures of the status", |screen| {
        // The left half of a wide one.
        let screen: Vec<String> = screen.iter().map(|line| line.chars().take(98).collect()).collect();
        let screen = screen.as_slice();
        let status = bed.status().unwrap();
        let judged: Vec<String> =
            ["pass", "observe", "flag", "drop"].map(|verdict| packets(&status, verdict).to_string()).to_vec();
        let of_pin = |verdict: &str| {
            let found = status.pins[0].verdicts.iter().find(|it| it.verdict == verdict);
            found.map_or(0, |it| it.packets).to_string()
        };
        row(screen, "packets  ").is_some_and(|cells| cells[1..] == judged)
            && row(screen, "mail").is_some_and(|cells| {
                cells.last() == Some(&of_pin("drop")) && cells.contains(&of_pin("pass")) && cells[1] == "IE"
            })
    })
}

#[test]
#[ignore = "needs root and BPF"]
fn figures_are_those_of_the_status_and_keys_and_sizes_change_what_is_shown() {
    let bed = Bed::new("top").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("mlat-1", &["203.0.113.77/32"], 3600, Some(1 << 20)).unwrap();
    let folder = bed.cgroup().path().join("mailer.service");
    fs::create_dir(&folder).unwrap();
    let from = SocketAddr::new(address(STORE, Family::V4).unwrap(), MAIL_PORT);
    let to = SocketAddr::new(address(US, Family::V4).unwrap(), CLIENT_PORT);
    cgroup::inside(&folder, || {
        let socket = bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap();
        as_user(HOSTILE, 1, || (0..SENT).for_each(|_| bed::send(&socket, to)));
    })
    .unwrap();
    assert_eq!(bed.send(SENT, MAIL_PORT, BELGIUM, Family::V4).unwrap(), SENT);
    assert_eq!(bed.send(SENT, OTHER_PORT, US, Family::V4).unwrap(), SENT);

    let terminal = Terminal::new(&bed, (80, 24), "");
    let screen = agrees(&bed, &terminal);
    assert!(screen.iter().all(|line| line.chars().count() <= 80), "{screen:#?}");
    let exemption = row(&screen, "mlat-1 v1").unwrap();
    assert!(
        exemption.contains(&"1.0 MiB".to_owned()) && exemption.contains(&"active".to_owned()),
        "{exemption:?}"
    );
    // The flow's last packets are in an event that comes once it was quiet.
    let has_all = |screen: &[String]| {
        row(screen, "203.0.113.10")
            .is_some_and(|peer| peer[1..4] == ["US", "mail", "drop"] && peer.contains(&SENT.to_string()))
    };
    terminal.wait("the peer with its packets", has_all);
    // Traffic while it is watched.
    assert_eq!(bed.send(SENT, MAIL_PORT, BELGIUM, Family::V6).unwrap(), SENT);
    agrees(&bed, &terminal);

    terminal.press("5");
    let processes = terminal.wait_for("process  ");
    let hostile = row(&processes, "im\\u{1b}[2Jap").unwrap_or_else(|| panic!("{processes:#?}"));
    assert!(hostile.contains(&"mailer.service".to_owned()), "{hostile:?}");
    terminal.press("1");
    terminal.tmux(&["resize-window", "-x", "200", "-y", "60"]);
    let wide = terminal.wait_for("course of");
    assert_eq!(wide.len(), 60);
    assert!(wide[0].contains("version ") && wide.iter().any(|line| line.chars().count() > 100), "{wide:#?}");
    agrees(&bed, &terminal);
    terminal.tmux(&["resize-window", "-x", "20", "-y", "5"]);
    terminal.wait("a small screen", |screen| screen.len() == 5 && screen[0].starts_with("borderguard top"));
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.wait_for("exemption  ");
    terminal.press("h");
    terminal.wait_for("the guard goes on");
    terminal.press("h");
    terminal.press("p");
    terminal.wait_for("PAUSED");
    terminal.press("p");
    terminal.press("q");
    terminal.is_sane();
    terminal.end();
}

#[test]
#[ignore = "needs root and BPF"]
fn signals_and_a_daemon_that_goes_leave_a_sane_terminal() {
    let bed = Bed::new("top-end").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let terminal = Terminal::new(&bed, (80, 24), "");
        terminal.wait_for("GUARDING");
        terminal.signal(signal);
        terminal.is_sane();
        terminal.end();
    }
    let terminal = Terminal::new(&bed, (80, 24), "NO_COLOR=1");
    terminal.wait_for("GUARDING");
    // Without colours: no sequence of them in what the terminal got.
    let styled = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(styled.contains("\u{1b}[1"), "{styled:?}");
    for code in (30..=37).chain(40..=47) {
        assert!(
            !styled.contains(&format!("[{code}m")) && !styled.contains(&format!(";{code}m")),
            "{code}: {styled:?}"
        );
    }
    // As nothing but SIGKILL ends a daemon that guards on.
    daemon.kill(PATIENCE).unwrap();
    let gone = terminal.wait_for("NO ANSWER since");
    assert!(row(&gone, "mail").is_some(), "the last figures stay: {gone:#?}");
    let daemon = bed.start(&[]).unwrap();
    terminal.wait("the daemon again", |screen| !screen.iter().any(|line| line.contains("NO ANSWER")));
    drop(daemon);
    terminal.wait_for("NO ANSWER since");
    terminal.press("C-c");
    terminal.is_sane();
    terminal.end();
}

#[test]
#[ignore = "needs root and BPF"]
fn without_a_terminal_a_daemon_or_the_right_it_says_what_to_do() {
    let bed = Bed::new("top-refused").unwrap();
    bed.configure(PIN).unwrap();
    let answer = bed.ask(&["top"]).unwrap();
    assert_eq!(answer.status.code(), Some(2), "{answer:?}");
    assert!(answer.complaint.contains("borderguard status"), "{answer:?}");
    for (environment, code, said) in
        [("", 3, "no daemon answers on"), ("TERM=dumb", 2, "can't move its cursor")]
    {
        let terminal = Terminal::new(&bed, (80, 24), environment);
        let screen = terminal.wait_for(&format!("ended {code}")).join(" ");
        assert!(screen.contains(said), "{screen}");
        terminal.end();
    }
    let _daemon = bed.start(&[]).unwrap();
    bed.send(SENT, MAIL_PORT, US, Family::V4).unwrap();
    bed.event(PATIENCE, "an event", |event| event["verdict"] == "drop").unwrap();
    // What `status` and `events` print fits the same terminal.
    for command in ["status", "events"] {
        let terminal = Terminal::of_command(&bed, command);
        let screen = terminal.wait_for("ended 0");
        let history = terminal.tmux(&["capture-pane", "-p", "-S", "-"]);
        assert!(history.lines().count() > 3 && !screen.is_empty());
        let styled = terminal.tmux(&["capture-pane", "-p", "-e", "-S", "-"]);
        assert!(styled.contains("\u{1b}[1m\u{1b}[31m") || styled.contains("\u{1b}[32m"), "{styled:?}");
        // Joined as tmux joins what its own edge broke: nothing was.
        let joined = terminal.tmux(&["capture-pane", "-p", "-J", "-S", "-"]);
        assert_eq!(
            joined.lines().map(str::trim_end).collect::<Vec<_>>(),
            history.lines().map(str::trim_end).collect::<Vec<_>>()
        );
        terminal.end();
    }
}

impl<'a> Terminal<'a> {
    /// A terminal in which one command has printed.
    fn of_command(bed: &'a Bed, command: &str) -> Self {
        let line = format!(
            "{:?} {command} --config {:?}\necho \"ended $?\"\nexec cat\n",
            bed.program(),
            bed.config()
        );
        let script = bed.write("command.sh", line).unwrap();
        let it = Self { bed, socket: bed.file("tmux.sock"), pid_file: bed.file("none.pid") };
        it.tmux(&["new-session", "-d", "-x", "80", "-y", "50", &format!("sh {script:?}")]);
        it
    }
}
