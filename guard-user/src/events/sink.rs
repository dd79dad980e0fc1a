//! Where the log's lines go: a stream, a file, or the journal.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, fstatvfs};
use tracing::warn;

use super::journal::Journal;
use super::line::{Line, Sink};
use crate::config::policy::LogTo;
use crate::no_symlinks;

/// The sink of this destination.
pub(super) fn sink(to: &LogTo) -> io::Result<Box<dyn Sink>> {
    Ok(match to {
        // Without the buffer of `std`: a line that failed must not come later all the same.
        LogTo::Stdout => Box::new(Stream::of(File::from(io::stdout().as_fd().try_clone_to_owned()?))),
        LogTo::File(path) => Box::new(LogFile::at(path.clone())),
        LogTo::Journald => Box::new(Journal::new()),
    })
}

/// Why no line could be written there now. Of standard output nothing is said: it is another one for the daemon.
pub(super) fn fault(to: &LogTo) -> Option<String> {
    match to {
        LogTo::Stdout => None,
        LogTo::Journald => Journal::new().fault(),
        LogTo::File(path) => match try_to_open(path) {
            Ok(()) => None,
            Err(error) => Some(format!("the event log {} can't be written: {error}", path.display())),
        },
    }
}

/// Whether the file can be opened, or made where there is none, as [`open`] does it. Nothing is made.
fn try_to_open(path: &Path) -> io::Result<()> {
    let place = match no_symlinks::open(path, WRITE, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            is_fit(&file)?;
            file
        }
        Err(rustix::io::Errno::NOENT) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = no_symlinks::open(folder, flags, Mode::empty())?;
            accessat(&folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
            File::from(folder)
        }
        Err(error) => return Err(error.into()),
    };
    match fstatvfs(&place)?.f_bavail {
        0 => Err(rustix::io::Errno::NOSPC.into()),
        _ => Ok(()),
    }
}

/// A stream without a name, such as a pipe.
pub(super) struct Stream<W> {
    out: W,
    /// Whether the last line is there in part.
    is_torn: bool,
}

impl<W: Write> Stream<W> {
    pub(super) fn of(out: W) -> Self {
        Self { out, is_torn: false }
    }

    fn write_whole(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.flush()
    }
}

impl<W: Write + Send> Sink for Stream<W> {
    fn write(&mut self, line: Line<'_>) -> io::Result<()> {
        if self.is_torn {
            // What is there of the last line is a line of its own, which no reader takes for a whole one.
            self.write_whole(b"\n")?;
        }
        self.write_whole(line.text.as_bytes())
    }
}

/// A file, by its path.
struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Why it could not be opened, while it can't.
    fault: Option<String>,
}

impl LogFile {
    fn at(path: PathBuf) -> Self {
        Self { path, file: None, fault: None }
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let opened = open(&self.path);
        let fault = opened.as_ref().err().map(ToString::to_string);
        if let Some(why) = fault.as_ref().filter(|why| Some(*why) != self.fault.as_ref()) {
            warn!("the event log {} can't be opened: {why}", self.path.display());
        }
        self.fault = fault;
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        Ok(self.file.insert(opened.map_err(at)?))
    }
}

/// How the file is opened. A pipe would hold the opening up.
const WRITE: OFlags = OFlags::WRONLY.union(OFlags::APPEND).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Opens the file to append to it, and creates it where there is none.
///
/// Whoever can write to one of its folders could lead the log elsewhere, or into what they read themselves. So no part of
/// the path may be a symbolic link, and the file must be a regular one, of this user's and of one name.
fn open(path: &Path) -> io::Result<File> {
    let file = File::from(no_symlinks::open(path, WRITE | OFlags::CREATE, Mode::from_raw_mode(0o640))?);
    is_fit(&file)?;
    Ok(file)
}

/// Whether it is a file that lines may be written to.
fn is_fit(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_file() || !is_ours || found.nlink() != 1 {
        return Err(io::Error::other("it is no regular file of this user's with one name"));
    }
    Ok(())
}

impl Sink for LogFile {
    fn write(&mut self, line: Line<'_>) -> io::Result<()> {
        // Nobody reads what is written to a file that was removed.
        let has_a_name = |file: &File| file.metadata().is_ok_and(|it| it.nlink() > 0);
        let file = match &mut self.file {
            Some(file) if has_a_name(file) => file,
            _ => self.open()?,
        };
        let before = file.metadata()?.len();
        let written = file.write_all(line.text.as_bytes());
        if written.is_err() && file.metadata()?.len() > before {
            // On a full disk a part of the line may be there.
            file.set_len(before)?;
        }
        written
    }

    fn reopen(&mut self) {
        self.file = None;
        // With the next line it would be tried again; the file is there at once for who waits for it.
        let _with_the_next_line = self.open();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use jiff::Timestamp;

    use super::super::record::Record;
    use super::super::run::End;
    use super::super::tests::envelope;
    use super::*;

    fn write(sink: &mut dyn Sink, text: &str) -> io::Result<()> {
        let (record, envelope) = (Record::End(End { time: Timestamp::UNIX_EPOCH }), envelope());
        sink.write(Line { text, record: &record, envelope: &envelope })
    }

    #[test]
    fn a_file_is_made_for_us_and_opened_anew_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["log", "log.1"].map(|name| folder.path().join(name));
        let mut sink = sink(&LogTo::File(path.clone())).unwrap();
        write(&mut *sink, "one\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        fs::rename(&path, &moved).unwrap();
        write(&mut *sink, "two\n").unwrap();
        sink.reopen();
        write(&mut *sink, "three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        // As copytruncate does.
        fs::write(&path, "").unwrap();
        write(&mut *sink, "four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew_and_is_a_fault_where_its_folder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/log");
        fs::create_dir(folder.path().join("logs")).unwrap();
        let mut sink = sink(&LogTo::File(path.clone())).unwrap();
        write(&mut *sink, "one\n").unwrap();
        fs::remove_file(&path).unwrap();
        write(&mut *sink, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_dir_all(folder.path().join("logs")).unwrap();
        for _ in 0..2 {
            assert_eq!(write(&mut *sink, "three\n").unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        fs::create_dir(folder.path().join("logs")).unwrap();
        write(&mut *sink, "four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn no_link_and_no_pipe_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("there"), "").unwrap();
        symlink(at("there"), at("link")).unwrap();
        fs::hard_link(at("there"), at("name")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink(at("folder"), at("way")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        for name in ["link", "name", "folder", "way/log", "pipe", "none/log"] {
            let to = LogTo::File(at(name));
            let mut sink = sink(&to).unwrap();
            assert!(fault(&to).is_some_and(|why| why.contains(name)), "{name}: {:?}", fault(&to));
            assert!(write(&mut *sink, "one\n").is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(at("there")).unwrap(), "");
        // What can be written is not made by asking.
        for name in ["there", "fresh"] {
            if name == "there" {
                fs::remove_file(at("name")).unwrap();
            }
            assert_eq!(fault(&LogTo::File(at(name))), None, "{name}");
        }
        assert!(!at("fresh").exists() && fault(&LogTo::Stdout).is_none());
        // Once it can be opened, it is.
        let mut sink = sink(&LogTo::File(at("none/log"))).unwrap();
        assert!(write(&mut *sink, "one\n").is_err());
        fs::create_dir(at("none")).unwrap();
        write(&mut *sink, "two\n").unwrap();
        assert_eq!(fs::read_to_string(at("none/log")).unwrap(), "two\n");
    }

    /// Takes so many bytes, and then none.
    struct Full(usize, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            self.1.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_torn_line_joins_no_other() {
        let mut stream = Stream::of(Full(6, Vec::new()));
        write(&mut stream, "one\n").unwrap();
        assert!(write(&mut stream, "two\n").is_err());
        stream.out.0 = 99;
        write(&mut stream, "three\n").unwrap();
        assert_eq!(String::from_utf8(stream.out.1).unwrap(), "one\ntw\nthree\n");
    }
}
