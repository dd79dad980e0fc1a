//! What a law, a ground and a basis are, in words that begin with the articles of the law at the home of the pins.
//!
//! A ground and a basis have one code in documents, whatever the law: the articles that it stands for are here, as
//! docs/exemption-document.md has them of each law.

use crate::exemption::ground::{Basis, Ground};
use crate::exemption::particulars::Law;

impl Law {
    /// The act that holds for what goes by this law on this ground; of data that is not personal the Data Act.
    #[must_use]
    pub const fn act(self, ground: Option<Ground>) -> &'static str {
        match (self, ground) {
            (Self::Eu, Some(ground)) if !ground.is_personal() => "Regulation (EU) 2023/2854 (Data Act)",
            (Self::Eu, _) => "Regulation (EU) 2016/679 (GDPR)",
            (Self::Uk, _) => "UK GDPR and Data Protection Act 2018",
            (Self::Ch, _) => "Federal Act on Data Protection (FADP)",
        }
    }

    /// What a ground is by this law.
    #[must_use]
    pub fn ground(self, ground: Ground) -> String {
        let words = match self {
            Self::Eu => return of_union(ground),
            Self::Uk => of_united_kingdom(ground),
            Self::Ch => of_switzerland(ground),
        };
        words.map_or_else(|| format!("the law {self} has no such ground."), str::to_owned)
    }

    /// What a basis is by this law. Swiss law asks for none, and has reasons that justify instead.
    #[must_use]
    pub const fn basis(self, basis: Basis) -> &'static str {
        let [eu, uk, ch] = match basis {
            Basis::Consent => [
                "GDPR Art. 6(1)(a): consent of the data subject.",
                "UK GDPR Art. 6(1)(a): consent of the data subject.",
                "FADP Art. 31(1): consent of the data subject.",
            ],
            Basis::Contract => [
                "GDPR Art. 6(1)(b): a contract with the data subject.",
                "UK GDPR Art. 6(1)(b): a contract with the data subject.",
                "FADP Art. 31(2)(a): a contract with the data subject, with which it is directly connected.",
            ],
            Basis::LegalObligation => [
                "GDPR Art. 6(1)(c): a legal obligation under Union or member state law.",
                "UK GDPR Art. 6(1)(c): a legal obligation under domestic law.",
                "FADP Art. 31(1): the law justifies it.",
            ],
            Basis::VitalInterests => [
                "GDPR Art. 6(1)(d): vital interests of a person.",
                "UK GDPR Art. 6(1)(d): vital interests of a person.",
                "FADP Art. 31(1): an overriding private interest, the vital interests of a person.",
            ],
            Basis::PublicTask => [
                "GDPR Art. 6(1)(e): a task in the public interest under Union or member state law.",
                "UK GDPR Art. 6(1)(e): a task in the public interest under domestic law.",
                "FADP Art. 31(1), of a federal body Art. 34: an overriding public interest, or a basis in the law.",
            ],
            Basis::LegitimateInterests => [
                "GDPR Art. 6(1)(f): legitimate interests, except where the interests or rights of the data subject override \
                 them.",
                "UK GDPR Art. 6(1)(f): legitimate interests, except where the interests or rights of the data subject override \
                 them.",
                "FADP Art. 31(1): an overriding private interest.",
            ],
            Basis::NotPersonal => [Basis::NotPersonal.meaning(); 3],
        };
        match self {
            Self::Eu => eu,
            Self::Uk => uk,
            Self::Ch => ch,
        }
    }

    /// Where the condition stands that `[condition]` shows to be met on a ground; `None` where the ground has none.
    #[must_use]
    pub const fn condition(self, ground: Ground) -> Option<&'static str> {
        Some(match (ground, self) {
            (Ground::DataActAgreement, _) => "Data Act, Art. 32(2)",
            (Ground::DataActConditions, _) => "Data Act, Art. 32(3)",
            (Ground::Adequacy, Self::Eu) => "GDPR Art. 45(3)",
            (Ground::Adequacy, Self::Uk) => "UK GDPR Art. 45A(4)",
            (Ground::Adequacy, Self::Ch) => "DPO Art. 8",
            (derogation, _) if !derogation.is_derogation() => return None,
            (_, Self::Eu) => "GDPR Art. 49",
            (_, Self::Uk) => "UK GDPR Art. 49",
            (_, Self::Ch) => "FADP Art. 17",
        })
    }
}

fn of_union(ground: Ground) -> String {
    match ground {
        Ground::NoTransfer => {
            "The data stays in the EEA, so that Chapter V asks for none (GDPR Art. 44).".to_owned()
        }
        ground if ground.is_personal() => format!("GDPR {}", ground.meaning()),
        ground => ground.meaning().to_owned(),
    }
}

const fn of_united_kingdom(ground: Ground) -> Option<&'static str> {
    Some(match ground {
        Ground::Adequacy => "UK GDPR Art. 45A: regulations approve the transfer.",
        Ground::AuthoritiesInstrument => {
            "UK GDPR Art. 46(2)(a): a binding instrument between public authorities, such as a treaty, has the safeguards."
        }
        Ground::CorporateRules => "UK GDPR Art. 46(2)(b): binding corporate rules.",
        Ground::CommissionClauses => "UK GDPR Art. 46(2)(c): standard clauses that regulations specify.",
        Ground::AuthorityClauses => {
            "UK GDPR Art. 46(2)(d): standard clauses that the Commissioner has issued (DPA 2018, s. 119A)."
        }
        Ground::CodeOfConduct => {
            "UK GDPR Art. 46(2)(e): an approved code of conduct, with binding commitments of the recipient."
        }
        Ground::Certification => {
            "UK GDPR Art. 46(2)(f): an approved certification, with binding commitments of the recipient."
        }
        Ground::AuthorisedClauses => {
            "UK GDPR Art. 46(3)(a): contractual clauses that the Commissioner has authorised."
        }
        Ground::AuthorityArrangement => {
            "UK GDPR Art. 46(3)(b): provisions in an arrangement between public authorities, which the Commissioner has authorised."
        }
        Ground::RulesOfArticle47 => {
            "UK GDPR Art. 47: binding corporate rules, by the article that says what is in them."
        }
        Ground::Consent => {
            "UK GDPR Art. 49(1)(a): explicit consent of the data subject, who was told before of the risks of the transfer."
        }
        Ground::Contract => {
            "UK GDPR Art. 49(1)(b): a contract with the data subject, or steps before it at their request; occasional."
        }
        Ground::ContractForSubject => {
            "UK GDPR Art. 49(1)(c): a contract in the data subject's interest; occasional."
        }
        Ground::PublicInterest => {
            "UK GDPR Art. 49(1)(d): important reasons of public interest that domestic law recognises (Art. 49(4))."
        }
        Ground::LegalClaims => {
            "UK GDPR Art. 49(1)(e): establishment, exercise or defence of legal claims, for which it is necessary; occasional."
        }
        Ground::VitalInterests => {
            "UK GDPR Art. 49(1)(f): vital interests of a person, where the data subject is physically or legally incapable of \
             consent."
        }
        Ground::PublicRegister => {
            "UK GDPR Art. 49(1)(g): a register that is open to the public, and not the whole of it (Art. 49(2))."
        }
        Ground::CompellingInterests => {
            "UK GDPR Art. 49(1), second subparagraph: compelling legitimate interests, where nothing else applies; not repetitive, \
             and of a limited number of data subjects; the Commissioner and the data subjects are told."
        }
        Ground::NoTransfer => {
            "The data stays in the United Kingdom, so that Chapter V asks for none (UK GDPR Art. 44A)."
        }
        Ground::DataActAgreement | Ground::DataActConditions => return None,
    })
}

const fn of_switzerland(ground: Ground) -> Option<&'static str> {
    Some(match ground {
        Ground::Adequacy => {
            "FADP Art. 16(1): the Federal Council has found the protection adequate (DPO Art. 8)."
        }
        Ground::AuthoritiesInstrument => "FADP Art. 16(2)(a): a treaty has the safeguards.",
        Ground::AuthorisedClauses => {
            "FADP Art. 16(2)(b), (c): clauses of a contract, or guarantees of a federal body, of which the FDPIC was told before."
        }
        Ground::CommissionClauses | Ground::AuthorityClauses => {
            "FADP Art. 16(2)(d): standard clauses that the FDPIC has approved, issued or recognised."
        }
        Ground::CorporateRules | Ground::RulesOfArticle47 => {
            "FADP Art. 16(2)(e): binding corporate rules that were approved before."
        }
        Ground::CodeOfConduct => {
            "FADP Art. 16(3); DPO Art. 12: a code of conduct, with binding commitments of the recipient."
        }
        Ground::Certification => {
            "FADP Art. 16(3); DPO Art. 12: a certification, with binding commitments of the recipient."
        }
        Ground::Consent => "FADP Art. 17(1)(a): explicit consent of the data subject.",
        Ground::Contract => {
            "FADP Art. 17(1)(b): a contract with the data subject, with which the transfer is directly connected."
        }
        Ground::ContractForSubject => {
            "FADP Art. 17(1)(b): a contract in the data subject's interest, with which the transfer is directly connected."
        }
        Ground::PublicInterest => {
            "FADP Art. 17(1)(c): an overriding public interest, for which it is necessary."
        }
        Ground::LegalClaims => {
            "FADP Art. 17(1)(c): establishment, exercise or enforcement of legal claims, for which it is necessary."
        }
        Ground::VitalInterests => {
            "FADP Art. 17(1)(d): life or bodily integrity of a person, where consent can't be had in time."
        }
        Ground::PublicRegister => {
            "FADP Art. 17(1)(f): a register by law that is open to the public, as far as the conditions to look into it are met."
        }
        Ground::NoTransfer => "The data stays in Switzerland, so that Art. 16 asks for none (FADP Art. 16).",
        Ground::AuthorityArrangement
        | Ground::CompellingInterests
        | Ground::DataActAgreement
        | Ground::DataActConditions => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_law_names_its_own_articles_and_only_of_the_grounds_that_it_has() {
        for &law in Law::ALL {
            let foreign: &[&str] = match law {
                Law::Eu => &["UK", "FADP", "DPA 2018", "domestic"],
                Law::Uk => &["FADP", "Union", "member state"],
                Law::Ch => &["GDPR", "Union", "member state", "Art. 4", "Chapter V"],
            };
            for ground in Ground::ALL {
                let words = law.ground(ground);
                assert_eq!(law.has(ground), !words.contains("no such ground"), "{law} {ground}: {words}");
                let own = ["GDPR ", "UK GDPR ", "FADP ", "Data Act, "].iter().any(|act| words.contains(act));
                assert!(own || !law.has(ground), "{law} {ground}: {words}");
                // "GDPR" is in "UK GDPR" as well.
                let is_foreign = foreign.iter().any(|it| words.contains(it))
                    || (law == Law::Uk && words.replace("UK GDPR", "").contains("GDPR"));
                assert!(!is_foreign, "{law} {ground}: {words}");
            }
            for basis in Basis::ALL.into_iter().filter(|it| *it != Basis::NotPersonal) {
                let words = law.basis(basis);
                let begins = match law {
                    Law::Eu => "GDPR Art. 6(1)(",
                    Law::Uk => "UK GDPR Art. 6(1)(",
                    Law::Ch => "FADP Art. 31(",
                };
                assert!(words.starts_with(begins), "{law} {basis}: {words}");
                assert!(!foreign.iter().any(|it| words.contains(it)), "{law} {basis}: {words}");
            }
        }
        assert!(Law::Ch.ground(Ground::Adequacy).starts_with("FADP Art. 16(1): "));
        assert!(Law::Eu.ground(Ground::Adequacy).starts_with("GDPR Art. 45: "));
    }

    /// docs/exemption-document.md says in a sentence for which articles a ground of Swiss law stands.
    #[test]
    fn grounds_of_swiss_law_stand_for_the_articles_that_the_law_is_said_to_have() {
        for (codes, article) in [
            (&["art-45"][..], "Art. 16(1)"),
            (&["art-46-2-a"], "Art. 16(2)(a)"),
            (&["art-46-3-a"], "Art. 16(2)(b)"),
            (&["art-46-2-c", "art-46-2-d"], "Art. 16(2)(d)"),
            (&["art-46-2-b", "art-47"], "Art. 16(2)(e)"),
            (&["art-46-2-e", "art-46-2-f"], "Art. 16(3)"),
            (&["art-49-1-a", "art-49-1-g"], "Art. 17"),
        ] {
            for code in codes {
                assert!(Law::Ch.meaning().contains(&format!("`{code}`")), "{code}");
                let ground = Ground::ALL.into_iter().find(|it| it.name() == *code).unwrap();
                assert!(Law::Ch.ground(ground).starts_with(&format!("FADP {article}")), "{code}");
            }
            assert!(Law::Ch.meaning().contains(article));
        }
    }

    #[test]
    fn a_condition_stands_where_the_law_has_it() {
        assert_eq!(Law::Eu.condition(Ground::LegalClaims), Some("GDPR Art. 49"));
        assert_eq!(Law::Ch.condition(Ground::LegalClaims), Some("FADP Art. 17"));
        assert_eq!(Law::Eu.condition(Ground::Adequacy), Some("GDPR Art. 45(3)"));
        assert_eq!(Law::Eu.condition(Ground::DataActConditions), Some("Data Act, Art. 32(3)"));
        assert_eq!(Law::Uk.condition(Ground::AuthoritiesInstrument), None);
    }
}
