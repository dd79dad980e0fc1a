//! NFS-Ganesha: files that others fetch by NFS, and what is pushed to other servers.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "nfs", text: include_str!("../../../../docs/recipes/nfs.md") };
const CONFIG: &str = "NFS_CORE_PARAM {
    Protocols = 4;
    Enable_NLM = false;
    Enable_RQUOTA = false;
}
NFSv4 {
    Graceless = true;
}
EXPORT {
    Export_Id = 1;
    Path = /srv/mail;
    Pseudo = /mail;
    Protocols = 4;
    Transports = TCP;
    Access_Type = RW;
    Squash = No_Root_Squash;
    SecType = sys;
    FSAL {
        Name = VFS;
    }
}
";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.write("/etc/ganesha/test.conf", CONFIG).unwrap();
    // It opens files by handles, which what lies over others has none of.
    machine.mount("/srv/mail").unwrap();
    machine.run(&["install", "-d", "/srv/in", "/run/ganesha", "/var/lib/nfs/ganesha"]).unwrap();
    machine.run(&["ln", "-s", "/proc/self/mounts", "/etc/mtab"]).unwrap();
    let words = ["ganesha.nfsd", "-F", "-f", "/etc/ganesha/test.conf", "-L", "/tmp/ganesha.log"];
    let server = machine.serve("root", within, &words).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 2049, PATIENCE).unwrap();
    server
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

#[test]
#[ignore = "needs root and BPF"]
fn by_volume() {
    guarded(&PAGE, Way::Volume, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _servers =
        [server(&stage.store, Some(&stage.service)), server(&stage.belgium, None), server(&stage.us, None)];
    // This client can't write long files by NFS 4.
    let part = &mails()[..1000];
    stage.store.write("/srv/mail/box", mails()).unwrap();
    stage.store.write("/srv/mail/part", part).unwrap();
    let copy = |machine: &Machine<'_>, within, from: &str, to: &str| {
        sh(machine, within, &format!("timeout 10 nfs-cp {from} {to}"))
    };
    let url = |server: &str, file: &str| format!("'nfs://{server}/mail/{file}?version=4'");

    // What another service of the host fetches from there.
    stage.us.write("/srv/mail/new", "an import").unwrap();
    copy(&stage.store, Some(&stage.import), &url("203.0.113.10", "new"), "/srv/in/new").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/in/new")).unwrap(), "an import");

    // Clients.
    copy(&stage.belgium, None, &url(STORE_ADDRESS, "box"), "/tmp/fetched").unwrap();
    assert!(std::fs::read(stage.belgium.path("/tmp/fetched")).unwrap() == mails());
    stage.is_cut("a file", || copy(&stage.us, None, &url(STORE_ADDRESS, "box"), "/tmp/fetched"));
    stage.told(2049);

    // What is pushed from its slice.
    for (machine, address) in stage.others() {
        let push = || copy(&stage.store, Some(&stage.service), "/srv/mail/part", &url(address, "pushed"));
        if address == "203.0.113.10" {
            stage.is_cut("a push", push);
            assert!(!machine.path("/srv/mail/pushed").exists());
        } else {
            push().unwrap();
            assert!(std::fs::read(machine.path("/srv/mail/pushed")).unwrap() == part);
        }
    }
}
