//! The running kernel behind the trait of [`api`](super::api).

use std::collections::BTreeSet;

use guard_common::abi::{ExemptionUse, PolicyTable};
use guard_common::interval::build::GeoImage;

use super::{
    Attachment, Counters, Interface, Kernel, KernelError, LinuxKernel, Observed, ObservedInterface, Published, Stray,
};

impl Kernel for LinuxKernel {
    fn adopted(&self) -> bool {
        LinuxKernel::adopted(self)
    }

    fn generation(&self) -> u64 {
        LinuxKernel::generation(self)
    }

    fn publish(&mut self, policy: &PolicyTable, geo: Option<&GeoImage>) -> Result<Published, KernelError> {
        LinuxKernel::publish(self, policy, geo)
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        let interfaces = Interface::all()?;
        let (links, named) = (self.pinned_links()?, self.attachments()?);
        let problems = self.check_order()?;
        let observed = interfaces.into_iter().map(|interface| {
            let here = named.iter().filter(|it| it.index == interface.index);
            let attachments = here.map(|it| {
                let is_kept =
                    |link: &&super::attach::Pinned| (link.info.ifindex, link.hook) == (it.index, it.hook);
                let problem = problems.iter().find(|problem| problem.attachment() == it);
                Attachment {
                    hook: it.hook,
                    how: it.how,
                    link: links.iter().find(is_kept).map_or(0, |link| link.info.id),
                    attached_as: links.iter().find(is_kept).map_or(it.interface.clone(), |l| l.interface.clone()),
                    program: it.program,
                    is_current: !matches!(problem, Some(super::OrderProblem::OldProgram { .. })),
                    is_kept: true,
                    before: match problem {
                        Some(super::OrderProblem::NotFirst { before, .. }) => before.clone(),
                        _ => Vec::new(),
                    },
                }
            });
            ObservedInterface { attachments: attachments.collect(), has_route: false, interface }
        });
        Ok(Observed { interfaces: observed.collect(), ..Observed::default() })
    }

    fn attach(&mut self, interface: &Interface, ingress: bool) -> Result<(), KernelError> {
        LinuxKernel::attach(self, interface, ingress).map(drop)
    }

    fn release(&mut self, interface: &Interface) -> Result<(), KernelError> {
        LinuxKernel::release(self, &interface.name).map(drop)
    }

    fn forget(&mut self, stray: &Stray) -> Result<(), KernelError> {
        super::attach::unpin(&super::folder::links(self.pin_path()).join(&stray.entry))
    }

    fn restore_entries(&mut self) -> Result<(), KernelError> {
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, KernelError> {
        super::View::counters(self)
    }

    fn exemption_uses(&mut self) -> Result<Vec<ExemptionUse>, KernelError> {
        super::View::exemption_uses(self)
    }

    fn reset_exemption_use(&mut self, slot: u16, used: ExemptionUse) -> Result<(), KernelError> {
        LinuxKernel::reset_exemption_use(self, slot, used)
    }

    fn held(&mut self) -> Result<BTreeSet<u16>, KernelError> {
        super::View::held(self)
    }

    fn hold(&mut self, slot: u16, held: bool) -> Result<(), KernelError> {
        super::View::hold(self, slot, held)
    }
}
