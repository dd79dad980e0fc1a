//! What names an exemption on this host.

/// An exemption's id and version.
pub type Key = (String, u32);
