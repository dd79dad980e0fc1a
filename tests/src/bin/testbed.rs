//! Makes a test network and holds it until Ctrl-C, so that one can look around in it.
//!
//! Prints how to enter each host. Everything is removed at the end; the guards' own tests end this
//! program in all the ways that there are, and look.
use std::time::Duration;

use guard_tests::bpffs::BpfFs;
use guard_tests::cgroup::Cgroup;
use guard_tests::error::SetupError;
use guard_tests::netns::{Host, Lan};
use guard_tests::proc::Process;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lan = Lan::new(&[
        Host::new("dublin").address("192.0.2.10/24".parse()?).address("2001:db8:1::10/64".parse()?),
        Host::new("client").address("203.0.113.30/24".parse()?).address("2001:db8:3::30/64".parse()?),
    ])?;
    let (bpffs, cgroup) = (BpfFs::new("testbed")?, Cgroup::new("testbed")?);
    // A program in the network, in the group: the hardest kind of leftover.
    let mut command = lan.host("dublin")?.command("sleep")?;
    command.arg("infinity");
    cgroup.contain(&mut command)?;
    let sleeper = Process::spawn("sleep", command)?;
    for host in [lan.host("dublin")?, lan.host("client")?, lan.router()] {
        println!("ip netns exec {} bash", host.name());
    }
    println!("pins: {}", bpffs.path().display());
    println!("cgroup: {}", cgroup.path().display());
    println!("process: {}", sleeper.pid());
    println!("ready: Ctrl-C removes it all");
    let status = sleeper.wait(Duration::MAX)?;
    Err(SetupError::Ended { name: "sleep".to_owned(), status: status.to_string(), log: sleeper.log_tail() }
        .into())
}
