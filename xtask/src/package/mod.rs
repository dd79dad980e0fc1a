//! `cargo xtask package`: what is installed, and what goes with it.

mod deb;
mod guest;
mod node;
mod oci;
mod place;
mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    build,
    files::{create_dir, remove},
    run,
    setup::{self, tool::Tool},
    workspace,
};

/// What a checksum is written to.
const SUMS: &str = "SHA256SUMS";

/// Of `--check`: the image on a node, beside the releases of Debian.
const IMAGE: &str = "oci";

/// Make the Debian package, an archive of the same files for other distributions, an image for container runtimes, and their
/// bills of materials
///
/// They are in target/package, with their SHA-256. The same commit gives the same bytes, where the compiler is the same.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install, use, upgrade, downgrade, remove and purge the package in guests that boot systemd of these releases of
    /// Debian: bookworm, trixie. Run the image as a container of the DaemonSet: oci
    #[arg(long, value_name = "WHAT", value_parser = [guest::RELEASES[0], guest::RELEASES[1], IMAGE])]
    check: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let made = make()?;
    for file in &made {
        println!("made {}", file.display());
    }
    for what in &arguments.check {
        match what.as_str() {
            IMAGE => node::check()?,
            release => guest::check(release)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes all of it anew, and returns its files.
fn make() -> Result<Vec<PathBuf>> {
    build::shipped()?;
    let record = setup::ensure()?;
    let ensure = |tool: &Tool| match tool.works() {
        true => Ok(()),
        false => {
            tool.build("which makes packages", setup::rustup_run(&record.toolchain, "cargo"), |cargo| cargo)
        }
    };
    ensure(&deb::CARGO_DEB)?;
    ensure(&sbom::CARGO_CYCLONEDX)?;
    let folder = place::folder();
    remove(&folder)?;
    create_dir(&folder)?;
    let program = workspace::target_dir().join("release/borderguard");
    run::output(Command::new(program).arg("generate").arg(folder.join("generated")))?;

    let deb = deb::make(&folder, None)?;
    deb::look_at(&deb)?;
    let name = format!("borderguard-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let archive = archive(&deb, &folder.join(format!("{name}.tar.gz")))?;
    let bills = sbom::make(&folder)?;
    let image = oci::make(&deb, &bills)?;
    let mut made = vec![deb, archive, image];
    made.extend(bills);
    let sums = sums(&folder, &made)?;
    made.push(sums);
    Ok(made)
}

/// The package's files in an archive that is unpacked at `/`.
fn archive(deb: &Path, to: &Path) -> Result<PathBuf> {
    let script = "set -o pipefail; dpkg-deb --fsys-tarfile \"$1\" | gzip --no-name --best > \"$2\"";
    let mut bash = Command::new("bash");
    run::step("packing the archive", "archive", bash.args(["-c", script, "bash"]).arg(deb).arg(to))?;
    Ok(to.to_path_buf())
}

fn sums(folder: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let names = files.iter().filter_map(|file| file.file_name());
    let text = run::output(Command::new("sha256sum").args(names).current_dir(folder))?;
    let file = folder.join(SUMS);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
