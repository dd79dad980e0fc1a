//! Ports and firewall marks.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "bad-port",
        "tcp/143",
        "143",
        "19:10 pin.select.ports: \"143\" is no port with its protocol | for example \"tcp/143\" or \"udp/5000-5010\"; ports are 0 to 65535",
    ),
    (
        "bad-port",
        "tcp/143",
        "tcp/65536",
        "19:10 pin.select.ports: \"tcp/65536\" is no port with its protocol",
    ),
    (
        "bad-port",
        "tcp/143",
        "tcp/1-2-3",
        "19:10 pin.select.ports: \"tcp/1-2-3\" is no port with its protocol",
    ),
    ("bad-port", "tcp/143", "tcp/+1", "19:10 pin.select.ports: \"tcp/+1\" is no port with its protocol"),
    ("bad-port", "tcp/143", "tcp/", "19:10 pin.select.ports: \"tcp/\" is no port with its protocol"),
    (
        "unknown-protocol",
        "tcp/22",
        "ssh/22",
        "5:16 failsafe.local_ports: \"ssh\" is no protocol with ports | the protocols are \"tcp\", \"udp\", \"sctp\", \"udplite\", \"dccp\"; for example \"tcp/22\"",
    ),
    (
        "reversed-ports",
        "tcp/143",
        "udp/5010-5000",
        "19:10 pin.select.ports: the port range runs backwards, from 5010 to 5000 | write \"udp/5000-5010\"",
    ),
    (
        "open-failsafe",
        "ports = [\"tcp/143\"]",
        "marks = [\"7\"]",
        "3:1 failsafe: the failsafe rule \"ssh\" lets packets of the pin \"mail\" pass to any destination: who asks for them chooses the port | add `peers`: your administrators' networks,",
    ),
    ("open-failsafe", "tcp/143", "tcp/20-30", "3:1 failsafe: the failsafe rule \"ssh\" lets packets"),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "remote_ports = [\"udp/53\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "peers = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "peers = [\"2000::/3\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "peers = [\"64:ff9b::/96\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "peers = [\"2001:db8:64::/96\"]\n[geo]\nnat64 = [\"2001:db8:64::/96\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "peers = [\"2002::/15\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "open-failsafe",
        "local_ports = [\"tcp/22\"]",
        "peers = [\"0.0.0.0/0\"]",
        "3:1 failsafe: the failsafe rule",
    ),
    (
        "bad-mark",
        "ports = [\"tcp/143\"]",
        "marks = [\"0x1ffffffff\"]",
        "19:10 pin.select.marks: \"0x1ffffffff\" is no firewall mark | for example \"7\" or \"0x10/0xff\": 32 bits, decimal or with 0x",
    ),
    (
        "bad-mark",
        "ports = [\"tcp/143\"]",
        "marks = [\"1/\"]",
        "19:10 pin.select.marks: \"1/\" is no firewall mark",
    ),
    (
        "empty-mask",
        "ports = [\"tcp/143\"]",
        "marks = [\"0/0\"]",
        "19:10 pin.select.marks: the mask is zero, so that every packet would match | for all bits leave out the mask",
    ),
    (
        "mark-outside-mask",
        "ports = [\"tcp/143\"]",
        "marks = [\"0x110/0xff\"]",
        "19:10 pin.select.marks: the value 0x110 has bits outside its mask 0xff, so that no packet could match | write \"0x10/0xff\", or \"0x110/0x1ff\" if you mean all these bits",
    ),
    (
        "mark-outside-mask",
        "ports = [\"tcp/143\"]",
        "marks = [\"0x100/0xff\"]",
        "19:10 pin.select.marks: the value 0x100 has bits outside its mask 0xff, so that no packet could match | write \"0x100/0x1ff\" if you mean these bits",
    ),
    (
        "no-common-protocol",
        "ports = [\"tcp/143\"]",
        "ports = [\"tcp/143\"]\nremote_ports = [\"udp/443\"]",
        "20:16 pin.select.remote_ports: `ports` and `remote_ports` have no protocol in common",
    ),
];
