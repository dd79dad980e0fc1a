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
    pub const ALL: [Self; 20] = [
        Self::ForeignOrderAlone,
        Self::NoAgreement,
        Self::GroundMismatch,
        Self::NoAdequacyDecision,
        Self::PartialAdequacy,
        Self::WholeCountry,
        Self::InsideEea,
        Self::OutsideEea,
        Self::LongDerogation,
        Self::UnboundedDerogation,
        Self::UndocumentedDerogation,
        Self::NoAssessment,
        Self::NoReviewDate,
        Self::ReviewOver,
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
                article: "Art. 48; EDPB Guidelines 02/2024",
                refuses: "A `treaty-request` without `agreement`.",
                why: "Without the international agreement behind it a request is a third country's order alone.",
            },
            Self::GroundMismatch => Entry {
                name: "ground-mismatch",
                article: "Art. 44",
                refuses: "A `ground` that the `type` can't carry.",
                why: "A transfer needs a ground of Chapter V, and each ground asks for an act of its own kind.",
            },
            Self::NoAdequacyDecision => Entry {
                name: "no-adequacy-decision",
                article: "Art. 45(1), (3)",
                refuses: "The ground `art-45` with a recipient in a country that no decision is about.",
                why: "Only the Commission decides that a third country protects data adequately.",
            },
            Self::PartialAdequacy => Entry {
                name: "partial-adequacy",
                article: "Art. 45(3)",
                refuses: "The ground `art-45` with a recipient without `cidrs` in a country whose decision \
                          covers some recipients alone (US, CA, JP), and with a `treaty-request` there at all.",
                why: "A decision covers only whom it names, such as certified organisations, and no authority \
                      is among them.",
            },
            Self::WholeCountry => Entry {
                name: "whole-country",
                article: "Art. 44, Art. 30(1)(d)",
                refuses: "A recipient without `cidrs` where the type is not `adequacy-decision`.",
                why: "Clauses, rules, requests and derogations hold for the parties that they name, not for \
                      anybody in a country.",
            },
            Self::InsideEea => Entry {
                name: "inside-eea",
                article: "Art. 44; Regulation (EU) 2023/1543",
                refuses: "A ground of Chapter V with a recipient in the EEA.",
                why: "Chapter V is about third countries: the record would name a transfer that is none.",
            },
            Self::OutsideEea => Entry {
                name: "outside-eea",
                article: "Art. 44, Art. 48; Regulation (EU) 2023/1543",
                refuses: "The ground `no-transfer` with a recipient outside the EEA.",
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
                article: "Art. 46(1); CJEU C-311/18 (Schrems II)",
                refuses: "`scc` and `bcr` without `[assessment]`.",
                why: "Who uses safeguards has to assess whether the recipient's country lets them work; \
                      measures can be none, if that is the result.",
            },
            Self::NoReviewDate => Entry {
                name: "no-review-date",
                article: "Art. 46(1); CJEU C-311/18; EDPB Recommendations 01/2020, step 6",
                refuses: "`scc` and `bcr` whose assessment has no `review_by`.",
                why: "The assessment is looked at again at intervals, because the law and practice there change.",
            },
            Self::ReviewOver => Entry {
                name: "review-over",
                article: "CJEU C-311/18; EDPB Recommendations 01/2020, step 6",
                refuses: "A `review_by` that has passed, or that passes before the window begins.",
                why: "A transfer may not begin, or go on, on an assessment that had to be looked at again before.",
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
