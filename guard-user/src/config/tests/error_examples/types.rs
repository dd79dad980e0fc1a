//! Values of the wrong type, and lists that are empty.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "wrong-type",
        "permit = [\"EU\", \"nordics\"]",
        "permit = \"EU\"",
        "15:10 pin.permit: expected a list of strings, found a string | for example permit = [\"EU\"]",
    ),
    (
        "wrong-type",
        "home = \"IE\"",
        "home = [\"IE\"]",
        "14:8 pin.home: expected a string, found a list | for example home = \"IE\"",
    ),
    (
        "wrong-type",
        "interfaces = [\"eth0\"]",
        "interfaces = [\"eth0\"]\nobserve = \"true\"",
        "3:11 host.observe: expected true or false, found a string | for example observe = true",
    ),
    (
        "wrong-type",
        "ports = [\"tcp/143\"]",
        "ports = [143]",
        "19:10 pin.select.ports: expected a string, found an integer | for example \"tcp/143\"",
    ),
    (
        "wrong-type",
        "ports = [\"tcp/143\"]",
        "marks = [7, \"8\"]",
        "19:10 pin.select.marks: expected a string, found an integer | for example \"7\"",
    ),
    (
        "wrong-type",
        "[[site]]",
        "[site]",
        "6:1 site: expected a list of tables, found a table | for example [[site]]",
    ),
    (
        "unknown-key",
        "[pin.select]",
        "[pin.selects]",
        "17:6 pin.selects: there is no such key | did you mean [pin.select]?",
    ),
    (
        "unknown-key",
        "[host]",
        "interfaces = []\n[host]",
        "1:1 interfaces: there is no such key | the keys here are [host], [geo]",
    ),
    (
        "unknown-key",
        "[host]",
        "ask_above = \"1%\"\n[host]",
        "1:1 ask_above: there is no such key | it belongs in [geo]; a key counts",
    ),
    (
        "wrong-type",
        "[host]\ninterfaces = [\"eth0\"]",
        "host = 1.5",
        "1:8 host: expected a table, found a float | for example [host]",
    ),
    (
        "empty-list",
        "[\"eth0\"]",
        "[]",
        "2:14 host.interfaces: the list is empty | for example interfaces = [\"eth0\", \"ens*\"]",
    ),
    (
        "empty-list",
        "ports = [\"tcp/143\"]",
        "ports = []",
        "19:9 pin.select.ports: the list is empty | leave it out, or write ports = [\"tcp/143\", \"tcp/5000-5010\"]",
    ),
    (
        "no-dimension",
        "local_ports = [\"tcp/22\"]",
        "",
        "3:1 failsafe: none of local_ports, remote_ports, peers is used | give at least one; without any, every packet of the host would match",
    ),
    (
        "no-dimension",
        "sources = [\"192.0.2.10/32\"]\nports = [\"tcp/143\"]",
        "",
        "17:1 pin.select: none of sources, ports, remote_ports, interfaces, cgroups, users, volumes, marks is used | ",
    ),
];
