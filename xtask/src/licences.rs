//! Whether everything that the program is built from may be shipped with it.
//!
//! A check of its own over `cargo metadata`, with the licence parser that cargo-deny uses: cargo-deny
//! itself takes longer to build than everything else together.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::{run, setup};

/// Licences that permit shipping under MIT OR Apache-2.0.
const ALLOWED: [&str; 9] =
    ["MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unicode-3.0", "Zlib", "CC0-1.0"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Checks the licence of every package in the lock file that Linux builds use; returns their number.
pub(crate) fn check() -> Result<usize> {
    let text = run::output(setup::cargo()?.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    let Metadata { packages } = serde_json::from_str(&text).context("cannot read cargo metadata")?;
    let refused: Vec<String> = packages.iter().filter_map(Package::refusal).collect();
    if !refused.is_empty() {
        bail!("licences that are not in the list of xtask/src/licences.rs:\n  {}", refused.join("\n  "));
    }
    Ok(packages.len())
}

impl Package {
    /// Why the package may not be used, if it may not.
    fn refusal(&self) -> Option<String> {
        let licence = self.license.as_deref().unwrap_or_default();
        // Lax: many packages still write MIT/Apache-2.0.
        let allowed = Expression::parse_mode(licence, ParseMode::LAX)
            .is_ok_and(|licence| licence.evaluate(|part| ALLOWED.contains(&part.to_string().as_str())));
        (!allowed).then(|| format!("{} {}: {licence:?}", self.name, self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(licence: &str) -> bool {
        let package =
            Package { name: "x".to_owned(), version: "1.0.0".to_owned(), license: Some(licence.to_owned()) };
        package.refusal().is_none()
    }

    #[test]
    fn expressions_are_read_as_a_lawyer_would() {
        assert!(allowed("MIT OR Apache-2.0"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(allowed("GPL-3.0-only OR MIT"));
        assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!allowed("MIT AND GPL-3.0-only"));
        assert!(!allowed("AGPL-3.0-or-later"));
        assert!(!allowed(""));
        assert!(!allowed("whatever I like"));
    }
}
