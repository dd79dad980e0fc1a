//! Each look at a host that is made for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use super::*;
use crate::config::{Surroundings, parse};
use crate::exemption::law::pack::EMBEDDED;
use crate::geo::complete::Lack;
use crate::geo::mmdb::writer::{Value, Writer};
use crate::store::{Store, sha256};

fn host() -> ThisHost {
    ThisHost::seen_by_root(true)
}

fn policy(rest: &str) -> Policy {
    let text = format!("approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n{rest}");
    parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
}

#[test]
fn every_geo_file_that_can_t_be_used_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.mmdb");
    fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.mmdb");
    let policy = policy(&format!("[geo]\nfiles = [{empty:?}, {missing:?}]\n"));
    let faults = host().geo(&policy).unwrap_err();
    let [GeoFault::File { index: 0, reason: first }, GeoFault::File { index: 1, reason: second }] =
        &faults[..]
    else {
        panic!("{faults:?}")
    };
    assert!(first.contains("empty.mmdb is empty"), "{first}");
    assert!(second.contains("missing.mmdb can't be read"), "{second}");
}

#[test]
fn without_files_the_embedded_database_is_looked_at() {
    let database = host().geo(&policy("")).unwrap().unwrap();
    assert!(database.info.generated.is_some() && database.info.ranges_v4 > 100_000);
}

#[test]
fn a_state_directory_has_to_be_a_folder_that_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let fault = |path: &Path| host().state_fault(path);
    assert_eq!(fault(folder.path()), None);
    assert_eq!(fault(&folder.path().join("not/yet/there")), None);
    assert_eq!(fault(&file).unwrap(), format!("{} is no folder", file.display()));
    assert_eq!(fault(&file.join("below")).unwrap(), format!("{} is no folder", file.display()));
    assert!(!folder.path().join("not").exists(), "nothing was made");
    let long = folder.path().join("x".repeat(300));
    assert!(fault(&long).unwrap().contains("can't be looked at: File name too long"));
}

#[test]
fn a_store_has_to_be_one_and_may_be_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let open = Store::open(folder.path()).unwrap();
    assert_eq!(host().state_fault(folder.path()), None, "a daemon has it");
    drop(open);
    assert_eq!(host().state_fault(folder.path()), None);
    fs::write(folder.path().join(FILE), "").unwrap();
    let fault = host().state_fault(folder.path()).unwrap();
    assert!(fault.contains("the store is damaged: it is empty"), "{fault}");
}

#[test]
fn a_socket_needs_a_folder_of_its_own_and_a_free_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let fault = |path: &Path| host().socket_fault(path);
    assert_eq!(fault(&path), None);
    assert_eq!(fault(&folder.path().join("not/yet/s")), None);
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(fault(&path), None, "a daemon has it");
    drop(listener);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(fault(&path).unwrap().contains("is there and is no socket"));
    assert!(fault(&path.join("s")).unwrap().ends_with("is no folder"));
    fs::remove_file(&path).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(fault(&path).unwrap().contains("may be written by everybody"));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(fault(&path), None);
}

#[test]
fn a_pin_path_has_to_be_one_that_a_bpf_file_system_takes() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |path: &Path| host().pin_path_fault(path);
    assert!(fault(&folder.path().join("pins")).unwrap().contains("is not in a BPF file system"));
    assert!(fault(Path::new("/sys/fs/bpf/border.guard")).unwrap().contains("cannot be a pin path"));
    assert!(fault(Path::new("/")).unwrap().contains("cannot be a pin path"));
}

#[test]
fn allowed_signers_have_to_be_root_s_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signers");
    assert!(host().signers_fault(&file).unwrap().contains("can't be read"));
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o602)).unwrap();
    assert!(host().signers_fault(&file).unwrap().contains("can be changed by everybody"));
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(host().signers_fault(&file), None);
}

#[test]
fn the_law_pack_is_opened_and_has_to_be_the_one_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("law.toml");
    let fault = |sha256: &str| {
        host().law_fault(&NamedPack { pack: pack.clone(), sha256: sha256.to_owned() }).unwrap_or_default()
    };
    let write = |text: &str| {
        fs::write(&pack, text).unwrap();
        sha256(text.as_bytes())
    };
    assert!(fault("").contains("law.toml: No such file"));
    let good = write(&EMBEDDED.replace("2027-06-30", "9000-06-30"));
    assert_eq!(fault(&good), "");
    assert!(fault(&"0".repeat(64)).contains("is not the law pack that the config names"));
    assert!(fault(&write("format = 9")).contains("law.toml: TOML parse error"));
    let over = EMBEDDED.replace("2027-06-30", "2020-06-30").replace("2026-11-28", "2020-01-01");
    assert!(fault(&write(&over)).contains("was to be looked at again by 2020-06-30"));
}

#[test]
fn groups_cgroups_and_interfaces_are_those_of_the_host() {
    let host = host();
    assert_eq!(host.group_fault("root"), None);
    assert_eq!(host.group_fault("bg-no-such-group").unwrap(), "there is no group \"bg-no-such-group\"");
    let silent = |_: &str| {
        std::thread::sleep(10 * NAMES);
        Ok(Some(0))
    };
    let fault = ThisHost { group: silent, ..ThisHost::seen_by_root(true) }.group_fault("root").unwrap();
    assert!(fault.contains("did not answer within 2 s"), "{fault}");
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("mail.slice/imap.service")).unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let host = ThisHost { cgroups: root.path().to_owned(), ..host };
    assert!(host.has_cgroup("mail.slice") && host.has_cgroup("mail.slice/imap.service"));
    assert!(!host.has_cgroup("web.slice") && !host.has_cgroup("file") && !host.has_cgroup("file/below"));
    let interfaces = host.interfaces().unwrap();
    let lo = SeenInterface { name: "lo".to_owned(), unread: None };
    assert!(interfaces.contains(&lo), "{interfaces:?}");
    assert_eq!(host.unseen(), [""; 0]);
}

#[test]
fn what_only_root_can_look_at_is_named_and_not_called_wrong() {
    let host = ThisHost::seen_by_root(false);
    let nowhere = Path::new("/proc/borderguard");
    assert_eq!(host.state_fault(nowhere), None);
    assert_eq!(host.socket_fault(&nowhere.join("s")), None);
    assert_eq!(host.pin_path_fault(nowhere), None);
    assert_eq!(host.unseen(), ["control.socket", "state.directory", "state.pin_path"]);
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    assert!(host.is_for_root("geo.files", &denied));
    assert!(!host.is_for_root("geo.files", &io::Error::from(io::ErrorKind::NotFound)));
    assert!(host.unseen().contains(&"geo.files"));
}

#[test]
fn a_database_without_a_family_is_refused_unless_the_config_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(6);
    let country = Value::Map(vec![("iso_code", Value::Text("IE"))]);
    let record = writer.record(&Value::Map(vec![("country", country)]));
    writer.network(0x2001_0db8 << 96, 32, record);
    let file = folder.path().join("v6.mmdb");
    fs::write(&file, writer.bytes()).unwrap();
    let text = format!("[geo]\nfiles = [{file:?}]\n");
    let refused = host();
    assert_eq!(refused.geo(&policy(&text)), Err(vec![GeoFault::Incomplete(Lack::Ipv4)]));
    assert_eq!(refused.databases().iter().map(|info| info.records).collect::<Vec<_>>(), [1]);
    assert!(crate::inputs::load_database(&policy(&text).geo).is_err());
    let text = text + "incomplete = true\n";
    assert!(host().geo(&policy(&text)).is_ok_and(|database| database.is_some()));
    assert!(crate::inputs::load_database(&policy(&text).geo).is_ok());
}
