//! Networks.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "bad-cidr",
        "192.0.2.10/32",
        "192.0.2/24",
        "18:12 pin.select.sources: \"192.0.2/24\" is no CIDR | for example 192.0.2.0/24 or 2001:db8:1::/48",
    ),
    ("bad-cidr", "192.0.2.10/32", "192.0.2.0/+24", "18:12 pin.select.sources: \"192.0.2.0/+24\" is no CIDR"),
    (
        "bad-cidr",
        "192.0.2.10/32",
        "192.0.2.0/255.255.255.0",
        "18:12 pin.select.sources: \"192.0.2.0/255.255.255.0\" is no CIDR",
    ),
    (
        "no-prefix-length",
        "192.0.2.10/32",
        "2001:db8::1",
        "18:12 pin.select.sources: 2001:db8::1 has no prefix length | did you mean 2001:db8::1/128?",
    ),
    (
        "prefix-too-long",
        "192.0.2.10/32",
        "192.0.2.10/33",
        "18:12 pin.select.sources: the prefix length of \"192.0.2.10/33\" is more than 32 | a single address has the prefix length 32",
    ),
    (
        "prefix-too-long",
        "192.0.2.10/32",
        "::/999",
        "18:12 pin.select.sources: the prefix length of \"::/999\" is more than 128 | a single",
    ),
    (
        "host-bits",
        "10.1.0.0/16",
        "10.1.2.3/16",
        "9:10 site.cidrs: 10.1.2.3/16 has bits set after its prefix of 16 bits | write 10.1.0.0/16 for the network, or 10.1.2.3/32 for the one address",
    ),
    (
        "mapped-cidr",
        "192.0.2.10/32",
        "::ffff:192.0.2.0/120",
        "18:12 pin.select.sources: ::ffff:192.0.2.0/120 is an IPv4 network written as IPv6 | write 192.0.2.0/24",
    ),
    (
        "site-conflict",
        "[groups]",
        "[[site]]\nname = \"lab\"\njurisdiction = \"BE\"\ncidrs = [\"10.1.0.0/16\"]\n[groups]",
        "13:10 site.cidrs: 10.1.0.0/16 is in BE here, and in IE by the site \"dublin\" on line 9 | take it out of one of them",
    ),
];
