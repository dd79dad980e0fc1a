//! Files of `policy.d` beside the config's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{GOOD, small_groups};
use crate::config::fragments::{FOLDER, folder, read, split};
use crate::config::{Checked, ConfigErrors, ErrorKind, Surroundings, limits, load, parse, text};

/// Their kinds of errors, with examples here.
pub(super) const ERRORS: [&str; 3] = ["bad-fragment-name", "fragments-twice", "not-of-fragment"];

const CORK: &str =
    "# shared\n\n[[site]]\nname = \"cork\"\njurisdiction = \"IE\"\ncidrs = [\"10.8.0.0/16\"]\n";
const LYON: &str = "[[site]]\nname = \"lyon\"\njurisdiction = \"FR\"\ncidrs = [\"10.9.0.0/16\"]";

/// A config with these files beside it.
fn bed(files: &[(&str, &str)]) -> tempfile::TempDir {
    let bed = tempfile::tempdir().unwrap();
    fs::write(bed.path().join("policy.toml"), GOOD).unwrap();
    fs::create_dir(bed.path().join(FOLDER)).unwrap();
    for (name, text) in files {
        fs::write(bed.path().join(FOLDER).join(name), text).unwrap();
    }
    bed
}

fn surroundings() -> Surroundings<'static> {
    Surroundings { groups: &small_groups, ..Surroundings::new(None) }
}

fn loaded(bed: &Path) -> Result<Checked, ConfigErrors> {
    load(&bed.join("policy.toml"), &surroundings())
}

/// The errors, with the bed's own path left out.
fn errors(bed: &Path) -> String {
    loaded(bed).unwrap_err().to_string().replace(&format!("{}/", bed.display()), "")
}

#[test]
fn they_are_read_in_the_order_of_their_names_and_are_one_text_with_the_config() {
    let files = [("20-lyon.toml", LYON), ("10-cork.toml", CORK), ("B.toml", ""), ("a.toml", "# none\n")];
    let bed = bed(&files);
    for (name, why) in [(".hidden.toml", "hidden"), ("cork.toml~", "an editor's"), ("README", "for people")] {
        fs::write(bed.path().join(FOLDER).join(name), why).unwrap();
    }
    let policy = loaded(bed.path()).unwrap().policy;
    let sites: Vec<_> = policy.sites.iter().map(|site| (site.name.as_str(), site.line)).collect();
    assert_eq!(sites, [("dublin", 6), ("cork", 3), ("lyon", 1)]);
    let whole = format!(
        "{GOOD}#= policy.d/10-cork.toml\n{CORK}#= policy.d/20-lyon.toml\n{LYON}\n#= policy.d/B.toml\n#= policy.d/a.toml\n# none\n"
    );
    assert_eq!(String::from_utf8(policy.text.to_vec()).unwrap(), whole);
    // The same as one file.
    let single = parse(Path::new("policy.toml"), whole.as_bytes(), &surroundings()).unwrap().policy;
    assert_eq!(single, policy);
    // And not beside its parts, to which it would be added.
    fs::write(bed.path().join("policy.toml"), &whole).unwrap();
    assert_eq!(loaded(bed.path()).unwrap_err().errors[0].kind.code(), ERRORS[1]);
    fs::rename(bed.path().join(FOLDER), bed.path().join("elsewhere")).unwrap();
    assert_eq!(text(&bed.path().join("policy.toml")).unwrap(), whole.as_bytes());
    fs::rename(bed.path().join("elsewhere"), bed.path().join(FOLDER)).unwrap();
    // Without such files the text is the file, byte for byte.
    fs::remove_dir_all(bed.path().join(FOLDER)).unwrap();
    fs::write(bed.path().join("policy.toml"), GOOD.trim_end()).unwrap();
    assert_eq!(text(&bed.path().join("policy.toml")).unwrap(), GOOD.trim_end().as_bytes());
}

#[test]
fn what_is_wrong_is_told_of_its_file_with_its_line() {
    for (content, expected) in [
        ("[[site]]\nname = \"Cork\"\n", "policy.d/10.toml:2:8: error: site.name: \"Cork\" is no name"),
        (
            "\n[[site]]\nname = \"dublin\"\njurisdiction = \"IE\"\ncidrs = [\"10.2.0.0/16\"]\n",
            "policy.d/10.toml:3:8: error: site.name: the name \"dublin\" is taken already, on line 7 of the config file\n",
        ),
        (
            "[[site]]\nname = \"cork\"\njurisdiction = \"FR\"\ncidrs = [\"10.1.0.0/16\"]\n",
            "by the site \"dublin\" on line 9 of the config file\n",
        ),
        ("[[site]]\nname = \"cork\n", "policy.d/10.toml:2:13: error: not TOML: "),
        ("[[site]]\nnote = 1\n", "policy.d/10.toml:2:1: error: site.note: "),
        (
            "[[site]]\nname = \"\u{e9}\"\n[host]\n",
            "policy.d/10.toml:3:2: error: host: files in policy.d hold [[site]] tables alone, and this is `host`\n",
        ),
        ("[[pin]]\nname = \"all\"\n", "policy.d/10.toml:1:3: error: pin: files in policy.d hold"),
        // What the table before it would take.
        ("home = \"FR\"\n", "policy.d/10.toml:1:1: error: home: files in policy.d hold"),
        ("site = [{ name = \"x\" }]\n", "policy.d/10.toml:1:1: error: site: files in policy.d hold"),
        ("site = []\n", "policy.d/10.toml:1:1: error: site: files in policy.d hold"),
        ("[site]\nname = \"x\"\n", "policy.d/10.toml:1:2: error: site: files in policy.d hold"),
        ("[[site.x]]\nname = \"x\"\n", "policy.d/10.toml:1:3: error: site: files in policy.d hold"),
        ("[site.x]\n", "policy.d/10.toml:1:2: error: site: files in policy.d hold"),
    ] {
        let shown = errors(bed(&[("10.toml", content)]).path());
        assert!(shown.contains(expected), "{content}: {shown}");
    }
    let twice = bed(&[("10-cork.toml", CORK), ("20-cork.toml", CORK)]);
    let shown = errors(twice.path());
    assert!(
        shown.contains("policy.d/20-cork.toml:4:8: error: site.name: the name \"cork\" is taken already, on line 4 of policy.d/10-cork.toml\n"),
        "{shown}"
    );
    // The error of the config's own file is told as ever, beside theirs.
    let both = bed(&[("10.toml", "[[site]]\nname = \"x\n")]);
    fs::write(both.path().join("policy.toml"), GOOD.replace("home = \"IE\"", "home = IE")).unwrap();
    let shown = errors(both.path());
    assert!(shown.contains("policy.toml:14:8: error: not TOML") && shown.contains("10.toml:2:"), "{shown}");
}

#[test]
fn a_config_that_is_no_whole_document_by_itself_takes_none() {
    let bed = bed(&[("10.toml", CORK)]);
    for end in ["x = \"\"\"\n", "site = 1\n", "[site]\n"] {
        fs::write(bed.path().join("policy.toml"), format!("{end}{GOOD}")).unwrap();
        loaded(bed.path()).unwrap_err();
        fs::write(bed.path().join("policy.toml"), format!("{GOOD}{end}")).unwrap();
        loaded(bed.path()).unwrap_err();
    }
    // What only looks like the begin of such a file.
    let quoted = GOOD.replace("name = \"mail\"", "name = \"\"\"\n#= policy.d/x.toml\n\"\"\"");
    parse(Path::new("policy.toml"), quoted.as_bytes(), &surroundings()).unwrap_err();
    for comment in ["#= policy.d/\n", "#= policy.d/x\n", "#= policy.d/../x.toml\n", "#= policy.d/x.toml"] {
        assert_eq!(split(&format!("{GOOD}{comment}")).1, []);
    }
}

#[test]
fn what_is_no_file_too_much_or_badly_named_is_an_error_that_names_it() {
    let kind = |bed: &Path, name: &str| {
        let errors = loaded(bed).unwrap_err();
        assert_eq!(errors.file, bed.join(FOLDER).join(name));
        errors.errors[0].kind.clone()
    };
    let one = bed(&[("10.toml", CORK)]);
    let folder = folder(&one.path().join("policy.toml"));
    fs::create_dir(folder.join("20.toml")).unwrap();
    assert!(matches!(kind(one.path(), "20.toml"), ErrorKind::Unreadable { .. }));
    fs::remove_dir(folder.join("20.toml")).unwrap();
    // Nobody writes to it: whoever opens it to read would wait.
    let (pipe, mode) = (folder.join("30.toml"), rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let reason = "it is not a regular file".to_owned();
    assert_eq!(kind(one.path(), "30.toml"), ErrorKind::Unreadable { reason });
    fs::remove_file(&pipe).unwrap();
    std::os::unix::fs::symlink("/no/such/file", folder.join("40.toml")).unwrap();
    assert!(matches!(kind(one.path(), "40.toml"), ErrorKind::Unreadable { .. }));
    fs::remove_file(folder.join("40.toml")).unwrap();
    // All together have no more than one file may.
    fs::write(folder.join("50.toml"), vec![b'#'; limits::FILE_BYTES - GOOD.len()]).unwrap();
    assert_eq!(kind(one.path(), "50.toml"), ErrorKind::FileTooLong);
    fs::remove_file(folder.join("50.toml")).unwrap();
    for name in ["a b.toml", "a\nb.toml", "\u{e9}.toml"] {
        fs::write(folder.join(name), LYON).unwrap();
        assert_eq!(loaded(one.path()).unwrap_err().errors[0].kind.code(), ERRORS[0], "{name:?}");
        fs::remove_file(folder.join(name)).unwrap();
    }
    loaded(one.path()).unwrap();
    for at in 0..limits::FRAGMENTS {
        fs::write(folder.join(format!("n{at}.toml")), "").unwrap();
    }
    assert_eq!(kind(one.path(), "").code(), "over-limit");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    assert!(matches!(kind(one.path(), ""), ErrorKind::Unreadable { .. }));
}

/// The folder is elsewhere, on what is not mounted.
#[test]
fn a_link_to_a_folder_that_is_gone_is_an_error_and_not_a_config_without_files() {
    let bed = bed(&[("10-cork.toml", CORK)]);
    let (link, shared) = (bed.path().join(FOLDER), bed.path().join("shared"));
    fs::rename(&link, &shared).unwrap();
    std::os::unix::fs::symlink(&shared, &link).unwrap();
    assert_eq!(loaded(bed.path()).unwrap().policy.sites.len(), 2);
    fs::rename(&shared, bed.path().join("away")).unwrap();
    let refused = loaded(bed.path()).unwrap_err();
    assert_eq!(refused.file, link);
    assert!(matches!(refused.errors[0].kind, ErrorKind::Unreadable { .. }));
    fs::remove_file(&link).unwrap();
    assert_eq!(loaded(bed.path()).unwrap().policy.sites.len(), 1, "nothing has the name");
}

/// Root reads all of it.
#[test]
fn a_folder_that_may_not_be_read_is_an_error() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let bed = bed(&[("10.toml", CORK)]);
    fs::set_permissions(bed.path().join(FOLDER), fs::Permissions::from_mode(0o000)).unwrap();
    let refused = loaded(bed.path());
    fs::set_permissions(bed.path().join(FOLDER), fs::Permissions::from_mode(0o700)).unwrap();
    refused.unwrap_err();
}

/// Somebody writes both files in turns; what is read is never one of now and one of before.
#[test]
fn what_is_read_is_of_one_moment() {
    let bed = bed(&[("10.toml", "# 0\n"), ("20.toml", "# 0\n")]);
    let (file, stop) = (bed.path().join("policy.toml"), std::sync::atomic::AtomicBool::new(false));
    let numbers = |text: &[u8]| -> Vec<u64> {
        let text = std::str::from_utf8(text).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("# ")?.parse().ok()).collect()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 1_u64.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                for name in ["10.toml", "20.toml"] {
                    let new = bed.path().join("new");
                    fs::write(&new, format!("# {turn}\n")).unwrap();
                    fs::rename(&new, bed.path().join(FOLDER).join(name)).unwrap();
                }
                std::thread::sleep(std::time::Duration::from_millis(turn % 40));
            }
        });
        for _ in 0..200 {
            // A look may find the first of two renames done: then the second is one turn behind, and never more.
            if let Ok(on_disk) = read(&file) {
                let found = numbers(&on_disk.fragments);
                assert!(found[0] == found[1] || found[0] == found[1] + 1, "{found:?}");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
