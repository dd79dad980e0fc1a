//! Times of whole seconds, as options have them.

use crate::config::values;

/// So many seconds, from one to `most`.
///
/// # Errors
/// Why it is no duration, or `otherwise` where it is none of these.
pub(super) fn whole_seconds(text: &str, most: u64, otherwise: &str) -> Result<u64, String> {
    let duration = values::duration(text).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(duration.as_secs()).unwrap_or_default();
    match (1..=most).contains(&seconds) && duration.subsec_nanos() == 0 {
        true => Ok(seconds),
        false => Err(otherwise.to_owned()),
    }
}
