//! Where members lie in the kernel's own structs, by its type information (Documentation/bpf/btf.rst). aya reads this for
//! programs that are compiled from C, and shows nothing of it.

use std::sync::OnceLock;

use aya::Btf;

/// The magic number, in the host's byte order.
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_STRUCT` and `BTF_KIND_UNION`.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// How deep structs and unions without names lie in one another, at most.
const MOST_DEEP: u32 = 8;

/// The one place that is only asked for whether the kernel has it at all: it may be built without Multipath TCP.
const MPTCP: &str = "MPTCP";

/// Where the programs look in the kernel's structs: the name of the constant, the struct and its member.
pub(super) static PLACES: [(&str, &str, &str); 51] = [
    ("SOCKET_SK", "socket", "sk"),
    ("SOCK_FAMILY", "sock_common", "skc_family"),
    ("SOCK_TYPE", "sock", "sk_type"),
    ("SOCK_UID", "sock", "sk_uid"),
    ("SOCK_PROTOCOL", "sock", "sk_protocol"),
    ("SOCK_NET", "sock_common", "skc_net"),
    ("SOCK_DADDR", "sock_common", "skc_daddr"),
    ("SOCK_RCV_SADDR", "sock_common", "skc_rcv_saddr"),
    ("SOCK_V6_DADDR", "sock_common", "skc_v6_daddr"),
    ("SOCK_V6_RCV_SADDR", "sock_common", "skc_v6_rcv_saddr"),
    ("SOCK_DPORT", "sock_common", "skc_dport"),
    ("SOCK_NUM", "sock_common", "skc_num"),
    ("UNIX_PEER", "unix_sock", "peer"),
    ("MSG_NAME", "msghdr", "msg_name"),
    (MPTCP, "mptcp_sock", "first"),
    ("KIOCB_FILE", "kiocb", "ki_filp"),
    ("FILE_INODE", "file", "f_inode"),
    ("FILE_MODE", "file", "f_mode"),
    ("FILE_PATH", "file", "f_path"),
    ("FILE_PRIVATE", "file", "private_data"),
    ("TERMINAL_OF_FILE", "tty_file_private", "tty"),
    ("TERMINAL_LINK", "tty_struct", "link"),
    ("PATH_DENTRY", "path", "dentry"),
    ("DENTRY_NAME", "dentry", "d_name"),
    ("DENTRY_PARENT", "dentry", "d_parent"),
    ("QSTR_NAME", "qstr", "name"),
    ("INODE_MODE", "inode", "i_mode"),
    ("INODE_SB", "inode", "i_sb"),
    ("INODE_RDEV", "inode", "i_rdev"),
    ("INODE_NUMBER", "inode", "i_ino"),
    ("INODE_GENERATION", "inode", "i_generation"),
    ("INODE_LINKS", "inode", "i_nlink"),
    ("SB_DEV", "super_block", "s_dev"),
    ("TASK_FLAGS", "task_struct", "flags"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_LEADER", "task_struct", "group_leader"),
    ("TASK_BEGAN", "task_struct", "start_boottime"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("SIGNAL_LIVE", "signal_struct", "live"),
    ("TASK_FILES", "task_struct", "files"),
    ("FILES_TABLE", "files_struct", "fdt"),
    ("TABLE_LEN", "fdtable", "max_fds"),
    ("TABLE_FILES", "fdtable", "fd"),
    ("DENTRY_INODE", "dentry", "d_inode"),
    ("MAP_ID", "bpf_map", "id"),
    ("LINK_PROGRAM", "bpf_link", "prog"),
    ("PROGRAM_AUX", "bpf_prog", "aux"),
    ("AUX_ID", "bpf_prog_aux", "id"),
    ("AUX_REFERENCES", "bpf_prog_aux", "refcnt"),
    ("AUX_MAPS", "bpf_prog_aux", "used_maps"),
    ("AUX_MAP_COUNT", "bpf_prog_aux", "used_map_cnt"),
];

/// The running kernel's type information as aya reads it, to say what a program is loaded for. It is 6 MB of some 100,000
/// types, and stays the same while the kernel runs: read once in a process.
///
/// # Errors
///
/// The kernel has none, or aya can't read it.
pub(super) fn btf() -> Result<&'static Btf, String> {
    static OF_THE_KERNEL: OnceLock<Result<Btf, String>> = OnceLock::new();
    OF_THE_KERNEL
        .get_or_init(|| {
            Btf::from_sys_fs().map_err(|error| format!("it has no type information (BTF): {error}"))
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// Where each of [`PLACES`] is in the running kernel, as the bytes before it; `None` where the kernel does not tell. Read
/// once in a process.
pub(super) fn places() -> [Option<u32>; PLACES.len()] {
    static OF_THE_KERNEL: OnceLock<[Option<u32>; PLACES.len()]> = OnceLock::new();
    *OF_THE_KERNEL.get_or_init(|| {
        let types = KernelTypes::read();
        PLACES.map(|(_, of, member)| types.as_ref()?.offset(of, member))
    })
}

/// The first of these places that the running kernel does not tell, as its struct and member.
pub(super) fn lacks(names: &[&str]) -> Option<String> {
    let mut all = PLACES.iter().zip(places());
    let is_untold =
        |((name, ..), place): &(&(&str, &str, &str), Option<u32>)| place.is_none() && names.contains(name);
    all.find(is_untold).map(|((_, of, member), _)| format!("{of}.{member}"))
}

/// The kernel's type information.
struct KernelTypes {
    bytes: Vec<u8>,
    /// Where the types begin, in the order of their numbers, which count from 1.
    starts: Vec<usize>,
    /// Where the structs begin.
    structs: Vec<usize>,
}

impl KernelTypes {
    /// That of the running kernel; `None` where it has none.
    fn read() -> Option<Self> {
        Self::of(std::fs::read("/sys/kernel/btf/vmlinux").ok()?)
    }

    /// `None` where these bytes are no type information of this host's byte order.
    fn of(bytes: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let mut types = Self { bytes, starts: Vec::new(), structs: Vec::new() };
        types.starts = types.find_starts()?;
        let of_struct = |at: &usize| types.kind(*at) == Some(STRUCT);
        types.structs = types.starts.iter().copied().filter(of_struct).collect();
        Some(types)
    }

    /// The bytes before a member in a struct, also where it is in a union or struct there that has no name; `None` where
    /// there is no such member, or it begins within a byte.
    fn offset(&self, of: &str, member: &str) -> Option<u32> {
        if of.is_empty() || member.is_empty() {
            return None;
        }
        let is_it = |at: &&usize| self.is_called(**at, of) == Some(true);
        let bits = self.member(*self.structs.iter().find(is_it)?, member, MOST_DEEP)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn size(&self, at: usize) -> Option<usize> {
        usize::try_from(self.word(at)?).ok()
    }

    fn kind(&self, at: usize) -> Option<u32> {
        Some(self.word(at.checked_add(4)?)? >> 24 & 0x1f)
    }

    /// Whether what begins here, a type or a member, has this name.
    fn is_called(&self, at: usize, name: &str) -> Option<bool> {
        let names = self.size(4)?.checked_add(self.size(16)?)?;
        let text = self.bytes.get(names.checked_add(self.size(at)?)?..)?;
        Some(text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0))
    }

    fn find_starts(&self) -> Option<Vec<usize>> {
        let begin = self.size(4)?.checked_add(self.size(8)?)?;
        let end = begin.checked_add(self.size(12)?)?;
        let (mut at, mut starts) = (begin, Vec::new());
        while at < end {
            starts.push(at);
            let count = usize::try_from(self.word(at.checked_add(4)?)? & 0xffff).ok()?;
            // name, info, and size or type; then what the kind has for each member.
            at = at.checked_add(12 + size_of_rest(self.kind(at)?, count)?)?;
        }
        Some(starts)
    }

    /// The bits before a member of the struct or union that begins here.
    fn member(&self, of: usize, member: &str, deep: u32) -> Option<u32> {
        let info = self.word(of.checked_add(4)?)?;
        for number in 0..usize::try_from(info & 0xffff).ok()? {
            let at = of.checked_add(12 + 12 * number)?;
            // With bit fields in the struct, the upper byte is the member's size in bits.
            let offset = self.word(at.checked_add(8)?)?;
            let bits = if info >> 31 == 1 { offset & 0x00ff_ffff } else { offset };
            if self.is_called(at, member)? {
                return Some(bits);
            }
            let inner =
                self.size(at.checked_add(4)?)?.checked_sub(1).and_then(|number| self.starts.get(number));
            if let (true, Some(&inner), Some(deeper)) = (self.size(at)? == 0, inner, deep.checked_sub(1))
                && matches!(self.kind(inner), Some(STRUCT | UNION))
                && let Some(found) = self.member(inner, member, deeper)
            {
                return bits.checked_add(found);
            }
        }
        None
    }
}

/// Bytes behind a type's first twelve; `None` for a kind that is not known.
const fn size_of_rest(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => 12 * count,
        // ENUM, FUNC_PROTO
        6 | 13 => 8 * count,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two structs behind an integer and an enum: `a { x; }`, `b { u; v; }`.
    fn example() -> Vec<u8> {
        let names = b"\0a\0b\0x\0u\0v\0";
        #[rustfmt::skip]
        let types: [u32; 27] = [
            0, 1 << 24, 4, 32, // an integer
            0, 6 << 24 | 1, 4, 5, 0, // an enum of one value
            1, 4 << 24 | 1, 4, 5, 1, 0, // a
            3, 1 << 31 | 4 << 24 | 2, 8, 7, 1, 8 << 24, 9, 1, 32, // b, with a bit field
            0, 2 << 24, 1, // a pointer
        ];
        let types_len = u32::try_from(size_of_val(&types)).unwrap();
        let header = [24, 0, types_len, types_len, u32::try_from(names.len()).unwrap()];
        let words = header.iter().chain(&types).flat_map(|word| word.to_ne_bytes());
        let mut bytes = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        bytes.extend(words);
        bytes.extend(names);
        bytes
    }

    #[test]
    fn members_are_found_by_name() {
        let types = KernelTypes::of(example()).unwrap();
        let found = |of, member| types.offset(of, member);
        assert_eq!((found("a", "x"), found("b", "u"), found("b", "v")), (Some(0), Some(0), Some(4)));
        assert_eq!((found("a", "v"), found("c", "x"), found("", "")), (None, None, None));
    }

    #[test]
    fn what_is_cut_or_of_another_kind_has_no_members() {
        let whole = example();
        for len in 0..whole.len() {
            let _any = KernelTypes::of(whole[..len].to_vec()).and_then(|types| types.offset("b", "v"));
        }
        assert!(KernelTypes::of(vec![0; 200]).is_none());
        assert!(KernelTypes::of(Vec::new()).is_none());
    }

    #[test]
    fn the_running_kernel_has_what_is_asked_for() {
        let Some(types) = KernelTypes::read() else { return println!("this kernel has no BTF") };
        assert!(types.offset("socket", "sk").is_some_and(|at| at > 0 && at % 8 == 0));
        for (name, of, member) in PLACES {
            assert!(name == MPTCP || types.offset(of, member).is_some(), "{name}");
        }
    }
}
