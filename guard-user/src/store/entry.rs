//! Exemptions in memory, and taking up new ones.

use std::collections::BTreeMap;
use std::path::Path;

use guard_common::abi::MAX_EXEMPTIONS;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde_json::json;

use super::disk::{DOCUMENTS, SIGNATURES};
use super::error::ApprovalError;
use super::read::sha256;
use super::{Key, LoadError, Store, StoreError, quota};
use crate::approval::Signature;
use crate::audit::{Kind, Who};
use crate::compile::KernelExemption;
use crate::config::policy::PortRange;
use crate::exemption::document::{self, Document, Earlier, Surroundings};
use crate::exemption::lifecycle::Event;
use crate::exemption::record::{ApprovedBy, Record, Status, Use};
use crate::exemption::{Clocks, Summary};

/// One version of an exemption.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None` where it can't be read, which is a [`Problem`](super::Problem): the exemption is closed.
    pub(super) document: Option<Document>,
    pub(super) record: Record,
    /// It is closed here, and the disk did not take that.
    pub(super) unsaved: bool,
}

impl Entry {
    /// Whether packets pass by it.
    pub(super) fn is_active(&self) -> bool {
        self.document.is_some() && self.record.is_active()
    }

    /// What the kernel has counted for it by these counts of accounts. No count goes back, and none is past the
    /// quota, which the kernel does not let it be.
    pub(super) fn counted(&self, counts: &[(u16, Use)]) -> Use {
        let saved = self.record.counted;
        let Some(&(_, counted)) = counts.iter().find(|(slot, _)| self.record.account() == Some(*slot)) else {
            return saved;
        };
        let quota = self.document.as_ref().and_then(|document| document.quota_bytes);
        let most = quota.unwrap_or(u64::MAX).saturating_sub(self.record.before.bytes);
        saved.at_least(Use { bytes: counted.bytes.min(most), ..counted })
    }

    /// What the kernel is to have of it.
    pub(super) fn to_kernel(&self, clocks: &Clocks, pins: &[String]) -> Vec<KernelExemption> {
        let Some(document) = self.document.as_ref().filter(|_| self.is_active()) else { return Vec::new() };
        let left = quota::left(document, &self.record);
        kernel_entries(document, &self.record.slots, pins, left, clocks)
    }
}

/// A document as somebody hands it in.
pub struct Submission<'a> {
    /// The file's name, for errors.
    pub name: &'a Path,
    /// The file's bytes.
    pub bytes: &'a [u8],
    /// The signatures over them.
    pub signatures: &'a [Signature],
    /// Names of the config's pins.
    pub pins: &'a [String],
    /// Says who approves the document by these signatures.
    pub approve: &'a dyn Fn(&Document) -> Result<Vec<ApprovedBy>, ApprovalError>,
}

/// What loading a document comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The document.
    pub document: Document,
    /// Who approved it.
    pub approvals: Vec<ApprovedBy>,
    /// The slots that it gets, the account first.
    pub slots: Vec<u16>,
}

impl Admission {
    /// The exemption as the kernel would have it.
    #[must_use]
    pub fn to_kernel(&self, clocks: &Clocks) -> Vec<KernelExemption> {
        let quota = self.document.quota_bytes.map_or(u64::MAX, quota::slice);
        kernel_entries(&self.document, &self.slots, &self.document.pins, quota, clocks)
    }
}

impl Store {
    /// Every exemption, in the order of ids and versions, as it is at this moment. Those that are among
    /// the [`problems`](Self::problems) are not here.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<Summary> {
        self.list_with(&[], now)
    }

    /// As [`list`](Self::list), with what the kernel has counted for accounts by now and what is not
    /// [saved](Self::checkpoint_use) yet.
    #[must_use]
    pub fn list_with(&self, counts: &[(u16, Use)], now: Timestamp) -> Vec<Summary> {
        let readable = self.entries.values().filter_map(|entry| Some((entry.document.as_ref()?, entry)));
        readable
            .map(|(document, entry)| {
                let record = Record { counted: entry.counted(counts), ..entry.record.clone() };
                Summary::of_loaded(document, &record, now)
            })
            .collect()
    }

    /// The document behind the slot of an event or a flow.
    #[must_use]
    pub fn by_slot(&self, slot: u16) -> Option<&Document> {
        self.entries.values().find(|entry| entry.record.slots.contains(&slot))?.document.as_ref()
    }

    /// What loading this document would come to; nothing is changed.
    ///
    /// # Errors
    /// Every error in the document, or that it is not approved, or that too few slots are free.
    pub fn admit(&self, submission: &Submission<'_>, now: Timestamp) -> Result<Admission, LoadError> {
        let earlier = |id: &str| self.earlier(id);
        let surroundings =
            Surroundings { pins: Some(submission.pins), now: Some(now), earlier: Some(&earlier) };
        let document = document::parse(submission.name, submission.bytes, &surroundings)?;
        for ((id, _), entry) in &self.entries {
            let state = entry.record.status.state();
            if *id == document.id
                && !entry.record.is_closed()
                && let Err(refused) = state.after(Event::Supersede)
            {
                return Err(StoreError::State { id: id.clone(), refused }.into());
            }
        }
        let approvals = (submission.approve)(&document)?;
        let slots = self.free_slots(groups(&document).len())?;
        Ok(Admission { document, approvals, slots })
    }

    /// Loads a document: from now on it is among the [`kernel_exemptions`](Self::kernel_exemptions), after
    /// a restart too; an open version that it replaces is closed in the same moment. See
    /// [`admit`](Self::admit) for the rest; who wants to know first whether the kernel's tables have room
    /// compiles with [`Admission::to_kernel`].
    ///
    /// # Errors
    /// As of [`admit`](Self::admit), or that the disk refused; then it is not loaded.
    pub fn load(
        &mut self,
        submission: &Submission<'_>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Admission, LoadError> {
        let admission = self.admit(submission, now)?;
        let document = &admission.document;
        let key: Key = (document.id.clone(), document.version);
        let granted = document.quota_bytes.map_or(u64::MAX, quota::slice);
        let record = Record::new(
            sha256(submission.bytes),
            admission.slots.clone(),
            admission.approvals.clone(),
            (now, who.uid),
            granted,
        );
        let replaced = self.replaced(document, who, now);
        let mut lines: Vec<_> = admission
            .approvals
            .iter()
            .map(|approval| {
                let ApprovedBy { identity, role, fingerprint } = approval;
                let detail = json!({"identity": identity, "role": role, "key": fingerprint});
                Self::told(Kind::Approval, &key, who, now, "", detail)
            })
            .collect();
        lines.extend(
            replaced
                .iter()
                .map(|(old, _)| Self::told(Kind::Supersede, old, who, now, "", json!({"by_version": key.1}))),
        );
        let loaded = json!({"sha256": record.sha256, "slots": record.slots});
        lines.push(Self::told(Kind::Load, &key, who, now, "", loaded));

        let mut records = replaced.clone();
        records.push((key.clone(), record.clone()));
        self.commit(&records, lines, |batch| {
            batch.open_table(DOCUMENTS)?.insert((key.0.as_str(), key.1), submission.bytes)?;
            let mut table = batch.open_table(SIGNATURES)?;
            for (number, signature) in (0_u32..).zip(submission.signatures) {
                table.insert((key.0.as_str(), key.1, number), signature.bytes.as_slice())?;
            }
            Ok(())
        })?;
        for (key, record) in replaced {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.record = record;
            }
        }
        self.entries.insert(key, Entry { document: Some(document.clone()), record, unsaved: false });
        Ok(admission)
    }

    /// The open version that a document takes the place of, closed.
    fn replaced(&self, document: &Document, who: &Who, now: Timestamp) -> Vec<(Key, Record)> {
        let versions = self.entries.iter().filter(|((id, _), _)| *id == document.id);
        let open = versions.filter(|(_, entry)| !entry.record.is_closed());
        let why = format!("version {} takes its place", document.version);
        open.map(|(key, entry)| {
            let status = Status::Revoked { at: now, why: why.clone(), by: who.uid };
            (key.clone(), Record { status, ..entry.record.clone() })
        })
        .collect()
    }

    fn earlier(&self, id: &str) -> Option<Earlier> {
        let loaded = self.entries.iter().filter(|((its_id, _), _)| its_id == id);
        let loaded = loaded
            .map(|((_, version), entry)| (*version, entry.document.is_some() && !entry.record.is_closed()));
        let unreadable = self.unreadable.iter().filter(|(its_id, _)| its_id == id);
        let all: Vec<(u32, bool)> = loaded.chain(unreadable.map(|(_, version)| (*version, false))).collect();
        let version = all.iter().map(|&(version, _)| version).max()?;
        Some(Earlier { version, open: all.iter().any(|&(_, open)| open) })
    }

    /// The exemptions that the kernel is to have, by its own clock. A pin that the config does not have
    /// any more is left out, and an exemption without pins too.
    #[must_use]
    pub fn kernel_exemptions(&self, clocks: &Clocks, pins: &[String]) -> Vec<KernelExemption> {
        self.entries.values().flat_map(|entry| entry.to_kernel(clocks, pins)).collect()
    }

    /// So many slots that nobody holds.
    pub(super) fn free_slots(&self, wanted: usize) -> Result<Vec<u16>, StoreError> {
        if self.disk.is_none() {
            return Err(self.no_disk());
        }
        let held = |slot: &u16| self.entries.values().any(|entry| entry.record.slots.contains(slot));
        let all = 0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX);
        let free: Vec<u16> =
            all.filter(|slot| !self.unclean.contains(slot) && !held(slot)).take(wanted).collect();
        if free.len() < wanted { Err(StoreError::NoSlot { wanted }) } else { Ok(free) }
    }
}

/// Recipients by their ports: whoever has the same ports is in one entry of the kernel's.
#[derive(Default)]
pub(super) struct Group {
    jurisdictions: Vec<guard_common::jurisdiction::Jurisdiction>,
    networks: Vec<IpNetwork>,
}

/// The entries that the kernel needs for a document, in an order that is the same at every start.
pub(super) fn groups(document: &Document) -> BTreeMap<Vec<PortRange>, Group> {
    let mut groups: BTreeMap<Vec<PortRange>, Group> = BTreeMap::new();
    for recipient in &document.recipients {
        let mut ports = recipient.ports.clone();
        ports.sort();
        ports.dedup();
        let group = groups.entry(ports).or_default();
        match recipient.networks.as_slice() {
            [] => group.jurisdictions.push(recipient.jurisdiction),
            networks => group.networks.extend(networks),
        }
    }
    groups
}

/// A document as the kernel judges by it in these slots, the account first; `quota` is what it may let through
/// in them. Pins that are not among these are left out; without any, and once it has ended, there is nothing.
#[must_use]
pub fn kernel_entries(
    document: &Document,
    slots: &[u16],
    pins: &[String],
    quota: u64,
    clocks: &Clocks,
) -> Vec<KernelExemption> {
    let groups = groups(document);
    let pins: Vec<String> = document.pins.iter().filter(|pin| pins.contains(pin)).cloned().collect();
    if pins.is_empty() || document.ends() <= clocks.wall {
        return Vec::new();
    }
    // Never one part of a document without the rest of it.
    let Some(account) = slots.first().copied().filter(|_| slots.len() == groups.len()) else {
        return Vec::new();
    };
    let entries = slots.iter().zip(groups).map(|(&slot, (ports, group))| KernelExemption {
        slot,
        account,
        pins: pins.clone(),
        jurisdictions: group.jurisdictions,
        networks: group.networks,
        ports,
        valid_from_ns: clocks.boot_time_of(document.valid_from),
        valid_until_ns: clocks.boot_time_of(document.ends()),
        quota,
    });
    entries.collect()
}
