//! What is signed, as it goes over the socket.

use serde::{Deserialize, Serialize};

/// A detached signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureText {
    /// The file's name as the client has it, for messages.
    pub name: String,
    /// What `ssh-keygen -Y sign` wrote.
    pub text: String,
}

/// A document with the signatures over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// Its text.
    pub document: String,
    /// The detached signatures over it.
    #[serde(default)]
    pub signatures: Vec<SignatureText>,
}
