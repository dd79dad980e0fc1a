//! Text that is no TOML.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    ("syntax", "home = \"IE\"", "home = ", "14:8 not TOML: "),
    (
        "syntax",
        "home = \"IE\"",
        "name = \"b\"",
        "14:1 not TOML: duplicate key | a key and a [table] can be given once; only sections in [[ ]], such as [[pin]], repeat",
    ),
    (
        "syntax",
        "\"SE\", \"FI\"",
        "\"SE\" \"FI\"",
        "11:17 not TOML: missing comma between array elements, expected `,` | put a comma between the values, or \
         close the list with ] before this",
    ),
    (
        "syntax",
        "home = \"IE\"",
        "home = IE",
        "14:8 not TOML: invalid float, expected `inf` | put text in double quotes; only numbers, true",
    ),
    (
        "syntax",
        "action = \"drop\"",
        "action = drop",
        "16:10 not TOML: string values must be quoted, expected literal string | put text in double quotes; only",
    ),
];
