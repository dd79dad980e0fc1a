//! Maps that somebody has frozen (`BPF_MAP_FREEZE`): no process can write into one any more, and nothing undoes it as long as
//! the map is there. Programs read it and write into it as before.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// What helps where a map is frozen.
pub const FROZEN: &str = "no process can write into it any more (BPF_MAP_FREEZE), and to try again does not help. \
     `borderguard detach` (nothing is guarded from then on) and a start make the maps anew; that ends what the kernel has noted \
     of the audit trail and of orders too, so look at `borderguard audit verify` first";

/// Several times what the kernel shows of a map, all of which it gives to one read(2) that has room for it.
const SHOWN: usize = 2048;

/// Whether a map is frozen. The kernel shows that of the descriptor alone.
pub(super) fn is_frozen(map: BorrowedFd<'_>) -> bool {
    let mut shown = [0; SHOWN];
    let file = File::open(format!("/proc/self/fdinfo/{}", map.as_raw_fd()));
    let read = file.and_then(|mut file| file.read(&mut shown));
    let info = read.ok().and_then(|len| std::str::from_utf8(shown.get(..len)?).ok());
    info.is_some_and(says_frozen)
}

/// Why a map was not written into: where it is frozen, what helps instead of the kernel's bare answer.
pub(super) fn explained(map: BorrowedFd<'_>, error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::EPERM) && is_frozen(map) {
        return io::Error::new(io::ErrorKind::PermissionDenied, format!("somebody has frozen it: {FROZEN}"));
    }
    error
}

fn says_frozen(info: &str) -> bool {
    let mut values = info.lines().filter_map(|line| line.strip_prefix("frozen:"));
    values.any(|value| value.trim() == "1")
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_map_is_frozen_where_its_descriptor_says_so() {
        let shown = |frozen: &str| {
            format!(
                "pos:\t0\nflags:\t02000002\nmap_type:\t2\nmap_id:\t7\nfrozen:\t{frozen}\nowner_prog_type:\t3\n"
            )
        };
        assert!(says_frozen(&shown("1")) && !says_frozen(&shown("0")));
        assert!(!says_frozen("pos:\t0\nflags:\t0100000\nmnt_id:\t1\n"));
    }

    #[test]
    fn an_answer_of_what_is_not_frozen_stays_as_it_is() {
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        for code in [libc::EPERM, libc::ENOENT] {
            let error = explained(file.as_fd(), io::Error::from_raw_os_error(code));
            assert_eq!(error.raw_os_error(), Some(code));
        }
    }
}
