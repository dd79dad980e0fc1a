//! The programs on functions of the kernel, which note who sends and who carries data of volumes: attached so that they
//! stay, and taken off.
//!
//! Nobody can detach such a link but by closing all that holds it: its entry in bpffs, and the descriptor that this
//! process keeps. Nor can it be given another program, so that the next daemon attaches its own before it lets go of the
//! earlier one's.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::{Program, ProgramFd};

use super::api::ObservedSenders;
use super::senders::{self, FunctionLink, FunctionProgram, Task};
use super::{KernelError, LinuxKernel, folder, info, kernel_types, missing_program, raw};

/// What begins the name of an entry; the program's name follows.
const fn begin(task: Task) -> &'static str {
    match task {
        Task::Senders => "sender-",
        Task::Carriers => "carrier-",
    }
}

fn entry_name(program: &FunctionProgram) -> String {
    format!("{}{}", begin(program.task), program.name)
}

/// Whether an entry of this name is such a link's.
pub(super) fn is_entry(name: &str) -> bool {
    senders::all().any(|program| entry_name(program) == name)
}

/// Id of a link, and of the program that it runs.
fn ids(link: &OwnedFd) -> Option<(u32, u32)> {
    let [_kind, id, program, ..] = raw::info::<16>(link.as_fd()).ok()?;
    Some((id, program))
}

impl LinuxKernel {
    /// Takes up the links that an earlier daemon left.
    pub(super) fn adopt_on_functions(&mut self) {
        for program in senders::all() {
            if let Ok(link) = raw::get(&self.function_entry(program))
                && raw::is_a(link.as_fd(), "link")
            {
                self.on_functions.links.push(FunctionLink { program, link });
            }
        }
    }

    /// Looks at those for a task.
    pub(super) fn look_at_functions(&self, task: Task) -> ObservedSenders {
        let links = &self.on_functions.links;
        let is_in_place = |program: &&FunctionProgram| {
            let held = links.iter().find(|it| it.program == *program);
            held.is_some_and(|held| self.is_current_on_function(held) && self.is_seen_on_function(held))
        };
        let wanted = self.on_functions.wanted.get(task as usize).and_then(Option::as_deref);
        ObservedSenders {
            is_any: links.iter().any(|link| link.program.task == task),
            is_whole: wanted.is_some_and(|it| !it.is_empty() && it.iter().all(is_in_place)),
        }
    }

    /// Has those for a task attached, or none of them.
    pub(super) fn set_on_functions(&mut self, task: Task, wanted: bool) -> Result<(), KernelError> {
        let programs = match wanted {
            true => senders::programs_of(task).map_err(|why| KernelError::Senders { why })?,
            false => Vec::new(),
        };
        if !programs.is_empty() {
            self.load_on_functions(&programs)?;
        }
        for program in &programs {
            let held = self.on_functions.links.iter().position(|held| held.program == *program);
            match held.and_then(|at| self.on_functions.links.get(at)) {
                Some(held) if self.is_current_on_function(held) => self.keep_on_function(held)?,
                _ => {
                    let fd = self.function_fd(program)?.as_fd();
                    let link = senders::attach(fd).map_err(|error| KernelError::Senders {
                        why: format!("{}: {error}", program.function),
                    })?;
                    let made = FunctionLink { program, link };
                    self.keep_on_function(&made)?;
                    // The earlier one ends here: its entry is this one's by now.
                    self.on_functions.links.retain(|held| held.program != *program);
                    self.on_functions.links.push(made);
                }
            }
        }
        let others = senders::all().filter(|program| program.task == task && !programs.contains(program));
        for other in others {
            if self.on_functions.links.iter().any(|held| held.program == other) {
                folder::remove(&self.function_entry(other))?;
                self.on_functions.links.retain(|held| held.program != other);
            }
        }
        if let Some(place) = self.on_functions.wanted.get_mut(task as usize) {
            *place = Some(programs);
        }
        Ok(())
    }

    fn function_entry(&self, program: &FunctionProgram) -> std::path::PathBuf {
        folder::links(&self.view.path).join(entry_name(program))
    }

    fn is_current_on_function(&self, held: &FunctionLink) -> bool {
        let current = info(&self.ebpf, held.program.name).ok().map(|program| program.id());
        current.is_some() && current == ids(&held.link).map(|(_, program)| program)
    }

    fn is_kept_on_function(&self, held: &FunctionLink) -> bool {
        let there = raw::get(&self.function_entry(held.program)).ok().and_then(|link| ids(&link));
        there.is_some() && there == ids(&held.link)
    }

    /// Whether the look at all entries has found its entry, and that it is its own.
    fn is_seen_on_function(&self, held: &FunctionLink) -> bool {
        let name = entry_name(held.program);
        let there = self.memory.entries.links.iter().find(|entry| entry.name == name);
        there.is_some_and(|there| Some((there.info.id, there.info.program)) == ids(&held.link))
    }

    /// Gives a link its entry in bpffs.
    fn keep_on_function(&self, held: &FunctionLink) -> Result<(), KernelError> {
        if self.is_kept_on_function(held) {
            return Ok(());
        }
        let path = self.function_entry(held.program);
        folder::remove(&path)?;
        raw::pin(held.link.as_fd(), &path).map_err(|error| KernelError::folder("pin a link at", path, error))
    }

    fn load_on_functions(&mut self, programs: &[&'static FunctionProgram]) -> Result<(), KernelError> {
        let failed = |why: String| KernelError::Senders { why };
        if programs.iter().all(|program| self.function_fd(program).is_ok()) {
            return Ok(());
        }
        let btf = kernel_types::btf().map_err(failed)?;
        for program in programs {
            if self.function_fd(program).is_ok() {
                continue;
            }
            // aya puts `bpf_lsm_` or `btf_trace_` in front.
            let function = program.function.trim_start_matches("bpf_lsm_").trim_start_matches("btf_trace_");
            let loaded = match self.ebpf.program_mut(program.name) {
                Some(Program::Lsm(lsm)) => lsm.load(function, btf),
                Some(Program::FEntry(fentry)) => fentry.load(function, btf),
                Some(Program::FExit(fexit)) => fexit.load(function, btf),
                Some(Program::BtfTracePoint(tracepoint)) => tracepoint.load(function, btf),
                _ => return Err(missing_program(program.name)),
            };
            loaded.map_err(|error| KernelError::of_program(program.name, error))?;
        }
        Ok(())
    }

    fn function_fd(&self, program: &FunctionProgram) -> Result<&ProgramFd, KernelError> {
        let fd = match self.ebpf.program(program.name) {
            Some(Program::Lsm(lsm)) => lsm.fd(),
            Some(Program::FEntry(fentry)) => fentry.fd(),
            Some(Program::FExit(fexit)) => fexit.fd(),
            Some(Program::BtfTracePoint(tracepoint)) => tracepoint.fd(),
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
    fn an_entry_of_one_on_a_function_is_none_of_an_interface_or_cgroup() {
        for program in senders::all() {
            let name = entry_name(program);
            assert!(is_entry(&name) && Name::read(&name).is_none(), "{name}");
            assert_eq!(on_cgroups::hook_of_entry(&name), None, "{name}");
        }
        for other in ["sender-", "sender-x", "2-sender-lsm_sendmsg", "cgroup-1-sendmsg4", "sender-lsm_open"] {
            assert!(!is_entry(other), "{other}");
        }
    }
}
