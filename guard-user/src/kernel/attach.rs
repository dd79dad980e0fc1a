//! Attaching programs to interfaces so that they stay: what the pins keep alive judges on without a daemon.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use guard_common::abi::Hook;
use guard_common::packet::Link;

use super::raw::{self, LinkHook, LinkInfo};
use super::{How, Interface, KernelError, LinuxKernel, View, filter, folder};

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

/// A pinned link.
pub(super) struct Pinned {
    path: PathBuf,
    pub(super) fd: OwnedFd,
    pub(super) info: LinkInfo,
    pub(super) hook: Hook,
    /// The name that its interface had at the attachment.
    pub(super) interface: String,
}

impl LinuxKernel {
    /// Guards an interface: egress always, ingress where asked. Where a program of ours is attached
    /// already, it is replaced in place, with no packet in between that meets none; ingress that is asked
    /// for no more is detached.
    ///
    /// Egress comes first in the chain of TCX programs, or as the first clsact filter on kernels
    /// before 6.6. XDP is native where the driver can, else generic.
    ///
    /// # Errors
    ///
    /// [`KernelError::NotPublished`] before the first generation, for without tables all is dropped;
    /// [`KernelError::LinkType`] for frames that the programs do not read; [`KernelError::Attach`] with the
    /// kernel's reason. Where ingress alone fails, egress stays guarded.
    pub fn attach(
        &mut self,
        interface: &Interface,
        ingress: bool,
    ) -> Result<Vec<NamedAttachment>, KernelError> {
        if !self.live.is_loaded() {
            return Err(KernelError::NotPublished);
        }
        let link = interface.link_type.link().ok_or_else(|| KernelError::LinkType {
            interface: interface.name.clone(),
            link_type: interface.link_type,
        })?;
        let mut attached = vec![self.attach_egress(interface, link)?];
        if ingress {
            attached.push(self.attach_ingress(interface, link)?);
        } else if let Some(old) = self.pinned_on(interface, Hook::Ingress)? {
            old.remove()?;
        }
        Ok(attached)
    }

    /// Stops guarding the interface of this name, also where it is gone. Returns what was detached.
    ///
    /// # Errors
    ///
    /// [`KernelError::Folder`] where a pin cannot be removed, [`KernelError::Netlink`] where a filter
    /// cannot.
    pub fn release(&mut self, interface: &str) -> Result<Vec<NamedAttachment>, KernelError> {
        let mut released = self.attachments()?;
        released.retain(|attachment| attachment.interface == interface);
        let all = Interface::all()?;
        for pinned in self.pinned_links()? {
            if pinned.present_name(&all) == interface {
                pinned.remove()?;
            }
        }
        filter::remove(&self.view.path, interface, &filter::programs_of(self.view.maps.control.id()))?;
        Ok(released)
    }

    fn attach_egress(&mut self, interface: &Interface, link: Link) -> Result<NamedAttachment, KernelError> {
        let (hook, how) = (Hook::Egress, How::Tcx);
        if self.replaced(interface, link, hook)? {
            return self.attachment(interface, link, hook, how);
        }
        let program = self.program_fd(hook, link)?;
        match raw::link_create(program.as_fd(), interface.index, LinkHook::TcxEgressFirst) {
            Ok(new) => {
                self.keep(interface, hook, &new)?;
                self.attachment(interface, link, hook, how)
            }
            // A kernel without TCX does not know the attach type.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let ours = filter::programs_of(self.view.maps.control.id());
                let pin_path = self.view.path.clone();
                filter::attach(&pin_path, self.classifier_mut(link)?, interface, &ours)?;
                self.attachment(interface, link, hook, How::Clsact)
            }
            Err(source) => Err(refused(interface, hook, how.name(), source)),
        }
    }

    fn attach_ingress(&mut self, interface: &Interface, link: Link) -> Result<NamedAttachment, KernelError> {
        let hook = Hook::Ingress;
        if self.replaced(interface, link, hook)? {
            let how = if interface.xdp.1.is_some() { How::XdpGeneric } else { How::XdpNative };
            return self.attachment(interface, link, hook, how);
        }
        let program = self.program_fd(hook, link)?;
        let create = |mode| raw::link_create(program.as_fd(), interface.index, mode);
        let (new, how) = match create(LinkHook::XdpNative) {
            Ok(new) => (new, How::XdpNative),
            // Another program is there, in whatever mode.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM)) => {
                return Err(refused(interface, hook, How::XdpNative.name(), error));
            }
            Err(_) => match create(LinkHook::XdpGeneric) {
                Ok(new) => (new, How::XdpGeneric),
                Err(source) => return Err(refused(interface, hook, "xdp-native and xdp-generic", source)),
            },
        };
        self.keep(interface, hook, &new)?;
        self.attachment(interface, link, hook, how)
    }

    /// Puts the program in the place of the one that a pinned link runs; false where there is no such link.
    fn replaced(&self, interface: &Interface, link: Link, hook: Hook) -> Result<bool, KernelError> {
        let Some(old) = self.pinned_on(interface, hook)? else { return Ok(false) };
        match raw::link_update(old.fd.as_fd(), self.program_fd(hook, link)?.as_fd()) {
            Ok(()) => Ok(true),
            // The interface went away after the link was looked at.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                old.remove()?;
                Ok(false)
            }
            Err(source) => Err(refused(interface, hook, "an update of its link", source)),
        }
    }

    /// Pins a new link. If that fails the link is dropped, and the program detached with it.
    fn keep(&self, interface: &Interface, hook: Hook, link: &OwnedFd) -> Result<(), KernelError> {
        let name = folder::pin_name(interface.index, &interface.name, hook.name());
        let path = folder::links(&self.view.path).join(name);
        raw::pin(link.as_fd(), &path).map_err(|error| KernelError::folder("pin a link at", path, error))
    }

    fn attachment(
        &self,
        interface: &Interface,
        link: Link,
        hook: Hook,
        how: How,
    ) -> Result<NamedAttachment, KernelError> {
        let program = self.program_id(hook, link)?;
        Ok(NamedAttachment { interface: interface.name.clone(), index: interface.index, hook, how, program })
    }

    /// Our pinned link on an interface. Links of an interface that had its name and is gone are removed.
    fn pinned_on(&self, interface: &Interface, hook: Hook) -> Result<Option<Pinned>, KernelError> {
        let all = Interface::all()?;
        let mut found = None;
        for pinned in self.pinned_links()?.into_iter().filter(|pinned| pinned.hook == hook) {
            if pinned.info.ifindex == interface.index {
                found = Some(pinned);
            } else if pinned.present(&all).is_none() && pinned.interface == interface.name {
                pinned.remove()?;
            }
        }
        Ok(found)
    }
}

impl View {
    /// What is attached, by interface, as the kernel tells it.
    ///
    /// # Errors
    ///
    /// [`KernelError::Folder`] and [`KernelError::Netlink`] where the kernel cannot be asked.
    pub fn attachments(&self) -> Result<Vec<NamedAttachment>, KernelError> {
        let interfaces = Interface::all()?;
        let mut all = Vec::new();
        for pinned in self.pinned_links()? {
            let (info, hook) = (pinned.info, pinned.hook);
            let now = pinned.present(&interfaces);
            let how = match (hook, now) {
                (Hook::Egress, _) => How::Tcx,
                (Hook::Ingress, Some(now)) if now.xdp.1 == Some(info.program) => How::XdpGeneric,
                (Hook::Ingress, _) => How::XdpNative,
            };
            all.push(NamedAttachment {
                interface: pinned.present_name(&interfaces).to_owned(),
                index: now.map_or(0, |now| now.index),
                hook,
                how,
                program: info.program,
            });
        }
        all.extend(filter::attachments(&self.path, self.maps.control.id(), &interfaces)?);
        all.sort_by(|a, b| (&a.interface, a.hook as u8).cmp(&(&b.interface, b.hook as u8)));
        Ok(all)
    }

    /// All pinned links.
    pub(super) fn pinned_links(&self) -> Result<Vec<Pinned>, KernelError> {
        let links = folder::links(&self.path);
        let mut all = Vec::new();
        for name in folder::names(&links)? {
            let Some((_, interface, hook)) = folder::read_pin_name(&name) else { continue };
            let hook = match hook {
                name if name == Hook::Egress.name() => Hook::Egress,
                name if name == Hook::Ingress.name() => Hook::Ingress,
                _ => continue,
            };
            let path = links.join(&name);
            let fd = raw::get(&path).map_err(|error| KernelError::folder("open the link", &path, error))?;
            let info = raw::link_info(fd.as_fd())
                .map_err(|error| KernelError::folder("read the link", &path, error))?;
            all.push(Pinned { path, fd, info, hook, interface });
        }
        Ok(all)
    }
}

impl Pinned {
    /// The interface that it is on, if that is there.
    fn present<'a>(&self, all: &'a [Interface]) -> Option<&'a Interface> {
        all.iter().find(|interface| interface.index == self.info.ifindex)
    }

    /// The interface's name now, or the one that it was last known by.
    fn present_name<'a>(&'a self, all: &'a [Interface]) -> &'a str {
        self.present(all).map_or(&self.interface, |interface| &interface.name)
    }

    /// Detaches at once and removes the pin.
    fn remove(self) -> Result<(), KernelError> {
        drop(self.fd);
        unpin(&self.path)
    }
}

/// Detaches a pinned link at once and removes the pin.
pub(super) fn unpin(path: &Path) -> Result<(), KernelError> {
    let link = raw::get(path).map_err(|error| KernelError::folder("open the link", path, error))?;
    match raw::link_detach(link.as_fd()) {
        // Links of an interface that is gone say this or succeed, as the kernel's version is.
        Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => {
            Err(KernelError::folder("detach the link", path, error))
        }
        _ => folder::remove(path),
    }
}

/// Why a program is not attached, with what to do where the answer tells.
pub(super) fn refused(
    interface: &Interface,
    hook: Hook,
    how: &'static str,
    source: io::Error,
) -> KernelError {
    if source.raw_os_error() == Some(libc::EPERM) {
        return KernelError::NotPermitted { what: format!("attach to {}", interface.name), source };
    }
    let hint = match (hook, source.raw_os_error()) {
        (_, Some(libc::ENODEV)) => ". The interface is gone",
        (Hook::Ingress, Some(libc::EBUSY | libc::EEXIST)) => {
            ". Another XDP program is there: take it off (`ip link set dev INTERFACE xdp off`), or leave \
             ingress off"
        }
        (Hook::Ingress, _) => ". Leave ingress off on this interface, or give it a driver with XDP",
        (Hook::Egress, Some(libc::EEXIST | libc::EBUSY)) => {
            ". Another classifier has the first place: `tc filter show dev INTERFACE egress` shows it"
        }
        (Hook::Egress, _) => "",
    };
    KernelError::Attach { interface: interface.name.clone(), hook, how, source, hint }
}
