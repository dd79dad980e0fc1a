//! `[record]`: what the report and receipts say of the controller, and how receipts are signed.

use std::path::PathBuf;

/// `[record]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKeeping {
    /// The controller with its contact details, one line; `None` where the config does not say.
    pub controller: Option<String>,
    /// A joint controller, likewise.
    pub joint_controller: Option<String>,
    /// The controller's representative, likewise.
    pub representative: Option<String>,
    /// The data protection officer, likewise.
    pub dpo: Option<String>,
    /// The confidentiality mark of the report's page, one line.
    pub mark: String,
    /// The private key that signs receipts, an absolute path; `None`: no receipt is given.
    pub host_key: Option<PathBuf>,
    /// The command that has receipts stamped, an absolute path and arguments; empty: they have no time stamp.
    pub time_stamp: Vec<String>,
    /// The program that is told of what people have to do, an absolute path and arguments; empty: nobody is told.
    pub notify: Vec<String>,
}
