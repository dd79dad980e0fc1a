//! Jurisdictions and groups.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "bad-jurisdiction",
        "home = \"IE\"",
        "home = \"UK\"",
        "14:8 pin.home: \"UK\" is no country | did you mean \"GB\"?",
    ),
    (
        "bad-jurisdiction",
        "jurisdiction = \"IE\"",
        "jurisdiction = \"EL\"",
        "8:16 site.jurisdiction: \"EL\" is no country | did you mean \"GR\"?",
    ),
    (
        "bad-jurisdiction",
        "home = \"IE\"",
        "home = \"ie\"",
        "14:8 pin.home: \"ie\" is no country | did you mean \"IE\"?",
    ),
    (
        "bad-jurisdiction",
        "home = \"IE\"",
        "home = \"IRL\"",
        "14:8 pin.home: \"IRL\" is no country | use an ISO 3166-1 alpha-2 code in capitals, such as \"IE\"",
    ),
    (
        "bad-jurisdiction",
        "\"EU\"",
        "\"nordic\"",
        "15:11 pin.permit: \"nordic\" is no country, group or mark | did you mean \"nordics\"?",
    ),
    (
        "bad-jurisdiction",
        "\"EU\"",
        "\"eu\"",
        "15:11 pin.permit: \"eu\" is no country, group or mark | did you mean \"EU\"?",
    ),
    (
        "bad-jurisdiction",
        "\"EU\"",
        "\"unknwon\"",
        "15:11 pin.permit: \"unknwon\" is no country, group or mark | did you mean \"unknown\"?",
    ),
    (
        "bad-jurisdiction",
        "\"SE\"",
        "\"ZZ\"",
        "11:12 groups.nordics: \"ZZ\" is no country or group | use an ISO 3166-1 alpha-2 code in capitals, such as \"IE\", or a group, such as \"EU\"",
    ),
    (
        "group-not-country",
        "home = \"IE\"",
        "home = \"EU\"",
        "14:8 pin.home: \"EU\" is a group, and one country is needed here | name one country, such as \"IE\"; groups can stand in a pin's permit",
    ),
    (
        "mark-not-country",
        "home = \"IE\"",
        "home = \"unknown\"",
        "14:8 pin.home: \"unknown\" is a mark and no country | the marks",
    ),
    (
        "mark-not-country",
        "\"SE\"",
        "\"uncertain\"",
        "11:12 groups.nordics: \"uncertain\" is a mark and no country or group | the marks \"unknown\" and \"uncertain\" can stand in a pin's permit only",
    ),
    (
        "group-cycle",
        "nordics = [\"SE\", \"FI\"]",
        "nordics = [\"SE\", \"a\"]\na = [\"b\"]\nb = [\"a\", \"EU\"]\nc = [\"nordics\"]",
        "12:1 groups.a: the group contains itself: a -> b -> a | take one of these groups out of the group that comes before it",
    ),
    (
        "group-cycle",
        "\"SE\"",
        "\"nordics\"",
        "11:1 groups.nordics: the group contains itself: nordics -> nordics | ",
    ),
];
