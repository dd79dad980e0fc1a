//! The volumes whose data a process of this host carries, as the running daemon knows.

use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::config::policy::{Policy, is_in_cgroup};
use crate::control::client::{ClientError, ask};
use crate::control::protocol::{Request, Response};
use crate::control::status::CarriersStatus;

/// The volumes that the process `pid` of the cgroup `cgroup` carries data of; none where no pin selects a volume.
///
/// # Errors
/// Where a pin selects a volume and nobody says whether the process carries its data: to assume that it does not would
/// explain a packet as permitted that the kernel drops.
pub(super) fn by(policy: &Policy, pid: u32, cgroup: &str) -> Result<Vec<PathBuf>, CliError> {
    let selected: Vec<PathBuf> = policy.volumes().into_iter().map(|volume| volume.path).collect();
    if selected.is_empty() {
        return Ok(Vec::new());
    }
    let found = match ask(&policy.control.socket, &Request::Status {}) {
        Ok(Response::Status { status }) => {
            has_all(&status.carriers, &selected).and_then(|()| of(&status.carriers, pid, cgroup))
        }
        Ok(_) => Err("the daemon answered something else".to_owned()),
        // It is no option of this command's.
        Err(ClientError::NoDaemon { socket, .. }) => {
            Err(format!("no daemon answers on {}, the config's control.socket", socket.display()))
        }
        Err(error) => Err(error.to_string()),
    };
    found.map_err(|why| {
        CliError::bad_input(format!(
            "whether the process {pid} carries data of a volume is not known ({why}): name its volumes with --volume, and \
             its --cgroup and --user in the place of --pid; where it carries none, leave --volume out"
        ))
    })
}

/// Whether the daemon looks for carriers of all the volumes that a policy selects, which may be a draft.
fn has_all(known: &CarriersStatus, selected: &[PathBuf]) -> Result<(), String> {
    let is_known = |path: &Path| known.volumes.iter().any(|it| Path::new(&it.path) == path);
    let unknown = selected.iter().find(|path| !is_known(path));
    unknown.map_or(Ok(()), |path| {
        Err(format!("the config of the running daemon does not have the volume {}", path.display()))
    })
}

fn of(known: &CarriersStatus, pid: u32, cgroup: &str) -> Result<Vec<PathBuf>, String> {
    let by_process = known.processes.iter().filter(|it| it.process.pid == pid).flat_map(|it| &it.volumes);
    let by_cgroup =
        known.cgroups.iter().filter(|it| it.cgroup.as_deref().is_some_and(|path| is_in_cgroup(cgroup, path)));
    let mut volumes: Vec<PathBuf> =
        by_process.chain(by_cgroup.flat_map(|it| &it.volumes)).map(PathBuf::from).collect();
    volumes.sort_unstable();
    volumes.dedup();
    // The list has a bound, and leaves out processes that are gone.
    let is_listed = known.processes.iter().any(|it| it.process.pid == pid);
    if !is_listed && known.processes.len() < known.count {
        return Err(format!(
            "the daemon shows {} of {} carriers, and not this one",
            known.processes.len(),
            known.count
        ));
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{CarrierCgroupStatus, CarrierStatus, ProcessStatus, VolumeStatus};

    fn known() -> CarriersStatus {
        let process = ProcessStatus { pid: 7, ..ProcessStatus::default() };
        let volumes = vec!["/srv/a".to_owned()];
        let of_cgroup = vec!["/srv/a".to_owned(), "/srv/b".to_owned()];
        CarriersStatus {
            processes: vec![CarrierStatus { volumes, process, ..CarrierStatus::default() }],
            count: 1,
            cgroups: vec![CarrierCgroupStatus {
                volumes: of_cgroup,
                cgroup: Some("/mail.slice".to_owned()),
                ..CarrierCgroupStatus::default()
            }],
            ..CarriersStatus::default()
        }
    }

    #[test]
    fn a_process_carries_what_it_and_its_cgroup_have_read() {
        let volumes = |pid, cgroup| of(&known(), pid, cgroup).unwrap();
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(volumes(7, "/other.slice"), paths(&["/srv/a"]));
        assert_eq!(volumes(8, "mail.slice/imap.service"), paths(&["/srv/a", "/srv/b"]));
        assert_eq!(volumes(8, "/mail.slice-2"), paths(&[]));
    }

    #[test]
    fn a_daemon_that_does_not_have_a_volume_says_nothing_of_its_carriers() {
        let volume = |path: &str| VolumeStatus { path: path.to_owned(), ..VolumeStatus::default() };
        let known = CarriersStatus { volumes: vec![volume("/srv/a")], ..known() };
        assert!(has_all(&known, &["/srv/a".into()]).is_ok());
        let error = has_all(&known, &["/srv/a".into(), "/srv/draft".into()]).unwrap_err();
        assert!(error.ends_with("does not have the volume /srv/draft"), "{error}");
    }

    #[test]
    fn a_process_that_the_list_may_lack_is_not_known() {
        let more = CarriersStatus { count: 2, ..known() };
        assert!(of(&more, 8, "/other.slice").unwrap_err().contains("1 of 2"));
        assert!(of(&more, 7, "/other.slice").is_ok());
    }
}
