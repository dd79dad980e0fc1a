//! Names.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "bad-name",
        "\"mail\"",
        "\"Mail IE\"",
        "13:8 pin.name: \"Mail IE\" is no name | use a to z, 0 to 9, hyphen, underscore and dot, at most 63 characters",
    ),
    ("bad-name", "\"ssh\"", "\"\"", "4:8 failsafe.name: \"\" is no name | "),
    (
        "bad-name",
        "\"mail\"",
        "\" mail\"",
        "13:8 pin.name: \" mail\" is no name | write it without the blank at its begin or end: \"mail\"",
    ),
    (
        "bad-name",
        "\"ssh\"",
        "\"ssh \"",
        "4:8 failsafe.name: \"ssh \" is no name | write it without the blank at its begin or end: \"ssh\"",
    ),
    (
        "duplicate-name",
        "[groups]",
        "[[site]]\nname = \"dublin\"\njurisdiction = \"IE\"\ncidrs = [\"10.3.0.0/16\"]\n[groups]",
        "11:8 site.name: the name \"dublin\" is taken already, on line 7 | give each its own name; events and counters go by it",
    ),
    (
        "reserved-name",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\"]\nEU = [\"IE\"]",
        "12:1 groups.EU: a group can't be called \"EU\": that is a built-in group | choose another name, such as \"nordics\"",
    ),
    (
        "reserved-name",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\"]\nno = [\"NO\"]",
        "12:1 groups.no: a group can't be called \"no\": that is a country's code",
    ),
    (
        "reserved-name",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\"]\nunknown = [\"NO\"]",
        "12:1 groups.unknown: a group can't be called \"unknown\": that is a mark",
    ),
];
