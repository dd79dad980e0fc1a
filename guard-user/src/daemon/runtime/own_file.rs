//! The daemon's config file, which a confirmed candidate takes the place of. The files of `policy.d` beside it stay as they are:
//! several files can't be exchanged in one step.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::approval::{Signature, beside};
use crate::config::fragments::{self, FOLDER, OnDisk};
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::{Applied, LoadFailure};

/// That the file, with those beside it, has this text, by which a start goes back from the candidate, and that the candidate can
/// take its place.
///
/// # Errors
/// Where it has another one, or can't be read, or the candidate has other files beside its own, or no other file can take its place.
pub(super) fn has(file: &Path, live: &[u8], candidate: &Applied) -> Result<(), LoadFailure> {
    let found = read(file)?;
    let own = own_of(&found, file, candidate).map(drop);
    if found.text() == live {
        return own.and_then(|()| can_be_replaced(file));
    }
    let name = file.display();
    let message = format!(
        "{name} is not the config that is live: a restart would go by the file, and not back. Copy it elsewhere, put the live \
         one back (`borderguard audit config SHA256` writes it), and apply the copy"
    );
    Err(LoadFailure { kind: ErrorKind::BadInput, message })
}

/// That another file can take this one's place: none can where it is mounted by itself, as files of containers are.
fn can_be_replaced(file: &Path) -> Result<(), LoadFailure> {
    let target = fs::canonicalize(file).map_err(|error| failed(file, &error))?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mount = |path: &Path| {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID);
        found.map(|it| it.stx_mnt_id).map_err(|error| failed(path, &error.into()))
    };
    if mount(&target)? == mount(folder)? {
        return Ok(());
    }
    let message = format!(
        "{} is a mount of its own, so that no confirmed config could take its place: mount its folder instead, or change \
         the file where it comes from and `borderguard reload`",
        file.display()
    );
    Err(LoadFailure { kind: ErrorKind::BadInput, message })
}

/// Puts a candidate in the place of the file, with its signatures beside it. A crash leaves either text whole; where it leaves the
/// one before, signatures of the other do no harm: nothing is to be signed of what is in force.
///
/// # Errors
/// Where the file has another text than that one and the candidate's, or the disk refuses.
pub(super) fn replace(file: &Path, before: &[u8], applied: &Applied) -> Result<(), LoadFailure> {
    // A link stays one.
    let target = fs::canonicalize(file).map_err(|error| failed(file, &error))?;
    let on_disk = read(file)?;
    let own = own_of(&on_disk, file, applied)?;
    let found = on_disk.clone().text();
    if found != applied.bytes && found != before {
        let message = format!(
            "{} was changed since the candidate was applied: put it back, or roll back and apply anew",
            file.display()
        );
        return Err(LoadFailure { kind: ErrorKind::BadInput, message });
    }
    let written = fs::metadata(&target).and_then(|metadata| {
        put_signatures(file, applied, &metadata)?;
        if found == applied.bytes { Ok(()) } else { write(&target, own, &metadata) }
    });
    written.map_err(|error| failed(file, &error))
}

fn read(file: &Path) -> Result<OnDisk, LoadFailure> {
    fragments::read(file)
        .map_err(|errors| LoadFailure { kind: ErrorKind::Failed, message: errors.to_string() })
}

/// What the file itself is to have for the candidate to be in its place.
///
/// # Errors
/// Where the candidate has other files beside its own than this one has.
fn own_of<'t>(on_disk: &OnDisk, file: &Path, candidate: &'t Applied) -> Result<&'t [u8], LoadFailure> {
    on_disk.own_of(&candidate.bytes).ok_or_else(|| {
        let (name, folder) = (candidate.name.display(), fragments::folder(file));
        let message = format!(
            "{name} has other files in {FOLDER} beside it than the daemon has in {}, and those change by a reload alone: have \
             the same beside it, as by a copy of the file in the same folder",
            folder.display()
        );
        LoadFailure { kind: ErrorKind::BadInput, message }
    })
}

fn failed(file: &Path, error: &io::Error) -> LoadFailure {
    let hint = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            ". The daemon has to be let write there: `ReadWritePaths=` of the folder in its unit"
        }
        _ => "",
    };
    LoadFailure { kind: ErrorKind::Failed, message: format!("{}: {error}{hint}", file.display()) }
}

/// Has the candidate's signatures beside the file, and no others: one of another text would make all of them count for nothing.
fn put_signatures(file: &Path, applied: &Applied, metadata: &Metadata) -> io::Result<()> {
    let wanted: Vec<(PathBuf, &Signature)> = applied
        .signatures
        .iter()
        .enumerate()
        .map(|(at, it)| (place(file, &applied.name, it, at), it))
        .collect();
    for path in beside::paths(file)? {
        if wanted.iter().all(|(wanted, _)| *wanted != path) {
            fs::remove_file(path)?;
        }
    }
    wanted.iter().try_for_each(|(path, signature)| write(path, &signature.bytes, metadata))
}

/// Where a signature of the candidate lies beside the file: by the same name as beside the candidate.
fn place(file: &Path, candidate: &Path, signature: &Signature, at: usize) -> PathBuf {
    let name = candidate.file_name().unwrap_or_default().to_string_lossy();
    let of_signature = Path::new(&signature.name).file_name().unwrap_or_default().to_string_lossy();
    let label = of_signature.strip_prefix(&*name).and_then(|rest| rest.strip_suffix(".sig"));
    let is_plain = |label: &&str| label.is_empty() || label.len() > 1 && label.starts_with('.');
    let label = label.filter(is_plain).map_or_else(|| format!(".{at}"), str::to_owned);
    let mut path = OsString::from(file);
    path.push(format!("{label}.sig"));
    path.into()
}

/// Writes a file beside and then renames it, with the owner and the mode of that one.
fn write(path: &Path, bytes: &[u8], like: &Metadata) -> io::Result<()> {
    let mut beside = OsString::from(path);
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = written(&mut file, bytes, like).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _left_for_the_next_try = fs::remove_file(&beside);
    }
    written?;
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn written(file: &mut File, bytes: &[u8], like: &Metadata) -> io::Result<()> {
    file.write_all(bytes)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(&*file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(signatures: &[(&str, &str)]) -> Applied {
        let signature = |(name, text): &(&str, &str)| Signature {
            name: (*name).to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        Applied {
            name: "/root/new.toml".into(),
            bytes: b"new".to_vec(),
            signatures: signatures.iter().map(signature).collect(),
        }
    }

    fn names(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_candidate_with_other_files_beside_it_is_refused_in_one_sentence() {
        let on_disk = OnDisk { own: b"new".to_vec(), fragments: b"#= policy.d/10.toml\n".to_vec() };
        let refused = own_of(&on_disk, Path::new("/etc/policy.toml"), &applied(&[])).unwrap_err();
        assert!(
            refused.message.contains("alone: have the same beside it, as by a copy"),
            "{}",
            refused.message
        );
        assert!(!refused.message.contains("  ") && !refused.message.contains('\n'), "{}", refused.message);
    }

    #[test]
    fn a_candidate_takes_the_place_of_the_file_with_its_signatures_and_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.toml");
        let file = folder.path().join("policy.toml");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &file).unwrap();
        fs::write(folder.path().join("policy.toml.bob.sig"), "of the old one").unwrap();
        fs::write(folder.path().join("policy.toml.new"), "left by an earlier try").unwrap();
        has(&file, b"old", &applied(&[])).unwrap();
        assert!(has(&file, b"new", &applied(&[])).unwrap_err().message.contains("apply the copy"));
        let signed =
            applied(&[("/root/new.toml.anne.sig", "a"), ("/root/new.toml.sig", "b"), ("other", "c")]);
        replace(&file, b"old", &signed).unwrap();
        let expected = [
            ("policy.toml", "new"),
            ("policy.toml.2.sig", "c"),
            ("policy.toml.anne.sig", "a"),
            ("policy.toml.new", "left by an earlier try"),
            ("policy.toml.sig", "b"),
            ("real.toml", "new"),
        ];
        let expected: Vec<_> = expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        assert_eq!(names(folder.path()), expected);
        assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        // Once more, as after a crash behind the rename.
        replace(&file, b"old", &signed).unwrap();
    }

    #[test]
    fn a_file_that_somebody_changed_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        fs::write(&file, "a third one").unwrap();
        let refused = replace(&file, b"old", &applied(&[("/root/new.toml.sig", "b")])).unwrap_err();
        assert!(refused.message.contains("was changed since"), "{}", refused.message);
        assert_eq!(names(folder.path()), [("policy.toml".to_owned(), "a third one".to_owned())]);
    }
}
