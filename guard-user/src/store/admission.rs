//! Taking up a new exemption: it is admitted once, and loaded as it was admitted.

use std::path::Path;
use std::sync::Arc;

use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;
use serde_json::{Map, json};

use super::entry::Entry;
use super::error::ApprovalError;
use super::tables::{DOCUMENTS, SIGNATURES};
use super::{Kept, Key, LoadError, Store, StoreError, kernel_entries, quota};
use crate::approval::{Signature, Widest};
use crate::audit::{Kind, Who};
use crate::compile::KernelExemption;
use crate::config::Errors;
use crate::digest::sha256;
use crate::exemption::Clocks;
use crate::exemption::State;
use crate::exemption::division::slots_wanted;
use crate::exemption::lifecycle::Event;
use crate::exemption::record::{ApprovedBy, Record, Status};
use crate::exemption::{self, Document, ErrorKind, LawPack, StandingOrder, Surroundings};

/// A document as a user submits it.
pub struct Submission<'a> {
    /// The file's name, for errors.
    pub name: &'a Path,
    /// The file's bytes.
    pub bytes: &'a [u8],
    /// The signatures over them.
    pub signatures: &'a [Signature],
    /// How large the networks of recipients may be without a word on why.
    pub widest: Widest,
    /// Names of the config's pins.
    pub pins: &'a [String],
    /// The same with their homes.
    pub homes: &'a [(String, Jurisdiction)],
    /// The law pack that it is judged by.
    pub law: &'a LawPack,
    /// Returns the approvals that these signatures give the document.
    pub approve: &'a dyn Fn(&Document) -> Result<Vec<ApprovedBy>, ApprovalError>,
}

/// A document that may be loaded: it was checked, its approvals were verified, and there are slots for it. Only
/// [`Kept::admit`] makes one, and [`Store::load_admitted`] loads it without judging it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub(super) document: Arc<Document>,
    pub(super) approvals: Vec<ApprovedBy>,
    pub(super) slots: Vec<u16>,
    /// The document, byte for byte.
    bytes: Vec<u8>,
    /// The signatures over it, byte for byte.
    signatures: Vec<Vec<u8>>,
    /// The versions of its id that were there, with what they were.
    versions: Vec<(u32, State)>,
    asked: Asked,
}

/// By which config a document was admitted, and whose approval that asked for: what the record of the load says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// SHA-256 of the config's text; empty where it is not known.
    pub config_sha256: String,
    /// So many signers of each role, the document's own among them; `None` where the config asks for nobody's approval.
    pub required: Option<Vec<(String, u32)>>,
}

impl Admission {
    /// The document.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Its id and version.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.document.id.clone(), self.document.version)
    }

    /// Who approved it; empty where the config asks for no approvals.
    #[must_use]
    pub fn approvals(&self) -> &[ApprovedBy] {
        &self.approvals
    }

    /// The same, admitted by this config.
    #[must_use]
    pub fn by(self, asked: Asked) -> Self {
        Self { asked, ..self }
    }

    /// The slots that it gets, the account first.
    #[must_use]
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }

    /// The exemption as the kernel would have it.
    #[must_use]
    pub fn to_kernel(&self, clocks: &Clocks) -> Vec<KernelExemption> {
        let quota = self.document.quota_bytes.map_or(u64::MAX, quota::slice);
        kernel_entries(&self.document, &self.slots, &self.document.pins, quota, clocks)
    }
}

impl Kept {
    /// What loading this document would come to; nothing is changed.
    ///
    /// # Errors
    /// Every error in the document, or that it is not approved, or that too few slots are free.
    pub fn admit(&self, submission: &Submission<'_>, now: Timestamp) -> Result<Admission, LoadError> {
        let earlier = |id: &str| self.earlier(id);
        let surroundings = Surroundings {
            pins: Some(submission.pins),
            now: Some(now),
            widest: submission.widest,
            homes: Some(submission.homes),
            law: Some(submission.law),
            earlier: Some(&earlier),
        };
        let document = exemption::parse(submission.name, submission.bytes, &surroundings)
            .map_err(|errors| self.with_order(errors, submission, &surroundings))?;
        let open = self.versions(&document.id).filter(|(_, entry)| !entry.record.is_closed());
        for (_, entry) in open {
            if let Err(refused) = entry.record.status.state().after(Event::Supersede) {
                return Err(StoreError::State { id: document.id.clone(), refused }.into());
            }
        }
        let held = |approvals: &[ApprovedBy]| {
            let order = self.order_over(&document, approvals)?;
            Some(held_by(&document.id, order))
        };
        if let Some(error) = held(&[]) {
            return Err(error.into());
        }
        let approvals = (submission.approve)(&document)?;
        if let Some(error) = held(&approvals) {
            return Err(error.into());
        }
        let slots = self.free_slots(slots_wanted(&document)).map_err(|error| match error {
            StoreError::NoSlot { wanted, free, .. } => {
                StoreError::NoSlot { wanted, free, renewed: self.slots_of_open(&document.id) }
            }
            other => other,
        })?;
        Ok(Admission {
            versions: self.states(&document.id),
            document: Arc::new(document),
            approvals,
            slots,
            bytes: submission.bytes.to_vec(),
            signatures: submission.signatures.iter().map(|it| it.bytes.clone()).collect(),
            asked: Asked::default(),
        })
    }

    /// Why a document is refused, with the order that would refuse it once what is wrong with its version is mended.
    fn with_order(
        &self,
        errors: Errors<ErrorKind>,
        submission: &Submission<'_>,
        surroundings: &Surroundings<'_>,
    ) -> LoadError {
        let first = Surroundings { earlier: None, ..*surroundings };
        let Ok(document) = exemption::parse(submission.name, submission.bytes, &first) else {
            return errors.into();
        };
        // A key that is revoked would sign the next one too.
        let of_key = || self.order_over(&document, &(submission.approve)(&document).ok()?);
        match self.order_over(&document, &[]).or_else(of_key) {
            Some(order) => {
                LoadError::DocumentAndOrder { errors, held: Box::new(held_by(&document.id, order)) }
            }
            None => errors.into(),
        }
    }

    /// What the kernel would have once this is loaded, to see whether its tables have room for it.
    #[must_use]
    pub fn kernel_exemptions_with(
        &self,
        admission: &Admission,
        clocks: &Clocks,
        pins: &[String],
    ) -> Vec<KernelExemption> {
        let others = self.entries().filter(|((id, _), _)| *id != admission.document.id);
        let mut exemptions: Vec<KernelExemption> =
            others.flat_map(|(_, entry)| entry.to_kernel(clocks, pins)).collect();
        exemptions.extend(admission.to_kernel(clocks));
        exemptions
    }

    /// How many slots the version of an id has that is open.
    fn slots_of_open(&self, id: &str) -> usize {
        let open = self.versions(id).filter(|(_, entry)| !entry.record.is_closed());
        open.map(|(_, entry)| entry.record.slots.len()).sum()
    }

    /// The versions of an id that were loaded, with what they are.
    fn states(&self, id: &str) -> Vec<(u32, State)> {
        self.versions(id).map(|((_, version), entry)| (*version, entry.record.status.state())).collect()
    }
}

fn held_by(id: &str, order: &StandingOrder) -> StoreError {
    StoreError::HeldByOrder { id: id.to_owned(), kind: order.kind, order: order.held() }
}

impl Store {
    /// As [`Kept::admit`].
    ///
    /// # Errors
    /// As there.
    pub fn admit(&self, submission: &Submission<'_>, now: Timestamp) -> Result<Admission, LoadError> {
        self.kept.admit(submission, now)
    }

    /// Admits a document and loads it at once.
    ///
    /// # Errors
    /// As of [`Kept::admit`] and [`load_admitted`](Self::load_admitted); then it is not loaded.
    pub fn load(
        &mut self,
        submission: &Submission<'_>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Admission, LoadError> {
        let admission = self.kept.admit(submission, now)?;
        self.load_admitted(&admission, who, now)?;
        Ok(admission)
    }

    /// Loads a document that was admitted: from now on it is among the
    /// [`kernel_exemptions`](Kept::kernel_exemptions), after a restart too; an open version that it replaces is
    /// closed in the same moment. Nothing is judged again.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] where another version of it was loaded or changed since it was admitted, or its
    /// slots are no longer free; else that the disk refused. Then it is not loaded.
    pub fn load_admitted(
        &mut self,
        admission: &Admission,
        who: &Who,
        now: Timestamp,
    ) -> Result<Key, StoreError> {
        self.leave_doubt()?;
        let key = admission.key();
        let Admission { document, approvals, slots, bytes, signatures, versions, asked } = admission;
        if self.kept.states(&key.0) != *versions || !slots.iter().all(|slot| self.kept.is_free(*slot)) {
            return Err(StoreError::Outdated { id: key.0 });
        }
        // It may have come since.
        if let Some(order) = self.kept.order_over(document, approvals) {
            return Err(held_by(&key.0, order));
        }
        let granted = document.quota_bytes.map_or(u64::MAX, quota::slice);
        let loaded_by = (now, who.uid);
        let record = Record::new(sha256(bytes), slots.clone(), approvals.clone(), loaded_by, granted);
        let replaced = self.replaced(document, who, now);
        let mut lines: Vec<_> = record
            .approvals
            .iter()
            .map(|approval| {
                let ApprovedBy { identity, role, fingerprint } = approval;
                let detail = json!({"identity": identity, "role": role, "key": fingerprint});
                Self::record_of(Kind::Approval, &key, who, now, "", detail)
            })
            .collect();
        lines.extend(replaced.iter().map(|(old, _)| {
            Self::record_of(Kind::Supersede, old, who, now, "", json!({"by_version": key.1}))
        }));
        let required = asked.required.as_ref().map(|required| {
            let by_role = required.iter().map(|(role, count)| (role.clone(), json!(count)));
            by_role.collect::<Map<_, _>>()
        });
        let mut loaded = json!({
            "sha256": record.sha256, "slots": record.slots, "config_sha256": asked.config_sha256,
            "required": required,
        });
        if document.emergency.is_some() {
            loaded["emergency"] = true.into();
        }
        lines.push(Self::record_of(Kind::Load, &key, who, now, "", loaded));

        let mut records = replaced.clone();
        records.push((key.clone(), record.clone()));
        self.commit(&records, lines, |batch| {
            batch.open_table(DOCUMENTS)?.insert((key.0.as_str(), key.1), bytes.as_slice())?;
            let mut table = batch.open_table(SIGNATURES)?;
            for (number, signature) in (0_u32..).zip(signatures) {
                table.insert((key.0.as_str(), key.1, number), signature.as_slice())?;
            }
            Ok(())
        })?;
        self.take(replaced);
        let entry = Entry { document: Some(Arc::clone(document)), record, unsaved: false };
        self.kept.inner_mut().entries.insert(key.clone(), Arc::new(entry));
        Ok(key)
    }

    /// The open version that a document takes the place of, closed.
    fn replaced(&self, document: &Document, who: &Who, now: Timestamp) -> Vec<(Key, Record)> {
        let open = self.kept.versions(&document.id).filter(|(_, entry)| !entry.record.is_closed());
        let why = format!("version {} takes its place", document.version);
        open.map(|(key, entry)| {
            let status = Status::Revoked { at: now, why: why.clone(), by: who.uid };
            (key.clone(), Record { status, ..entry.record.clone() })
        })
        .collect()
    }
}
