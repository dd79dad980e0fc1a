//! The programs that note who sends: attached to functions of the kernel so that they stay, and taken off.
//!
//! Nobody can detach such a link but by closing all that holds it: its entry in bpffs, and the descriptor that this
//! process keeps. Nor can it be given another program, so that the next daemon attaches its own before it lets go of the
//! earlier one's.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::Btf;
use aya::programs::{Program, ProgramFd};

use super::api::ObservedSenders;
use super::senders::{self, SenderLink, SenderProgram};
use super::{KernelError, LinuxKernel, folder, info, missing_program, raw};

/// What begins the name of an entry; the program's name follows.
const BEGIN: &str = "sender-";

/// Whether an entry of this name is such a link's.
pub(super) fn is_entry(name: &str) -> bool {
    name.strip_prefix(BEGIN).is_some_and(|rest| senders::ALL.iter().any(|program| program.name == rest))
}

/// Id of a link, and of the program that it runs.
fn ids(link: &OwnedFd) -> Option<(u32, u32)> {
    let [_kind, id, program, ..] = raw::info::<16>(link.as_fd()).ok()?;
    Some((id, program))
}

impl LinuxKernel {
    /// Takes up the links that an earlier daemon left.
    pub(super) fn adopt_senders(&mut self) {
        for program in senders::ALL {
            if let Ok(link) = raw::get(&self.sender_entry(program))
                && raw::is_a(link.as_fd(), "link")
            {
                self.senders.push(SenderLink { program, link });
            }
        }
    }

    /// Looks at them.
    pub(super) fn look_at_senders(&self) -> ObservedSenders {
        let is_in_place = |program: &&SenderProgram| {
            let held = self.senders.iter().find(|it| it.program == *program);
            held.is_some_and(|held| self.is_current_sender(held) && self.is_kept_sender(held))
        };
        let wanted = self.sender_programs.as_deref().filter(|wanted| !wanted.is_empty());
        ObservedSenders {
            is_any: !self.senders.is_empty(),
            is_whole: wanted.is_some_and(|wanted| wanted.iter().all(is_in_place)),
        }
    }

    /// Has who sends noted, or not.
    pub(super) fn set_senders(&mut self, wanted: bool) -> Result<(), KernelError> {
        let programs = match wanted {
            true => senders::programs().map_err(|why| KernelError::Senders { why })?,
            false => Vec::new(),
        };
        if !programs.is_empty() {
            self.load_senders(&programs)?;
        }
        for program in &programs {
            let held = self.senders.iter().position(|held| held.program == *program);
            match held.and_then(|at| self.senders.get(at)) {
                Some(held) if self.is_current_sender(held) => self.keep_sender(held)?,
                _ => {
                    let fd = self.sender_fd(program)?.as_fd();
                    let link = senders::attach(fd).map_err(|error| KernelError::Senders {
                        why: format!("{}: {error}", program.function),
                    })?;
                    let made = SenderLink { program, link };
                    self.keep_sender(&made)?;
                    // The earlier one ends here: its entry is this one's by now.
                    self.senders.retain(|held| held.program != *program);
                    self.senders.push(made);
                }
            }
        }
        for other in senders::ALL.into_iter().filter(|program| !programs.contains(program)) {
            if self.senders.iter().any(|held| held.program == other) {
                folder::remove(&self.sender_entry(other))?;
                self.senders.retain(|held| held.program != other);
            }
        }
        self.sender_programs = Some(programs);
        Ok(())
    }

    fn sender_entry(&self, program: &SenderProgram) -> std::path::PathBuf {
        folder::links(&self.view.path).join(format!("{BEGIN}{}", program.name))
    }

    fn is_current_sender(&self, held: &SenderLink) -> bool {
        let current = info(&self.ebpf, held.program.name).ok().map(|program| program.id());
        current.is_some() && current == ids(&held.link).map(|(_, program)| program)
    }

    fn is_kept_sender(&self, held: &SenderLink) -> bool {
        let there = raw::get(&self.sender_entry(held.program)).ok().and_then(|link| ids(&link));
        there.is_some() && there == ids(&held.link)
    }

    /// Gives a link its entry in bpffs.
    fn keep_sender(&self, held: &SenderLink) -> Result<(), KernelError> {
        if self.is_kept_sender(held) {
            return Ok(());
        }
        let path = self.sender_entry(held.program);
        folder::remove(&path)?;
        raw::pin(held.link.as_fd(), &path).map_err(|error| KernelError::folder("pin a link at", path, error))
    }

    fn load_senders(&mut self, programs: &[&'static SenderProgram]) -> Result<(), KernelError> {
        let failed = |why: String| KernelError::Senders { why };
        if programs.iter().all(|program| self.sender_fd(program).is_ok()) {
            return Ok(());
        }
        let btf = Btf::from_sys_fs().map_err(|error| failed(error.to_string()))?;
        for program in programs {
            if self.sender_fd(program).is_ok() {
                continue;
            }
            let loaded = match self.ebpf.program_mut(program.name) {
                // aya puts `bpf_lsm_` in front.
                Some(Program::Lsm(lsm)) => lsm.load("socket_sendmsg", &btf),
                Some(Program::FEntry(fentry)) => fentry.load(program.function, &btf),
                _ => return Err(missing_program(program.name)),
            };
            loaded.map_err(|error| KernelError::of_program(program.name, error))?;
        }
        Ok(())
    }

    fn sender_fd(&self, program: &SenderProgram) -> Result<&ProgramFd, KernelError> {
        let fd = match self.ebpf.program(program.name) {
            Some(Program::Lsm(lsm)) => lsm.fd(),
            Some(Program::FEntry(fentry)) => fentry.fd(),
            _ => return Err(missing_program(program.name)),
        };
        fd.map_err(|error| KernelError::of_program(program.name, error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::Name;
    use super::super::on_cgroups;
    use super::*;

    #[test]
    fn an_entry_of_a_sender_is_none_of_an_interface_or_cgroup() {
        for program in senders::ALL {
            let name = format!("{BEGIN}{}", program.name);
            assert!(is_entry(&name) && Name::read(&name).is_none(), "{name}");
            assert_eq!(on_cgroups::hook_of_entry(&name), None, "{name}");
        }
        for other in ["sender-", "sender-x", "2-sender-lsm_sendmsg", "cgroup-1-sendmsg4"] {
            assert!(!is_entry(other), "{other}");
        }
    }
}
