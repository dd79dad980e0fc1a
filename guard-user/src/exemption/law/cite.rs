//! Where a broken rule stands by the law at the home of the pins, and what to do by that law.
//!
//! The United Kingdom's articles are those since 5 February 2026, when section 85 of the Data (Use and Access) Act 2025 and
//! its schedules 7 to 9 came into force (SI 2026/82, reg. 2): Art. 44A is in the place of Art. 44, Art. 45A of Art. 45, and
//! there has been no Art. 48 since 2020. The Swiss ones are those of the Federal Act on Data Protection (SR 235.1) and of its
//! ordinance, DPO (SR 235.11).

use super::breach::{Breach, Excepted};
use super::rule::{DEROGATION_DAYS, Rule};
use crate::exemption::ground::Ground;
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::particulars::{DutyKind, Law};

/// By whose articles a broken rule is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Those of the law at the home of the pins.
    Law(Law),
    /// Those of the Data Act, Regulation (EU) 2023/2854: the data is not personal.
    DataAct,
}

impl By {
    /// The law that has the grounds.
    const fn law(self) -> Law {
        match self {
            Self::Law(law) => law,
            Self::DataAct => Law::Eu,
        }
    }
}

/// Those of these grounds that a law has.
fn grounds(law: Law, of: &[Ground]) -> String {
    let has: Vec<&str> = of.iter().filter(|it| law.has(**it)).map(|it| it.name()).collect();
    has.join(", ")
}

/// Which forms of clauses there are by a law.
const fn clauses(law: Law) -> &'static str {
    match law {
        Law::Eu | Law::Ch => "c2c or c2p of a controller, p2p or p2c of a processor",
        Law::Uk => "idta or addendum, on art-46-2-d",
    }
}

/// What has the grounds of a law.
const fn chapter(law: Law) -> &'static str {
    match law {
        Law::Eu | Law::Uk => "Chapter V",
        Law::Ch => "Art. 16 of the FADP",
    }
}

impl Breach {
    /// The sentence, with where it stands behind it.
    #[must_use]
    pub fn said(&self, by: By) -> String {
        let source = match by {
            By::Law(law) => self.source(law),
            By::DataAct => self.source_of_data_act(),
        };
        match source {
            Some(source) => format!("{self} ({source})"),
            None => self.to_string(),
        }
    }

    /// Where it stands in the Data Act; `None` where that says nothing of it.
    fn source_of_data_act(&self) -> Option<&'static str> {
        match self.rule() {
            Rule::ForeignOrderAlone | Rule::GroundMismatch => Some("Data Act, Art. 32(2), (3)"),
            Rule::NoAgreement | Rule::NoAgreementInForce => Some("Data Act, Art. 32(2)"),
            // Access that neither of the two allows is to be prevented.
            Rule::WholeCountry | Rule::InsideEea | Rule::OutsideEea => Some("Data Act, Art. 32(1)"),
            Rule::NoCondition
            | Rule::NotPersonal
            | Rule::NoNotification
            | Rule::NoAddressee
            | Rule::PreservationOnly => self.source(Law::Eu),
            _ => None,
        }
    }

    /// Where it stands by this law; `None` where the sentence says it, or no law does.
    fn source(&self, law: Law) -> Option<&'static str> {
        let by = |eu, uk, ch| {
            Some(match law {
                Law::Eu => eu,
                Law::Uk => uk,
                Law::Ch => ch,
            })
        };
        match self.rule() {
            Rule::ForeignOrderAlone | Rule::NoAgreement | Rule::NoAgreementInForce => {
                by("GDPR Art. 48", "UK GDPR Art. 44A", "FADP Art. 16")
            }
            Rule::GroundMismatch
            | Rule::WholeCountry
            | Rule::InsideEea
            | Rule::OutsideEea
            | Rule::OnwardWithoutGround => by("GDPR Art. 44", "UK GDPR Art. 44A", "FADP Art. 16"),
            Rule::NoAdequacyDecision => by("GDPR Art. 45", "UK GDPR Art. 45A", "FADP Art. 16(1)"),
            Rule::PartialAdequacy
            | Rule::ExceptedPurpose
            | Rule::NoCertification
            | Rule::StaleCertification => law.condition(Ground::Adequacy),
            Rule::NoCondition => match self {
                Self::NoCondition { ground, .. } => law.condition(*ground),
                _ => None,
            },
            Rule::LongDerogation | Rule::UnboundedDerogation => {
                by("GDPR Art. 49", "UK GDPR Art. 49", "FADP Art. 17")
            }
            Rule::PublicAuthority => by("GDPR Art. 49(3)", "UK GDPR Art. 49(3)", "FADP Art. 17"),
            Rule::UndocumentedDerogation => by("GDPR Art. 49(6)", "UK GDPR Art. 49(6)", "FADP Art. 17"),
            Rule::NoAssessment | Rule::NoReviewDate => by(
                "GDPR Art. 46; C-311/18",
                "UK GDPR Art. 46(1A), the data protection test",
                "FADP Art. 16(2)",
            ),
            Rule::ReviewOver => by("C-311/18", "UK GDPR Art. 46(1A)", "FADP Art. 16(2)"),
            Rule::NoDataSubjects => by("GDPR Art. 30(1)(c)", "UK GDPR Art. 30(1)(c)", "FADP Art. 12(2)(c)"),
            Rule::NoRecipient | Rule::OverlappingRecipients => {
                by("GDPR Art. 30(1)(d)", "UK GDPR Art. 30(1)(d)", "FADP Art. 12(2)(d)")
            }
            Rule::EarlyDeletion => by("GDPR Art. 30(1)(f)", "UK GDPR Art. 30(1)(f)", "FADP Art. 12(2)(e)"),
            Rule::NoModule | Rule::ModuleMismatch => by(
                "Decision (EU) 2021/914; GDPR Art. 47",
                "DPA 2018, s. 119A; UK GDPR Art. 47",
                "FADP Art. 16(2)(d), (e)",
            ),
            Rule::NotAParty => by("GDPR Art. 46", "UK GDPR Art. 46", "FADP Art. 16(2)"),
            Rule::NotPersonal => Some("Data Act, Art. 32"),
            Rule::NoNotification if matches!(self, Self::NoNotification { duty: DutyKind::TellCustomer }) => {
                Some("Data Act, Art. 32(5)")
            }
            Rule::NoNotification => by(
                "GDPR Art. 49(1), second subparagraph",
                "UK GDPR Art. 49(1), second subparagraph",
                "FADP Art. 17",
            ),
            Rule::NoAddressee => Some("Regulation (EU) 2023/1543, Art. 7"),
            Rule::PreservationOnly => Some("Regulation (EU) 2023/1543, Art. 3(2), Art. 11"),
            Rule::NotBound
            | Rule::NotYetApplicable
            | Rule::OtherLaw
            | Rule::ReversedWindow
            | Rule::Expired
            | Rule::RepeatedRole
            | Rule::NobodyApproves => None,
        }
    }

    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self, by: By) -> String {
        let law = by.law();
        match self {
            Self::ForeignOrderAlone if by == By::DataAct => {
                "name the ground that it rests on: a data-act-request on data-act-32-2 under an international agreement, or on \
                 data-act-32-3 where its conditions are met"
                    .into()
            }
            Self::NoAgreement if by == By::DataAct => {
                "name the treaty as agreement, or the ground data-act-32-3 where its conditions are met".into()
            }
            Self::ForeignOrderAlone => {
                format!(
                    "name the ground that it rests on: a treaty-request under an international agreement, or another \
                     instrument of {}",
                    chapter(law)
                )
            }
            Self::NoAgreement => {
                "name the treaty as agreement, or another instrument that the transfer rests on".into()
            }
            Self::GroundMismatch { kind, .. } => {
                format!("{kind} can carry {}", grounds(law, kind.grounds()))
            }
            Self::NoAdequacyDecision { .. } => {
                "name another instrument, such as scc; what was decided after the date of the law pack is not in it"
                    .into()
            }
            Self::PartialAdequacy { authority: true, .. } => {
                "an authority that asks is not among them: name another ground, such as art-46-2-a".into()
            }
            Self::PartialAdequacy { .. } => "name the covered recipients by their networks, as cidrs".into(),
            Self::ExceptedPurpose { lack: Excepted::Everybody, .. } => {
                "name the recipient's own networks, as cidrs".into()
            }
            Self::ExceptedPurpose { lack: Excepted::Authority, .. } => {
                "name another ground, such as art-46-2-a".into()
            }
            Self::ExceptedPurpose { lack: Excepted::Words, .. } => {
                "add [condition] with met: what the data is for, and that it is for none of these".into()
            }
            Self::WholeCountry { .. } => "name the recipient's own networks, as cidrs".into(),
            Self::InsideEea { country, .. } if by != By::Law(Law::Eu) => {
                format!("permit {country} in the pin")
            }
            Self::InsideEea { country, .. } => format!(
                "permit {country} in the pin; where the pin is to stay narrower, use the type eu-order with the \
                 ground no-transfer"
            ),
            Self::OutsideEea { .. } => {
                format!("name the instrument of {} that the transfer there rests on", chapter(law))
            }
            Self::LongDerogation { .. } => format!(
                "end it within {DEROGATION_DAYS} days; what goes on for longer needs another instrument than a derogation"
            ),
            Self::UnboundedDerogation => "add quota_bytes, the bytes that the one transfer needs".into(),
            Self::UndocumentedDerogation => "add [assessment] with its reference".into(),
            Self::NoAssessment { .. } => {
                "add [assessment] with reference and review_by; measures may be none".into()
            }
            Self::NoReviewDate { .. } => {
                "add review_by to [assessment], such as review_by = 2027-06-01".into()
            }
            Self::ReviewOver { .. } => {
                "look at the assessment again, and have the document approved with its next review_by".into()
            }
            Self::NoDataSubjects => "add data_subjects, such as [\"customers\"]".into(),
            Self::NotPersonal => {
                "name both or neither: data of persons needs a basis of Art. 6(1), an instrument and data_subjects".into()
            }
            Self::NoModule { kind: InstrumentKind::CorporateRules } => "add module, bcr-c or bcr-p".into(),
            Self::NoModule { .. } => format!("add module: {}", clauses(law)),
            Self::ModuleMismatch { .. } => {
                format!("of clauses {}; of rules bcr-c of a controller, bcr-p of a processor", clauses(law))
            }
            Self::NotAParty { .. } => "name who is bound as parties: the exporter and each recipient, by the names that they have in the document".into(),
            Self::PublicAuthority { .. } => {
                "name another ground; where this is no exercise of public powers, leave out public_authority".into()
            }
            Self::EarlyDeletion { .. } => "end the window before, or correct delete_by".into(),
            Self::NoCondition { .. } => "add it to [condition]; docs/exemption-document.md has the condition of each ground".into(),
            Self::NoNotification { duty: DutyKind::TellCustomer } => {
                "add [[duty]] with what = \"tell-customer\" and due; while telling would harm law enforcement, say so as \
                 customer_not_told in [condition]"
                    .into()
            }
            Self::NoNotification { duty } => format!("add [[duty]] with what = \"{duty}\" and due"),
            Self::NoAddressee => "add addressee: the designated establishment or the legal representative".into(),
            Self::PreservationOnly => "keep the data; what leaves later needs an EPOC or another instrument".into(),
            Self::NoCertification { .. } => {
                "look the recipient up in the register of the law pack, and add certification and checked_on".into()
            }
            Self::StaleCertification { .. } => "look the recipient up again, and write that day".into(),
            Self::NoAgreementInForce { .. } => {
                "name one that is in force, by docs/law.md, or another instrument; what came into force since needs a newer \
                 law pack"
                    .into()
            }
            Self::AgreementOfOthers { home, .. } => {
                format!("name an agreement to which {home} is a party, or another instrument")
            }
            Self::NotBound { .. } => "name the instrument that the request rests on, without a certificate".into(),
            Self::NotYetApplicable { .. } => "begin the window when the act applies".into(),
            Self::OtherHome { .. } => "take law out, or name pins that are at home where that law holds".into(),
            Self::HomeLaw { law, .. } => format!("write law = \"{law}\", and the ground that it has"),
            Self::OtherLaw { law, kind, .. } => match grounds(*law, kind.grounds()) {
                none if none.is_empty() => {
                    format!("name another type: that law has {}", grounds(*law, &Ground::ALL))
                }
                its => format!("name a ground that the law has: by it {kind} can carry {its}"),
            },
            Self::OnwardWithoutGround { .. } => "name the ground that the onward transfer rests on".into(),
            Self::ReversedWindow { .. } => "exchange the two, or correct the one that is wrong".into(),
            Self::Expired { .. } => "ask for a renewed approval with a later valid_until".into(),
            Self::NoRecipient => "add [[recipient]] with name, jurisdiction and cidrs".into(),
            Self::SharedNetwork { .. } => "give each network to one recipient".into(),
            Self::SharedCountry { .. } => {
                "name each recipient there by its own networks, or only the one that is anybody".into()
            }
            Self::RepeatedRole { .. } => "name each role once, with the count that is meant".into(),
            Self::NobodyApproves => {
                "write how many have to sign, or take the [[approval.required]] out".into()
            }
        }
    }
}
