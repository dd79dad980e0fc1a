//! What the law asks a document to say beside who sends what to whom: by which law it is judged, whose data it is, who
//! takes part, how the condition of its ground is met, and what has to be done by when.

use std::fmt;

use guard_common::jurisdiction::Jurisdiction;
use jiff::{Timestamp, ToSpan};

use super::ground::Ground;

/// A word of a document that stands for a value, with what it means.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal, $meaning:literal;)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* #[doc = $meaning] $value,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The word in documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$value => $meaning,)+ }
            }

            /// The value of a word.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.name() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// The law at the home of the pins.
    Law {
        Eu = "eu", "Regulation (EU) 2016/679 (GDPR), and of data that is not personal Regulation (EU) 2023/2854 (Data Act). Every country that is not in the EEA is a third one.";
        Uk = "uk", "UK GDPR and Data Protection Act 2018, as the Data (Use and Access) Act 2025 has changed them since 5 February 2026 (SI 2026/82, reg. 2), for pins at home in GB. A ground stands for what corresponds to it: `art-45` for a transfer that regulations approve (Art. 45A), the others for the same numbers. By Art. 46(1A) safeguards count where the exporter, acting reasonably and proportionately, considers that the data protection test is met: that protection is not materially lower than in the United Kingdom. `[assessment]` has that. The former adequacy regulations count as approved by Art. 45A (Data Protection Act 2018, Schedule 21). Regulations by Art. 47A and restrictions by Art. 49A are not in the rules.";
        Ch = "ch", "The Swiss Federal Act on Data Protection (FADP), for pins at home in CH. A ground stands for what corresponds to it: `art-45` for Art. 16(1), `art-46-2-a` for Art. 16(2)(a), `art-46-3-a` for Art. 16(2)(b) and (c), `art-46-2-c` and `art-46-2-d` for Art. 16(2)(d), `art-46-2-b` and `art-47` for Art. 16(2)(e), `art-46-2-e` and `art-46-2-f` for Art. 16(3) with Art. 12 of the ordinance, those of `art-49-1-a` to `art-49-1-g` for Art. 17. `art-46-3-b` and `art-49-1-2` have none.";
    }
}

impl Law {
    /// What data does not leave by this law, as a sentence has it.
    #[must_use]
    pub const fn area(self) -> &'static str {
        match self {
            Self::Eu => "the EEA",
            Self::Uk => "the United Kingdom",
            Self::Ch => "Switzerland",
        }
    }

    /// Whether it has what the ground names.
    #[must_use]
    pub const fn has(self, ground: Ground) -> bool {
        match self {
            Self::Eu => true,
            Self::Uk => ground.is_personal(),
            Self::Ch => {
                ground.is_personal()
                    && !matches!(ground, Ground::CompellingInterests | Ground::AuthorityArrangement)
            }
        }
    }
}

words! {
    /// Which form of the clauses or rules is used.
    Module {
        C2c = "c2c", "Module one of Decision (EU) 2021/914: controller to controller.";
        C2p = "c2p", "Module two: controller to processor.";
        P2p = "p2p", "Module three: processor to processor.";
        P2c = "p2c", "Module four: processor to controller.";
        Idta = "idta", "The United Kingdom's International Data Transfer Agreement (Data Protection Act 2018, s. 119A).";
        Addendum = "addendum", "The United Kingdom's Addendum to the clauses of Decision (EU) 2021/914 (the same section).";
        BcrC = "bcr-c", "Binding corporate rules for controllers (EDPB Recommendations 1/2022).";
        BcrP = "bcr-p", "Binding corporate rules for processors (WP 257).";
    }
}

words! {
    /// The certificate by which an order under Union law came.
    Certificate {
        Production = "epoc", "European Production Order Certificate.";
        Preservation = "epoc-pr", "European Preservation Order Certificate.";
    }
}

words! {
    /// What has to be done by a day.
    DutyKind {
        TellAuthority = "tell-authority", "Tell the supervisory authority of the transfer (Art. 49(1), second subparagraph).";
        TellSubjects = "tell-subjects", "Tell the data subjects of the transfer (Art. 49(1), second subparagraph; Art. 13(1)(f), Art. 14(1)(f)).";
        TellCustomer = "tell-customer", "Tell the customer of the request (Data Act, Art. 32(5)).";
        Answer = "answer", "Answer the request or the order, such as within 10 days of an EPOC (Regulation (EU) 2023/1543, Art. 10).";
        Other = "other", "What the document's other texts say.";
    }
}

/// What is called among what is due that the recipients have deleted what they got. No duty of a document has this name.
pub const DELETE: &str = "delete";

/// What the check of a certification is called among what is due.
pub const CHECK: &str = "check-certification";

/// What the law asks a document to say. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Particulars {
    /// The law at the home of the pins.
    pub law: Law,
    /// Whether the exporter is a public authority that acts in the exercise of its powers.
    pub public_authority: bool,
    /// Categories of data subjects.
    pub data_subjects: Vec<String>,
    /// How long recipients keep the data.
    pub retention: Option<String>,
    /// First moment at which it has to have been deleted.
    pub delete_by: Option<Timestamp>,
    /// Which form of the clauses or rules is used.
    pub module: Option<Module>,
    /// Who is bound by them.
    pub parties: Vec<String>,
    /// The agreement's id in the law pack.
    pub agreement_id: Option<String>,
    /// The certificate by which the order came.
    pub certificate: Option<Certificate>,
    /// Its addressee.
    pub addressee: Option<String>,
    /// How the condition of the ground is met.
    pub condition: Option<Condition>,
    /// Processors that take part.
    pub processors: Vec<Processor>,
    /// Who decides together with the exporter.
    pub joint_controllers: Vec<JointController>,
    /// Onward transfers.
    pub onward: Vec<Onward>,
    /// What has to be done by when.
    pub duties: Vec<Duty>,
    /// The certification of each recipient, in the order of the recipients.
    pub certified: Vec<Certified>,
}

/// How the condition of a ground is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How.
    pub met: String,
    /// The law that recognises the public interest.
    pub recognised_by: Option<String>,
    /// Why the customer is not told of the request yet.
    pub customer_not_told: Option<String>,
    /// How many data subjects at most.
    pub subjects: Option<u32>,
}

/// A processor that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Who it is.
    pub name: String,
    /// Where it is; always a country.
    pub jurisdiction: Jurisdiction,
    /// The contract that binds it.
    pub contract: String,
}

/// Who decides together with the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointController {
    /// Who it is.
    pub name: String,
    /// Whom to ask.
    pub contact: String,
    /// The arrangement between them.
    pub arrangement: String,
}

/// An onward transfer by a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// Who receives from the recipient.
    pub name: String,
    /// Where it is; always a country.
    pub jurisdiction: Jurisdiction,
    /// What it rests on.
    pub ground: Ground,
    /// What binds whoever receives it.
    pub safeguard: String,
    /// The certification of whoever receives it.
    pub certified: Certified,
}

/// What has to be done by a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// What.
    pub kind: DutyKind,
    /// First moment at which it has to have been done.
    pub due: Timestamp,
    /// When it was done, by the day's begin.
    pub done: Option<Timestamp>,
}

/// A recipient's certification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certified {
    /// As the register has it.
    pub by: Option<String>,
    /// The day on which somebody looked it up, by its begin.
    pub checked_on: Option<Timestamp>,
}

/// Days after which a certification has to be looked up again: organisations renew it each year.
const CERTIFICATION_DAYS: i64 = 365;

impl Particulars {
    /// Every key that is there, by its name in the document with the number of its entry from 1, and its value in words; in
    /// the order of the document.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut entries = Entries(Vec::new());
        if self.law != Law::Eu {
            entries.put("law", self.law);
        }
        if self.public_authority {
            entries.put("exporter.public_authority", true);
        }
        self.data_subjects.iter().for_each(|it| entries.put("data_subjects", it));
        self.retention.iter().for_each(|it| entries.put("retention", it));
        self.delete_by.iter().for_each(|it| entries.put("delete_by", before(*it)));
        self.module.iter().for_each(|it| entries.put("instrument.module", it));
        self.parties.iter().for_each(|it| entries.put("instrument.parties", it));
        self.agreement_id.iter().for_each(|it| entries.put("instrument.agreement_id", it));
        self.certificate.iter().for_each(|it| entries.put("instrument.certificate", it));
        self.addressee.iter().for_each(|it| entries.put("instrument.addressee", it));
        if let Some(condition) = &self.condition {
            entries.put("condition.met", &condition.met);
            condition.recognised_by.iter().for_each(|it| entries.put("condition.recognised_by", it));
            condition.customer_not_told.iter().for_each(|it| entries.put("condition.customer_not_told", it));
            condition.subjects.iter().for_each(|it| entries.put("condition.subjects", it));
        }
        for (number, it) in self.certified.iter().enumerate() {
            it.by.iter().for_each(|by| entries.of("recipient", number, "certification", by));
            it.checked_on.iter().for_each(|at| entries.of("recipient", number, "checked_on", day(*at)));
        }
        for (number, it) in self.processors.iter().enumerate() {
            entries.of("processor", number, "name", &it.name);
            entries.of("processor", number, "jurisdiction", it.jurisdiction);
            entries.of("processor", number, "contract", &it.contract);
        }
        for (number, it) in self.joint_controllers.iter().enumerate() {
            entries.of("joint_controller", number, "name", &it.name);
            entries.of("joint_controller", number, "contact", &it.contact);
            entries.of("joint_controller", number, "arrangement", &it.arrangement);
        }
        for (number, it) in self.onward.iter().enumerate() {
            entries.of("onward", number, "name", &it.name);
            entries.of("onward", number, "jurisdiction", it.jurisdiction);
            entries.of("onward", number, "ground", it.ground);
            entries.of("onward", number, "safeguard", &it.safeguard);
            it.certified.by.iter().for_each(|by| entries.of("onward", number, "certification", by));
            it.certified
                .checked_on
                .iter()
                .for_each(|at| entries.of("onward", number, "checked_on", day(*at)));
        }
        for (number, it) in self.duties.iter().enumerate() {
            entries.of("duty", number, "what", it.kind);
            entries.of("duty", number, "due", before(it.due));
            it.done.iter().for_each(|done| entries.of("duty", number, "done", day(*done)));
        }
        entries.0
    }

    /// What has to be done and is not, with the first moment at which it has to have been done; in no order.
    #[must_use]
    pub fn due(&self) -> Vec<(String, Timestamp)> {
        let open = self.duties.iter().filter(|duty| duty.done.is_none());
        let mut due: Vec<_> = open.map(|duty| (duty.kind.name().to_owned(), duty.due)).collect();
        due.extend(self.delete_by.map(|by| (DELETE.to_owned(), by)));
        let onward = self.onward.iter().map(|it| &it.certified);
        let checked = self.certified.iter().chain(onward).filter_map(|it| it.checked_on).min();
        let again = checked.and_then(|at| at.checked_add((CERTIFICATION_DAYS * 24).hours()).ok());
        due.extend(again.map(|by| (CHECK.to_owned(), by)));
        due
    }
}

struct Entries(Vec<(String, String)>);

impl Entries {
    fn put(&mut self, key: &str, value: impl fmt::Display) {
        self.0.push((key.to_owned(), value.to_string()));
    }

    fn of(&mut self, section: &str, number: usize, key: &str, value: impl fmt::Display) {
        self.put(&format!("{section} {}: {key}", number + 1), value);
    }
}

fn before(moment: Timestamp) -> String {
    format!("before {}", day(moment))
}

fn day(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S%.f UTC").to_string()
}
