//! Where members lie in the kernel's own structs, by its type information (Documentation/bpf/btf.rst). aya reads this for
//! programs that are compiled from C, and shows nothing of it.

/// The magic number, in the host's byte order.
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_STRUCT`.
const STRUCT: u32 = 4;

/// Where the programs look in the kernel's structs: the name of the constant, the struct and its member.
pub(super) static PLACES: [(&str, &str, &str); 12] = [
    ("SOCKET_SK", "socket", "sk"),
    ("SOCK_FAMILY", "sock_common", "skc_family"),
    ("FILE_INODE", "file", "f_inode"),
    ("FILE_MODE", "file", "f_mode"),
    ("INODE_MODE", "inode", "i_mode"),
    ("INODE_SB", "inode", "i_sb"),
    ("INODE_RDEV", "inode", "i_rdev"),
    ("SB_DEV", "super_block", "s_dev"),
    ("TASK_FLAGS", "task_struct", "flags"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("SIGNAL_LIVE", "signal_struct", "live"),
];

/// The kernel's type information.
pub(super) struct KernelTypes(Vec<u8>);

impl KernelTypes {
    /// That of the running kernel; `None` where it has none.
    pub(super) fn read() -> Option<Self> {
        std::fs::read("/sys/kernel/btf/vmlinux").ok().map(Self)
    }

    /// The bytes before a member in a struct; `None` where there is no such member, or it begins within a byte.
    pub(super) fn offset(&self, of: &str, member: &str) -> Option<u32> {
        let word = |at: usize| Some(u32::from_ne_bytes(self.0.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let size = |at: usize| usize::try_from(word(at)?).ok();
        if u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = size(4)?;
        let (types, types_len, names) = (header + size(8)?, size(12)?, header + size(16)?);
        let is_called = |at: usize, name: &str| {
            let place = names.checked_add(size(at)?)?;
            let text = self.0.get(place..)?;
            Some(text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0))
        };
        let mut at = types;
        while at < types.checked_add(types_len)? {
            let info = word(at + 4)?;
            let (kind, count) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
            // name, info, and size or type; then what the kind has for each member.
            let members = at + 12;
            if kind == STRUCT && is_called(at, of)? {
                for number in 0..count {
                    let at = members + 12 * number;
                    if is_called(at, member)? {
                        // With bit fields in the struct, the upper byte is the member's size in bits.
                        let bits = if info >> 31 == 1 { word(at + 8)? & 0x00ff_ffff } else { word(at + 8)? };
                        return (bits % 8 == 0).then_some(bits / 8);
                    }
                }
            }
            at = members + size_of_rest(kind, count)?;
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
        let types = KernelTypes(example());
        let found = |of, member| types.offset(of, member);
        assert_eq!((found("a", "x"), found("b", "u"), found("b", "v")), (Some(0), Some(0), Some(4)));
        assert_eq!((found("a", "v"), found("c", "x"), found("", "")), (None, None, None));
    }

    #[test]
    fn what_is_cut_or_of_another_kind_has_no_members() {
        let whole = example();
        for len in 0..whole.len() {
            let _any = KernelTypes(whole[..len].to_vec()).offset("b", "v");
        }
        assert_eq!(KernelTypes(vec![0; 200]).offset("a", "x"), None);
        assert_eq!(KernelTypes(Vec::new()).offset("a", "x"), None);
    }

    #[test]
    fn the_running_kernel_has_what_is_asked_for() {
        let Some(types) = KernelTypes::read() else { return println!("this kernel has no BTF") };
        assert!(types.offset("socket", "sk").is_some_and(|at| at > 0 && at % 8 == 0));
        for (name, of, member) in PLACES {
            assert!(types.offset(of, member).is_some(), "{name}");
        }
    }
}
