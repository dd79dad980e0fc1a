//! A folder for the files of one test or demo, gone afterwards.
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cleanup::{self, Undo};
use crate::error::SetupError;
use crate::names;

/// A folder that only this user can enter; removed on drop with all that is in it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _undo: Undo,
}

impl Scratch {
    /// Makes one in the system's folder for temporary files.
    ///
    /// # Errors
    /// [`SetupError::Io`] if it cannot be made.
    pub fn new(label: &str) -> Result<Self, SetupError> {
        let base = std::env::temp_dir();
        remove_left_overs(&base);
        let path = base.join(names::unique(label)?);
        let (path, undo) = cleanup::make(|| {
            // This fails if the name exists, be it as somebody's link: nothing of others is followed.
            let made = DirBuilder::new().mode(0o700).create(&path);
            made.map_err(|error| SetupError::io("create", &path, error))?;
            let to_remove = path.clone();
            Ok::<_, SetupError>((path, move || remove(&to_remove)))
        })?;
        Ok(Scratch { path, _undo: undo })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn remove(path: &Path) {
    let _others_or_gone = fs::remove_dir_all(path);
}

/// Removes what runs that were killed have left.
fn remove_left_overs(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(names::is_left_over) {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_folder_goes_too() {
        let scratch = Scratch::new("scratch").unwrap();
        let path = scratch.path().to_owned();
        fs::create_dir(path.join("a")).unwrap();
        fs::write(path.join("a/b"), "c").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
