//! `borderguard generate`: the manual pages and what shells complete the command line by, for packages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::Shell;

use crate::exit::Exit;

/// Arguments of `generate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder that gets `man/` and `completions/`; it is made where it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// The shells that Debian's packages have a place for, and the name of the file there.
const SHELLS: [(Shell, &str); 3] =
    [(Shell::Bash, "borderguard"), (Shell::Zsh, "_borderguard"), (Shell::Fish, "borderguard.fish")];

/// Writes them, of the table that the command line is read by.
///
/// # Errors
/// Where a file can't be written.
pub fn run(args: &Args, table: &Command, out: &mut impl Write) -> Result<Exit> {
    let (man, completions) = (args.dir.join("man"), args.dir.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    // Hidden ones have no page.
    clap_mangen::generate_to(table.clone(), &man).with_context(|| cannot_write(&man))?;
    for (shell, name) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut table.clone(), "borderguard", &mut text);
        let file = completions.join(name);
        fs::write(&file, text).with_context(|| cannot_write(&file))?;
    }
    writeln!(out, "wrote {} and {}", man.display(), completions.display())?;
    Ok(Exit::Ok)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
