//! Why a CIDR of a site places nothing.

use ipnetwork::IpNetwork;

use super::finding::{LineAt, quoted};

/// What places the addresses of a CIDR in the place of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// They do not leave the link.
    LinkScope,
    /// They are below a prefix, and placed by the IPv4 address that they carry.
    Carried {
        /// The prefix.
        below: IpNetwork,
    },
    /// The same CIDR stands before it.
    Again {
        /// Where.
        line: LineAt,
    },
    /// Narrower CIDRs have all of them.
    Covered {
        /// The first of these.
        by: IpNetwork,
        /// The site that it is of.
        site: String,
    },
}

impl std::fmt::Display for NoEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LinkScope => f.write_str("its addresses do not leave the link"),
            Self::Carried { below } => {
                write!(f, "addresses below {below} are placed by the IPv4 address that they carry")
            }
            Self::Again { line } => write!(f, "it stands on line {line} already"),
            Self::Covered { by, site } => {
                write!(f, "narrower CIDRs cover all of it, from {by} of the site {} on", quoted(site))
            }
        }
    }
}
