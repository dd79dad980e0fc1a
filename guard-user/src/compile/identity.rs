//! What numbers of the tables stand for: the kernel's flow records hold it, for a number stands for another thing after a reload.

use sha2::{Digest as _, Sha256};

/// A number for these names in this order, never 0: other names have another one, but for one case in 2^32.
#[must_use]
pub fn identity<'a>(names: impl IntoIterator<Item = &'a str>) -> u32 {
    let mut hash = Sha256::new();
    for name in names {
        // The length too, so that two names are not one longer name.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(1, |first| u32::from_le_bytes(*first)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::identity;

    #[test]
    fn other_names_have_another_identity() {
        let lists: [&[&str]; 6] =
            [&[], &["mail"], &["mail", "files"], &["files", "mail"], &["mailfiles"], &["mail", ""]];
        let all: HashSet<u32> = lists.iter().map(|names| identity(names.iter().copied())).collect();
        assert!(all.len() == lists.len() && !all.contains(&0));
        assert_eq!(identity(["mail"]), identity(["mail"]));
    }
}
