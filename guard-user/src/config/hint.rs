//! What to do about an error, and the short names by which programs know errors.

use guard_common::abi::MAX_BUDGET;
use ipnetwork::IpNetwork;

use super::error::{ErrorKind, Suggestion, Wanted};
use super::finding::{Explain, quoted, words};
use super::limits;
use super::no_effect::NoEffect;
use super::policy::Protocol;
use super::values;

impl ErrorKind {
    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => "give the path of a file that this user may read".into(),
            Self::GeoFile { .. } => {
                "a reload refuses the config, and so does a start that has no earlier geo database".into()
            }
            Self::GeoIncomplete { .. } => {
                "name a whole one in its place or beside it, or take it as it is: geo.incomplete = true".into()
            }
            Self::BadListen { .. } => "for example \"127.0.0.1:9467\", or \"/run/borderguard/metrics.sock\"".into(),
            Self::BadSize { .. } => "for example \"256MiB\" or \"2GiB\"; from 1MiB to 1TiB".into(),
            Self::BadBudget { .. } => format!("from 1 to {MAX_BUDGET} bytes; leave it away to bound nothing"),
            Self::BadShare { or: Some(word), .. } => {
                format!("for example \"25%\" or \"0.5%\", from 0% to 100%, or \"{word}\"")
            }
            Self::BadShare { or: None, .. } => "for example \"25%\" or \"0.5%\", from 0% to 100%".into(),
            Self::BadDigest { .. } => "write the 64 digits that sha256sum prints for the file".into(),
            Self::GeoTooLarge { .. } => "use country databases, and join sites or leave some out".into(),
            Self::PinPath { .. } => "the daemon can't start without it".into(),
            Self::BadUser { .. } => {
                "give its number, or its name: letters, digits, hyphen, underscore and dot, at most 32 of them".into()
            }
            Self::RefusesUnnoted => "leave `sockets.note` out, or `sockets.refuse`".into(),
            Self::AcceptsTagged => "leave `accept_relays` out, or `relays`".into(),
            Self::UsesUnnoted { .. } => "leave `sockets.note` out, or pin by something else".into(),
            Self::UserMissing { .. } => "give its number; names are looked up in /etc/passwd alone".into(),
            Self::CarrierUnknown { .. } => {
                "pin by address, port or cgroup, or run a kernel with BPF LSM or tracing programs (Debian's have both)"
                    .into()
            }
            Self::NotAVolume { .. } => "name the folder at which the file system is mounted (findmnt -T)".into(),
            Self::SenderUnknown { .. } => {
                "write sent_by = \"socket\" beside it: then who made or connected the socket counts, or sent datagrams by it".into()
            }
            Self::FileTooLong => "a config has a few hundred lines; is this the right file?".into(),
            Self::NotUtf8 => "save the file as UTF-8".into(),
            Self::Syntax { reason } if reason.contains("duplicate key") => {
                "a key and a [table] can be given once; only sections in [[ ]], such as [[pin]], repeat".into()
            }
            Self::Syntax { reason } if reason.contains("missing comma") => {
                "put a comma between the values, or close the list with ] before this".into()
            }
            Self::Syntax { reason }
                if ["must be quoted", "invalid boolean", "invalid float"]
                    .iter()
                    .any(|w| reason.contains(w)) =>
            {
                "put text in double quotes; only numbers, true and false stand without".into()
            }
            Self::Syntax { .. } => {
                "write key = value, text in double quotes, lists in [ ]; see https://toml.io".into()
            }
            Self::UnknownKey { suggestion: Suggestion::Key(key) } => format!("did you mean {key}?"),
            Self::UnknownKey { suggestion: Suggestion::Section(header) } => {
                format!("it belongs in {header}; a key counts for the header above it")
            }
            Self::UnknownKey { suggestion: Suggestion::Keys(keys) } => {
                format!("the keys here are {}", keys.join(", "))
            }
            Self::WrongType { example, .. } | Self::Missing { example } => format!("for example {example}"),
            Self::EmptyList { example, optional: true } => format!("leave it out, or write {example}"),
            Self::EmptyList { example, optional: false } => format!("for example {example}"),
            Self::NoDimension { .. } => {
                "give at least one; without any, every packet of the host would match".into()
            }
            Self::NoCommonProtocol => {
                "within one select both must match; write two [[pin.select]] to have either".into()
            }
            Self::OpenFailsafe { .. } => {
                "add `peers`: your administrators' networks, your name and time servers; or write anywhere = true".into()
            }
            Self::DuplicateName { .. } => "give each its own name; events and counters go by it".into(),
            Self::BadName { name } if values::name(name.trim()).is_ok() => {
                format!("write it without the blank at its begin or end: {}", quoted(name.trim()))
            }
            Self::BadName { .. } => format!(
                "use a to z, 0 to 9, hyphen, underscore and dot, at most {} characters",
                limits::NAME_BYTES
            ),
            Self::ReservedName { .. } => "choose another name, such as \"nordics\"".into(),
            Self::BadCidr { .. } => "for example 192.0.2.0/24 or 2001:db8:1::/48".into(),
            Self::NoPrefixLength { address } => format!("did you mean {}?", IpNetwork::from(*address)),
            Self::PrefixTooLong { most, .. } => {
                format!("a single address has the prefix length {most}")
            }
            Self::HostBits { network } => {
                let single = IpNetwork::from(network.ip());
                match IpNetwork::new(network.network(), network.prefix()) {
                    Ok(corrected) => {
                        format!("write {corrected} for the network, or {single} for the one address")
                    }
                    Err(_) => format!("write {single} for the one address"),
                }
            }
            Self::MappedCidr { corrected, .. } => format!("write {corrected}"),
            Self::SiteConflict { .. } => {
                "take it out of one of them, or give the part that differs as a narrower CIDR".into()
            }
            Self::NoEffect { why, .. } => match why {
                NoEffect::LinkScope => {
                    "take it out: packets to these addresses reach no jurisdiction, and pass".into()
                }
                NoEffect::Carried { .. } => "take it out, and give the IPv4 network to a site".into(),
                NoEffect::Again { .. } => "take it out of one of the two places".into(),
                NoEffect::Covered { .. } => {
                    "take it out, or take out one of the narrower ones that it is to count for".into()
                }
            },
            Self::Nat64NotIpv6 { .. } => "for example \"2001:db8:64::/96\"".into(),
            Self::Nat64Length { .. } => {
                "give it the length that the translator has: 32, 40, 48, 56, 64 or 96 (RFC 6052 section 2.2)".into()
            }
            Self::Nat64ReservedBits { .. } => {
                "choose a prefix whose fifth group begins with 00 (RFC 6052 section 2.2)".into()
            }
            Self::Nat64Placed { .. } => "take it out, or name the prefix that the translator has".into(),
            Self::Nat64Overlap { .. } => "take one of them out".into(),
            Self::BadJurisdiction { suggestion: Some(suggestion), .. } => {
                format!("did you mean {}?", quoted(suggestion))
            }
            Self::BadJurisdiction { wanted, .. } => match wanted {
                Wanted::Country => "use an ISO 3166-1 alpha-2 code in capitals, such as \"IE\"".into(),
                Wanted::Member | Wanted::Permit => {
                    "use an ISO 3166-1 alpha-2 code in capitals, such as \"IE\", or a group, such as \"EU\""
                        .into()
                }
            },
            Self::GroupNotCountry { .. } => {
                "name one country, such as \"IE\"; groups can stand in a pin's permit".into()
            }
            Self::MarkNotCountry { .. } => {
                "the marks \"unknown\" and \"uncertain\" can stand in a pin's permit only".into()
            }
            Self::GroupCycle { .. } => {
                "take one of these groups out of the group that comes before it".into()
            }
            Self::BadPort { .. } => {
                "for example \"tcp/143\" or \"udp/5000-5010\"; ports are 0 to 65535".into()
            }
            Self::UnknownProtocol { ports, .. } => {
                let names = words(&Protocol::ALL.map(Protocol::name));
                let example = quoted(&format!("tcp/{ports}"));
                format!("the protocols are {names}; for example {example}")
            }
            Self::ReversedPorts { protocol, first, last } => format!("write \"{protocol}/{last}-{first}\""),
            Self::BadMark { .. } => "for example \"7\" or \"0x10/0xff\": 32 bits, decimal or with 0x".into(),
            Self::EmptyMask => "for all bits leave out the mask".into(),
            Self::MarkOutsideMask { value, mask } => match value & mask {
                0 => format!("write \"{value:#x}/{:#x}\" if you mean these bits", value | mask),
                inside => format!(
                    "write \"{inside:#x}/{mask:#x}\", or \"{value:#x}/{:#x}\" if you mean all these bits",
                    value | mask
                ),
            },
            Self::BadInterface { .. } => {
                "for example \"eth0\", or \"ens*\" with * for any characters and ? for one".into()
            }
            Self::BadCgroup { corrected: Some(corrected), .. } => {
                format!("did you mean {}?", quoted(corrected))
            }
            Self::BadCgroup { .. } => {
                "give the path below the cgroup root, such as \"mail.slice\" or \"system.slice/imap.service\""
                    .into()
            }
            Self::RelativePath { path } => {
                let folder = if path.components().nth(1).is_some() { "/" } else { "/etc/" };
                format!(
                    "begin it with a slash, such as {}",
                    quoted(&format!("{folder}{}", path.to_string_lossy()))
                )
            }
            Self::BadPath { hint, .. } => (*hint).into(),
            Self::BadText { .. } => "write one line that every reader sees alike".into(),
            Self::BadUnixGroup { .. } => "for example \"borderguard\", as in /etc/group".into(),
            Self::BadUnixUser { .. } => "for example \"aoife\", as in /etc/passwd".into(),
            Self::BadIdentity { text } if values::identity(text.trim()).is_ok() => {
                format!("write it without the blank at its begin or end: {}", quoted(text.trim()))
            }
            Self::BadIdentity { .. } => {
                "write it as the file of allowed signers does, such as \"aoife@example.org\", without patterns"
                    .into()
            }
            Self::BadDuration { .. } => "for example \"60d\", \"8w\" or \"36h\"".into(),
            Self::BadChoice { text, choices } => match super::suggest::nearest(text, choices.iter().copied())
            {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => format!("write one of {}", words(choices)),
            },
            Self::Approval(fault) => fault.hint(),
            Self::Fragment(fault) => fault.hint(),
            Self::OverLimit { what, limit, count } => {
                format!("the file has {count}; join or take out {} of the {what}", count - limit)
            }
        }
    }

    /// A short name that stays the same from release to release, for programs that read the output.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::GeoFile { .. } => "geo-file",
            Self::GeoIncomplete { .. } => "geo-incomplete",
            Self::BadShare { .. } => "bad-share",
            Self::BadDigest { .. } => "bad-digest",
            Self::BadSize { .. } => "bad-size",
            Self::BadBudget { .. } => "bad-budget",
            Self::BadListen { .. } => "bad-listen",
            Self::GeoTooLarge { .. } => "geo-too-large",
            Self::PinPath { .. } => "pin-path",
            Self::BadUser { .. } => "bad-user",
            Self::AcceptsTagged => "accepts-tagged",
            Self::UsesUnnoted { .. } => "uses-unnoted",
            Self::RefusesUnnoted => "refuses-unnoted",
            Self::UserMissing { .. } => "user-missing",
            Self::SenderUnknown { .. } => "sender-unknown",
            Self::CarrierUnknown { .. } => "carrier-unknown",
            Self::NotAVolume { .. } => "not-a-volume",
            Self::FileTooLong => "file-too-long",
            Self::NotUtf8 => "not-utf8",
            Self::Syntax { .. } => "syntax",
            Self::UnknownKey { .. } => "unknown-key",
            Self::WrongType { .. } => "wrong-type",
            Self::Missing { .. } => "missing",
            Self::EmptyList { .. } => "empty-list",
            Self::NoDimension { .. } => "no-dimension",
            Self::NoCommonProtocol => "no-common-protocol",
            Self::OpenFailsafe { .. } => "open-failsafe",
            Self::DuplicateName { .. } => "duplicate-name",
            Self::BadName { .. } => "bad-name",
            Self::ReservedName { .. } => "reserved-name",
            Self::BadCidr { .. } => "bad-cidr",
            Self::NoPrefixLength { .. } => "no-prefix-length",
            Self::PrefixTooLong { .. } => "prefix-too-long",
            Self::HostBits { .. } => "host-bits",
            Self::MappedCidr { .. } => "mapped-cidr",
            Self::SiteConflict { .. } => "site-conflict",
            Self::NoEffect { .. } => "no-effect",
            Self::Nat64NotIpv6 { .. } => "nat64-not-ipv6",
            Self::Nat64Length { .. } => "nat64-length",
            Self::Nat64ReservedBits { .. } => "nat64-reserved-bits",
            Self::Nat64Placed { .. } => "nat64-placed",
            Self::Nat64Overlap { .. } => "nat64-overlap",
            Self::BadJurisdiction { .. } => "bad-jurisdiction",
            Self::GroupNotCountry { .. } => "group-not-country",
            Self::MarkNotCountry { .. } => "mark-not-country",
            Self::GroupCycle { .. } => "group-cycle",
            Self::BadPort { .. } => "bad-port",
            Self::UnknownProtocol { .. } => "unknown-protocol",
            Self::ReversedPorts { .. } => "reversed-ports",
            Self::BadMark { .. } => "bad-mark",
            Self::EmptyMask => "empty-mask",
            Self::MarkOutsideMask { .. } => "mark-outside-mask",
            Self::BadInterface { .. } => "bad-interface",
            Self::BadCgroup { .. } => "bad-cgroup",
            Self::RelativePath { .. } => "relative-path",
            Self::BadPath { .. } => "bad-path",
            Self::BadText { .. } => "bad-text",
            Self::BadUnixGroup { .. } => "bad-unix-group",
            Self::BadUnixUser { .. } => "bad-unix-user",
            Self::BadIdentity { .. } => "bad-identity",
            Self::BadDuration { .. } => "bad-duration",
            Self::BadChoice { .. } => "bad-choice",
            Self::Approval(fault) => fault.code(),
            Self::Fragment(fault) => fault.code(),
            Self::OverLimit { .. } => "over-limit",
        }
    }
}

impl Explain for ErrorKind {
    fn hint(&self) -> String {
        self.hint()
    }

    fn code(&self) -> &'static str {
        self.code()
    }
}
