//! What a layer sees of the others while it is written.
use super::checksum::Pseudo;

/// What the layers around one and inside it ask of its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// How an EtherType field names the layer right inside; 0x88b5 (for experiments) if nothing comes inside.
    pub(super) next_ether_type: u16,
    /// How a protocol or next header field names the layer right inside; 59 ("no next header", RFC 8200
    /// section 4.7) if nothing comes inside.
    pub(super) next_ip_number: u8,
    /// The pseudo header that the nearest IP layer around makes.
    pub(super) pseudo: Option<Pseudo>,
}
