//! The guest's file system: a cpio archive that the kernel unpacks into memory.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use crate::{files::remove, run, suites::Suite, workspace};

/// Programs of this machine that the tests may call in the guest; busybox has weaker ones.
const HOST_PROGRAMS: [&str; 5] = ["chroot", "ip", "nft", "tc", "wg"];
/// Where names of users and groups come from. Without these files the C library does not say that a user has no name
/// but that it can't tell, and the daemon loads nothing from a user whom it can't tell.
const NAMES: [(&str, &str); 2] =
    [("etc/passwd", "root:x:0:0:root:/tmp:/bin/sh\n"), ("etc/group", "root:x:0:\n")];

/// Lays out the file system in `dir` and packs it; returns the archive.
pub(super) fn build(
    kernel: &Kernel,
    busybox: &Path,
    suites: &[Suite],
    names: &[String],
    dir: &Path,
) -> Result<PathBuf> {
    remove(dir)?;
    let mut layout = Layout { dir, files: BTreeSet::new() };
    layout.program(busybox, "bin/busybox")?;
    layout.modules(kernel)?;
    for suite in suites {
        // As cargo lays them out, by which a suite finds the program that it tests.
        layout.program(&suite.executable, &format!("programs/deps/{}", suite.name))?;
        layout.strip(&format!("programs/deps/{}", suite.name))?;
        let names = suite.choice(names).collect::<Vec<_>>().join(" ");
        layout.write(&format!("names/{}", suite.name), names.as_bytes(), 0o644)?;
    }
    layout.program(&workspace::target_dir().join("debug/borderguard"), "programs/borderguard")?;
    layout.strip("programs/borderguard")?;
    for program in HOST_PROGRAMS {
        let file = workspace::find_in_path(program).with_context(|| format!("{program} is missing"))?;
        layout.program(&file, &format!("usr/sbin/{program}"))?;
    }
    for (path, content) in NAMES {
        layout.write(path, content.as_bytes(), 0o644)?;
    }
    layout.write("init", include_bytes!("init.sh"), 0o755)?;
    layout.pack()
}

/// The same for a guest that boots what is on its disk.
pub(super) fn for_disk(kernel: &Kernel, busybox: &Path, dir: &Path) -> Result<PathBuf> {
    remove(dir)?;
    let mut layout = Layout { dir, files: BTreeSet::new() };
    layout.program(busybox, "bin/busybox")?;
    layout.modules(kernel)?;
    layout.write("init", include_bytes!("disk.sh"), 0o755)?;
    layout.pack()
}

/// The files below `dir`, with every folder on the way, in the order in which cpio must name them.
struct Layout<'a> {
    dir: &'a Path,
    files: BTreeSet<PathBuf>,
}

impl Layout<'_> {
    fn modules(&mut self, kernel: &Kernel) -> Result<()> {
        let mut order = String::new();
        for (number, file) in kernel.modules_in_order(&self.dir.join("bin/busybox"))?.iter().enumerate() {
            let from = kernel.modules.join(file);
            let base = file.rsplit('/').next().unwrap_or(file);
            let name = format!("{number:02}-{}", base.trim_end_matches(".xz"));
            let content =
                if base.ends_with(".xz") { unxz(&from) } else { fs::read(&from).map_err(Into::into) };
            let content = content.with_context(|| format!("cannot read {}", from.display()))?;
            self.write(&format!("modules/{name}"), &content, 0o644)?;
            order.push_str(&name);
            order.push('\n');
        }
        self.write("modules/order", order.as_bytes(), 0o644)
    }

    /// Copies a program and the shared libraries that it needs, those to the paths that they have here.
    fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        self.copy(from, to)?;
        for library in libraries(from)? {
            let to = library.to_str().context("a library's path is not UTF-8")?.trim_start_matches('/');
            if !self.files.contains(Path::new(to)) {
                self.copy(&library, to)?;
            }
        }
        Ok(())
    }

    /// Takes the debug information off a program, which is most of it: the guest has all in memory.
    fn strip(&self, program: &str) -> Result<()> {
        run::output(Command::new("strip").arg("--strip-debug").arg(self.dir.join(program))).map(drop)
    }

    fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(to, &content, 0o755)
    }

    fn write(&mut self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let file = self.dir.join(path);
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        let below = Path::new(path).ancestors().filter(|part| !part.as_os_str().is_empty());
        self.files.extend(below.map(Path::to_path_buf));
        Ok(())
    }

    /// Packs everything with busybox's cpio; it names each file by the path that it will have.
    fn pack(&self) -> Result<PathBuf> {
        // Added, not replaced: the folder's name has a version's dot in it.
        let archive = self.dir.with_added_extension("cpio");
        let file = File::create(&archive).with_context(|| format!("cannot write {}", archive.display()))?;
        let mut cpio = Command::new(self.dir.join("bin/busybox"))
            .args(["cpio", "-o", "-H", "newc"])
            .current_dir(self.dir)
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start busybox")?;
        let mut names = cpio.stdin.take().context("busybox takes no input")?;
        for path in &self.files {
            writeln!(names, "{}", path.display()).context("busybox's cpio does not take a name")?;
        }
        drop(names);
        let status = cpio.wait()?;
        if !status.success() {
            bail!("busybox's cpio cannot pack {}: {status}", self.dir.display());
        }
        Ok(archive)
    }
}

fn unxz(file: &Path) -> Result<Vec<u8>> {
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output()?;
    if !output.status.success() {
        bail!("xz: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Whether a program needs no shared library.
pub(super) fn is_static(program: &Path) -> bool {
    libraries(program).is_ok_and(|libraries| libraries.is_empty())
}

/// The shared libraries of a program with their loader; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // ldd ends with an error where a program is static.
    let Ok(text) = run::output(Command::new("ldd").arg(program)) else { return Ok(Vec::new()) };
    libraries_in(&text).with_context(|| format!("a library of {} is not installed", program.display()))
}

/// The paths in ldd's output; `None` where one was not found.
fn libraries_in(ldd: &str) -> Option<Vec<PathBuf>> {
    if ldd.contains("=> not found") {
        return None;
    }
    let paths = ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Some(paths.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_their_loader_are_found() {
        let ldd = "\tlinux-vdso.so.1 (0x00007fe6be327000)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 \
            (0x00007fe6b4e1e000)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007fe6be329000)\n";
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries_in(ldd), Some(paths.map(PathBuf::from).to_vec()));
        assert_eq!(libraries_in("\tstatically linked\n"), Some(Vec::new()));
        assert_eq!(libraries_in("\tlibx.so => not found\n"), None);
    }
}
