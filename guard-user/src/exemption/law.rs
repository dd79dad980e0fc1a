//! What the law asks of an exemption, rule by rule. Articles are those of the GDPR, Regulation (EU)
//! 2016/679; each rule has an error of its own that names its article.

use super::check::Sink;
use super::error::ErrorKind;
use super::instrument::Instrument;

/// Reports every rule that the document breaks, at the instrument, which stands at this offset.
pub(super) fn check(instrument: Instrument, at: usize, bounded_in_bytes: bool, sink: &mut Sink<'_>) {
    match instrument {
        Instrument::ForeignOrder => sink.error(at, "instrument", ErrorKind::ForeignOrderAlone),
        Instrument::Derogation if !bounded_in_bytes => {
            sink.error(at, "instrument", ErrorKind::UnboundedDerogation);
        }
        _ => {}
    }
}
