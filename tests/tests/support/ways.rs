//! Ways in which a process gets the data of a file that it has not opened, and sends.

use std::net::TcpStream;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::volume::{begin_process, in_a_process, send, wait_for};

/// What a process does that gets a file without opening it, and sends.
pub(crate) type Way = fn(&OwnedFd, &TcpStream);

pub(crate) fn read_and_send(file: &OwnedFd, to: &TcpStream) {
    assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0);
    send(to);
}

pub(crate) fn map_and_send(file: &OwnedFd, to: &TcpStream) {
    // SAFETY: a new mapping of a page of the file, which is read and stays until the process ends.
    unsafe {
        let at =
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED);
        assert_eq!(*at.cast::<u8>(), b'a');
    }
    send(to);
}

pub(crate) fn sendfile(file: &OwnedFd, to: &TcpStream) {
    assert!(rustix::fs::sendfile(to, file, None, 20).unwrap() > 0);
}

pub(crate) fn splice(file: &OwnedFd, to: &TcpStream) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let flags = rustix::pipe::SpliceFlags::empty();
    let count = rustix::pipe::splice(file, None, write.as_fd(), None, 20, flags).unwrap();
    assert!(rustix::pipe::splice(read.as_fd(), None, to.as_fd(), None, count, flags).unwrap() > 0);
}

pub(crate) fn fork_and_send(file: &OwnedFd, to: &TcpStream) {
    assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0);
    assert_eq!(wait_for(begin_process(|| in_a_process(|| send(to)))), 0);
}

pub(crate) fn thread_and_send(file: &OwnedFd, to: &TcpStream) {
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0)).join().unwrap();
        scope.spawn(|| send(to)).join().unwrap();
    });
}

/// By a ring of the kernel's, on a thread of the kernel's for it.
pub(crate) fn io_uring_and_send(file: &OwnedFd, to: &TcpStream) {
    use rustix::io_uring::{
        IORING_OFF_SQES, IoringEnterFlags, IoringOp, IoringSqeFlags, io_uring_enter, io_uring_params,
        io_uring_setup, io_uring_sqe, io_uring_user_data,
    };
    let mut data = [0_u8; 8];
    let mut params = io_uring_params::default();
    // SAFETY: the kernel fills in the parameters; both mappings are as large as it says, and the entry is its own type.
    unsafe {
        let ring = io_uring_setup(1, &mut params).unwrap();
        let map = |len: usize, at: u64| {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let place = libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                ring.as_raw_fd(),
                i64::try_from(at).unwrap(),
            );
            assert_ne!(place, libc::MAP_FAILED);
            place.cast::<u8>()
        };
        let queue = map(params.sq_off.array as usize + 4, 0);
        let entries = map(size_of::<io_uring_sqe>(), IORING_OFF_SQES).cast::<io_uring_sqe>();
        let mut entry = io_uring_sqe { opcode: IoringOp::Read, ..Default::default() };
        entry.flags = IoringSqeFlags::ASYNC;
        entry.fd = file.as_raw_fd();
        entry.addr_or_splice_off_in.addr.ptr = data.as_mut_ptr().cast();
        entry.len.len = 8;
        entry.user_data = io_uring_user_data::default();
        entries.write(entry);
        let tail = queue.add(params.sq_off.tail as usize).cast::<u32>();
        queue.add(params.sq_off.array as usize).cast::<u32>().write(0);
        tail.write_volatile(tail.read_volatile().wrapping_add(1));
        assert_eq!(io_uring_enter(&ring, 1, 1, IoringEnterFlags::GETEVENTS).unwrap(), 1);
    }
    assert_ne!(std::hint::black_box(data), [0; 8]);
    send(to);
}

/// A thread of its reads, and another one becomes the whole process by exec.
pub(crate) fn exec_and_send(file: &OwnedFd, to: &TcpStream) {
    let to = to.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(rustix::io::read(file, &mut [0_u8; 8]).unwrap() > 0)).join().unwrap();
        scope.spawn(|| {
            panic!(
                "{}",
                Command::new("/bin/busybox").args(["echo", "a mail"]).stdout(OwnedFd::from(to)).exec()
            )
        });
    });
}

pub(crate) const WAYS: [(&str, Way); 8] = [
    ("a descriptor that it inherited", read_and_send),
    ("mmap", map_and_send),
    ("sendfile", sendfile),
    ("splice", splice),
    ("io_uring", io_uring_and_send),
    ("its child's child", fork_and_send),
    ("another thread", thread_and_send),
    ("exec", exec_and_send),
];
