//! The real Prometheus server and `promtool`, for the end-to-end tests of metrics.
//!
//! Debian's package is only unpacked, below `.tools/prometheus`: none of its scripts runs, so that no user is made and no
//! service starts. Both programs need nothing but the C library.

use anyhow::Result;

use crate::{setup::packages, workspace};

/// The suite that needs them.
pub(crate) const SUITE: &str = "e2e_metrics";

/// Unpacks them where they are not there.
pub(crate) fn ensure() -> Result<()> {
    let folder = workspace::tools_dir().join("prometheus");
    match folder.join("usr/bin/promtool").is_file() {
        true => Ok(()),
        false => packages::unpack_one("prometheus", &folder),
    }
}
