//! The acts about an exemption: what is refused, what is approved, stayed and revoked, and what is on record.
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Stage;
use crate::demo::client::Request;
use crate::demo::expect::Expected;
use crate::demo::guard::Guard;
use crate::demo::number::grouped;
use crate::demo::policy::{EXEMPTION, exemption, warrant};
use crate::demo::screen::Style;
use crate::demo::world::{BELGIUM, Family, NOWHERE, US, US_OTHER};
use crate::service::Item;
use crate::signing::{COMPLIANCE, LEGAL};

/// How long packets that are already on their way may still arrive after a transfer was cut.
const IN_FLIGHT: Duration = Duration::from_millis(200);

/// How soon the client of a transfer that was cut must see its end.
const SOON: Duration = Duration::from_secs(5);

impl Stage {
    /// A warrant is no ground, and a request that nobody approved opens nothing.
    pub(in crate::demo) fn what_is_no_ground_is_refused(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("A warrant alone, and a request that nobody approved, are refused");
        self.screen.prose(
            "A court in the US orders the mailbox to be handed over. Then Ireland's Central Authority asks for it, \
             under the treaty, which needs two signatures: one for legal, one for compliance.",
        );
        let refused = guard.load(&guard.document("warrant", &warrant()?)?)?.err();
        self.refusal("the warrant", refused, "Art. 48")?;
        let request = guard.document(EXEMPTION, &exemption()?)?;
        self.refusal("the request, unsigned", guard.load(&request)?.err(), "approvals are missing")?;
        guard.sign(&request, LEGAL)?;
        self.refusal("the request with one signature", guard.load(&request)?.err(), "1 as \"compliance\"")?;
        let client = Request::new(&US, Item::Mailbox, Family::V4)?;
        self.ask_all(&[(client, Expected::Forbidden)], Some(guard))
    }

    pub(super) fn refusal(&mut self, what: &str, complaint: Option<String>, why: &str) -> Result<()> {
        let told = complaint.as_deref().is_some_and(|complaint| complaint.contains(why));
        self.check(told, &format!("{what} must be refused, and the refusal must say: {why}"));
        let shown = complaint.as_deref().map_or("no refusal, the guard took it", first_sentence);
        let style = if told { Style::Plain } else { Style::Bad };
        let (mark, mark_style) = if told { ("✔", Style::Plain) } else { ("✘", Style::Bad) };
        let verdict = self.screen.paint(if complaint.is_some() { "refused" } else { "loaded" }, Style::Bad);
        self.screen.line(&format!("   {} {what}: {verdict}", self.screen.paint(mark, mark_style)));
        self.screen.indented(shown, style);
        Ok(())
    }

    /// An exemption that both have signed lets its recipient through, and nobody else.
    pub(in crate::demo) fn an_exemption_is_loaded(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("Both have signed: the request is loaded, for one US recipient");
        let request = guard.file(EXEMPTION);
        guard.sign(&request, COMPLIANCE)?;
        let loaded = guard.load(&request)?.is_ok();
        self.check(loaded, "the signed exemption must be loaded");
        let approvals = guard.approvals()?;
        let words: Vec<String> =
            approvals.iter().map(|(identity, role)| format!("{identity} as {role}")).collect();
        let both = [(LEGAL, "legal"), (COMPLIANCE, "compliance")];
        let all = both.iter().all(|(who, role)| words.contains(&format!("{who} as {role}")));
        self.check(all && approvals.len() == 2, "it must be approved by both, each in one role");
        self.screen.prose(&format!("{EXEMPTION} is loaded, approved by {}.", words.join(", ")));
        let requests = [
            (Request::new(&US, Item::Mailbox, Family::V4)?, Expected::Exempt),
            (Request::new(&US, Item::Mailbox, Family::V6)?, Expected::Exempt),
            (Request::from_other(&US, US_OTHER, Item::Mailbox)?, Expected::Forbidden),
            (Request::new(&NOWHERE, Item::Mailbox, Family::V4)?, Expected::PlaceUnknown),
            (Request::new(&BELGIUM, Item::Mailbox, Family::V4)?, Expected::Permitted),
            (Request::new(&US, Item::AddressBook, Family::V4)?, Expected::Untagged),
        ];
        self.ask_all(&requests, Some(guard))
    }

    /// A stay cuts a transfer that is under way, a second court's is kept beside it, and when both are lifted the next one
    /// goes through.
    pub(in crate::demo) fn a_stay_cuts_a_transfer(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("Two courts stay the request, one during a transfer, and lift their stays");
        self.cut_a_transfer(guard, "stayed", &["exemption", "stay", EXEMPTION, "--order", "2013/514 JR"])?;
        let stayed = [(Request::new(&US, Item::Mailbox, Family::V4)?, Expected::Forbidden)];
        self.ask_all(&stayed, Some(guard))?;
        guard.ask(&["exemption", "stay", "--all", "--order", "2013/777 CA"])?;
        self.screen.line(&format!("   {}", self.screen.paint("stayed by a second court", Style::Bad)));
        let why = "the appeal was dismissed";
        let resume = ["exemption", "resume", EXEMPTION, "--order", "2013/514 JR", "--why", why];
        let alone = guard.refusal_of(&resume)?;
        self.refusal("the loader alone, who lifts the first stay", alone, "takes signatures")?;
        let is_lifted = guard.lift("first", &resume)?;
        self.check(is_lifted, "the first stay must be lifted by a signed document");
        let signed = "the first stay is lifted, signed by both";
        self.screen.line(&format!("   {}", self.screen.paint(signed, Style::Good)));
        let still = [(Request::new(&US, Item::Mailbox, Family::V4)?, Expected::Forbidden)];
        self.ask_all(&still, Some(guard))?;
        let resume = ["exemption", "resume", "--all", "--why", "the second one was dismissed"];
        let is_lifted = guard.lift("second", &resume)?;
        self.check(is_lifted, "the second stay must be lifted by a signed document");
        let signed = "the second stay is lifted, signed by both";
        self.screen.line(&format!("   {}", self.screen.paint(signed, Style::Good)));
        let resumed = [(Request::new(&US, Item::Mailbox, Family::V6)?, Expected::Exempt)];
        self.ask_all(&resumed, Some(guard))
    }

    /// A revocation ends a transfer that is under way, for good.
    pub(in crate::demo) fn it_is_revoked_during_a_transfer(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("The request is withdrawn during another transfer, and revoked");
        let why = "the request was withdrawn";
        self.cut_a_transfer(guard, "revoked", &["exemption", "revoke", EXEMPTION, "--why", why])
    }

    /// Starts a transfer and cuts it by a command; the client must see a reset, and nothing more.
    fn cut_a_transfer(&mut self, guard: &Guard, word: &str, command: &[&str]) -> Result<()> {
        let transfer = self.start_transfer()?;
        let before = transfer.watch(&self.screen, 3, true);
        let open = !transfer.has_ended() && before.last > 0;
        let request = Instant::now();
        guard.ask(command)?;
        let took = request.elapsed().as_millis();
        let exempt = guard.exempt_bytes()?;
        self.screen.line(&format!("   {}", self.screen.paint(&format!("{word} ({took} ms)"), Style::Bad)));
        std::thread::sleep(IN_FLIGHT);
        let after = transfer.watch(&self.screen, 2, false);
        self.check(before.growing_looks >= 2 && open, &format!("the transfer must go on until it is {word}"));
        self.check(after.first == after.last, &format!("not one byte may arrive after it was {word}"));
        self.check(
            guard.exempt_bytes()? == exempt,
            &format!("the kernel may let no packet through after it was {word}"),
        );
        let reset = transfer.was_reset(SOON);
        self.check(reset, "the client must see a reset, and no hang");
        self.screen.prose(&format!(
            "The client has {} of {} bytes, {} of them since then{}.",
            grouped(after.last),
            grouped(self.service.length(Item::Archive)?),
            grouped(after.last.saturating_sub(after.first)),
            if reset { "; its connection was reset" } else { "" },
        ));
        Ok(())
    }

    /// What can be proved afterwards: the audit trail, and the record of transfers.
    pub(in crate::demo) fn all_of_it_is_on_record(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("What is on record");
        let trail = guard.audit_trail()?;
        self.check(trail.whole, "the audit trail must be whole");
        self.check(trail.refusals >= 6, "the audit trail must have the six refusals");
        self.screen.prose(&format!(
            "Audit trail: {} records, {}, {} refusals among them.",
            trail.records,
            if trail.whole { "whole" } else { "NOT WHOLE" },
            trail.refusals,
        ));
        let record = guard.record_of_transfers()?;
        let ground = record.ground.as_deref().unwrap_or("no ground");
        self.check(
            record.crossed > 0 && record.ground.is_some(),
            "the report must say what crossed, and why",
        );
        self.check(record.crossed == record.exempt, "it must agree with what the kernel counted");
        self.check(record.refused > 0, "the report must say what was refused");
        self.screen.prose(&format!(
            "Report: {} bytes crossed to the US on {ground}; {} packets were refused, {} bytes.",
            grouped(record.crossed),
            grouped(record.refused),
            grouped(record.refused_bytes),
        ));
        Ok(())
    }

    /// The receipt of what was closed, verified by tools that are not the guard's, and not after a byte of it was altered.
    pub(in crate::demo) fn a_receipt_is_verified(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("A receipt, signed by the host and time-stamped, is verified without the guard");
        let receipt = guard.receipt()?;
        self.check(receipt.is_some(), "a receipt of the exemption that is closed must be written");
        let Some(receipt) = receipt else { return Ok(()) };
        self.check(
            receipt.bytes == guard.exempt_bytes()?,
            "the receipt must have the bytes that the kernel has counted",
        );
        self.screen.prose(&format!(
            "The receipt of {EXEMPTION} has {} bytes to {}, {} signers, and the audit trail's last record.",
            grouped(receipt.bytes),
            receipt.recipient,
            receipt.signers,
        ));
        for (what, verified, must) in [
            ("its signature, by ssh-keygen", receipt.is_signed()?, true),
            ("its time stamp, by openssl", receipt.is_stamped()?, true),
        ] {
            self.verified(what, verified, must);
        }
        receipt.alter()?;
        for (what, verified) in [
            ("after one byte was altered, by ssh-keygen", receipt.is_signed()?),
            ("after one byte was altered, by openssl", receipt.is_stamped()?),
        ] {
            self.verified(what, verified, false);
        }
        Ok(())
    }

    fn verified(&mut self, what: &str, is: bool, must: bool) {
        self.check(is == must, &format!("{what}: it must {}hold", if must { "" } else { "not " }));
        let (mark, style) = if is == must { ("✔", Style::Plain) } else { ("✘", Style::Bad) };
        let verdict = match is {
            true => self.screen.paint("holds", Style::Good),
            false => self.screen.paint("does not hold", Style::Bad),
        };
        self.screen.line(&format!("   {} {what}: {verdict}", self.screen.paint(mark, style)));
    }
}

/// What a refusal says first, without the file's name and place.
fn first_sentence(complaint: &str) -> &str {
    let line = complaint.trim().lines().next().unwrap_or_default();
    let line = line.rsplit_once("error: ").map_or(line, |(_, rest)| rest);
    line.strip_prefix("borderguard: ").unwrap_or(line)
}
