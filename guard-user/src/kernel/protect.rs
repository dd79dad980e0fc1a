//! Keeps others from what is the guard's in the kernel, by programs of BPF LSM (`guard-ebpf/src/hooks/protect.rs`).
//!
//! Their links have no entries in bpffs: they end with this process, in whatever way it ends. So a daemon that was killed
//! locks nobody out, and neither `borderguard detach` nor the next daemon, of whatever version, is refused anything.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Ebpf;
use aya::programs::{Program, loaded_programs};
use guard_common::abi::protect::{Protected, ProtectedKind, Protector};
use rustix::fs::{AtFlags, Stat};

use super::maps::FIRST;
use super::plain::{bytes_of, read};
use super::protected::Protection;
use super::protection::{ObservedProtection, Protecting};
use super::raw::{Command, Map, call};
use super::volumes::device_number;
use super::{KernelError, LinuxKernel, kernel_types, missing_program, senders};

/// The programs, and what each is asked.
const PROGRAMS: [(&str, &str); 7] = [
    ("lsm_bpf", "bpf"),
    ("lsm_bpf_map", "bpf_map"),
    ("lsm_bpf_prog", "bpf_prog"),
    ("lsm_unlink", "inode_unlink"),
    ("lsm_rmdir", "inode_rmdir"),
    ("lsm_rename", "inode_rename"),
    ("lsm_trace", "ptrace_access_check"),
];
/// Where they look in the kernel's structs. A place that the kernel does not tell would be read wrongly, and nobody would see.
const PLACES: [&str; 17] = [
    "TASK_FILES",
    "FILES_TABLE",
    "TABLE_LEN",
    "TABLE_FILES",
    "DENTRY_INODE",
    "MAP_ID",
    "LINK_PROGRAM",
    "PROGRAM_AUX",
    "AUX_ID",
    "AUX_REFERENCES",
    "AUX_MAPS",
    "AUX_MAP_COUNT",
    "INODE_NUMBER",
    "INODE_SB",
    "SB_DEV",
    "TASK_TGID",
    "FILE_PRIVATE",
];
/// Bytes of a program's name that the kernel keeps.
const NAME_LEN: usize = 15;

impl Protecting for LinuxKernel {
    fn protect(&mut self, wanted: bool) -> Result<(), KernelError> {
        if !wanted {
            self.protection = None;
        } else if self.protection.is_none() {
            self.protection = Some(self.begin_protection()?);
        }
        Ok(())
    }
}

impl LinuxKernel {
    /// Brings up to date what is the guard's, and tells who was refused.
    pub(super) fn look_at_protection(&mut self) -> ObservedProtection {
        let Some(mut protection) = self.protection.take() else { return ObservedProtection::default() };
        let set = protection.set(self.own_objects());
        let refused = protection.refused();
        self.protection = Some(protection);
        let mut blind =
            set.err().map(|error| format!("what is the guard's can't be told to the kernel: {error}"));
        let refused = refused.unwrap_or_else(|error| {
            blind.get_or_insert_with(|| format!("who was refused can't be read: {error}"));
            Vec::new()
        });
        ObservedProtection { is_on: true, refused, blind }
    }

    /// Has the programs attached, and sees that the kernel runs them.
    fn begin_protection(&mut self) -> Result<Protection, KernelError> {
        let failed = |why: String| KernelError::Protect { why };
        let of_map = |error: io::Error| failed(error.to_string());
        senders::bpf_is_a_security_module().map_err(failed)?;
        if let Some(place) = kernel_types::lacks(&PLACES) {
            return Err(failed(format!("its type information has no {place}")));
        }
        self.load_protection()?;
        let protector = self.unpinned("PROTECTOR")?;
        // A number that nobody else knows: they come from the system's source of random numbers.
        let token = RandomState::new().build_hasher().finish() | 1;
        let nobody = Protector { token, process: 0, pad: 0 };
        protector.update(&FIRST, bytes_of(&nobody)).map_err(of_map)?;
        let attach = |(name, hook): (&'static str, &str)| {
            let attached = senders::attach(self.protecting_fd(name)?);
            attached.map_err(|error| failed(format!("a program can't be attached to {hook}: {error}")))
        };
        // Nothing is refused before the guard is known.
        let links = PROGRAMS.into_iter().map(attach).collect::<Result<_, _>>()?;
        let (protected, attempts) = (self.unpinned("PROTECTED")?, self.unpinned("ATTEMPTS")?);
        let mut protection = Protection::begin(links, protected, attempts).map_err(of_map)?;
        protection.set(self.own_objects()).map_err(of_map)?;
        protection.know(self.programs_of_others()).map_err(of_map)?;
        make_known(token);
        let mut known = [0; size_of::<Protector>()];
        protector.lookup(&FIRST, &mut known).map_err(of_map)?;
        match read::<Protector>(&known) {
            Some(known) if known.process != 0 => Ok(protection),
            _ => Err(failed("it takes the programs, and does not run them".to_owned())),
        }
    }

    fn load_protection(&mut self) -> Result<(), KernelError> {
        let btf = kernel_types::btf().map_err(|why| KernelError::Protect { why })?;
        for (name, hook) in PROGRAMS {
            let Some(Program::Lsm(program)) = self.ebpf.program_mut(name) else {
                return Err(missing_program(name));
            };
            if program.fd().is_err() {
                program.load(hook, btf).map_err(|error| KernelError::of_program(name, error))?;
            }
        }
        Ok(())
    }

    fn protecting_fd(&self, name: &'static str) -> Result<BorrowedFd<'_>, KernelError> {
        match self.ebpf.program(name) {
            Some(Program::Lsm(program)) => {
                let fd = program.fd().map_err(|error| KernelError::of_program(name, error))?;
                Ok(fd.as_fd())
            }
            _ => Err(missing_program(name)),
        }
    }

    /// A map of the object that has no entry in bpffs.
    fn unpinned(&self, name: &'static str) -> Result<Map, KernelError> {
        use aya::maps::Map as Kind;
        let Some(Kind::Array(map) | Kind::HashMap(map) | Kind::LruHashMap(map)) = self.ebpf.map(name) else {
            return Err(KernelError::Embedded { what: format!("map `{name}`") });
        };
        let fd = map.fd().as_fd().try_clone_to_owned();
        fd.and_then(Map::from_fd).map_err(|source| KernelError::Map { what: "open", map: name, source })
    }

    /// The guard's maps, programs and folders, as they are now. Its links are known by the programs that they run.
    fn own_objects(&self) -> BTreeSet<Protected> {
        let mut own = BTreeSet::new();
        let maps = self.kept_maps.ids();
        own.extend(maps.map(|id| Protected::with_id(ProtectedKind::Map, id)));
        let others = self.alternate.as_ref().map(|alternate| &alternate.ebpf);
        for (_, program) in [&self.ebpf].into_iter().chain(others).flat_map(Ebpf::programs) {
            // One that is not loaded has nothing.
            let Ok(info) = program.info() else { continue };
            own.insert(Protected::with_id(ProtectedKind::Program, info.id()));
            let maps = info.map_ids().ok().flatten().unwrap_or_default();
            own.extend(maps.into_iter().map(|id| Protected::with_id(ProtectedKind::Map, id)));
        }
        let locked = self.folder.locked();
        let parts = ["maps", "links", "filters"];
        let parts =
            parts.iter().filter_map(|part| rustix::fs::statat(locked, *part, AtFlags::SYMLINK_NOFOLLOW).ok());
        let spare = self.spare.as_ref().and_then(|spare| rustix::fs::fstat(spare.folder()).ok());
        let folders = rustix::fs::fstat(locked).ok().into_iter().chain(parts).chain(spare);
        own.extend(folders.map(|found| folder(&found)));
        own
    }

    /// Programs that use a map of the guard's and that this process has not loaded: those of an earlier daemon, which are the
    /// guard's, and those of others.
    fn programs_of_others(&self) -> Vec<Protected> {
        let own = self.own_objects();
        let names: Vec<&str> =
            self.ebpf.programs().map(|(name, _)| name.get(..NAME_LEN).unwrap_or(name)).collect();
        let mut found = Vec::new();
        for program in loaded_programs().filter_map(Result::ok) {
            let maps = program.map_ids().ok().flatten().unwrap_or_default();
            let uses = maps.iter().any(|id| own.contains(&Protected::with_id(ProtectedKind::Map, *id)));
            let is_own = own.contains(&Protected::with_id(ProtectedKind::Program, program.id()));
            if uses && !is_own {
                let is_earlier = program.name_as_str().is_some_and(|name| names.contains(&name));
                let kind = if is_earlier { ProtectedKind::Program } else { ProtectedKind::Known };
                found.push(Protected::with_id(kind, program.id()));
            }
        }
        found
    }
}

fn folder(found: &Stat) -> Protected {
    let device = device_number(rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
    Protected::folder(device, found.st_ino)
}

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttributes {
    fd: u32,
    len: u32,
    info: u64,
}

/// Makes this process known to the programs, which see the number.
fn make_known(token: u64) {
    let mut attributes = InfoAttributes { fd: u32::MAX, len: 0, info: token };
    // SAFETY: no process has a descriptor of that number, so that the kernel refuses the call before it would look at the
    // address; and of no bytes it would write none.
    let _no_descriptor = unsafe { call(Command::ObjectInfo, &mut attributes) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_that_the_programs_look_at_is_asked_for() {
        let asked: Vec<&str> = kernel_types::PLACES.iter().map(|(name, ..)| *name).collect();
        for place in PLACES {
            assert!(asked.contains(&place), "{place}");
        }
        assert_eq!(kernel_types::lacks(&[]), None);
    }
}
