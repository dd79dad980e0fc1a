//! The bpf(2) calls that need exact bytes: values of megabytes and entries in bpffs. Those for all elements of a map are in
//! [`batch`](super::batch), those of links in [`link`](super::link).
//!
//! A map is opened with its sizes as the kernel tells them, and every buffer is held against them
//! before its address goes into a call: the kernel itself is told no lengths. All `unsafe` of the
//! kernel module is here, in these two and in [`plain`](super::plain).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::frozen;

/// Commands of `enum bpf_cmd` (linux/bpf.h).
#[derive(Clone, Copy)]
#[repr(i32)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    ProgramLoad = 5,
    ObjectPin = 6,
    ObjectGet = 7,
    MapById = 14,
    ObjectInfo = 15,
    ProgramQuery = 16,
    RawTracepointOpen = 17,
    MapLookupBatch = 24,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkById = 30,
    LinkDetach = 34,
}

/// `BPF_MAP_TYPE_ARRAY` and others of `enum bpf_map_type`.
pub(super) const ARRAY: u32 = 2;
const PER_CPU_HASH: u32 = 5;
const PER_CPU_ARRAY: u32 = 6;
const LRU_PER_CPU_HASH: u32 = 10;
pub(super) const ARRAY_OF_MAPS: u32 = 12;

/// What is said of another object in the place of a map.
pub(super) const NOT_A_MAP: &str = "what is pinned there is not a map";

/// The value that does not fit its map, as an error.
pub(super) fn wrong_length() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the bytes do not have the size of the map's keys or values")
}

/// The cookie of the network namespace that this thread is in.
///
/// # Errors
///
/// What the kernel says: before Linux 5.14 it tells none.
pub(super) fn netns_cookie() -> io::Result<u64> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM, None)?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is open until the call returns, and the value has the room that `length` tells.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Moves this thread into a new network namespace, which ends with the thread and with the sockets that it makes there.
///
/// # Errors
///
/// What the kernel says.
pub(super) fn leave_network() -> io::Result<()> {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: only this thread's network changes: no descriptor and no memory is shared or taken.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// `struct sockaddr_ll` (packet(7)) of an interface and a protocol.
fn link_address(ifindex: u32, protocol: u16) -> libc::sockaddr_ll {
    // An index is never above i32::MAX, and the family's number is small.
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

const LINK_ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// Binds a packet socket to an interface, to receive what comes in of an EtherType in host order: of 0 nothing. Returns the
/// first bytes of the interface's hardware address, zeroes where it has none.
///
/// # Errors
///
/// What the kernel says.
pub(super) fn bind_to_interface(socket: impl AsFd, ifindex: u32, protocol: u16) -> io::Result<[u8; 6]> {
    let mut address = link_address(ifindex, protocol);
    let mut length = LINK_ADDRESS_LEN;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open until the calls return, and the address has the room that its length tells.
    let result = unsafe {
        match libc::bind(fd, (&raw const address).cast(), length) {
            0 => libc::getsockname(fd, (&raw mut address).cast(), &raw mut length),
            failed => failed,
        }
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut hardware = [0; 6];
    if usize::from(address.sll_halen) >= hardware.len() {
        hardware.copy_from_slice(&address.sll_addr[..6]);
    }
    Ok(hardware)
}

/// Sends a frame with its link header by an interface, of an EtherType in host order.
///
/// # Errors
///
/// What the kernel says: `ENOBUFS` where the frame was dropped on its way out.
pub(super) fn send_by_interface(
    socket: impl AsFd,
    ifindex: u32,
    protocol: u16,
    frame: &[u8],
) -> io::Result<()> {
    let address = link_address(ifindex, protocol);
    // SAFETY: the descriptor is open until the call returns, and frame and address have the room that is told of them.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            LINK_ADDRESS_LEN,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One bpf(2) call.
///
/// # Safety
///
/// `attributes` must be the part of `union bpf_attr` that the command reads, of plain integers without
/// implicit padding; addresses in it must be valid for what the command does to them, until it returns.
pub(super) unsafe fn call<T>(command: Command, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: the attributes live until the call returns and their size is given; the caller vouches for
    // the rest.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`call`], for the commands that return a new file descriptor.
///
/// # Safety
///
/// As for [`call`]; the command must be one that returns a new file descriptor.
pub(super) unsafe fn call_for_fd<T>(command: Command, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for the attributes.
    let fd = unsafe { call(command, attributes) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nothing else owns it. BPF descriptors
    // are made close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor is never negative.
    fd.as_raw_fd().unsigned_abs()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

#[repr(C)]
struct ObjectAttributes {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Opens what is pinned at a path.
pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attributes = ObjectAttributes { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the path ends with a zero byte and lives until the call returns.
    unsafe { call_for_fd(Command::ObjectGet, &mut attributes) }
}

/// Whether a descriptor is of this kind: a `map`, a `prog` or a `link`, which all can have entries in bpffs, and whose
/// infos have other forms. The kernel calls them `bpf-map` and so on, and links `bpf_link` too.
pub(super) fn is_a(fd: BorrowedFd<'_>, kind: &str) -> bool {
    let target = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let name = target.unwrap_or_default();
    let (name, kind) = (name.as_os_str().as_bytes(), kind.as_bytes());
    name.strip_suffix(kind).is_some_and(|rest| rest.ends_with(b"bpf-") || rest.ends_with(b"bpf_"))
}

/// Pins a map, program or link; the path must be new.
pub(super) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attributes = ObjectAttributes { path: path.as_ptr() as u64, fd: raw(fd), flags: 0 };
    // SAFETY: the path ends with a zero byte and lives until the call returns.
    unsafe { call(Command::ObjectPin, &mut attributes) }.map(drop)
}

#[repr(C)]
struct InfoAttributes {
    fd: u32,
    len: u32,
    info: u64,
}

/// Reads the begin of `struct bpf_map_info`, `bpf_link_info` or `bpf_prog_info`, as the descriptor is.
pub(super) fn info<const WORDS: usize>(fd: BorrowedFd<'_>) -> io::Result<[u32; WORDS]> {
    let mut words = [0_u32; WORDS];
    let mut attributes = InfoAttributes {
        fd: raw(fd),
        len: u32::try_from(size_of_val(&words)).map_err(io::Error::other)?,
        info: words.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `len` bytes to `words`, and takes no addresses from it, for it
    // is all zeroes.
    unsafe { call(Command::ObjectInfo, &mut attributes) }?;
    Ok(words)
}

/// What a map is: all that must agree for two programs to share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its `enum bpf_map_type`.
    pub(super) kind: u32,
    /// Bytes of a key.
    pub(super) key_size: u32,
    /// Bytes of a value, on one CPU.
    pub(super) value_size: u32,
    /// Elements, or bytes of a ring buffer.
    pub(super) max_entries: u32,
    /// Its `BPF_F_` flags.
    pub(super) flags: u32,
}

/// An open map.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    id: u32,
    shape: Shape,
    /// Bytes that a lookup writes: of a map by CPU, the values of all.
    value_len: usize,
    /// The name that the kernel has of it, ended by zeroes.
    name: [[u8; 4]; 4],
}

#[repr(C)]
struct ElementAttributes {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct CreateAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
}

impl Map {
    /// Opens a pinned map.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::from_fd(get(path)?)
    }

    /// Of a descriptor.
    pub(super) fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if !is_a(fd.as_fd(), "map") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_A_MAP));
        }
        let [kind, id, key_size, value_size, max_entries, flags, name @ ..] = info::<10>(fd.as_fd())?;
        let shape = Shape { kind, key_size, value_size, max_entries, flags };
        let one = usize::try_from(value_size).map_err(io::Error::other)?;
        let value_len = match kind {
            PER_CPU_HASH | PER_CPU_ARRAY | LRU_PER_CPU_HASH => {
                let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
                one.next_multiple_of(8) * cpus
            }
            _ => one,
        };
        Ok(Self { fd, id, shape, value_len, name: name.map(u32::to_ne_bytes) })
    }

    pub(super) fn create(kind: u32, inner_map: u32) -> io::Result<Self> {
        let mut attributes =
            CreateAttributes { kind, key_size: 4, value_size: 4, max_entries: 1, flags: 0, inner_map };
        // SAFETY: the attributes hold no addresses, and the command returns a new descriptor.
        Self::from_fd(unsafe { call_for_fd(Command::MapCreate, &mut attributes) }?)
    }

    /// Whether it was made under this name, of which the kernel keeps 15 bytes (`BPF_OBJ_NAME_LEN`).
    pub(super) fn was_made_as(&self, name: &str) -> bool {
        self.made().is_some_and(|made| made == name.as_bytes().get(..15).unwrap_or(name.as_bytes()))
    }

    /// The name that the kernel has of it, of 15 bytes at most.
    pub(super) fn made_as(&self) -> String {
        self.made().map(|made| String::from_utf8_lossy(made).into_owned()).unwrap_or_default()
    }

    fn made(&self) -> Option<&[u8]> {
        let made = self.name.as_flattened();
        made.get(..made.iter().position(|byte| *byte == 0).unwrap_or(made.len()))
    }

    /// What it is.
    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Its id, which no other map has.
    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    /// Bytes that a lookup gives: of a map by CPU, every CPU's value at a distance of 8 bytes' multiples.
    pub(super) const fn value_len(&self) -> usize {
        self.value_len
    }

    fn key_fits(&self, key: &[u8]) -> io::Result<()> {
        if u32::try_from(key.len()) == Ok(self.shape.key_size) { Ok(()) } else { Err(wrong_length()) }
    }

    /// Copies the value of a key to `value`, which must have [`value_len`](Self::value_len) bytes.
    pub(super) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        if value.len() != self.value_len {
            return Err(wrong_length());
        }
        // SAFETY: the value has the bytes that are written.
        unsafe { self.copy(key, value.as_mut_ptr()) }
    }

    /// Likewise in the place of what `value` has, with no byte written twice: zeroes before a value of megabytes take as long as
    /// the value. Where it fails, nothing is left in it.
    pub(super) fn lookup_anew(&self, key: &[u8], value: &mut Vec<u8>) -> io::Result<()> {
        value.clear();
        value.reserve_exact(self.value_len);
        // SAFETY: there is room for the bytes that are written, and all of them are when the call has succeeded.
        unsafe {
            self.copy(key, value.as_mut_ptr())?;
            value.set_len(self.value_len);
        }
        Ok(())
    }

    /// Writes the value of a key, all of its [`value_len`](Self::value_len) bytes, where it does not fail.
    ///
    /// # Safety
    ///
    /// There must be room for them.
    unsafe fn copy(&self, key: &[u8], value: *mut u8) -> io::Result<()> {
        self.key_fits(key)?;
        let mut attributes = ElementAttributes {
            map: raw(self.fd.as_fd()),
            pad: 0,
            key: key.as_ptr() as u64,
            value: value as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads one key, which was held against the map's size, and writes one value, for which the caller
        // has the room; a ring buffer or map of maps answers with an error.
        unsafe { call(Command::MapLookup, &mut attributes) }.map(drop)
    }

    /// Sets the value of a key.
    pub(super) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.set(key, value, 0)
    }

    /// Sets the value of a key that has none (`BPF_NOEXIST`); whether it had none.
    pub(super) fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        match self.set(key, value, 1) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn set(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        self.key_fits(key)?;
        if value.len() != self.value_len {
            return Err(wrong_length());
        }
        let mut attributes = ElementAttributes {
            map: raw(self.fd.as_fd()),
            pad: 0,
            key: key.as_ptr() as u64,
            value: value.as_ptr() as u64,
            flags,
        };
        // SAFETY: the kernel reads one key and one value, and both buffers were held against the map's
        // sizes.
        let set = unsafe { call(Command::MapUpdate, &mut attributes) };
        set.map(drop).map_err(|error| frozen::explained(self.fd.as_fd(), error))
    }

    /// Removes a key of a hash. One that is not there is no error.
    pub(super) fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.key_fits(key)?;
        let mut attributes = ElementAttributes {
            map: raw(self.fd.as_fd()),
            pad: 0,
            key: key.as_ptr() as u64,
            value: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads one key, and the buffer was held against the map's size.
        match unsafe { call(Command::MapDelete, &mut attributes) } {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(frozen::explained(self.fd.as_fd(), error))
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
