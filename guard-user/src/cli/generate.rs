//! `borderguard generate`: the manual pages and what shells complete the command line by, for packages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::command::Cli;
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

/// Writes them. They are made of the table that the command line is read by.
///
/// # Errors
/// Where a file can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let (man, completions) = (args.dir.join("man"), args.dir.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    // Hidden ones have no page.
    clap_mangen::generate_to(Cli::command(), &man).with_context(|| cannot_write(&man))?;
    for (shell, name) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "borderguard", &mut text);
        let file = completions.join(name);
        fs::write(&file, text).with_context(|| cannot_write(&file))?;
    }
    writeln!(out, "wrote {} and {}", man.display(), completions.display())?;
    Ok(Exit::Ok)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// By shells themselves where they are there: bash is on every machine that builds this.
    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let args = Args { dir: folder.path().to_path_buf() };
        run(&args, &mut Vec::new()).unwrap();
        let shown = Cli::command();
        for command in shown.get_subcommands().filter(|it| !it.is_hide_set()) {
            let page = folder.path().join(format!("man/borderguard-{}.1", command.get_name()));
            let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page:?}");
        }
        assert!(!folder.path().join("man/borderguard-generate.1").exists());
        let script = format!(
            "source {:?} && COMP_WORDS=(borderguard exem) COMP_CWORD=1 && \
             _borderguard borderguard exem borderguard && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            folder.path().join("completions/borderguard")
        );
        let done = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "exemption\n", "{done:?}");
    }
}
