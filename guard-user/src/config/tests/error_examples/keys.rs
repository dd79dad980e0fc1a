//! Keys that are unknown, and keys that are missing.

use super::Example;

const PIN_KEYS: &str = "the keys here are name, home, permit, action, ingress, record, canary, canary_returned_within, [pin.select]";

pub(super) const EXAMPLES: &[Example] = &[
    (
        "unknown-key",
        "interfaces",
        "interface",
        "2:1 host.interface: there is no such key | did you mean interfaces?",
    ),
    (
        "unknown-key",
        "[groups]",
        "[group]\n[groups]",
        "10:2 group: there is no such key | did you mean [groups]?",
    ),
    ("unknown-key", "[host]", "[hots]", "1:2 hots: there is no such key | did you mean [host]?"),
    (
        "unknown-key",
        "ports = [\"tcp/143\"]",
        "permit = [\"EU\"]",
        "19:1 pin.select.permit: there is no such key | it belongs in [[pin]]; a key counts for the header above it",
    ),
    ("unknown-key", "home = \"IE\"", "home = \"IE\"\ncolour = 1", PIN_KEYS),
    (
        "unknown-key",
        "home = \"IE\"",
        "home = \"IE\"\n\"\\u001b[31m\" = 1",
        "15:1 pin.\"\\u{1b}[31m\": there is no such key",
    ),
    (
        "missing",
        "interfaces = [\"eth0\"]",
        "",
        "1:1 host.interfaces: required, but missing | for example interfaces = [\"eth0\", \"ens*\"]",
    ),
    (
        "missing",
        "action = \"drop\"",
        "",
        "12:1 pin.action: required, but missing | for example action = \"drop\"",
    ),
    (
        "missing",
        "[host]\ninterfaces = [\"eth0\"]",
        "",
        "1:1 host: required, but missing | for example [host] with interfaces = [\"eth0\"]",
    ),
    (
        "missing",
        "[pin.select]\nsources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "",
        "12:1 pin.select: required, but missing | for example [pin.select] with ports = [\"tcp/143\"], after the pin's own keys",
    ),
];
