//! What the law asks of an exemption, rule by rule: facts that a document shows by itself, no advice.
//!
//! [`Rule`] is the table of rules, which docs/law.md is held against; a [`Breach`] is one of
//! them broken by one document. Articles are those of the GDPR, Regulation (EU) 2016/679, where nothing
//! else is said.

mod breach;
mod cite;
pub mod pack;
mod rule;
mod words;

pub use breach::{Breach, Excepted, Party, ReviewAt};
pub use cite::By;
pub use pack::{LawPack, PackError};
pub use rule::{DEROGATION_DAYS, Rule};
