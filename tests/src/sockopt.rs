//! Socket options by which a process asks for a way past the hooks of interfaces, asked for as a program would.
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// `SOL_XDP`, `XDP_UMEM_REG` (linux/if_xdp.h).
const SOL_XDP: i32 = 283;
const XDP_UMEM_REG: i32 = 4;
/// Options of packet sockets (linux/if_packet.h).
const PACKET_TX_RING: i32 = 13;
const PACKET_VNET_HDR: i32 = 15;
const PACKET_QDISC_BYPASS: i32 = 20;

/// A raw packet socket that receives nothing.
///
/// # Errors
/// Without `CAP_NET_RAW`.
pub fn packet_socket() -> io::Result<OwnedFd> {
    socket(libc::AF_PACKET)
}

/// A raw packet socket that sends by this interface, given by its number.
///
/// # Errors
/// Without `CAP_NET_RAW`, and where there is no such interface.
pub fn packet_socket_by(interface: u32) -> io::Result<OwnedFd> {
    let socket = packet_socket()?;
    // SAFETY: a sockaddr_ll of zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = i32::try_from(interface).map_err(io::Error::other)?;
    // SAFETY: the address lives until the call returns, and its size is given.
    let bound = unsafe {
        let size = size_of_val(&address) as u32;
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size)
    };
    if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// A socket for XDP.
///
/// # Errors
/// Without `CAP_NET_RAW`, and where the kernel has none.
pub fn xdp_socket() -> io::Result<OwnedFd> {
    socket(libc::AF_XDP)
}

fn socket(family: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no addresses.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option to these bytes.
///
/// # Errors
/// What the kernel answers.
pub fn set(socket: impl AsFd, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let len = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads as many bytes as the slice has.
    let set = unsafe { libc::setsockopt(fd, level, option, value.as_ptr().cast(), len) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for sending past TC, or no more.
///
/// # Errors
/// What the kernel answers.
pub fn bypass_qdisc(socket: impl AsFd, value: u32) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, PACKET_QDISC_BYPASS, &value.to_ne_bytes())
}

/// Whether a packet socket sends past TC.
///
/// # Errors
/// What the kernel answers.
pub fn bypasses_qdisc(socket: impl AsFd) -> io::Result<bool> {
    let (mut value, mut len) = (0_u32, 4);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most the four bytes of the value, and the length.
    let got = unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(fd, libc::SOL_PACKET, PACKET_QDISC_BYPASS, value, &raw mut len)
    };
    if got == 0 { Ok(value != 0) } else { Err(io::Error::last_os_error()) }
}

/// Asks for a header before each frame that names a checksum's place, or no more.
///
/// # Errors
/// What the kernel answers.
pub fn set_vnet_header(socket: impl AsFd, value: u32) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, PACKET_VNET_HDR, &value.to_ne_bytes())
}

/// Asks for a ring of frames that the process shares with the kernel, to send from.
///
/// # Errors
/// What the kernel answers.
pub fn make_tx_ring(socket: impl AsFd) -> io::Result<()> {
    // struct tpacket_req: the size of a block, how many, the size of a frame, how many.
    let words = [4096_u32, 1, 2048, 2];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    set(socket, libc::SOL_PACKET, PACKET_TX_RING, &bytes)
}

/// Registers some pages as memory for frames, which is unmapped again.
///
/// # Errors
/// What the kernel answers.
pub fn register_umem(socket: impl AsFd) -> io::Result<()> {
    const BYTES: usize = 1 << 16;
    // SAFETY: a new mapping, which nothing else knows of.
    let memory = unsafe {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), BYTES, protection, flags, -1, 0)
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // struct xdp_umem_reg: addr, len, chunk_size, headroom, flags and padding.
    let words = [memory as u64, BYTES as u64, 4096, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let registered = set(socket, SOL_XDP, XDP_UMEM_REG, &bytes);
    // SAFETY: the mapping is this function's; what the kernel registered it holds by itself.
    unsafe { libc::munmap(memory, BYTES) };
    registered
}

/// Sends a whole frame by an interface, of the calling thread's network namespace. That it is dropped is no error.
///
/// # Errors
/// Where there is no such interface.
pub fn send_frame(socket: impl AsFd, interface: &str, frame: &[u8]) -> io::Result<()> {
    let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
    // SAFETY: a sockaddr_ll of zeroes is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    to.sll_protocol = 0x0800_u16.to_be();
    to.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    // SAFETY: the kernel reads the frame and the address, whose sizes are given.
    unsafe {
        let size = u32::try_from(size_of_val(&to)).map_err(io::Error::other)?;
        let (bytes, len) = (frame.as_ptr().cast(), frame.len());
        libc::sendto(socket.as_fd().as_raw_fd(), bytes, len, 0, (&raw const to).cast(), size);
    }
    Ok(())
}
