//! `cargo xtask fresh`: the first command of the README on a machine that has nothing of this one.
//!
//! The machine is a root filesystem that debootstrap makes, with the packages that the README asks for beforehand
//! and no other, a rustup without the library's source, lists of packages that are out of date, and a fresh clone.
//! Kernel and network are this machine's.

mod lists;
mod root;
mod rustup;

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use self::root::Root;
use crate::{
    bpf,
    files::copy_file,
    run,
    setup::packages::{self, Purpose},
};

/// The home folder in the fresh root.
const HOME: &str = "/root";
/// Where the clone is in there.
const CLONE: &str = "/root/border-guard";
/// After this long the demo is not slow but stuck.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Set up, build and show the demo from a fresh clone in a root filesystem made for it
///
/// The root filesystem is Debian 12's smallest with only what the README asks for beforehand, and with lists of
/// packages that are out of date. It is made by debootstrap, kept packed below .tools for the next time, and removed
/// at the end. What is not committed is not in the clone. Needs root, BPF and Debian.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run this in the clone instead of `cargo xtask demo`
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if !packages::can_install() {
        bail!("a fresh root filesystem is made by debootstrap, as root on Debian, and this is not that");
    }
    if let Err(why) = bpf::usable() {
        bail!("the demo runs real kernel programs: {why}");
    }
    packages::ensure(Purpose::Fresh)?;
    run::stop_on_signals()?;
    tell_of_uncommitted();

    let root = Root::make()?;
    lists::make_old(&root.path().join("var/lib/apt/lists"))?;
    rustup::copy(&root.path().join(HOME.trim_start_matches('/')))?;
    take_network_settings(root.path())?;
    clone(root.path())?;
    let demo = ["cargo", "xtask", "demo"].map(OsString::from);
    let command = if arguments.command.is_empty() { &demo[..] } else { &arguments.command };
    let line = command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("\nin the fresh root: {line}");
    let started = Instant::now();
    let status = run::shown(&mut inside(root.path(), command), LIMIT)?;
    let took = run::duration(started.elapsed());
    if status.success() {
        println!("\n`{line}` came to its end {took} after it was typed on a machine that had nothing");
    }
    root.remove()?;
    if !status.success() {
        bail!("`{line}` failed in the fresh root after {took}: {status}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A clone has what is committed.
fn tell_of_uncommitted() {
    if run::output(Command::new("git").args(["status", "--porcelain"]))
        .is_ok_and(|changes| !changes.is_empty())
    {
        println!("note: the clone is of what is committed; this checkout has changes beside");
    }
}

/// Clones this checkout's last commit, by a bundle: a work tree's own folder is elsewhere.
fn clone(root: &Path) -> Result<()> {
    const BUNDLE: &str = "/root/border-guard.bundle";
    let bundle = root.join(BUNDLE.trim_start_matches('/'));
    run::output(Command::new("git").args(["bundle", "create", "--quiet"]).arg(&bundle).arg("HEAD"))
        .context("this checkout's last commit can't be packed")?;
    let clone = ["git", "clone", "--quiet", BUNDLE, CLONE].map(OsString::from);
    let mut git = enter(root, &clone);
    run::step("cloning into the fresh root", "fresh-clone", &mut git)
}

/// The command in the clone's folder.
fn inside(root: &Path, command: &[OsString]) -> Command {
    // A shell that stays: the first process of a namespace has to wait for those that lose their parents.
    let shell = ["sh", "-c", "cd \"$1\"; shift; \"$@\"; exit $?", "sh", CLONE].map(OsString::from);
    enter(root, &[&shell, command].concat())
}

/// A command in the fresh root, with mounts and processes of its own, which all end when this program does.
fn enter(root: &Path, command: &[OsString]) -> Command {
    let mut enter = Command::new("setpriv");
    enter
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["sh", "-c", include_str!("enter.sh"), "sh"])
        .arg(root)
        .args(["env", "--ignore-environment"])
        .args(environment(env::vars_os()))
        .args(command);
    enter
}

/// What the fresh machine's environment has: its own, and how this one reaches its registries.
fn environment(outer: impl Iterator<Item = (OsString, OsString)>) -> Vec<OsString> {
    let own = [
        format!("HOME={HOME}"),
        format!("PATH={HOME}/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "LANG=C.UTF-8".to_owned(),
        // Rustup installs nothing that it was not asked for: setup has to ask.
        "RUSTUP_AUTO_INSTALL=0".to_owned(),
    ];
    let passed = outer.filter(|(key, _)| key.to_str().is_some_and(is_passed)).map(|(key, value)| {
        let mut line = key;
        line.push("=");
        line.push(value);
        line
    });
    own.into_iter().map(OsString::from).chain(passed).collect()
}

/// Whether a variable says how registries are reached, how the terminal is, or what cargo keeps of a build.
fn is_passed(key: &str) -> bool {
    const NAMES: [&str; 10] = [
        "CARGO_INCREMENTAL",
        "CARGO_PROFILE_DEV_DEBUG",
        "TERM",
        "RUSTUP_DIST_SERVER",
        "RUSTUP_UPDATE_ROOT",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "CI",
    ];
    const STARTS: [&str; 5] =
        ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_SOURCE_", "CARGO_REGISTRY_"];
    let secret = ["TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"].iter().any(|word| key.contains(word));
    let proxy = key.to_ascii_lowercase().ends_with("_proxy");
    !secret && (proxy || NAMES.contains(&key) || STARTS.iter().any(|start| key.starts_with(start)))
}

/// Copies the files by which this machine finds and trusts its registries.
fn take_network_settings(root: &Path) -> Result<()> {
    const CERTIFICATES: [&str; 4] =
        ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO"];
    let named = CERTIFICATES.iter().filter_map(env::var_os).map(OsString::into_string).filter_map(Result::ok);
    let files = ["/etc/resolv.conf", "/etc/hosts"].map(str::to_owned).into_iter().chain(named);
    for file in files.filter(|file| file.starts_with('/') && Path::new(file).is_file()) {
        copy_file(Path::new(&file), &root.join(file.trim_start_matches('/')))?;
    }
    let cargo = env::var_os("CARGO_HOME").map_or_else(
        || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        |home| Path::new(&home).to_path_buf(),
    );
    for name in ["config.toml", "config"] {
        let file = cargo.join(name);
        if file.is_file() {
            copy_file(&file, &root.join("root/.cargo").join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_what_the_readme_asks_for_beforehand_and_no_more() {
        let readme = include_str!("../../../README.md");
        let asked = readme.split_once("and beforehand:").unwrap().1.split_once("\n\n").unwrap().0;
        let named: Vec<&str> = asked.split('`').skip(1).step_by(2).collect();
        assert_eq!(named, root::BEFOREHAND);
    }

    #[test]
    fn the_environment_says_how_registries_are_reached_and_nothing_else() {
        let outer = [
            ("https_proxy", "http://192.0.2.1:3128"),
            ("NO_PROXY", "localhost"),
            ("SSL_CERT_FILE", "/etc/ssl/own.pem"),
            ("CARGO_REGISTRIES_OWN_INDEX", "sparse+https://example.org/"),
            ("CARGO_REGISTRIES_OWN_TOKEN", "secret"),
            ("CARGO_REGISTRY_TOKEN", "secret"),
            ("CARGO_INCREMENTAL", "0"),
            ("CARGO_TARGET_DIR", "/elsewhere"),
            ("RUSTUP_TOOLCHAIN", "stable"),
            ("PATH", "/home/me/bin"),
        ];
        let environment = environment(outer.iter().map(|(key, value)| (key.into(), value.into())));
        let names: Vec<String> = environment
            .iter()
            .map(|line| line.to_str().unwrap().split_once('=').unwrap().0.to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "HOME",
                "PATH",
                "LANG",
                "RUSTUP_AUTO_INSTALL",
                "https_proxy",
                "NO_PROXY",
                "SSL_CERT_FILE",
                "CARGO_REGISTRIES_OWN_INDEX",
                "CARGO_INCREMENTAL"
            ]
        );
        assert!(!environment.iter().any(|line| line.to_str().unwrap().contains("/home/me")));
    }
}
