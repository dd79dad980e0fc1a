//! Writes a file that is not there yet.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::CliError;

/// Refuses a name that is taken, so that a dry run says what would happen.
pub(crate) fn must_be_free(file: &Path) -> Result<()> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", file.display())),
        Ok(_) => Err(taken(file)),
    }
}

/// Writes it whole, for its owner alone: a document may be confidential. What is there already stays as it
/// is, and what can't be written whole is taken away again.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    let mut opened = match create(file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(file)),
        opened => opened.with_context(|| format!("cannot write {}", file.display()))?,
    };
    let written = opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all());
    written.map_err(|error| {
        let removed = fs::remove_file(file);
        let left = if removed.is_ok() { "" } else { "; remove what is there of it" };
        anyhow::Error::new(error).context(format!("cannot write {}{left}", file.display()))
    })
}

/// Makes it for its owner alone; it must not be there yet.
///
/// # Errors
/// Where it is, or can't be made.
pub(crate) fn create(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

fn taken(file: &Path) -> anyhow::Error {
    let file = file.display();
    CliError::bad_input(format!("{file} is there already, and nothing was written: name another file")).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::exit_of;
    use crate::exit::Exit;

    #[test]
    fn what_is_there_stays_and_what_is_new_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        must_be_free(&file).unwrap();
        write(&file, "first").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for error in [write(&file, "second").unwrap_err(), must_be_free(&file).unwrap_err()] {
            assert_eq!(exit_of(&error), Exit::BadInput);
            assert!(error.to_string().contains("a.toml is there already"), "{error}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        // A link to nowhere is a name that is taken, too.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(must_be_free(&link).is_err() && write(&link, "x").is_err());
        let error = write(&folder.path().join("none/a.toml"), "x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
