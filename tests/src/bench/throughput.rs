//! A TCP connection with GSO through the guard, and by turns without it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use guard_user::compile::{HostFacts, geo_image, policy_table};
use guard_user::geo::embedded;
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel};
use rustix::net::{AddressFamily, SocketType};
use rustix::time::{ClockId, clock_gettime};

use super::figures::{Figures, median};
use super::policies::{Kind, policy};
use crate::bed::{BELGIUM, Bed, STORE};
use crate::bpffs::BpfFs;
use crate::netns::HOST_INTERFACE;

/// Pairs that are timed.
const PAIRS: usize = 25;
/// Those between which the median of all is with a probability of 95.7 %: of 25 throws of a coin 8 to 17 are heads so often.
const BETWEEN: [usize; 2] = [7, 17];
/// How long one connection sends.
const SENDS: Duration = Duration::from_millis(400);
/// An address of a pin of the bench's policy.
pub(super) const FROM: &str = "192.0.2.8";
/// A permitted client.
pub(super) const TO: &str = "198.51.100.10:40000";

/// What a byte took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerByte {
    /// Nanoseconds.
    pub(super) time: f64,
    /// Nanoseconds of a processor, of both ends together.
    cpu: f64,
}

/// Times pairs of connections from a pinned address of a storage host to a client behind a router.
pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    let (bed, pins) = (Bed::new("gso")?, BpfFs::new("gso")?);
    let (store, client) = (bed.host(STORE)?, bed.host(BELGIUM)?);
    store.add_address(HOST_INTERFACE, format!("{FROM}/24").parse()?)?;
    let listener = client.run(|| TcpListener::bind(TO))??;
    let pairs = store.run(|| pairs(&pins, &listener))??;
    let ratios = |of: fn(&PerByte) -> f64| {
        let mut ratios: Vec<f64> = pairs.iter().map(|[plain, guarded]| of(guarded) / of(plain)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios
    };
    let time = ratios(|it| it.time);
    let [low, high] = BETWEEN.map(|at| time.get(at).copied().unwrap_or_default());
    let (time, cpu) = (median(time), median(ratios(|it| it.cpu)));
    figures.set("gso_time_ratio", time);
    figures.set("gso_time_low", low);
    figures.set("gso_time_high", high);
    figures.set("gso_cpu_ratio", cpu);
    figures.set("gso_ratio", if high - low <= 0.01 { time } else { cpu });
    Ok(())
}

/// What a byte took without the guard and with it, in each pair. The calling thread is in the storage host's network.
fn pairs(pins: &BpfFs, listener: &TcpListener) -> Result<Vec<[PerByte; 2]>> {
    let mut kernel = LinuxKernel::open(&pins.path().join("borderguard"))?;
    let policy = policy(Kind::Permit)?;
    let table = policy_table(&policy, &[], &HostFacts::default(), 1)?;
    kernel.publish(&table, Some(&geo_image(&embedded::load(), &policy.sites)?))?;
    let interface = Interface::by_name(HOST_INTERFACE)?;
    let mut pairs = Vec::with_capacity(PAIRS);
    for number in 0..=PAIRS {
        let mut pair = [PerByte::default(); 2];
        // Who comes first changes, for one may leave the machine slower to the other.
        for at in if number % 2 == 0 { [0, 1] } else { [1, 0] } {
            if at == 1 {
                kernel.attach(&interface, false)?;
            }
            pair[at] = connection(listener, SENDS)?;
            if at == 1 {
                kernel.release(&interface)?;
            }
        }
        // The first only warms up.
        if number > 0 {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

/// Sends from [`FROM`] to [`TO`] for as long as this. The calling thread is in the storage host's network.
pub(super) fn connection(listener: &TcpListener, sends: Duration) -> Result<PerByte> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let from: SocketAddr = format!("{FROM}:0").parse()?;
    rustix::net::bind(&socket, &from)?;
    rustix::net::connect(&socket, &TO.parse::<SocketAddr>()?).context("connect to the client")?;
    let mut sender = TcpStream::from(socket);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || -> Result<u64> {
            let (mut socket, _) = listener.accept()?;
            let (mut buffer, mut received) = (vec![0; 1 << 18], 0);
            loop {
                match socket.read(&mut buffer)? {
                    0 => return Ok(received),
                    some => received += some as u64,
                }
            }
        });
        let (begin, cpu) = (Instant::now(), clock_gettime(ClockId::ProcessCPUTime));
        let buffer = vec![0; 1 << 18];
        while begin.elapsed() < sends {
            sender.write_all(&buffer)?;
        }
        drop(sender);
        let received = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
        let (time, spent) = (begin.elapsed(), clock_gettime(ClockId::ProcessCPUTime));
        let cpu = (spent.tv_sec - cpu.tv_sec) as f64 * 1e9 + (spent.tv_nsec - cpu.tv_nsec) as f64;
        let bytes = received as f64;
        Ok(PerByte { time: time.as_nanos() as f64 / bytes, cpu: cpu / bytes })
    })
}
