//! That something is said to be deleted of which more may come.

use jiff::Timestamp;

use crate::text::escaped;

/// What an exemption lets through is said to be deleted on a day on which it was not over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct TooEarly {
    /// The exemption's id.
    pub id: String,
    /// The version that was not over.
    pub version: u32,
    /// When the last packet can pass by it, or could.
    pub ends: Timestamp,
    /// Whether it is over by now.
    pub is_over: bool,
}

impl TooEarly {
    fn words(&self) -> String {
        let Self { version, ends, .. } = self;
        let id = escaped(&self.id);
        match self.is_over {
            true => format!(
                "version {version} of the exemption \"{id}\" was open until {ends}, so that not all that was received by it can \
                 have been deleted before: give the time at which all of it was, by --at"
            ),
            false => format!(
                "version {version} of the exemption \"{id}\" is open until {ends}: what is received until then is to be deleted \
                 too, so that it stays due. Note it when that is over; `borderguard exemption revoke` closes the exemption now"
            ),
        }
    }
}
