//! The built-in groups of jurisdictions: `EU`, `EEA` and `adequacy`.
//!
//! A group answers one question: may data that must stay inside this legal area go to an address with
//! this code? Where the law is not clear for the whole territory behind a code, the code is left out: a
//! flow that is wrongly dropped is reported and can be permitted by name, one that wrongly passed can't
//! be called back. A config can always name a left-out code beside the group.
//!
//! # Territories with codes of their own
//!
//! Geo databases give many dependent territories their own ISO 3166-1 code, so a list of the 27 states
//! alone would drop traffic to places where EU law applies. What was decided for each:
//!
//! | codes | in `EU` | why |
//! | --- | --- | --- |
//! | GF GP MQ RE YT | yes | outermost regions, Art. 349 and 355(1) TFEU; Mayotte by Decision 2012/419/EU |
//! | MF | yes | Saint-Martin stayed an outermost region in Art. 349 and 355(1) TFEU |
//! | AX | yes | Art. 355(4) TFEU, Protocol No 2 to the 1994 Act of Accession (its derogations are on tax) |
//! | BL | no | an overseas country or territory (OCT) since 2012, Decision 2010/718/EU |
//! | PM NC PF WF TF GL AW BQ CW SX | no | OCTs, Annex II TFEU: the treaties apply to them only by Part Four |
//! | FO | no | Art. 355(5)(a) TFEU; has an adequacy decision of its own |
//! | GG IM JE | no | never in the EU, and Art. 355(5)(c) TFEU ended with the UK's membership; adequacy decisions of their own |
//! | GI | no | left with the United Kingdom; Decision (EU) 2021/1772 is about the United Kingdom and does not name it |
//! | SJ | no | Norway took Svalbard out of the EEA Agreement (its Protocol 40); the code covers Jan Mayen as well, and one code can't be split |
//! | BV | no | a dependency of Norway without inhabitants or networks |
//! | XK | no | a potential candidate; no adequacy decision. The code is not ISO's: see `guard_common::jurisdiction` |
//! | AD MC SM VA | no | sovereign states; only Andorra has an adequacy decision |
//!
//! The Azores, Madeira, the Canary Islands, Ceuta and Melilla carry the codes of Portugal and Spain.
//! `CY` stands for the whole island, though EU law is suspended in the part that the Republic's
//! government does not control (Protocol No 10 to the 2003 Act of Accession): a host there that a
//! database calls `CY` is taken as EU.
//!
//! The European Patent Organisation, which has an adequacy decision since 2025, is no jurisdiction: a
//! transfer to it is an exemption by CIDR.

use guard_common::jurisdiction::Jurisdiction;

/// The date up to which the adequacy decisions were followed, as `YYYY-MM-DD`: the day of the newest
/// source that the list was held against. A decision that was adopted, changed or struck down after
/// that day is not reflected.
pub const ADEQUACY_AS_OF: &str = "2026-05-06";

/// The date up to which the membership of the EU and the EEA was followed, as `YYYY-MM-DD`.
pub const MEMBERSHIP_AS_OF: &str = "2026-11-23";

/// The name of the group of countries with an adequacy decision.
pub const ADEQUACY_NAME: &str = "adequacy";

/// A named set of jurisdictions that needs no definition in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name by which a config refers to it.
    pub name: &'static str,
    /// The date of the list, as `YYYY-MM-DD`.
    pub as_of: &'static str,
    /// What the list follows.
    pub source: &'static str,
    /// ISO 3166-1 alpha-2 codes, sorted, each once.
    pub members: &'static [&'static str],
}

impl Group {
    /// The members as the tables hold them.
    pub fn jurisdictions(&self) -> impl Iterator<Item = Jurisdiction> {
        self.members.iter().filter_map(|code| code.parse().ok())
    }

    /// Whether the jurisdiction is a member; never true for `unknown` and `uncertain`.
    #[must_use]
    pub fn contains(&self, jurisdiction: Jurisdiction) -> bool {
        jurisdiction.is_country() && self.members.binary_search(&jurisdiction.as_str()).is_ok()
    }
}

/// The member states of the European Union.
pub const EU_STATES: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT",
    "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Territories of member states with ISO codes of their own where EU law applies: see the table in this
/// module's documentation.
pub const EU_TERRITORIES: [&str; 7] = ["AX", "GF", "GP", "MF", "MQ", "RE", "YT"];

/// The states of the European Economic Area that are not in the EU (Art. 126 EEA Agreement).
pub const EEA_EFTA_STATES: [&str; 3] = ["IS", "LI", "NO"];

/// Territory of the European Union: [`EU_STATES`] and [`EU_TERRITORIES`].
static EU: Group = Group {
    name: "EU",
    as_of: MEMBERSHIP_AS_OF,
    source: "the member states (Art. 52 TEU), and their territories where the treaties apply (Art. 349 and 355 TFEU)",
    members: &[
        "AT", "AX", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GF", "GP", "GR", "HR", "HU",
        "IE", "IT", "LT", "LU", "LV", "MF", "MQ", "MT", "NL", "PL", "PT", "RE", "RO", "SE", "SI", "SK", "YT",
    ],
};

/// The EU and [`EEA_EFTA_STATES`], where the GDPR applies since July 2018 (Joint Committee Decision No
/// 154/2018). The agreement holds wherever the EU treaties do (its Art. 126), so the EU's territories are
/// in it.
static EEA: Group = Group {
    name: "EEA",
    as_of: MEMBERSHIP_AS_OF,
    source: "the EU, and the other parties to the EEA Agreement (its Art. 126), where the GDPR applies by Joint Committee Decision No 154/2018",
    members: &[
        "AT", "AX", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GF", "GP", "GR", "HR", "HU",
        "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MF", "MQ", "MT", "NL", "NO", "PL", "PT", "RE", "RO", "SE",
        "SI", "SK", "YT",
    ],
};

/// Third countries that a decision under GDPR Art. 45 covers as a whole: those of [`DECISIONS`] with
/// [`Scope::Whole`]. The EEA is not part of it; a pin that may reach both names both.
static ADEQUACY: Group = Group {
    name: ADEQUACY_NAME,
    as_of: ADEQUACY_AS_OF,
    source: "decisions of the European Commission under GDPR Art. 45 that cover a whole country",
    members: &["AD", "AR", "BR", "CH", "FO", "GB", "GG", "IL", "IM", "JE", "KR", "NZ", "UY"],
};

static BUILTIN: [&Group; 3] = [&EU, &EEA, &ADEQUACY];

/// The built-in group of this name, which is compared exactly.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static Group> {
    all().find(|group| group.name == name)
}

/// Every built-in group.
pub fn all() -> impl Iterator<Item = &'static Group> {
    BUILTIN.iter().copied()
}

/// How much of a country an adequacy decision covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Private and public recipients alike, though single purposes may be excepted.
    Whole,
    /// Only some recipients, which an address can't show: the country is not in the group, and a
    /// transfer to a covered recipient is an exemption. The text says whom the decision covers.
    Part(&'static str),
}

/// One adequacy decision of the European Commission that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The country or territory, as an ISO 3166-1 alpha-2 code.
    pub country: &'static str,
    /// Number of the Commission's decision.
    pub act: &'static str,
    /// Day of its adoption, as `YYYY-MM-DD`.
    pub adopted: &'static str,
    /// Whether the group holds the country.
    pub scope: Scope,
}

/// The adequacy decisions up to [`ADEQUACY_AS_OF`], sorted by country. Those of before 2018 rest on
/// Directive 95/46/EC, hold on by GDPR Art. 45(9), and were confirmed by the Commission's review of 15
/// January 2024 (COM(2024) 7).
///
/// None but the United Kingdom's second one, Decision (EU) 2021/1773, is made under Art. 36 of the Law
/// Enforcement Directive (EU) 2016/680, so this list is no ground for a transfer to police or courts
/// elsewhere.
pub static DECISIONS: [Decision; 16] = [
    Decision { country: "AD", act: "2010/625/EU", adopted: "2010-10-19", scope: Scope::Whole },
    Decision { country: "AR", act: "2003/490/EC", adopted: "2003-06-30", scope: Scope::Whole },
    // Excepts public security, defence, state security and criminal investigation: a purpose, not a
    // class of recipients. Its taking into the EEA Agreement was still a draft on 6 May 2026: a pin with
    // a home in IS, LI or NO should not name the group for Brazil's sake.
    Decision { country: "BR", act: "(EU) 2026/179", adopted: "2026-01-26", scope: Scope::Whole },
    // An address does not tell a company from a ministry, a hospital or a charity, so the safe way is to
    // leave the country out.
    Decision {
        country: "CA",
        act: "2002/2/EC",
        adopted: "2001-12-20",
        scope: Scope::Part("recipients that are subject to PIPEDA, which are commercial organisations"),
    },
    Decision { country: "CH", act: "2000/518/EC", adopted: "2000-07-26", scope: Scope::Whole },
    Decision { country: "FO", act: "2010/146/EU", adopted: "2010-03-05", scope: Scope::Whole },
    // Prolonged by a decision of 24 June 2025 and renewed on 19 December 2025, now until 27 December
    // 2031. Says nothing of Gibraltar and the overseas territories.
    Decision { country: "GB", act: "(EU) 2021/1772", adopted: "2021-06-28", scope: Scope::Whole },
    Decision { country: "GG", act: "2003/821/EC", adopted: "2003-11-21", scope: Scope::Whole },
    // Covers automated transfers, which every packet is. Israel is meant in its borders under
    // international law; databases give the Palestinian territories PS.
    Decision { country: "IL", act: "2011/61/EU", adopted: "2011-01-31", scope: Scope::Whole },
    Decision { country: "IM", act: "2004/411/EC", adopted: "2004-04-28", scope: Scope::Whole },
    Decision { country: "JE", act: "2008/393/EC", adopted: "2008-05-08", scope: Scope::Whole },
    // Recital 10: public bodies are not the object of the finding. Left out for Canada's reason.
    Decision {
        country: "JP",
        act: "(EU) 2019/419",
        adopted: "2019-01-23",
        scope: Scope::Part("business operators that are subject to the APPI and its Supplementary Rules"),
    },
    // Excepts missionary work of religious organisations, the nomination of candidates by parties and
    // personal credit information under the financial regulator: each a purpose.
    Decision { country: "KR", act: "(EU) 2022/254", adopted: "2021-12-17", scope: Scope::Whole },
    // New Zealand itself: CK, NU and TK have their own law.
    Decision { country: "NZ", act: "2013/65/EU", adopted: "2012-12-19", scope: Scope::Whole },
    Decision {
        country: "US",
        act: "(EU) 2023/1795",
        adopted: "2023-07-10",
        scope: Scope::Part("organisations that are certified under the EU-US Data Privacy Framework"),
    },
    Decision { country: "UY", act: "2012/484/EU", adopted: "2012-08-21", scope: Scope::Whole },
];

/// The adequacy decision on a country, if there is one, whether or not the group holds the country.
#[must_use]
pub fn decision(jurisdiction: Jurisdiction) -> Option<&'static Decision> {
    DECISIONS.iter().find(|decision| decision.country == jurisdiction.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::Date;

    use super::*;

    fn group(name: &str) -> &'static Group {
        builtin(name).unwrap()
    }

    fn set<'a>(codes: impl IntoIterator<Item = &'a &'static str>) -> BTreeSet<&'static str> {
        codes.into_iter().copied().collect()
    }

    #[test]
    fn every_group_is_sorted_without_duplicates_and_of_assigned_codes() {
        for group in all() {
            assert!(group.members.windows(2).all(|pair| pair[0] < pair[1]), "{}", group.name);
            assert_eq!(group.jurisdictions().count(), group.members.len(), "{}", group.name);
            assert!(group.jurisdictions().all(Jurisdiction::is_country), "{}", group.name);
            assert!(group.as_of.parse::<Date>().is_ok(), "{}", group.name);
        }
    }

    #[test]
    fn the_counts_are_those_of_the_law() {
        assert_eq!(group("EU").members.len(), 27 + 7);
        assert_eq!(group("EEA").members.len(), 27 + 7 + 3);
        assert_eq!(group("adequacy").members.len(), 13);
    }

    #[test]
    fn the_eu_is_its_states_and_its_territories_and_the_eea_adds_three() {
        let eu = set(EU_STATES.iter().chain(&EU_TERRITORIES));
        assert_eq!(set(group("EU").members), eu);
        let eea = eu.union(&set(&EEA_EFTA_STATES)).copied().collect::<BTreeSet<_>>();
        assert_eq!(set(group("EEA").members), eea);
        assert!(eu.is_subset(&eea));
    }

    #[test]
    fn adequacy_is_the_decisions_on_whole_countries_and_none_is_in_the_eea() {
        let whole = DECISIONS.iter().filter(|d| d.scope == Scope::Whole).map(|d| d.country);
        assert!(whole.eq(group("adequacy").members.iter().copied()));
        assert!(set(group("adequacy").members).is_disjoint(&set(group("EEA").members)));
    }

    #[test]
    fn decisions_are_sorted_dated_and_not_newer_than_the_list() {
        assert!(DECISIONS.windows(2).all(|pair| pair[0].country < pair[1].country));
        let as_of: Date = ADEQUACY_AS_OF.parse().unwrap();
        for decision in &DECISIONS {
            assert!(decision.adopted.parse::<Date>().unwrap() <= as_of, "{}", decision.country);
            assert!(decision.country.parse::<Jurisdiction>().is_ok(), "{}", decision.country);
        }
    }

    #[test]
    fn what_a_decision_covers_in_part_is_left_out_and_says_why() {
        for code in ["US", "CA", "JP"] {
            let jurisdiction: Jurisdiction = code.parse().unwrap();
            assert!(!group("adequacy").contains(jurisdiction), "{code}");
            assert!(matches!(decision(jurisdiction).unwrap().scope, Scope::Part(_)), "{code}");
        }
        assert_eq!(decision("IE".parse().unwrap()), None);
    }

    #[test]
    fn territories_are_where_the_table_puts_them() {
        for code in ["GF", "GP", "MQ", "RE", "YT", "MF", "AX"] {
            assert!(group("EU").contains(code.parse().unwrap()), "{code}");
        }
        for code in
            ["BL", "PM", "NC", "PF", "WF", "TF", "GL", "AW", "BQ", "CW", "SX", "FO", "GI", "SJ", "GB", "CH"]
        {
            assert!(!group("EEA").contains(code.parse().unwrap()), "{code}");
        }
        for code in ["GG", "IM", "JE", "FO"] {
            assert!(group("adequacy").contains(code.parse().unwrap()), "{code}");
        }
        assert!(!group("adequacy").contains("GI".parse().unwrap()));
    }

    #[test]
    fn kosovo_is_in_no_group() {
        let kosovo = "XK".parse().unwrap();
        assert!(all().all(|group| !group.contains(kosovo)));
    }

    #[test]
    fn the_two_marks_are_in_no_group_and_names_are_exact() {
        for group in all() {
            assert!(!group.contains(Jurisdiction::UNKNOWN) && !group.contains(Jurisdiction::UNCERTAIN));
        }
        assert_eq!(builtin("eu"), None);
        assert_eq!(builtin("US"), None);
    }
}
