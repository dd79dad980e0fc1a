//! Up to when everything was told: kept on the disk, so that a daemon that starts again does not tell it
//! twice.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where the kernel says which boot this is (random(4)): the boot clock begins anew with each.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
struct Mark {
    boot: String,
    swept_ns: u64,
}

/// The last sweep in this boot, nanoseconds of `CLOCK_BOOTTIME`; `None` where it is not known.
pub(in crate::daemon) fn read(file: &Path, now_ns: u64) -> Option<u64> {
    let mark: Mark = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (mark.boot == boot().ok()? && mark.swept_ns <= now_ns).then_some(mark.swept_ns)
}

/// Keeps the time of a sweep.
pub(in crate::daemon) fn write(file: &Path, swept_ns: u64) -> io::Result<()> {
    // Beside it and then in its place: a crash leaves the old or the new one.
    let beside = file.with_extension("json.new");
    fs::write(&beside, serde_json::to_vec(&Mark { boot: boot()?, swept_ns })?)?;
    fs::rename(&beside, file)
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_its_boot_and_not_of_the_future() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told.json");
        assert_eq!(read(&file, 10), None);
        write(&file, 7).unwrap();
        assert_eq!((read(&file, 10), read(&file, 6)), (Some(7), None));
        fs::write(&file, r#"{"boot":"another","swept_ns":7}"#).unwrap();
        assert_eq!(read(&file, 10), None);
        fs::write(&file, "{").unwrap();
        assert_eq!(read(&file, 10), None);
    }
}
