//! Attachments by the name of their interface, for callers that are older than [`Kernel::observe`].

use std::collections::BTreeSet;
use std::fmt;

use guard_common::abi::Hook;

use super::observe::{self, Memory, Scope};
use super::{Attachment, How, Interface, Kernel as _, KernelError, LinuxKernel, Observed, View};

/// A program on an interface, by the interface's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAttachment {
    /// The interface's name, now or when it was last known.
    pub interface: String,
    /// Its number; 0 where the interface is gone and the attachment with it.
    pub index: u32,
    /// The hook.
    pub hook: Hook,
    /// By what.
    pub how: How,
    /// Id of the program, which `bpftool prog` shows too.
    pub program: u32,
}

/// What is wrong with an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderProblem {
    /// Others run before ours and may let packets go that it never sees.
    NotFirst {
        /// The attachment.
        attachment: NamedAttachment,
        /// The programs before it, by name, in their order.
        before: Vec<String>,
    },
    /// The interface is gone, and the attachment with it; or something has taken it off.
    InterfaceGone {
        /// The attachment, as it was pinned or remembered.
        attachment: NamedAttachment,
    },
    /// It runs another program than the one of this process: one from before the daemon started.
    OldProgram {
        /// The attachment.
        attachment: NamedAttachment,
    },
}

impl OrderProblem {
    /// The attachment.
    #[must_use]
    pub const fn attachment(&self) -> &NamedAttachment {
        match self {
            Self::NotFirst { attachment, .. }
            | Self::InterfaceGone { attachment }
            | Self::OldProgram { attachment } => attachment,
        }
    }
}

impl fmt::Display for OrderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NamedAttachment { interface, hook, how, .. } = self.attachment();
        write!(f, "{} of {interface} ({}): ", hook.name(), how.name())?;
        match self {
            Self::NotFirst { before, .. } => write!(
                f,
                "{} run before it and may send what it never sees. Detach them, or attach them after it",
                before.join(", ")
            ),
            Self::InterfaceGone { .. } => {
                f.write_str("the interface is gone, or something has taken it off. Guard the interface again")
            }
            Self::OldProgram { .. } => {
                f.write_str("the program of an earlier start still runs. Guard the interface again")
            }
        }
    }
}

impl View {
    /// What is attached, by interface, as the kernel tells it.
    ///
    /// # Errors
    ///
    /// [`KernelError::Folder`] and [`KernelError::Netlink`] where the kernel cannot be asked.
    pub fn attachments(&self) -> Result<Vec<NamedAttachment>, KernelError> {
        let (current, control) = (BTreeSet::new(), self.maps.control.id());
        let scope = Scope { path: &self.path, control, current: &current, spare: None };
        Ok(named(&observe::observe(scope, &mut Memory::default())?))
    }
}

impl LinuxKernel {
    /// Guards an interface, and tells what is attached to it then.
    ///
    /// # Errors
    /// As [`Kernel::attach`](super::Kernel::attach).
    pub fn attach_and_list(
        &mut self,
        interface: &Interface,
        ingress: bool,
    ) -> Result<Vec<NamedAttachment>, KernelError> {
        self.guard(interface, ingress)?;
        let mut all = named(&self.look()?);
        all.retain(|attachment| attachment.index == interface.index);
        Ok(all)
    }

    /// Stops guarding the interface of this name, also where it is gone. Returns what was detached.
    ///
    /// # Errors
    /// As [`Kernel::release`](super::Kernel::release).
    pub fn release_name(&mut self, interface: &str) -> Result<Vec<NamedAttachment>, KernelError> {
        let observed = self.look()?;
        let mut released = named(&observed);
        released.retain(|attachment| attachment.interface == interface);
        for it in observed.interfaces.iter().filter(|it| it.interface.name == interface) {
            self.unguard(&it.interface)?;
        }
        let dead = |stray: &&super::Stray| !stray.is_alive && stray.interface == interface;
        for stray in observed.strays.iter().filter(dead) {
            self.forget(stray)?;
        }
        Ok(released)
    }

    /// Looks at every attachment: is it there, is it first, is it this process's program? None is well.
    ///
    /// # Errors
    ///
    /// [`KernelError::Netlink`] and others where the kernel cannot be asked.
    pub fn check_order(&mut self) -> Result<Vec<OrderProblem>, KernelError> {
        let observed = self.look()?;
        let mut problems = Vec::new();
        for it in &observed.interfaces {
            for found in &it.attachments {
                let attachment = named_one(&it.interface, found);
                if !found.before.is_empty() {
                    problems.push(OrderProblem::NotFirst { attachment, before: found.before.clone() });
                } else if !found.is_current {
                    problems.push(OrderProblem::OldProgram { attachment });
                }
            }
        }
        let gone = named(&observed).into_iter().filter(|attachment| attachment.index == 0);
        problems.extend(gone.map(|attachment| OrderProblem::InterfaceGone { attachment }));
        Ok(problems)
    }
}

fn named_one(interface: &Interface, attachment: &Attachment) -> NamedAttachment {
    let &Attachment { hook, how, program, .. } = attachment;
    NamedAttachment { interface: interface.name.clone(), index: interface.index, hook, how, program }
}

/// Everything that is attached, and what was attached to interfaces that are gone, by name.
fn named(observed: &Observed) -> Vec<NamedAttachment> {
    let here = observed.interfaces.iter();
    let here = here.flat_map(|it| it.attachments.iter().map(|found| named_one(&it.interface, found)));
    let gone = observed.strays.iter().filter(|stray| !stray.is_alive).map(|stray| NamedAttachment {
        interface: stray.interface.clone(),
        index: 0,
        hook: stray.hook,
        how: match (stray.hook, stray.entry.starts_with("filters/")) {
            (Hook::Egress, true) => How::Clsact,
            (Hook::Egress, false) => How::Tcx,
            (Hook::Ingress, _) => How::XdpNative,
        },
        program: 0,
    });
    let mut all: Vec<NamedAttachment> = here.chain(gone).collect();
    all.sort_by(|a, b| (&a.interface, a.hook as u8).cmp(&(&b.interface, b.hook as u8)));
    all
}
