//! Whose approval counts.

/// Somebody whose approval counts, as the config names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// By this identity the file of allowed signers has their keys. No two signers have the same, however
    /// written in capitals.
    pub identity: String,
    /// What they approve as; never empty.
    pub roles: Vec<String>,
    /// Their Unix user, where they have one on this host.
    pub user: Option<String>,
}
