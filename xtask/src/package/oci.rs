//! The image for container runtimes: an OCI image layout in one file, with the program and what it is linked to, and nothing
//! that another image has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::place::{self, epoch};
use crate::{
    files::{copy_file, create_dir, remove},
    run,
    setup::packages::{self, Purpose},
    workspace,
};

/// Makes and unpacks images: the Open Container Initiative's own tool for them. It takes a folder, and needs neither a
/// daemon nor a registry nor another image.
const UMOCI: &str = "umoci";
/// The file's name ends so, where the Debian package's ends with `deb`.
const EXTENSION: &str = "oci.tar";
/// Folders that something is mounted on, for a root file system that nobody can write to.
const FOLDERS: [&str; 8] = [
    "dev",
    "etc/borderguard",
    "proc",
    "run/borderguard",
    "sys",
    "tmp",
    "var/lib/borderguard",
    "var/lib/borderguard-mark",
];
/// Names of users come from these files. Who wants others mounts the host's in their place.
const FILES: [(&str, &str); 3] = [
    ("etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
];
/// Of the program, of the C library, and of the compiler's library.
const LICENCES: &str = concat!(
    "(",
    env!("CARGO_PKG_LICENSE"),
    ") AND LGPL-2.1-or-later AND GPL-3.0-or-later WITH GCC-exception-3.1"
);

/// The image of what is built, beside the Debian package and named as that, with these bills of materials. It is made
/// twice, and both have to be the same.
pub(super) fn make(deb: &Path, bills: &[PathBuf]) -> Result<PathBuf> {
    packages::ensure(Purpose::Image)?;
    let image = deb.with_extension(EXTENSION);
    let folder = place::folder().join("image");
    pack(bills, &folder, &image)?;
    let again = folder.join(EXTENSION);
    pack(bills, &folder, &again)?;
    let bytes = |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    if bytes(&again)? != bytes(&image)? {
        bail!("two images of the same files differ: {} and {}", again.display(), image.display());
    }
    remove(&folder)?;
    Ok(image)
}

/// Makes the image by way of this folder, which is made anew.
fn pack(bills: &[PathBuf], folder: &Path, to: &Path) -> Result<()> {
    remove(folder)?;
    let root = folder.join("root");
    fill(&root, bills)?;
    let epoch = epoch();
    let date = format!("--date=@{epoch}");
    // Whatever this user's umask is.
    run::output(Command::new("chmod").args(["--recursive", "u+w,go-w,a+rX"]).arg(&root))?;
    let touch: [&str; 6] = ["-exec", "touch", "--no-dereference", &date, "{}", "+"];
    run::output(Command::new("find").arg(&root).args(touch))?;
    let created = run::output(Command::new("date").args(["--utc", &date, "+%Y-%m-%dT%H:%M:%SZ"]))?;
    let created = created.trim();

    // Its tag is the version. A path would end at a colon, so that it is one below the folder.
    let image = concat!("layout:", env!("CARGO_PKG_VERSION"));
    let umoci = |words: &[&str]| {
        let mut umoci = Command::new(UMOCI);
        umoci.args(words).current_dir(folder);
        umoci
    };
    run::output(&mut umoci(&["init", "--layout", "layout"]))?;
    run::output(&mut umoci(&["new", "--image", image]))?;
    let mut insert = umoci(&["insert", "--image", image, "--history.created_by", "cargo xtask package"]);
    insert.args(["--history.created", created]);
    if !workspace::is_root() {
        // What is this user's is root's in the image.
        insert.arg("--rootless");
    }
    run::step("making the image", "image", insert.args(["root", "/"]))?;
    let mut config = umoci(&["config", "--image", image, "--no-history", "--created", created]);
    config.arg("--config.entrypoint=/usr/bin/borderguard");
    config
        .args(["run", "--config", "/etc/borderguard/policy.toml"].map(|word| format!("--config.cmd={word}")));
    config.args(labels().iter().map(|label| format!("--config.label={label}")));
    run::output(&mut config)?;
    // What the steps before have left.
    run::output(&mut umoci(&["gc", "--layout", "layout"]))?;

    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--format=ustar", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u+w,go-w,a+rX", &format!("--mtime=@{epoch}"), "--directory"])
        .arg(folder.join("layout"))
        .arg("--create")
        .arg("--file")
        .arg(to)
        .args(["blobs", "index.json", "oci-layout"]);
    run::output(&mut tar).map(drop)
}

/// What others ask an image for, by the annotations that the image specification names.
fn labels() -> Vec<String> {
    let mut labels = vec![
        "title=Border Guard".to_owned(),
        "description=Keeps region-pinned data in its region".to_owned(),
        concat!("version=", env!("CARGO_PKG_VERSION")).to_owned(),
        format!("licenses={LICENCES}"),
        concat!("source=", env!("CARGO_PKG_REPOSITORY")).to_owned(),
    ];
    let mut git = Command::new("git");
    if let Ok(revision) = run::output(git.args(["rev-parse", "HEAD"]).current_dir(workspace::root())) {
        labels.push(format!("revision={}", revision.trim()));
    }
    labels.into_iter().map(|label| format!("org.opencontainers.image.{label}")).collect()
}

/// Fills the image's root file system.
fn fill(root: &Path, bills: &[PathBuf]) -> Result<()> {
    let program = workspace::target_dir().join("release/borderguard");
    copy_file(&program, &root.join("usr/bin/borderguard"))?;
    let docs = root.join("usr/share/doc");
    let own = docs.join("borderguard");
    let licences = ["LICENSE-APACHE", "LICENSE-MIT"].map(|name| workspace::root().join(name));
    for file in licences.iter().chain(bills) {
        let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
        copy_file(file, &own.join(name))?;
    }
    let mut packages = Vec::new();
    for library in loaded(&run::output(Command::new("ldd").arg(&program))?)? {
        copy_file(&library, &below(root, &library))?;
        packages.push(package_of(&library)?);
    }
    packages.sort();
    packages.dedup();
    for package in &packages {
        let name = package.split(':').next().unwrap_or(package);
        let copyright = Path::new("/usr/share/doc").join(name).join("copyright");
        copy_file(&copyright, &docs.join(name).join("copyright"))?;
    }
    // By which whoever wants their sources finds them at Debian.
    let format = "--showformat=${binary:Package} ${Version}, source: ${source:Package} ${source:Version}\\n";
    let libraries = run::output(Command::new("dpkg-query").args(["--show", format]).args(&packages))?;
    write(&own.join("libraries"), &libraries)?;
    FOLDERS.iter().try_for_each(|folder| create_dir(&root.join(folder)))?;
    FILES.iter().try_for_each(|(path, text)| write(&root.join(path), text))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Where a file of this machine is below another root.
fn below(root: &Path, file: &Path) -> PathBuf {
    root.join(file.strip_prefix("/").unwrap_or(file))
}

/// The files that `ldd` says a program is loaded with: its libraries, and their loader, which it names by its path alone.
fn loaded(ldd: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for line in ldd.lines() {
        let (name, at) = line.split_once("=>").unwrap_or((line, line));
        match at.split_whitespace().next() {
            Some(path) if path.starts_with('/') => files.push(PathBuf::from(path)),
            // It is in the kernel.
            _ if name.trim_start().starts_with("linux-vdso") => {}
            _ => bail!("the program needs what is not there: {}", line.trim()),
        }
    }
    if files.is_empty() {
        bail!("the program is linked to nothing");
    }
    Ok(files)
}

/// Debian's package that a file is of. `dpkg` knows it by one of its paths, where `/lib` is a link to `/usr/lib`.
fn package_of(file: &Path) -> Result<String> {
    let target = fs::canonicalize(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = [file, target.as_path()]
        .into_iter()
        .find_map(|path| run::output(Command::new("dpkg-query").arg("--search").arg(path)).ok());
    let found = found.with_context(|| format!("{} is of no package of Debian's", file.display()))?;
    let package = found.split(": ").next().unwrap_or_default();
    Ok(package.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_their_loader_are_found_and_what_is_missing_is_told() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f8b)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f8b)\n";
        let files = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(loaded(ldd).unwrap(), files);
        let missing = loaded("\tlibgone.so.1 => not found\n").unwrap_err();
        assert_eq!(missing.to_string(), "the program needs what is not there: libgone.so.1 => not found");
        // Of a program that is linked statically.
        assert!(loaded("\tstatically linked\n").is_err());
        assert!(loaded("").is_err());
    }

    #[test]
    fn a_file_of_this_machine_has_its_place_below_the_images_root() {
        let place = below(Path::new("/x/root"), Path::new("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(place, Path::new("/x/root/lib64/ld-linux-x86-64.so.2"));
    }

    #[test]
    fn labels_are_those_of_the_image_specification() {
        let labels = labels();
        for label in ["version", "licenses", "source"] {
            let begin = format!("org.opencontainers.image.{label}=");
            assert!(labels.iter().any(|it| it.len() > begin.len() && it.starts_with(&begin)), "{labels:?}");
        }
    }
}
