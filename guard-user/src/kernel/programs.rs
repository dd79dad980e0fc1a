//! Which of the loaded programs are ours. A program is ours when it uses the CONTROL map of this pin path and has a
//! name of ours: a name alone anyone could have chosen.

use std::collections::{BTreeMap, BTreeSet};

use aya::programs::{ProgramError, ProgramInfo, loaded_programs};

use super::{KernelError, hooks, reading};

/// The map that every program of ours uses.
const CONTROL: &str = "CONTROL";

/// What is known of loaded programs, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Programs {
    known: BTreeMap<u32, Program>,
}

#[derive(Clone, Debug)]
struct Program {
    name: String,
    is_ours: bool,
    /// Whether it is one of ours with another pin path.
    is_of_another_guard: bool,
}

impl Programs {
    /// Looks at the programs anew where one of these is not known yet. What a program is does not change, and its
    /// id is not given to another one for billions of programs.
    ///
    /// # Errors
    /// [`KernelError::NotPermitted`] where other programs can't be looked at: nothing could be told then.
    pub(super) fn meet(&mut self, control: u32, ids: &BTreeSet<u32>) -> Result<(), KernelError> {
        if ids.iter().all(|id| self.known.contains_key(id)) {
            return Ok(());
        }
        let mut known = BTreeMap::new();
        for program in loaded_programs() {
            match program {
                Ok(program) => {
                    let is_ours = is_ours(&program, control);
                    let is_of_another_guard = !is_ours && is_of_another_guard(&program);
                    let name = program
                        .name_as_str()
                        .filter(|name| !name.is_empty())
                        .unwrap_or("a program without a name");
                    known.insert(
                        program.id(),
                        Program { name: name.to_owned(), is_ours, is_of_another_guard },
                    );
                }
                Err(error) => check_permission(error)?,
            }
        }
        self.known = known;
        Ok(())
    }

    /// Whether the program of this id is ours. One that is gone is not.
    pub(super) fn is_ours(&self, id: u32) -> bool {
        self.known.get(&id).is_some_and(|program| program.is_ours)
    }

    /// Whether the program of this id is one of a Border Guard with another pin path.
    pub(super) fn is_of_another_guard(&self, id: u32) -> bool {
        self.known.get(&id).is_some_and(|program| program.is_of_another_guard)
    }

    /// What the program of this id is called.
    pub(super) fn name(&self, id: u32) -> String {
        self.known.get(&id).map_or_else(|| format!("program {id}"), |program| program.name.clone())
    }
}

fn is_ours(program: &ProgramInfo, control: u32) -> bool {
    has_our_name(program) && matches!(program.map_ids(), Ok(Some(maps)) if maps.contains(&control))
}

/// Whether a program is called like one of ours.
pub(super) fn has_our_name(program: &ProgramInfo) -> bool {
    program.name_as_str().is_some_and(|name| hooks::programs().any(|ours| ours == name))
}

/// Whether a program is one of ours with another pin path: a name alone is not enough.
fn is_of_another_guard(program: &ProgramInfo) -> bool {
    let is_control = |id: &u32| reading::by_id(*id).is_ok_and(|map| map.was_made_as(CONTROL));
    has_our_name(program) && matches!(program.map_ids(), Ok(Some(maps)) if maps.iter().any(is_control))
}

/// A program that goes away between two calls is passed over.
///
/// # Errors
/// [`KernelError::NotPermitted`] where programs can't be looked at.
pub(super) fn check_permission(error: ProgramError) -> Result<(), KernelError> {
    if let ProgramError::SyscallError(error) = error
        && error.io_error.raw_os_error() == Some(libc::EPERM)
    {
        let what = "look at loaded BPF programs".to_owned();
        return Err(KernelError::NotPermitted { what, source: error.io_error });
    }
    Ok(())
}
