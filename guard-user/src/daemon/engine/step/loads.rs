//! Loading an exemption: judged and kept by the store's worker, then made live, then answered.

use std::sync::Arc;

use crate::approval::Signature;
use crate::audit::Who;
use crate::control::protocol::{ErrorKind, REFUSED_BY_CLIENT, Response, SignatureText};
use crate::daemon::engine::input::{LoadedExemption, RefusedLoad};
use crate::daemon::engine::loads::{Asked, Handed, Loaded, Wanted};
use crate::daemon::engine::publishing::Tables;
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Level, LoadJob, StoreJob, Ticket, records};
use crate::exemption::record::ApprovedBy;
use crate::exemption::{CHECK, Clocks, Document, REVIEW, Summary, approvers};
use crate::store::Kept;

impl Engine {
    pub(super) fn load_exemption(&mut self, ticket: Ticket, handed: Handed, who: Who, now: Clocks) {
        let Handed { document, name, signatures, wanted } = handed;
        let Some(mut basis) = self.wanted_basis(now) else {
            let message = "the daemon has not looked at this host yet: try again in a moment";
            return self.answer(ticket, Response::error(ErrorKind::Busy, message));
        };
        let bytes = document.into_bytes();
        let signatures = self::signatures(signatures);
        let asked = Asked { name: name.clone(), bytes: bytes.clone(), who: who.clone(), wanted };
        self.loads.asked.push((ticket, asked));
        // It is judged by the policy that is live, and its table is one of that policy: never of the next one.
        basis.config = self.config.serial;
        let policy = Arc::clone(&self.config.policy);
        let dry_run = wanted != Wanted::Load;
        let law = self.law_pack();
        let latest = self.latest.at_least(now);
        let job = LoadJob { name, bytes, signatures, who, dry_run, basis, policy, latest, law };
        self.ask_store(Purpose::Load(ticket), StoreJob::Load(job));
    }

    pub(super) fn exemption_loaded(
        &mut self,
        ticket: Ticket,
        result: Result<Box<LoadedExemption>, RefusedLoad>,
        now: Clocks,
    ) {
        let Some(at) = self.loads.asked.iter().position(|(its, _)| *its == ticket) else { return };
        let (_, asked) = self.loads.asked.remove(at);
        let LoadedExemption { admission, compiled } = match result {
            Ok(loaded) => *loaded,
            Err(RefusedLoad { kind, message, codes }) => {
                if asked.wanted != Wanted::Plan {
                    self.record_refused_load(&asked, &codes, now);
                }
                return self.answer(ticket, Response::error_with(kind, message, &codes));
            }
        };
        if asked.wanted == Wanted::Refusal {
            // Its errors are those of another version's rules.
            let codes = [REFUSED_BY_CLIENT];
            self.record_refused_load(&asked, &codes, now);
            let message = "the client found errors in it: it is not loaded";
            return self.answer(ticket, Response::error_with(ErrorKind::BadInput, message, &codes));
        }
        let id = &admission.document().id;
        let held = self.kept.stayed_beside(admission.document());
        let held = match held.as_slice() {
            [] => String::new(),
            ids => format!("; orders HOLD data of these pins to the same recipients: {}", ids.join(", ")),
        };
        let approved = approved_words(admission.approvals())
            + &held
            + &overdue(&self.kept, admission.document(), now)
            + &self.not_needed(admission.document());
        if asked.wanted == Wanted::Plan {
            let summary = Summary::of_document(admission.document(), now.wall);
            let message = format!("exemption {id} would be loaded{approved}");
            return self.answer(ticket, Response::Planned { message, exemptions: vec![summary] });
        }
        self.publishing.keep_compiled(compiled);
        let message = format!("exemption {id} is loaded{approved}");
        let key = admission.key();
        self.loads.kept.push(Loaded { ticket, key, message, reading: false });
    }

    fn record_refused_load(&mut self, asked: &Asked, codes: &[&'static str], now: Clocks) {
        if codes.contains(&"approvals-missing")
            && let Some((id, version)) = asked.named()
        {
            self.tell_of_request(id, version);
        }
        self.record(records::load_refused(now.wall, &asked.who, (&asked.name, &asked.bytes), codes));
    }

    /// Answers what is live, and what could not be made so.
    pub(super) fn settle_loads(&mut self, now: Clocks) {
        if self.loads.kept.iter().all(|it| it.reading) {
            return;
        }
        match self.tables(now) {
            Tables::OnTheWay => {}
            Tables::Current => {
                for it in &mut self.loads.kept {
                    it.reading = true;
                }
                self.quotas.read_for_answers();
            }
            Tables::Failed(why) => {
                for Loaded { ticket, key, .. } in std::mem::take(&mut self.loads.kept) {
                    let message = format!(
                        "exemption {} is kept, but the kernel does not judge by it yet: {why}. It is tried again \
                         every few seconds; revoke it to give it up",
                        key.0
                    );
                    self.log(Level::Error, message.clone());
                    self.answer(ticket, Response::error(ErrorKind::Failed, message));
                }
            }
        }
    }

    /// The kernel's counts are read: whoever waited for them is answered.
    pub(super) fn answer_loads(&mut self, now: Clocks) {
        let kept = std::mem::take(&mut self.loads.kept);
        let (done, rest): (Vec<_>, Vec<_>) = kept.into_iter().partition(|it| it.reading);
        self.loads.kept = rest;
        for Loaded { ticket, key, message, .. } in done {
            self.log(Level::Info, message.clone());
            let exemptions = self.summaries(&[key], now);
            let generation = self.publishing.generation();
            self.answer(ticket, Response::Done { message, generation, exemptions });
        }
    }
}

/// The duties of the versions before this one that are overdue: none of them is done by a new version. Not of what is
/// confidential, for the answer is logged.
fn overdue(kept: &Kept, document: &Document, now: Clocks) -> String {
    let of_it = |it: &Summary| it.id == document.id && it.version < document.version && !it.confidential;
    let versions = kept.list(now.wall).into_iter().filter(|it| of_it(it) && !document.confidential);
    let of_version = |it: Summary| {
        let late =
            it.due.into_iter().filter(|due| due.by <= now.wall && due.what != REVIEW && due.what != CHECK);
        let version = it.version;
        late.map(move |due| format!("{} of version {version} since {:.0}", due.what, due.by))
            .collect::<Vec<_>>()
    };
    let late: Vec<String> = versions.flat_map(of_version).collect();
    if late.is_empty() { late.concat() } else { format!("; OVERDUE still: {}", late.join(", ")) }
}

fn approved_words(approvals: &[ApprovedBy]) -> String {
    if approvals.is_empty() {
        "; nobody's approval was verified, for the config requires none".to_owned()
    } else {
        let signers = approvals.iter().map(|it| (it.identity.as_str(), it.role.as_deref()));
        format!(", approved by {}", approvers::words(signers, " and "))
    }
}

/// Signatures as they came over the socket.
pub(super) fn signatures(texts: Vec<SignatureText>) -> Vec<Signature> {
    let signature = |it: SignatureText| Signature { name: it.name, bytes: it.text.into_bytes() };
    texts.into_iter().map(signature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signed_in_no_role_that_counts_is_not_said_to_have_approved_it() {
        let by = |identity: &str, role: Option<&str>| ApprovedBy {
            identity: identity.to_owned(),
            role: role.map(str::to_owned),
            fingerprint: "SHA256:x".to_owned(),
        };
        let both = [by("aoife@example.org", None), by("brian@example.org", Some("dpo"))];
        let expected =
            ", approved by brian@example.org as dpo; aoife@example.org signed too, in no role that counts";
        assert_eq!(approved_words(&both), expected);
        assert!(approved_words(&[]).starts_with("; nobody's approval was verified"));
    }
}
