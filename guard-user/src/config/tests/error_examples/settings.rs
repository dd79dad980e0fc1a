//! Paths, Unix groups, lengths of time and choices.

use super::Example;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "bad-budget",
        "local_ports = [\"tcp/22\"]",
        "local_ports = [\"tcp/22\"]\nbytes_per_minute = 0",
        "6:20 failsafe.bytes_per_minute: 0 is no budget | from 1 to 549755813888 bytes; leave it away to bound nothing",
    ),
    (
        "bad-budget",
        "local_ports = [\"tcp/22\"]",
        "local_ports = [\"tcp/22\"]\nbytes_per_minute = 1_000_000_000_000",
        "6:20 failsafe.bytes_per_minute: 1000000000000 is no budget",
    ),
    (
        "bad-size",
        "[groups]",
        "[history]\nmax_size = \"256MB\"\n[groups]",
        "11:12 history.max_size: \"256MB\" is no size | for example \"256MiB\" or \"2GiB\"; from 1MiB to 1TiB",
    ),
    (
        "bad-listen",
        "[groups]",
        "[metrics]\nlisten = \"192.0.2.10:9467\"\n[groups]",
        "11:10 metrics.listen: metrics can't be served at \"192.0.2.10:9467\": other hosts could reach it, and they would learn what is pinned here | for example \"127.0.0.1:9467\", or \"/run/borderguard/metrics.sock\"",
    ),
    (
        "bad-path",
        "[groups]",
        "[log]\nto = \"/var/lib/borderguard/store.redb\"\n[groups]",
        "11:6 log.to: the path \"/var/lib/borderguard/store.redb\" is of a file that the daemon keeps there itself | give each a path of its own",
    ),
    (
        "bad-path",
        "[groups]",
        "[metrics]\nlisten = \"/run/borderguard/control.sock\"\n[groups]",
        "11:10 metrics.listen: the path \"/run/borderguard/control.sock\" is that of `control.socket` too | give each a path of its own",
    ),
    (
        "bad-path",
        "[groups]",
        "[log]\nto = \"/a//b\"\n[control]\nsocket = \"/a/b\"\n[groups]",
        "11:6 log.to: the path \"/a//b\" is that of `control.socket` too | give each a path of its own",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\nmark_directory = \"/var/lib/borderguard/\"\n[groups]",
        "11:18 state.mark_directory: the path \"/var/lib/borderguard/\" is that of `state.directory` too | give each a path of its own",
    ),
    (
        "bad-path",
        "[groups]",
        "[log]\nto = \"/a/geo.mmdb\"\n[geo]\nfiles = [\"/a/geo.mmdb\"]\n[groups]",
        "11:6 log.to: the path \"/a/geo.mmdb\" is that of a database in `geo.files` too | give each a path of its own",
    ),
    (
        "relative-path",
        "[groups]",
        "[geo]\nfiles = [\"geo.mmdb\"]\n[groups]",
        "11:10 geo.files: the path \"geo.mmdb\" is not absolute | begin it with a slash, such as \"/etc/geo.mmdb\"",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\ndirectory = \"/var/../lib\"\n[groups]",
        "11:13 state.directory: the path \"/var/../lib\" has \"..\" in it | write the path without \"..\"",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\npin_path = \"/\"\n[groups]",
        "11:12 state.pin_path: the path \"/\" is the root folder | name a file or folder of its own",
    ),
    (
        "bad-path",
        "[groups]",
        "[state]\npin_path = \"/a\\u0000\"\n[groups]",
        "11:12 state.pin_path: the path \"/a\\u{0}\" has a control character | write the path without it",
    ),
    (
        "bad-path",
        "[groups]",
        "[control]\nsocket = \"/run/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012\"\n[groups]",
        "11:10 control.socket: the path \"/run/0123456789012345678901234567890123456789012345678901234...\" is longer than a socket's path can be (107 bytes) | choose a shorter path",
    ),
    (
        "bad-unix-group",
        "[groups]",
        "[control.groups]\nview = [\"a group\"]\n[groups]",
        "11:9 control.groups.view: \"a group\" is no Unix group name | for example \"borderguard\", as in /etc/group",
    ),
    (
        "bad-unix-user",
        "roles = [\"legal\"]",
        "roles = [\"legal\"]\nuser = \"1st\"",
        "approval.signer.user: \"1st\" is no Unix user name | for example \"aoife\", as in /etc/passwd",
    ),
    (
        "bad-identity",
        "anne@example.org",
        "*@example.org",
        "23:12 approval.signer.identity: \"*@example.org\" is no identity of a signer | write it as the file",
    ),
    ("bad-name", "[\"legal\"]", "[\"Legal\"]", "24:10 approval.signer.roles: \"Legal\" is no name"),
    (
        "duplicate-name",
        "roles = [\"legal\"]",
        "roles = [\"legal\"]\n[[approval.signer]]\nidentity = \"Anne@example.org\"\nroles = [\"dpo\"]",
        "26:12 approval.signer.identity: the name \"Anne@example.org\" is taken already, on line 23",
    ),
    (
        "missing",
        "[[approval.signer]]\nidentity = \"anne@example.org\"\nroles = [\"legal\"]\n",
        "",
        "20:1 approval.signer: required, but missing | for example [[approval.signer]] with identity = ",
    ),
    (
        "missing",
        "allowed_signers = \"/etc/borderguard/allowed_signers\"\n",
        "",
        "approval.allowed_signers: required, but missing",
    ),
    (
        "relative-path",
        "/etc/borderguard/allowed_signers",
        "allowed_signers",
        "21:19 approval.allowed_signers: the path \"allowed_signers\" is not absolute",
    ),
    (
        "bad-duration",
        "[groups]",
        "[geo]\nmax_age = \"sixty days\"\n[groups]",
        "11:11 geo.max_age: \"sixty days\" is no length of time: it is not a number with its unit | for example \"60d\", \"8w\" or \"36h\"",
    ),
    (
        "bad-duration",
        "[groups]",
        "[geo]\nmax_age = \"2 months\"\n[groups]",
        "11:11 geo.max_age: \"2 months\" is no length of time: years and months have no fixed length",
    ),
    (
        "bad-duration",
        "[groups]",
        "[geo]\nmax_age = \"-60d\"\n[groups]",
        "11:11 geo.max_age: \"-60d\" is no length of time: it must be more than nothing",
    ),
    (
        "bad-digest",
        "[groups]",
        "[law]\npack = \"/etc/borderguard/law.toml\"\nsha256 = \"9f86\"\n[groups]",
        "12:10 law.sha256: \"9f86\" is not a SHA-256 | write the 64 digits that sha256sum prints for the file",
    ),
    (
        "bad-share",
        "[groups]",
        "[geo]\nask_above = \"a quarter\"\n[groups]",
        "11:13 geo.ask_above: \"a quarter\" is no share | for example \"25%\" or \"0.5%\", from 0% to 100%, or \"never\"",
    ),
    (
        "bad-share",
        "[groups]",
        "[geo]\nmay_open = \"never\"\n[groups]",
        "11:12 geo.may_open: \"never\" is no share | for example \"25%\" or \"0.5%\", from 0% to 100%",
    ),
    (
        "bad-choice",
        "\"drop\"",
        "\"dorp\"",
        "16:10 pin.action: \"dorp\" is none of \"drop\", \"flag\", \"observe\" | did you mean \"drop\"?",
    ),
    (
        "bad-choice",
        "\"drop\"",
        "\"reject\"",
        "16:10 pin.action: \"reject\" is none of \"drop\", \"flag\", \"observe\" | write one of \"drop\", \"flag\", \"observe\"",
    ),
    (
        "bad-choice",
        "home = \"IE\"",
        "home = \"IE\"\ningress = \"on\"",
        "15:11 pin.ingress: \"on\" is none of \"off\", \"flag\", \"drop\"",
    ),
    (
        "bad-choice",
        "home = \"IE\"",
        "home = \"IE\"\nrecord = \"none\"",
        "15:10 pin.record: \"none\" is none of \"forbidden\", \"all\"",
    ),
    (
        "bad-text",
        "[groups]",
        "[record]\ncontroller = \" \"\n[groups]",
        "11:14 record.controller: \" \" is empty | write one line that every reader sees alike",
    ),
    (
        "relative-path",
        "[groups]",
        "[record]\ntime_stamp = [\"stamp\", \"-x\"]\n[groups]",
        "11:15 record.time_stamp: the path \"stamp\" is not absolute",
    ),
    (
        "bad-choice",
        "[groups]",
        "[log]\nformat = \"xml\"\n[groups]",
        "11:10 log.format: \"xml\" is none of \"ocsf\", \"ecs\", \"json\", \"text\"",
    ),
    (
        "no-approval",
        "[approval]\nallowed_signers = \"/etc/borderguard/allowed_signers\"\n[[approval.signer]]\n\
         identity = \"anne@example.org\"\nroles = [\"legal\"]\n[[approval.rule]]\n[[approval.rule.required]]\n\
         role = \"legal\"\ncount = 1\n",
        "",
        "12:1 pin: the pin \"mail\" drops, and nothing says whose approval an exemption from it needs | write \
         [approval] with signers and rules (docs/approvals.md), or, above the first header, approval = \"none\"",
    ),
    (
        "pin-without-rule",
        "[[approval.rule]]\n",
        "[[pin]]\nname = \"files\"\nhome = \"IE\"\naction = \"flag\"\nselect.ports = [\"tcp/445\"]\n\
         [[approval.rule]]\npins = [\"files\"]\n",
        "12:1 pin: the pin \"mail\" drops, and no rule of [approval] is for it | for example [[approval.rule]] with \
         pins = [\"mail\"]",
    ),
    (
        "no-such-pin",
        "[[approval.rule]]\n",
        "[[approval.rule]]\npins = [\"mail\", \"mial\"]\n",
        "26:17 approval.rule.pins: there is no pin \"mial\"",
    ),
    (
        "bad-choice",
        "[[approval.rule]]\n",
        "[[approval.rule]]\ninstruments = [\"sccs\"]\n",
        "26:16 approval.rule.instruments: \"sccs\" is none of ",
    ),
    (
        "bad-widest",
        "allowed_signers = \"/etc/borderguard/allowed_signers\"\n",
        "allowed_signers = \"/etc/borderguard/allowed_signers\"\nwidest_ipv4 = 15\n",
        "approval.widest_ipv4: 15 is no shortest prefix | write the bits of a prefix, from 16 to 32",
    ),
    ("bad-count", "count = 1", "count = 0", "28:9 approval.rule.required.count: 0 is no number of signers"),
    (
        "rule-unmet",
        "count = 1",
        "count = 2",
        "25:1 approval.rule.required: nobody could approve by this rule: 2 signers are asked for as \"legal\", and 1 of \
         the config's signers have this role | name more signers with this role, or ask for fewer",
    ),
    (
        "rule-unmet",
        "[[approval.rule]]\n",
        "[approval.policy]\nrequired = [{ role = \"dpo\", count = 1 }]\n[[approval.rule]]\n",
        "25:1 approval.policy.required: nobody could approve by this rule: 1 signers are asked for as \"dpo\", and 0 of",
    ),
    (
        "missing",
        "[[approval.rule]]\n",
        "[approval.policy]\n[[approval.rule]]\n",
        "25:1 approval.policy.required: required, but missing | for example required = [{ role",
    ),
    (
        "missing",
        "[[approval.rule]]\n[[approval.rule.required]]\nrole = \"legal\"\ncount = 1\n",
        "",
        "20:1 approval.rule: required, but missing | for example [[approval.rule]] with required = [{ role",
    ),
    (
        "missing",
        "[[approval.rule.required]]\nrole = \"legal\"\ncount = 1\n",
        "",
        "25:1 approval.rule.required: required, but missing | for example required = [{ role = \"legal\", count = 1 }]",
    ),
    (
        "looks-alike",
        "roles = [\"legal\"]\n",
        "roles = [\"legal\"]\n[[approval.signer]]\nidentity = \"аnne@example.org\"\nroles = [\"dpo\"]\n",
        "26:12 approval.signer.identity: \"\\u{430}nne@example.org\" looks like \"anne@example.org\" on line 23",
    ),
    (
        "looks-alike",
        "roles = [\"legal\"]\n",
        "roles = [\"legal\"]\n[[approval.signer]]\nidentity = \"anne@exarnple.org\"\nroles = [\"dpo\"]\n",
        "26:12 approval.signer.identity: \"anne@exarnple.org\" looks like \"anne@example.org\" on line 23",
    ),
    (
        "shared-user",
        "roles = [\"legal\"]\n",
        "roles = [\"legal\"]\nuser = \"anne\"\n[[approval.signer]]\nidentity = \"bob@example.org\"\nroles = [\"dpo\"]\n\
         user = \"anne\"\n",
        "29:8 approval.signer.user: \"anne\" is the user of the signer on line 25 already | one person is one signer",
    ),
];
