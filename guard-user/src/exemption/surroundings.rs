//! What a document is checked against beside its own text.

use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;

use super::law::LawPack;
use crate::approval::Widest;

/// What a document is checked against beside its own text. Each is left out where it makes no sense: a
/// check without a config knows no pins, and a stored document may have expired since it was loaded.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The names of the config's pins; `None`: pins are not looked at.
    pub pins: Option<&'a [String]>,
    /// A document that has expired by now, or whose assessment had to be looked at again, is refused, and one with
    /// characters that nobody sees, names of several scripts or hidden parts; `None`: it was loaded before, and none of that is
    /// looked at.
    pub now: Option<Timestamp>,
    /// How large the networks of recipients may be without a word on why, where `now` is given.
    pub widest: Widest,
    /// The names of the config's pins with their homes; `None`: by which law they are is not looked at.
    pub homes: Option<&'a [(String, Jurisdiction)]>,
    /// The facts that rules hang on, where `now` is given; `None`: those rules are not looked at, because whoever asks does
    /// not know by which pack the document will be judged.
    pub law: Option<&'a LawPack>,
    /// What was loaded under an id before; `None`: this is not looked at.
    pub earlier: Option<EarlierOf<'a>>,
}

/// Says what was loaded under an id before.
pub type EarlierOf<'a> = &'a dyn Fn(&str) -> Option<Earlier>;

/// What was loaded under an id before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The highest version.
    pub version: u32,
    /// How it stands.
    pub standing: Standing,
}

/// How the highest version of an id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It, or one below it, is open: neither revoked nor over.
    Open,
    /// Its time or its quota ended. A renewal can take its place.
    Over,
    /// It was closed by somebody, or can't be read.
    Closed,
}
