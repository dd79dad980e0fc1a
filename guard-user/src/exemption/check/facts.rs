//! What the rules of law look at.

use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;

use super::overlap::Receiver;
use crate::exemption::ground::{Basis, Ground, Role};
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::law::LawPack;
use crate::exemption::particulars::Particulars;
use crate::exemption::raw::Raw;

/// What the rules look at. A value is `None` where it is not there, or has an error of its own, so that
/// nothing is reported twice.
pub(super) struct Facts<'r> {
    pub(super) raw: &'r Raw,
    pub(super) kind: Option<InstrumentKind>,
    pub(super) ground: Option<Ground>,
    pub(super) basis: Option<Basis>,
    pub(super) role: Option<Role>,
    pub(super) window: (Option<Timestamp>, Option<Timestamp>),
    pub(super) review_by: Option<Timestamp>,
    pub(super) receivers: Vec<Receiver<'r>>,
    pub(super) pins: &'r [String],
    pub(super) particulars: &'r Particulars,
    pub(super) homes: Option<&'r [(String, Jurisdiction)]>,
    /// `None`: what hangs on it is not looked at.
    pub(super) pack: Option<&'r LawPack>,
    pub(super) now: Option<Timestamp>,
}
