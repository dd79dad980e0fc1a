//! Whether our programs still run first: the order holds only at the moment of the attachment.

use std::fmt;

use aya::programs::{SchedClassifier, TcAttachType};
use guard_common::abi::Hook;

use super::{How, KernelError, LinuxKernel, NamedAttachment, filter};

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
    /// The kernel does not run it any more.
    NotAttached {
        /// The attachment, as it was pinned or remembered.
        attachment: NamedAttachment,
    },
    /// The interface is gone, and the attachment with it.
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
            | Self::NotAttached { attachment }
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
            Self::NotAttached { .. } => f.write_str(
                "it is NOT attached any more, something has taken it off. Guard the interface again",
            ),
            Self::InterfaceGone { .. } => f.write_str("the interface is gone"),
            Self::OldProgram { .. } => {
                f.write_str("the program of an earlier start still runs. Guard the interface again")
            }
        }
    }
}

impl LinuxKernel {
    /// Looks at every attachment: is it there, is it first, is it this process's program? None is well.
    ///
    /// # Errors
    ///
    /// [`KernelError::Netlink`] and others where the kernel cannot be asked.
    pub fn check_order(&self) -> Result<Vec<OrderProblem>, KernelError> {
        let ours = filter::programs_of(self.view.maps.control.id());
        let mut problems = Vec::new();
        for attachment in self.attachments()? {
            if attachment.index == 0 {
                problems.push(OrderProblem::InterfaceGone { attachment });
                continue;
            }
            let chain = match attachment.how {
                How::Tcx => tcx_chain(&attachment)?,
                How::Clsact => clsact_chain(&attachment)?,
                // There is one XDP program, and a link that has an interface runs it.
                How::XdpNative | How::XdpGeneric => vec![(attachment.program, String::new())],
            };
            let place = chain.iter().position(|(id, _)| *id == attachment.program);
            match place {
                None => problems.push(OrderProblem::NotAttached { attachment }),
                Some(0) if self.runs(&attachment)? => {}
                Some(0) => problems.push(OrderProblem::OldProgram { attachment }),
                Some(place) => {
                    let before = chain.into_iter().take(place).filter(|(id, _)| !ours.contains(id));
                    let before = before.map(|(_, name)| name).collect();
                    problems.push(OrderProblem::NotFirst { attachment, before });
                }
            }
        }
        Ok(problems)
    }

    /// Whether the attachment runs a program of this process.
    fn runs(&self, attachment: &NamedAttachment) -> Result<bool, KernelError> {
        for link in [guard_common::packet::Link::Ethernet, guard_common::packet::Link::Raw] {
            if self.program_id(attachment.hook, link)? == attachment.program {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The TCX programs of the interface, in order.
fn tcx_chain(attachment: &NamedAttachment) -> Result<Vec<(u32, String)>, KernelError> {
    debug_assert_eq!(attachment.hook, Hook::Egress);
    let (_, programs) = SchedClassifier::query_tcx(&attachment.interface, TcAttachType::Egress)
        .map_err(|error| KernelError::of_program("egress", error))?;
    let named = programs.iter().map(|program| {
        (program.id(), program.name_as_str().filter(|name| !name.is_empty()).unwrap_or("unnamed").to_owned())
    });
    Ok(named.collect())
}

/// The clsact filters of the interface, in order.
fn clsact_chain(attachment: &NamedAttachment) -> Result<Vec<(u32, String)>, KernelError> {
    let filters = filter::list(attachment.index)?;
    Ok(filters.into_iter().map(|filter| (filter.program.unwrap_or_default(), filter.name)).collect())
}
