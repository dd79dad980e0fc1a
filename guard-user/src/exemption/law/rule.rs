//! The table of rules.

use std::fmt;

/// Days of the longest window of an exemption that rests on Art. 49. The law has no number: a derogation
/// is for a specific situation and read narrowly (EDPB Guidelines 2/2018), for contracts and claims it is
/// occasional (recital 111). A quarter of a year is long enough for one matter, and who needs more looks at
/// the assessment again and has it approved again.
pub const DEROGATION_DAYS: i64 = 90;

/// A rule that a document has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A third country's order alone.
    ForeignOrderAlone,
    /// A treaty request without its treaty.
    NoAgreement,
    /// A ground that the instrument can't carry.
    GroundMismatch,
    /// Adequacy where nothing was decided.
    NoAdequacyDecision,
    /// Adequacy beyond those whom the decision covers.
    PartialAdequacy,
    /// Adequacy for a purpose that the decision excepts.
    ExceptedPurpose,
    /// A country where a recipient has to be named.
    WholeCountry,
    /// A ground of Chapter V for what is no transfer.
    InsideEea,
    /// An order under Union law for a third country.
    OutsideEea,
    /// A derogation for long.
    LongDerogation,
    /// A derogation for any number of bytes.
    UnboundedDerogation,
    /// A derogation without its assessment.
    UndocumentedDerogation,
    /// Safeguards without an assessment.
    NoAssessment,
    /// An assessment that is never looked at again.
    NoReviewDate,
    /// An assessment that had to be looked at again.
    ReviewOver,
    /// A document about personal data that says nothing of whose it is.
    NoDataSubjects,
    /// Data that is personal by one key and not by another.
    NotPersonal,
    /// Clauses or rules of no known form.
    NoModule,
    /// A form that is another act's.
    ModuleMismatch,
    /// A recipient whom nothing binds.
    NotAParty,
    /// A ground that public authorities do not have.
    PublicAuthority,
    /// A deletion before the end of the window.
    EarlyDeletion,
    /// A ground whose condition nobody says.
    NoCondition,
    /// A notification that nobody has dated.
    NoNotification,
    /// A certificate to nobody.
    NoAddressee,
    /// A certificate that asks for no data.
    PreservationOnly,
    /// Adequacy of the certified without a certification.
    NoCertification,
    /// A certification that was looked up long ago.
    StaleCertification,
    /// An agreement that binds nobody here.
    NoAgreementInForce,
    /// A certificate of a state without them.
    NotBound,
    /// An act that does not apply yet.
    NotYetApplicable,
    /// A law that is not the pins'.
    OtherLaw,
    /// An onward transfer on nothing.
    OnwardWithoutGround,
    /// A window that ends before it begins.
    ReversedWindow,
    /// A window that is over.
    Expired,
    /// Nobody who may receive.
    NoRecipient,
    /// Recipients that can't be told apart.
    OverlappingRecipients,
    /// A role of approvers twice.
    RepeatedRole,
    /// A role of approvers with nobody in it.
    NobodyApproves,
}

/// What the documentation says of a rule.
struct Entry {
    name: &'static str,
    article: &'static str,
    refuses: &'static str,
    why: &'static str,
}

impl Rule {
    /// Every rule, in the order of the documentation.
    pub const ALL: [Self; 39] = [
        Self::ForeignOrderAlone,
        Self::NoAgreement,
        Self::GroundMismatch,
        Self::NoAdequacyDecision,
        Self::PartialAdequacy,
        Self::ExceptedPurpose,
        Self::WholeCountry,
        Self::InsideEea,
        Self::OutsideEea,
        Self::LongDerogation,
        Self::UnboundedDerogation,
        Self::UndocumentedDerogation,
        Self::NoAssessment,
        Self::NoReviewDate,
        Self::ReviewOver,
        Self::NoDataSubjects,
        Self::NotPersonal,
        Self::NoModule,
        Self::ModuleMismatch,
        Self::NotAParty,
        Self::PublicAuthority,
        Self::EarlyDeletion,
        Self::NoCondition,
        Self::NoNotification,
        Self::NoAddressee,
        Self::PreservationOnly,
        Self::NoCertification,
        Self::StaleCertification,
        Self::NoAgreementInForce,
        Self::NotBound,
        Self::NotYetApplicable,
        Self::OtherLaw,
        Self::OnwardWithoutGround,
        Self::ReversedWindow,
        Self::Expired,
        Self::NoRecipient,
        Self::OverlappingRecipients,
        Self::RepeatedRole,
        Self::NobodyApproves,
    ];

    /// Its name, which stays the same from release to release; the short name of its error.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Where it comes from.
    #[must_use]
    pub const fn article(self) -> &'static str {
        self.entry().article
    }

    /// Whether it hangs on the facts of the [law pack](super::LawPack).
    #[must_use]
    pub const fn hangs_on_the_pack(self) -> bool {
        matches!(
            self,
            Self::NoAdequacyDecision
                | Self::PartialAdequacy
                | Self::ExceptedPurpose
                | Self::InsideEea
                | Self::OutsideEea
                | Self::NoCertification
                | Self::StaleCertification
                | Self::NoAgreementInForce
                | Self::NotBound
                | Self::NotYetApplicable
                | Self::OtherLaw
                | Self::OnwardWithoutGround
        )
    }

    /// What it refuses.
    #[must_use]
    pub const fn refuses(self) -> &'static str {
        self.entry().refuses
    }

    /// Why, in one sentence.
    #[must_use]
    pub const fn why(self) -> &'static str {
        self.entry().why
    }

    const fn entry(self) -> Entry {
        match self {
            Self::ForeignOrderAlone => Entry {
                name: "foreign-order-alone",
                article: "Art. 48; EDPB Guidelines 02/2024",
                refuses: "The type `foreign-order`.",
                why: "A third country's order may only be recognised or enforced under an international \
                      agreement, and is by itself no ground for a transfer.",
            },
            Self::NoAgreement => Entry {
                name: "no-agreement",
                article: "Art. 48; EDPB Guidelines 02/2024; Data Act, Art. 32(2)",
                refuses: "A `treaty-request`, or the ground `data-act-32-2`, without `agreement`.",
                why: "Without the international agreement behind it a request is a third country's order alone.",
            },
            Self::GroundMismatch => Entry {
                name: "ground-mismatch",
                article: "Art. 44; Data Act, Art. 32(2), (3)",
                refuses: "A `ground` that the `type` can't carry.",
                why: "A transfer needs a ground of Chapter V, and each ground asks for an act of its own kind.",
            },
            Self::NoAdequacyDecision => Entry {
                name: "no-adequacy-decision",
                article: "Art. 45(1), (3)",
                refuses: "The ground `art-45` with a recipient in a country that no decision of the pack is about, or none that counts for the whole window.",
                why: "Only the Commission decides that a third country protects data adequately.",
            },
            Self::PartialAdequacy => Entry {
                name: "partial-adequacy",
                article: "Art. 45(3)",
                refuses: "The ground `art-45` with a recipient without `cidrs` in a country whose decision \
                          covers some recipients alone (see the pack), and with a request of an authority there at all.",
                why: "A decision covers only whom it names, such as certified organisations, and no authority \
                      is among them.",
            },
            Self::ExceptedPurpose => Entry {
                name: "excepted-purpose",
                article: "Art. 45(3); Decision (EU) 2026/179",
                refuses: "The ground `art-45` with a recipient in a country whose decision excepts purposes (see the pack): one without `cidrs`, one where an authority asks, and one without a `[condition]` that shows that the purpose is none of these.",
                why: "A decision does not cover what it excepts, such as police and public security in Brazil, and no packet shows its purpose.",
            },
            Self::WholeCountry => Entry {
                name: "whole-country",
                article: "Art. 44, Art. 30(1)(d); Data Act, Art. 32(1)",
                refuses: "A recipient without `cidrs` where the type is not `adequacy-decision`.",
                why: "Clauses, rules, requests and derogations hold for the parties that they name, not for \
                      anybody in a country.",
            },
            Self::InsideEea => Entry {
                name: "inside-eea",
                article: "Art. 44; Regulation (EU) 2023/1543; Data Act, Art. 32(1)",
                refuses: "A ground with a recipient in the EEA, or of another law in its area (see the pack).",
                why: "Chapter V is about third countries: the record would name a transfer that is none.",
            },
            Self::OutsideEea => Entry {
                name: "outside-eea",
                article: "Art. 44, Art. 48; Regulation (EU) 2023/1543",
                refuses: "The ground `no-transfer` with a recipient outside the EEA, or of another law outside its area.",
                why: "An order under Union law is no ground for sending data to a third country.",
            },
            Self::LongDerogation => Entry {
                name: "long-derogation",
                article: "Art. 49(1), recital 111; EDPB Guidelines 2/2018",
                refuses: "A ground of Art. 49 with a window of more than 90 days.",
                why: "A derogation is for a specific situation; the law has no number, and 90 days is this \
                      program's.",
            },
            Self::UnboundedDerogation => Entry {
                name: "unbounded-derogation",
                article: "Art. 49(1), Art. 5(1)(c)",
                refuses: "A ground of Art. 49 without `quota_bytes`.",
                why: "A derogation is narrow: it covers what is necessary for its situation and no more.",
            },
            Self::UndocumentedDerogation => Entry {
                name: "undocumented-derogation",
                article: "Art. 49(6), Art. 5(2)",
                refuses: "A ground of Art. 49 without `[assessment]`.",
                why: "The assessment behind compelling interests is to be documented in the records, and who \
                      relies on any exception has to show that it applies.",
            },
            Self::NoAssessment => Entry {
                name: "no-assessment",
                article: "Art. 46(1); CJEU C-311/18 (Schrems II); UK GDPR, Art. 46(1A)",
                refuses: "A ground of Art. 46 or 47 without `[assessment]`; of what was loaded before, `scc` and `bcr` alone.",
                why: "Who uses safeguards has to assess whether the recipient's country lets them work; \
                      measures can be none, if that is the result.",
            },
            Self::NoReviewDate => Entry {
                name: "no-review-date",
                article: "Art. 46(1); CJEU C-311/18; EDPB Recommendations 01/2020, step 6",
                refuses: "The same whose assessment has no `review_by`.",
                why: "The assessment is looked at again at intervals, because the law and practice there change.",
            },
            Self::ReviewOver => Entry {
                name: "review-over",
                article: "CJEU C-311/18; EDPB Recommendations 01/2020, step 6",
                refuses: "A `review_by` that has passed, or that passes before the window begins.",
                why: "A transfer may not begin, or go on, on an assessment that had to be looked at again before.",
            },
            Self::NoDataSubjects => Entry {
                name: "no-data-subjects",
                article: "Art. 30(1)(c)",
                refuses: "A new document about personal data without `data_subjects`.",
                why: "The record describes the categories of data subjects beside those of the data.",
            },
            Self::NotPersonal => Entry {
                name: "not-personal",
                article: "Art. 6(1); Data Act, Art. 1(5), 32",
                refuses: "The basis `not-personal` with another type than `data-act-request`, the other way round, and `data_subjects` with it.",
                why: "Data is personal or it is not: the Data Act leaves personal data to the GDPR.",
            },
            Self::NoModule => Entry {
                name: "no-module",
                article: "Decision (EU) 2021/914; Art. 47; DPA 2018, s. 119A",
                refuses: "A new document of `scc` on `art-46-2-c`, or under the law `uk`, and of `bcr` without `module`.",
                why: "Each module of the clauses, and each kind of rules, binds other parties to other duties.",
            },
            Self::ModuleMismatch => Entry {
                name: "module-mismatch",
                article: "Decision (EU) 2021/914; Art. 47; DPA 2018, s. 119A",
                refuses: "A `module` that is not of its type, its law or the role of the exporter.",
                why: "A controller exports by `c2c`, `c2p` and `bcr-c`, a processor by `p2p`, `p2c` and `bcr-p`; the United Kingdom has `idta` and `addendum` on `art-46-2-d`.",
            },
            Self::NotAParty => Entry {
                name: "not-a-party",
                article: "Art. 46(2), (3), Art. 47(1)",
                refuses: "A new document of `scc`, `bcr`, `code-of-conduct`, `certification` or `authorised-safeguards` with an exporter or a recipient that is not among its `parties`.",
                why: "Such safeguards are between who sends and who receives, and protect data where they bind both.",
            },
            Self::PublicAuthority => Entry {
                name: "public-authority",
                article: "Art. 49(3)",
                refuses: "The grounds `art-49-1-a`, `art-49-1-b`, `art-49-1-c` and `art-49-1-2` with `public_authority` of the exporter.",
                why: "What a public authority does in the exercise of its powers rests neither on consent, nor on a contract, nor on its legitimate interests.",
            },
            Self::EarlyDeletion => Entry {
                name: "early-deletion",
                article: "Art. 5(1)(e), Art. 30(1)(f)",
                refuses: "A `delete_by` before the end of the window.",
                why: "Data that leaves after it would have had to be deleted before it was there.",
            },
            Self::NoCondition => Entry {
                name: "no-condition",
                article: "Art. 49(1), (4); Data Act, Art. 32(3); Art. 5(2)",
                refuses: "A new document on a ground of Art. 49 or on `data-act-32-3` without `[condition]`, on `art-49-1-d` without `recognised_by`, on `art-49-1-2` without `subjects`.",
                why: "A derogation holds where its condition is met, and who relies on it has to show that.",
            },
            Self::NoNotification => Entry {
                name: "no-notification",
                article: "Art. 49(1), second subparagraph; Data Act, Art. 32(5)",
                refuses: "A new document on `art-49-1-2` without the duties `tell-authority` and `tell-subjects`, and a `data-act-request` without `tell-customer` or `customer_not_told`.",
                why: "Whoever has to be told is told by a day, and not some time. The customer of the Data Act is not, as long as the request serves law enforcement and telling would harm that.",
            },
            Self::NoAddressee => Entry {
                name: "no-addressee",
                article: "Regulation (EU) 2023/1543, Art. 7; Directive (EU) 2023/1544",
                refuses: "A `certificate` without `addressee`.",
                why: "A certificate is addressed to a designated establishment or a legal representative, and binds no other part of a provider.",
            },
            Self::PreservationOnly => Entry {
                name: "preservation-only",
                article: "Regulation (EU) 2023/1543, Art. 3(2), Art. 11",
                refuses: "The certificate `epoc-pr`.",
                why: "A preservation order has data kept where it is: nothing leaves by it.",
            },
            Self::NoCertification => Entry {
                name: "no-certification",
                article: "Art. 45(3), Art. 46(2)(f)",
                refuses: "A new document with a recipient, or an `[[onward]]` transfer, without `certification` and `checked_on`, on `art-45` where the decision goes by a register (see the pack), or on `art-46-2-f`.",
                why: "The decision covers who is in the register, which changes from day to day.",
            },
            Self::StaleCertification => Entry {
                name: "stale-certification",
                article: "Art. 45(3), Art. 5(2)",
                refuses: "A `checked_on` in the future, or longer ago than `certification_days` of the pack, when it is loaded.",
                why: "Organisations leave the register, or are taken off it.",
            },
            Self::NoAgreementInForce => Entry {
                name: "no-agreement-in-force",
                article: "Art. 48; EDPB Guidelines 02/2024",
                refuses: "A `direct-request` without `agreement_id`, and any `agreement_id` that the pack does not have, or not as in force between the home of each pin and the recipient's country when the window begins; of a `direct-request` one that lets nobody ask a provider.",
                why: "An agreement in force between the two is what makes a third country's request more than an order. There is none of the CLOUD Act with the EU.",
            },
            Self::NotBound => Entry {
                name: "not-bound",
                article: "Regulation (EU) 2023/1543; Protocol No 22",
                refuses: "A `certificate` with a recipient in a state that the Regulation does not bind (see the pack).",
                why: "Only authorities of states that it binds issue certificates.",
            },
            Self::NotYetApplicable => Entry {
                name: "not-yet-applicable",
                article: "Regulation (EU) 2023/1543, Art. 34; Data Act, Art. 50",
                refuses: "A `certificate`, or a `data-act-request`, with a window that begins before the act applies (see the pack).",
                why: "No order can rest on an act before that.",
            },
            Self::OtherLaw => Entry {
                name: "other-law",
                article: "UK GDPR, Art. 44A; FADP, Art. 16, 17",
                refuses: "The law `uk` with a pin whose home is not GB, the law `ch` with one whose home is not CH, the law `eu` with one whose home is GB or CH, and a ground that the law does not have.",
                why: "The law at home decides what may leave, and an exemption can't choose a milder one.",
            },
            Self::OnwardWithoutGround => Entry {
                name: "onward-without-ground",
                article: "Art. 44",
                refuses: "An `[[onward]]` transfer on `art-45` to a country without a decision, or one outside the area of the law on `no-transfer`.",
                why: "Chapter V holds for onward transfers as well.",
            },
            Self::ReversedWindow => Entry {
                name: "reversed-window",
                article: "Art. 5(2)",
                refuses: "A `valid_until` that is not after `valid_from`.",
                why: "Nobody could show for which time the transfer was approved.",
            },
            Self::Expired => Entry {
                name: "expired",
                article: "Art. 5(2)",
                refuses: "A `valid_until` that has passed, when it is loaded.",
                why: "What was approved for a time is not approved after it.",
            },
            Self::NoRecipient => Entry {
                name: "no-recipient",
                article: "Art. 30(1)(d)",
                refuses: "A document without `[[recipient]]`.",
                why: "The record names those to whom data is disclosed.",
            },
            Self::OverlappingRecipients => Entry {
                name: "overlapping-recipients",
                article: "Art. 30(1)(d)",
                refuses: "Two recipients with a network in common, or two in one country of which one is \
                          anybody there.",
                why: "The record could not say to which of them the data went.",
            },
            Self::RepeatedRole => Entry {
                name: "repeated-role",
                article: "Art. 24(1)",
                refuses: "A role that stands in two `[[approval.required]]`.",
                why: "It would be open which of the two counts is asked for.",
            },
            Self::NobodyApproves => Entry {
                name: "nobody-approves",
                article: "Art. 24(1)",
                refuses: "A `count` of 0 in `[[approval.required]]`.",
                why: "A role that nobody has to sign for looks like an approval and is none.",
            },
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
