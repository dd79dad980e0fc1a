//! Where the workspace is, and how cargo is called in it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The workspace's top folder: `cargo xtask` says it at run time, so a moved checkout works too.
pub(crate) fn root() -> PathBuf {
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    let manifest_dir = PathBuf::from(manifest_dir);
    manifest_dir.parent().map_or_else(|| manifest_dir.clone(), Path::to_path_buf)
}

/// Makes the top folder the current one, whatever sub folder `cargo xtask` was typed in.
pub(crate) fn enter() -> Result<()> {
    let root = root();
    env::set_current_dir(&root).with_context(|| format!("cannot enter the workspace {}", root.display()))
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The folder of tools that belong to this checkout alone; git ignores it.
pub(crate) fn tools_dir() -> PathBuf {
    root().join(".tools")
}

/// Takes away the variables by which the outer cargo describes the package `xtask`: build scripts that look at such
/// variables would otherwise run again each time.
pub(crate) fn without_package_env(command: &mut Command) {
    const OF_A_PACKAGE: [&str; 5] =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(|key| OF_A_PACKAGE.iter().any(|prefix| key.starts_with(prefix))) {
            command.env_remove(key);
        }
    }
}

/// The first executable of this name in `PATH`.
pub(crate) fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Debian keeps system tools in folders that an ordinary user's PATH lacks.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|file| is_executable(file))
}

/// Whether this is a file that somebody may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process may do what root may.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // The kernel shows a process's folder as owned by its effective user.
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}
