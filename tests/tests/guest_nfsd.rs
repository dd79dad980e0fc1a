//! What the kernel's NFS server reads of a volume, for clients in the US and in Belgium. In the guests of `cargo xtask vm`
//! alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use guard_tests::cgroup::Cgroup;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{AddressFamily, SocketType};
use support::followed::*;
use support::volume::*;
use support::{PinPlace, in_own_network};

/// What the volume's mail begins with.
const TEXT: &[u8] = b"a mail";

/// The kernel's NFS server with one thread, for version 4 by TCP, and what it exports.
struct Exported {
    handle: Vec<u8>,
}

impl Exported {
    const PLACE: &str = "/proc/fs/nfsd";
    const PORT: u16 = 2049;
    /// Past any time at which an entry would end.
    const NEVER: u32 = i32::MAX as u32;
    /// Read only, from any port, without looks at the folders above, and with a number for the file system (linux/nfsd/export.h).
    const FLAGS: u32 = 0x1 | 0x2 | 0x400 | 0x2000;

    /// Exports the volume, as `exportfs` and `mountd` do, to clients at these addresses.
    fn new(volume: &Volume, clients: &[Ipv4Addr]) -> Self {
        mount("nfsd", Self::PLACE, "nfsd", MountFlags::empty(), None).unwrap();
        let tell = |cache: &str, line: String| {
            let told = fs::write(format!("/proc/thread-self/net/rpc/{cache}/channel"), format!("{line}\n"));
            told.unwrap_or_else(|error| panic!("{cache}: {line}: {error}"));
        };
        let (never, path) = (Self::NEVER, volume.0.display());
        for client in clients {
            tell("auth.unix.ip", format!("nfsd {client} {never} clients"));
        }
        tell("nfsd.export", format!("clients {path} {never} {} 65534 65534 1", Self::FLAGS));
        // A handle of the kind that has such a number, which is 1.
        tell("nfsd.fh", format!("clients 1 \\x01000000 {never} {path}"));
        let control = |name: &str, text: &str| {
            fs::write(format!("{}/{name}", Self::PLACE), format!("{text}\n")).unwrap()
        };
        // Version 3 would want rpcbind.
        control("versions", "-3 +4");
        control("portlist", &format!("tcp {}", Self::PORT));
        control("threads", "1");
        let mut asks =
            File::options().read(true).write(true).open(format!("{}/filehandle", Self::PLACE)).unwrap();
        asks.write_all(format!("clients {} 64\n", volume.mail().display()).as_bytes()).unwrap();
        let mut answer = String::new();
        asks.read_to_string(&mut answer).unwrap();
        let digits = answer.trim().strip_prefix("\\x").unwrap();
        let pairs = (0..digits.len()).step_by(2);
        Self { handle: pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect() }
    }

    /// A call to read the file (RFC 5531 section 9, RFC 7530 sections 16.20 and 16.23).
    fn call(&self) -> Vec<u8> {
        let mut words: Vec<u32> = vec![
            7,
            0,
            2, // its number, a call, of version 2
            100_003,
            4,
            1, // NFS, version 4, COMPOUND
            1,
            20,
            0,
            0,
            0,
            0,
            0, // AUTH_SYS: of no name, by root, in no group
            0,
            0, // no verifier
            0,
            0,
            2, // no tag, minor version 0, two operations
            22,
            self.handle.len() as u32, // PUTFH
        ];
        let mut call: Vec<u8> = words.drain(..).flat_map(u32::to_be_bytes).collect();
        call.extend(&self.handle);
        call.resize(call.len().next_multiple_of(4), 0);
        // READ by the state of who has opened nothing, 64 bytes from the begin on.
        call.extend(25_u32.to_be_bytes());
        call.extend([0xff; 16]);
        call.extend([0; 8]);
        call.extend(64_u32.to_be_bytes());
        let mark = 1 << 31 | call.len() as u32;
        let mut whole = mark.to_be_bytes().to_vec();
        whole.extend(call);
        whole
    }

    /// Whether the mail arrives at a client that asks from this address.
    fn arrives_at(&self, client: Ipv4Addr) -> bool {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(client, 0)).unwrap();
        rustix::net::connect(&socket, &SocketAddrV4::new(HOST, Self::PORT)).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(SILENCE * 20)).unwrap();
        socket.write_all(&self.call()).unwrap();
        // This process must not carry anything.
        let child = begin_process(|| {
            let mut got: Vec<u8> = Vec::new();
            let mut part = [0; 256];
            while !got.windows(TEXT.len()).any(|window| window == TEXT) {
                let len = (&socket).read(&mut part).unwrap();
                assert_ne!(len, 0, "{got:?}");
                got.extend(&part[..len]);
            }
        });
        wait_for(child) == 0
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        let _may_be_none = fs::write(format!("{}/threads", Self::PLACE), "0");
        let _may_be_busy = unmount(Self::PLACE, UnmountFlags::DETACH);
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_the_kernels_nfs_server_reads_of_a_volume_does_not_arrive() {
    let (pins, on) = (PinPlace::new("nfsd"), Cgroup::new("nfsd").unwrap());
    let (volume, other) = (Volume::new("nfsd"), Volume::new("nfsd-other"));
    in_own_network(|| {
        let _kernel = followed(&pins, &on, &volume);
        {
            let free = Exported::new(&other, &[CLIENT, BELGIAN]);
            assert_eq!([CLIENT, BELGIAN].map(|client| free.arrives_at(client)), [true, true], "of no volume");
        }
        let exported = Exported::new(&volume, &[CLIENT, BELGIAN]);
        assert_eq!([CLIENT, BELGIAN].map(|client| exported.arrives_at(client)), [false, true]);
    });
}
