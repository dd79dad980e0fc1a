//! Which configs and geo databases a key has signed.

use redb::ReadableTable as _;

use super::signed_files::SignedFiles;
use super::tables::SIGNED_FILES;
use super::{Kept, Reader, StoreError};

impl Reader {
    /// Who signed which files.
    pub(super) fn signed_files(&self) -> Result<SignedFiles, StoreError> {
        let mut files = SignedFiles::new();
        let Some(table) = self.table(SIGNED_FILES)? else { return Ok(files) };
        for row in table.iter().map_err(|error| self.unreadable(error))? {
            let (sha256, signed) = row.map_err(|error| self.unreadable(error))?;
            let signed = serde_json::from_slice(signed.value());
            let signed = signed.map_err(|error| self.damaged(format!("who signed a file: {error}")))?;
            files.insert(sha256.value().to_owned(), signed);
        }
        Ok(files)
    }
}

impl Kept {
    /// The last config that was signed and in force, by its SHA-256, where one of these keys signed it, with whose that is: what
    /// it opened goes on in every later one that nobody signed.
    #[must_use]
    pub fn config_signed_with(&self, keys: &[String]) -> Option<(String, String)> {
        let was_in_force = |sha256: &String| self.configs().all.contains(sha256);
        let configs = self.signed_files().iter().filter(|(sha256, _)| was_in_force(sha256));
        let (sha256, signed) = configs.max_by_key(|(_, signed)| signed.sequence)?;
        signed.with(keys).map(|by| (sha256.clone(), by))
    }

    /// Whose of these keys signed a file of this SHA-256, where one did.
    #[must_use]
    pub fn file_signed_with(&self, sha256: &str, keys: &[String]) -> Option<String> {
        self.signed_files().get(sha256)?.with(keys)
    }
}
