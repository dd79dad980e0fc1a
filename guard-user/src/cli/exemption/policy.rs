//! The config that a document is held against: its pins, and whether its signers can approve it at all.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::Result;
use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::approval::load::LoadError;
use crate::approval::{self, AllowedSigners, Candidate, Hopeless};
use crate::cli::CliError;
use crate::compile::{self, Places};
use crate::config::policy::Approvals;
use crate::config::{self, Errors, Finding, Policy, Surroundings};
use crate::exemption::needless::{NotNeeded, not_needed};
use crate::exemption::{Document, ErrorKind, LawPack};
use crate::geo::GeoDb;
use crate::hostname::hostname;
use crate::inputs;

/// What a config says, by its text alone.
pub(super) fn load(config: &Path) -> Result<Policy> {
    let checked =
        config::load(config, &Surroundings::new(None)).map_err(|errors| CliError::errors(&errors))?;
    Ok(checked.policy)
}

/// The names of a policy's pins.
pub(super) fn pin_names(policy: &Policy) -> Vec<String> {
    policy.pin_names()
}

/// The law pack that a policy names, or the program's own.
pub(super) fn law_of(policy: &Policy) -> Result<LawPack, String> {
    let pack = match &policy.law {
        Some(named) => LawPack::read(&named.pack, &named.sha256),
        None => LawPack::embedded().cloned(),
    };
    pack.map_err(|error| error.to_string())
}

/// What is said where rules were not looked at because their law pack is not there.
pub(super) fn unjudged(law: &Result<LawPack, String>) -> Option<String> {
    law.as_ref().err().map(|why| format!("what hangs on the law pack was not looked at: {why}"))
}

/// What a config says of a document.
pub(super) struct Against {
    /// The names of its pins.
    pub(super) pins: Vec<String>,
    approval: Option<Approvers>,
    policy: Policy,
    /// Read once, where anything asks for it.
    database: OnceCell<Result<GeoDb, String>>,
}

struct Approvers {
    approvals: Approvals,
    /// Or why they are not known: on an approver's machine the file need not be there.
    allowed: Result<AllowedSigners, String>,
}

/// Who could approve a document.
#[derive(Debug, Default)]
pub(super) struct Prospect {
    /// Users among the signers who can't be the one who loads it.
    pub(super) cannot_load: Vec<String>,
    /// Why keys were not looked at.
    pub(super) unread: Option<String>,
    /// Whom it needs, where the rules of the config ask for more than it does.
    due: Option<String>,
    /// Who is said to have written it, where that is no signer.
    written_by: Option<String>,
    /// Whether it names no host, and a host of this config refuses it for that.
    is_for_no_host: bool,
    /// Whether the config asks for no approval.
    is_unasked: bool,
}

impl Against {
    /// Reads the config and its file of allowed signers.
    ///
    /// # Errors
    /// Where one of them can't be used: then nothing is approved by them.
    pub(super) fn load(config: &Path) -> Result<Self> {
        let policy = load(config)?;
        let approval = policy.approval.as_ref().map(|approvals| {
            let allowed = match approval::load::load(&approvals.allowed_signers, &TimeZone::system()) {
                Ok(allowed) => Ok(allowed),
                Err(error @ LoadError::Unreadable { .. }) => Err(error.to_string()),
                Err(error) => return Err(CliError::bad_input(error.to_string())),
            };
            Ok(Approvers { approvals: approvals.clone(), allowed })
        });
        let (pins, database) = (pin_names(&policy), OnceCell::new());
        Ok(Self { pins, approval: approval.transpose()?, policy, database })
    }

    /// How large the networks of recipients may be without a word on why.
    pub(super) fn widest(&self) -> approval::Widest {
        self.policy.approval.as_ref().map(|approvals| approvals.widest).unwrap_or_default()
    }

    /// The pins with their homes.
    pub(super) fn homes(&self) -> Vec<(String, Jurisdiction)> {
        self.policy.homes()
    }

    /// What is said where data passes to recipients without the document. Where a database can't be used, networks are where the
    /// document says.
    pub(super) fn not_needed(&self, document: &Document) -> Vec<String> {
        let mut policy = self.policy.clone();
        if document.recipients.iter().any(|it| !it.networks.is_empty())
            && let Ok(database) = self.database()
        {
            compile::place(&mut policy, database);
        }
        let NotNeeded { permitted, forbidden } = not_needed(document, &policy);
        let permitted = (!permitted.is_empty()).then(|| {
            format!(
                "warning: an exemption is not needed where {permitted}: data passes there without it, no order stops that, \
                 and it is counted as permitted and not as the exemption's use"
            )
        });
        let forbidden = (!forbidden.is_empty()).then(|| {
            format!(
                "warning: data passes without the exemption, no order stops that, and not all of it is counted as the \
                 exemption's use: {forbidden}"
            )
        });
        permitted.into_iter().chain(forbidden).collect()
    }

    /// The law pack that it names, or the program's own.
    ///
    /// # Errors
    /// Where the one that it names can't be used: on an approver's machine it need not be there.
    pub(super) fn law(&self) -> Result<LawPack, String> {
        law_of(&self.policy)
    }

    /// Where its sites and databases place addresses.
    ///
    /// # Errors
    /// Where a database can't be used: on an approver's machine it need not be there.
    pub(super) fn places(&self) -> Result<Places, String> {
        Ok(Places::new(&self.policy, self.database()?))
    }

    fn database(&self) -> Result<&GeoDb, String> {
        let load = || inputs::load_database(&self.policy.geo).map_err(|error| error.to_string());
        self.database.get_or_init(load).as_ref().map_err(Clone::clone)
    }

    /// Whether the signers can approve a document at all. A config may ask for no approval.
    ///
    /// # Errors
    /// What is missing also when all of them sign.
    pub(super) fn prospect(&self, document: &Document, now: Timestamp) -> Result<Prospect, Hopeless> {
        let Some(Approvers { approvals, allowed }) = &self.approval else {
            return Ok(Prospect { is_unasked: true, ..Prospect::default() });
        };
        let hopeless = |why| Hopeless { why, without_key: Vec::new() };
        let signers = approvals.signers.as_slice();
        let required = document.due(approvals).map_err(hopeless)?;
        let candidate = Candidate {
            bytes: &[],
            namespace: approval::EXEMPTION,
            submitter: document.approval.submitter.as_deref(),
            required: &required,
        };
        let cannot_load = approval::prospect(&candidate, signers, allowed.as_ref().ok(), now)?;
        let submitter = document.approval.submitter.as_deref();
        let is_signer = approval::quorum::check_submitter(signers, submitter, None).is_ok();
        let written_by = submitter.filter(|_| !is_signer).map(str::to_owned);
        let own = document.requirements();
        let added = required.iter().filter(|one| !own.contains(one));
        let due = required.iter().map(|one| format!("{} as {}", one.count, one.role)).collect::<Vec<_>>();
        let due = added.count().gt(&0).then(|| due.join(", "));
        Ok(Prospect {
            cannot_load,
            unread: allowed.as_ref().err().cloned(),
            due,
            written_by,
            is_for_no_host: document.hosts.is_empty(),
            is_unasked: false,
        })
    }

    /// The hosts of a document, where a host with this machine's name and the config's fleet refuses it. On an approver's
    /// machine that says nothing of the host that it is for, so it is no error.
    pub(super) fn elsewhere(&self, document: &Document) -> Option<String> {
        let fleet = self.policy.host.fleet.as_deref();
        if document.hosts.is_empty() || document.names_host(hostname(), fleet) {
            return None;
        }
        let fleet = fleet.map_or_else(|| "no fleet".to_owned(), |fleet| format!("the fleet {fleet}"));
        let hosts = document.hosts.join(", ");
        Some(format!(
            "it is for {hosts}, and every other host refuses it: this machine is {}, and the config names {fleet}",
            hostname()
        ))
    }

    /// The same, as an error in the document.
    pub(super) fn approvable(
        &self,
        file: &Path,
        document: Document,
        now: Timestamp,
    ) -> Result<(Document, Prospect), Errors<ErrorKind>> {
        match self.prospect(&document, now) {
            Ok(prospect) => Ok((document, prospect)),
            Err(hopeless) => {
                let error = Finding {
                    place: None,
                    within: None,
                    field: "approval".to_owned(),
                    kind: ErrorKind::NotApprovable(hopeless),
                };
                Err(Errors { file: file.to_owned(), errors: vec![error] })
            }
        }
    }
}

impl Prospect {
    /// What is to say of it, a line each.
    pub(super) fn notes(&self) -> Vec<String> {
        let unread =
            self.unread.iter().map(|why| format!("whether its signers have keys was not looked at: {why}"));
        let cannot = match self.cannot_load.as_slice() {
            [] => None,
            some => {
                Some(format!("it can't be loaded by {}: nobody else could have approved it", some.join(", ")))
            }
        };
        let due = self.due.iter().map(|due| format!("by the rules of the config it needs signatures, {due}"));
        let unasked = self.is_unasked.then(|| format!("by the config {}", approval::NONE_REQUIRED));
        let by = self.written_by.iter().map(|name| {
            format!("it says that {name} wrote it, who is no signer of the config: only a user of that name can load it")
        });
        let nowhere = self.is_for_no_host.then(|| {
            "it names no host that it is for (`hosts`), and a host of this config refuses it".to_owned()
        });
        unasked.into_iter().chain(nowhere).chain(by).chain(due).chain(unread).chain(cannot).collect()
    }
}
