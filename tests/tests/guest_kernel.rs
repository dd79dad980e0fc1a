//! Ways by which a carrier's data goes on that lead through a part of the kernel: its TLS, FUSE, L2TP, its
//! ciphers, its log, and memory that another process fills in. Each to the US and to Belgium: those that are held send to
//! Belgium alone, and of those that docs/limits.md says are open the test shows that they are. In the guests of
//! `cargo xtask vm` alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Command;

use guard_tests::cgroup::Cgroup;
use guard_user::kernel::{Interface, Kernel as _};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::followed::*;
use support::volume::*;
use support::{PinPlace, in_own_network};

/// What the volume's mail begins with.
const TEXT: &[u8] = b"a mail";

/// Whether the mail is among these bytes.
fn has_mail(bytes: &[u8]) -> bool {
    bytes.windows(TEXT.len()).any(|window| window == TEXT)
}

/// `setsockopt` with a value of plain bytes.
fn set(socket: &TcpStream, level: i32, name: i32, value: &[u8]) {
    // SAFETY: the value is read, as long as it is.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as u32)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Has the kernel encrypt what is sent by a connection.
fn by_tls(socket: &TcpStream) {
    /// `TCP_ULP`, `SOL_TLS` and `TLS_TX` (linux/tcp.h, linux/tls.h).
    const ULP: i32 = 31;
    const TLS: i32 = 282;
    const SENDS: i32 = 1;
    /// `TLS_1_2_VERSION` and `TLS_CIPHER_AES_GCM_128`, both in the machine's order.
    const VERSION: u16 = 0x303;
    const AES: u16 = 51;
    set(socket, libc::IPPROTO_TCP, ULP, b"tls");
    // `struct tls12_crypto_info_aes_gcm_128`: behind these two a nonce, a key, a salt and a number.
    let mut keys = [7; 40];
    keys[..2].copy_from_slice(&VERSION.to_ne_bytes());
    keys[2..4].copy_from_slice(&AES.to_ne_bytes());
    set(socket, TLS, SENDS, &keys);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_sends_by_the_kernels_tls_does_not_arrive() {
    let (pins, on) = (PinPlace::new("ktls"), Cgroup::new("ktls").unwrap());
    let volume = Volume::new("ktls");
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        let of_nobody = arrive(|to| {
            by_tls(to);
            in_a_process(|| send(to));
        });
        assert_eq!(of_nobody, [true, true]);
        let by_write = arrive(|to| {
            by_tls(to);
            in_a_process(|| {
                read_of(&volume.mail());
                send(to);
            });
        });
        assert_eq!(by_write, [false, true], "by write");
        let by_pages = arrive(|to| {
            by_tls(to);
            in_a_process(|| {
                let file = File::open(volume.mail()).unwrap();
                assert!(rustix::fs::sendfile(to, &file, None, 20).unwrap() > 0);
            });
        });
        assert_eq!(by_pages, [false, true], "by sendfile");
    });
}

/// Answers for a file system of FUSE that has one file, its root, with what another file has (`fuse(4)`), until it is
/// unmounted.
fn serve(device: &File, behind: &Path) {
    /// Opcodes (linux/fuse.h) of what is answered; all else is not known here.
    const GETATTR: u32 = 3;
    const OPEN: u32 = 14;
    const READ: u32 = 15;
    const RELEASE: u32 = 18;
    const INIT: u32 = 26;
    /// Those that nobody waits for.
    const FORGET: u32 = 2;
    const INTERRUPT: u32 = 36;
    const HEADER: usize = 40;
    let mut request = vec![0; 1 << 17];
    let words = |words: &[u32]| -> Vec<u8> { words.iter().copied().flat_map(u32::to_ne_bytes).collect() };
    while let Ok(len) = rustix::io::read(device, &mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert!(len >= HEADER);
        let (mut error, mut body) = (0, Vec::new());
        match word(4) {
            INIT => {
                // Version 7.31, no flags, and room for a page.
                body = words(&[7, 31, 0, 0, 0, 4096, 1]);
                body.resize(64, 0);
            }
            GETATTR => {
                let size = fs::metadata(behind).unwrap().len() as u32;
                // Valid for no time; number 1, its size, no blocks, six words of times and three of their parts, its
                // kind, one name, of root.
                body = words(&[
                    0,
                    0,
                    0,
                    0,
                    1,
                    0,
                    size,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    libc::S_IFREG | 0o444,
                    1,
                ]);
                body.resize(104, 0);
            }
            // By no pages that the kernel would keep.
            OPEN => body = words(&[0, 0, 1, 0]),
            READ => {
                let file = fs::read(behind).unwrap();
                let begin = (word(HEADER + 8) as usize).min(file.len());
                body = file[begin..].to_vec();
            }
            RELEASE => {}
            FORGET | INTERRUPT => continue,
            _ => error = -libc::ENOSYS,
        }
        let mut answer = words(&[(16 + body.len()) as u32, error.cast_unsigned()]);
        answer.extend(&request[8..16]);
        answer.extend(body);
        assert_eq!(rustix::io::write(device, &answer).unwrap(), answer.len());
    }
}

/// Tries what is read of a file of FUSE that hands on the volume's, with a pin that names the volume, or the mount of FUSE.
fn by_fuse(label: &str, names_fuse: bool) -> [bool; 2] {
    let (pins, on) = (PinPlace::new(label), Cgroup::new(label).unwrap());
    let volume = Volume::new(label);
    let at = std::env::temp_dir().join(format!("fuse-{label}-{}", std::process::id()));
    fs::write(&at, "").unwrap();
    let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=100000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    let options = std::ffi::CString::new(options).unwrap();
    mount("mail", &at, "fuse", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    let server = begin_process(|| serve(&device, &volume.mail()));
    drop(device);
    let arrived = in_own_network(|| {
        // Not its drop: that would remove it as a folder.
        let mounted = std::mem::ManuallyDrop::new(Volume(at.clone()));
        let _kernel = followed(&pins, &on, if names_fuse { &mounted } else { &volume });
        arrive(|to| {
            in_a_process(|| {
                assert!(has_mail(&fs::read(&at).unwrap()));
                send(to);
            });
        })
    });
    unmount(&at, UnmountFlags::DETACH).unwrap();
    assert_eq!(wait_for(server), 0);
    fs::remove_file(&at).unwrap();
    arrived
}

#[test]
#[ignore = "needs root and BPF"]
fn a_file_of_fuse_that_hands_on_a_volumes_is_held_where_its_mount_is_named_alone() {
    assert_eq!(by_fuse("fuse", false), [true, true], "as docs/limits.md says");
    assert_eq!(by_fuse("fuse-named", true), [false, true]);
}

/// A socket of the kernel's ciphers: what is written to it is read from it, as it is.
fn cipher() -> OwnedFd {
    // `struct sockaddr_alg` (linux/if_alg.h): a family, a kind, flags and a name.
    let mut name = [0_u8; 88];
    name[..2].copy_from_slice(&(libc::AF_ALG as u16).to_ne_bytes());
    name[2..10].copy_from_slice(b"skcipher");
    name[24..40].copy_from_slice(b"ecb(cipher_null)");
    // SAFETY: the name is read, as long as it is; the descriptors are this process's own.
    unsafe {
        let all = libc::socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0);
        assert!(all >= 0, "{}", std::io::Error::last_os_error());
        let all = OwnedFd::from_raw_fd(all);
        let bound = libc::bind(all.as_raw_fd(), name.as_ptr().cast(), name.len() as u32);
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        let one = libc::accept(all.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
        assert!(one >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(one)
    }
}

/// Sends what was got, which must be the mail.
fn send_on(got: &[u8], mut to: &TcpStream) {
    assert!(has_mail(got), "{}", String::from_utf8_lossy(got));
    to.write_all(got).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_hands_on_by_a_cipher_of_the_kernels_is_not_followed() {
    let (pins, on) = (PinPlace::new("alg"), Cgroup::new("alg").unwrap());
    let volume = Volume::new("alg");
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        let handed_on = arrive(|to| {
            let way = cipher();
            in_a_process(|| {
                let mail = fs::read(volume.mail()).unwrap();
                assert_eq!(rustix::io::write(&way, &mail[..16]).unwrap(), 16);
            });
            in_a_process(|| {
                let mut got = [0; 16];
                assert_eq!(rustix::io::read(&way, &mut got).unwrap(), 16);
                send_on(&got, to);
            });
        });
        assert_eq!(handed_on, [true, true], "as docs/limits.md says");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_writes_to_the_kernels_log_is_not_followed() {
    let (pins, on) = (PinPlace::new("kmsg"), Cgroup::new("kmsg").unwrap());
    let volume = Volume::new("kmsg");
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        let handed_on = arrive(|to| {
            let mut log = File::open("/dev/kmsg").unwrap();
            log.seek(SeekFrom::End(0)).unwrap();
            in_a_process(|| {
                // So low that no console shows it.
                let line = [b"<7>", &fs::read(volume.mail()).unwrap()[..], b"\n"].concat();
                assert_eq!(
                    File::options().write(true).open("/dev/kmsg").unwrap().write(&line).unwrap(),
                    line.len()
                );
            });
            in_a_process(|| {
                let mut line = [0; 8192];
                // Others may have written before.
                let got = loop {
                    let len = log.read(&mut line).unwrap();
                    if has_mail(&line[..len]) {
                        break &line[..len];
                    }
                };
                send_on(got, to);
            });
        });
        assert_eq!(handed_on, [true, true], "as docs/limits.md says");
    });
}

/// An ioctl of a userfaultfd, with a struct of whole words.
fn ask<const N: usize>(descriptor: &OwnedFd, request: u64, words: &mut [u64; N]) {
    // SAFETY: the struct is this function's caller's, and as long as the request says.
    let done = unsafe { libc::ioctl(descriptor.as_raw_fd(), request as _, words.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_fills_another_processs_memory_with_is_not_followed() {
    const PAGE: usize = 4096;
    /// `UFFDIO_API`, `UFFDIO_REGISTER` and `UFFDIO_COPY` (linux/userfaultfd.h), the version and the mode "missing".
    const API: u64 = 0xc018_aa3f;
    const REGISTER: u64 = 0xc020_aa00;
    const COPY: u64 = 0xc028_aa03;
    const VERSION: u64 = 0xaa;
    const MISSING: u64 = 1;
    let (pins, on) = (PinPlace::new("fault"), Cgroup::new("fault").unwrap());
    let volume = Volume::new("fault");
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        let handed_on = arrive(|to| {
            in_a_process(|| {
                // SAFETY: a new mapping of a page, and a descriptor of this process's own.
                let (page, faults) = unsafe {
                    let protection = libc::PROT_READ | libc::PROT_WRITE;
                    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                    let page = libc::mmap(std::ptr::null_mut(), PAGE, protection, kind, -1, 0);
                    assert_ne!(page, libc::MAP_FAILED);
                    let faults = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC);
                    assert!(faults >= 0, "{}", std::io::Error::last_os_error());
                    (page, OwnedFd::from_raw_fd(faults as i32))
                };
                ask(&faults, API, &mut [VERSION, 0, 0]);
                ask(&faults, REGISTER, &mut [page as u64, PAGE as u64, MISSING, 0]);
                in_a_process(|| {
                    let mut filled = fs::read(volume.mail()).unwrap();
                    filled.resize(PAGE, 0);
                    ask(&faults, COPY, &mut [page as u64, filled.as_ptr() as u64, PAGE as u64, 0, 0]);
                });
                // SAFETY: the page is mapped, and nobody writes it any more.
                send_on(unsafe { std::slice::from_raw_parts(page.cast::<u8>(), 32) }, to);
            });
        });
        assert_eq!(handed_on, [true, true], "as docs/limits.md says");
    });
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {done:?}");
}

/// What a carrier sends to a place by a tunnel of L2TP to another one.
struct Tunnel {
    number: u16,
    far: UdpSocket,
}

impl Tunnel {
    fn new(number: u16, end: Ipv4Addr) -> Self {
        let port = 5000 + number;
        let far = UdpSocket::bind((end, port)).unwrap();
        far.set_read_timeout(Some(SILENCE)).unwrap();
        ip(&format!(
            "l2tp add tunnel tunnel_id {number} peer_tunnel_id {number} encap udp local {HOST} remote {end} \
             udp_sport {port} udp_dport {port}"
        ));
        ip(&format!(
            "l2tp add session name tunnel{number} tunnel_id {number} session_id {number} peer_session_id {number}"
        ));
        ip(&format!("link set tunnel{number} up"));
        Self { number, far }
    }

    fn interface(&self) -> Interface {
        Interface::by_name(&format!("tunnel{}", self.number)).unwrap()
    }

    /// Whether the mail arrives at the tunnel's end that a carrier sends to this address by it.
    fn carries(&self, volume: &Volume, to: Ipv4Addr) -> bool {
        let name = format!("tunnel{}", self.number);
        ip(&format!("route replace {to}/32 dev {name} src {HOST}"));
        ip(&format!("neigh replace {to} dev {name} lladdr 02:00:00:00:00:01"));
        in_a_process(|| {
            let mail = fs::read(volume.mail()).unwrap();
            let _refused = UdpSocket::bind((HOST, 0)).unwrap().send_to(&mail, (to, 9));
        });
        // The device sends frames of its own too.
        wait_for(begin_process(|| {
            let mut frame = [0; 2048];
            while !has_mail(&frame) {
                self.far.recv(&mut frame).unwrap();
            }
        })) == 0
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_carrier_sends_by_l2tp_is_judged_by_where_the_tunnel_ends_and_in_a_guarded_one_by_where_it_goes() {
    let (pins, on) = (PinPlace::new("l2tp"), Cgroup::new("l2tp").unwrap());
    let volume = Volume::new("l2tp");
    let american = Ipv4Addr::from(u32::from(CLIENT) + 1);
    let belgian = Ipv4Addr::from(u32::from(BELGIAN) + 1);
    in_own_network(|| {
        let mut kernel = followed(&pins, &on, &volume);
        let tunnels = [Tunnel::new(1, CLIENT), Tunnel::new(2, BELGIAN)];
        let arrive = || {
            let by = |tunnel: &Tunnel| [american, belgian].map(|to| tunnel.carries(&volume, to));
            [by(&tunnels[0]), by(&tunnels[1])]
        };
        // The packet outside still has the carrier's socket.
        assert_eq!(arrive(), [[false; 2], [true; 2]]);
        for tunnel in &tunnels {
            kernel.attach(&tunnel.interface(), false).unwrap();
        }
        assert_eq!(arrive(), [[false; 2], [false, true]], "guarded");
    });
}
