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
    (
        "no-effect",
        "10.1.0.0/16",
        "169.254.7.0/24",
        "9:10 site.cidrs: the site \"dublin\" places nothing by 169.254.7.0/24: its addresses do not leave the link | take it out: packets to these addresses reach no jurisdiction",
    ),
    (
        "no-effect",
        "10.1.0.0/16",
        "ff02::/16",
        "9:10 site.cidrs: the site \"dublin\" places nothing by ff02::/16: its addresses do not leave the link | ",
    ),
    (
        "no-effect",
        "10.1.0.0/16",
        "2002:c000:200::/40",
        "9:10 site.cidrs: the site \"dublin\" places nothing by 2002:c000:200::/40: addresses below 2002::/16 are placed by the IPv4 address that they carry | take it out, and give the IPv4 network to a site",
    ),
    (
        "no-effect",
        "\"10.1.0.0/16\"]",
        "\"10.1.0.0/16\", \"2001:db8:64::/112\"]\n[geo]\nnat64 = [\"2001:db8:64::/96\"]",
        "9:25 site.cidrs: the site \"dublin\" places nothing by 2001:db8:64::/112: addresses below 2001:db8:64::/96 are placed by the IPv4 address that they carry | take it out, and",
    ),
    (
        "no-effect",
        "[groups]",
        "[[site]]\nname = \"lab\"\njurisdiction = \"IE\"\ncidrs = [\"10.1.0.0/16\"]\n[groups]",
        "13:10 site.cidrs: the site \"lab\" places nothing by 10.1.0.0/16: it stands on line 9 already | take it out of one of the two places",
    ),
    (
        "no-effect",
        "[groups]",
        "[[site]]\nname = \"lab\"\njurisdiction = \"BE\"\ncidrs = [\"10.1.0.0/17\", \"10.1.128.0/17\"]\n[groups]",
        "9:10 site.cidrs: the site \"dublin\" places nothing by 10.1.0.0/16: narrower CIDRs cover all of it, from 10.1.0.0/17 of the site \"lab\" on | take it out, or take out one of the narrower ones",
    ),
    (
        "nat64-not-ipv6",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"192.0.2.0/24\"]\n[[failsafe]]",
        "4:10 geo.nat64: \"192.0.2.0/24\" is an IPv4 network, and a NAT64 prefix is IPv6 | for example \"2001:db8:64::/96\"",
    ),
    (
        "nat64-length",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"2001:db8:64::/72\"]\n[[failsafe]]",
        "4:10 geo.nat64: 2001:db8:64::/72 has 72 bits, which no NAT64 prefix has | give it the length that the translator has: 32, 40, 48, 56, 64 or 96",
    ),
    (
        "nat64-reserved-bits",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"2001:db8:64:0:100::/96\"]\n[[failsafe]]",
        "4:10 geo.nat64: 2001:db8:64:0:100::/96 has bits 64 to 71 set, which are zero below a NAT64 prefix | choose a prefix whose fifth group begins with 00",
    ),
    (
        "nat64-placed",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"64:ff9b::/96\"]\n[[failsafe]]",
        "4:10 geo.nat64: 64:ff9b::/96 overlaps the well-known prefix 64:ff9b::/96, where addresses are placed without it | take it out, or name the prefix that the translator has",
    ),
    (
        "nat64-placed",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"2002:c000:200::/48\"]\n[[failsafe]]",
        "4:10 geo.nat64: 2002:c000:200::/48 overlaps 6to4, where",
    ),
    (
        "nat64-placed",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"::/32\"]\n[[failsafe]]",
        "4:10 geo.nat64: ::/32 overlaps IPv4 addresses written as IPv6, where",
    ),
    (
        "nat64-overlap",
        "[[failsafe]]",
        "[geo]\nnat64 = [\"2001:db8::/32\",\n \"2001:db8:64::/96\"]\n[[failsafe]]",
        "5:2 geo.nat64: 2001:db8:64::/96 overlaps 2001:db8::/32 on line 4: an address below both would carry two IPv4 addresses | take one of them out",
    ),
];
