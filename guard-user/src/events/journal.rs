//! Lines as entries of the systemd journal, by its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a datagram with fields, or a sealed memory file of them where they are
//! too many for one.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

use super::line::{Line, Sink};
use super::record::Record;

/// Where journald takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What our fields begin with.
pub(super) const PREFIX: &str = "BORDERGUARD_";

/// The journal.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { path: SOCKET.into(), socket: None }
    }

    /// Why journald takes no entry now.
    pub(super) fn fault(&self) -> Option<String> {
        let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(&self.path));
        asked.err().map(|error| format!("journald takes no entries at {}: {error}", self.path.display()))
    }

    fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(UnixDatagram::unbound()?),
        };
        match socket.send_to(entry, &self.path) {
            Ok(_) => Ok(()),
            Err(error) if is_too_long(&error) => self.send_file(entry),
            Err(error) => Err(error),
        }
    }

    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut file =
            File::from(memfd_create("borderguard-log", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(entry)?;
        // journald takes none that can still change.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let files = [file.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let to = SocketAddrUnix::new(&self.path)?;
        sendmsg_addr(socket, &to, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn is_too_long(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

impl Sink for Journal {
    fn write(&mut self, line: Line<'_>) -> io::Result<()> {
        self.send(&entry(line))
    }

    fn reopen(&mut self) {
        self.socket = None;
    }
}

/// The fields of an entry. Each value has its length before it, so that nothing in it ends it.
fn entry(line: Line<'_>) -> Vec<u8> {
    let mut entry = Vec::with_capacity(2 * line.text.len());
    for (name, value) in fields(line) {
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

fn fields(line: Line<'_>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = vec![
        ("MESSAGE".to_owned(), line.text.trim_end().to_owned()),
        ("PRIORITY".to_owned(), line.record.severity().priority().to_string()),
        ("SYSLOG_IDENTIFIER".to_owned(), "borderguard".to_owned()),
    ];
    for (name, value) in own_fields(line) {
        fields.push((format!("{PREFIX}{name}"), value));
    }
    fields
}

/// Our own fields, without their prefix.
fn own_fields(line: Line<'_>) -> Vec<(&'static str, String)> {
    let sequence = line.envelope.sequence.map(|it| it.to_string());
    let mut own = vec![("KIND", Some(line.record.kind().to_owned())), ("SEQUENCE", sequence)];
    match line.record {
        Record::Event(entry) => {
            own.push(("ID", Some(entry.sequence().to_string())));
            if let Some(event) = entry.flow() {
                let pin = event.rule.as_ref().map(|rule| &rule.pin).or(event.pins.first());
                own.extend([
                    ("PIN", pin.map(ToString::to_string)),
                    ("VERDICT", Some(event.verdict.name().to_owned())),
                    ("REASON", Some(event.reason.name().to_owned())),
                    ("JURISDICTION", Some(event.jurisdiction.as_str().to_owned())),
                    ("EXEMPTION", event.exemption.as_deref().map(str::to_owned)),
                ]);
            }
        }
        Record::Summary(summary) => own.extend([
            ("PIN", summary.pin.as_deref().map(str::to_owned)),
            ("VERDICT", Some(summary.verdict.name().to_owned())),
            ("REASON", Some(summary.reason.name().to_owned())),
            ("JURISDICTION", summary.group.map(|group| group.jurisdiction.as_str().to_owned())),
        ]),
        Record::Difference(it) => own.extend([
            ("VERDICT", Some(it.verdict.name().to_owned())),
            ("REASON", Some(it.reason.name().to_owned())),
        ]),
        Record::Canary(canary) => own.extend([
            ("CANARY", Some(canary.name())),
            ("PIN", canary.pin.as_deref().map(str::to_owned)),
            ("VERDICT", Some(canary.event.verdict.name().to_owned())),
        ]),
        Record::Untagged(_) | Record::Lost(_) | Record::Start(_) | Record::End(_) => {}
    }
    own.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::mem::MaybeUninit;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::super::Event;
    use super::super::event::Process;
    use super::super::tests::{dropped, envelope};
    use super::*;
    use crate::config::policy::LogFormat;

    /// The fields of an entry, as the protocol's page has them.
    fn parsed(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let length = u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap()) as usize;
            let value = entry[end + 9..end + 9 + length].to_vec();
            assert_eq!(entry[end + 9 + length], b'\n');
            fields.insert(name, String::from_utf8(value).unwrap());
            entry = &entry[end + 10 + length..];
        }
        fields
    }

    /// What comes at the socket of a test's: in the datagram, or in the file that it hands over.
    fn received(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        let message = recvmsg(socket, &mut parts, &mut control, RecvFlags::empty()).unwrap();
        let count = message.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                let [file] = &files.collect::<Vec<_>>()[..] else { panic!("one file") };
                let mut content = Vec::new();
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
                File::open(path).unwrap().read_to_end(&mut content).unwrap();
                return content;
            }
        }
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn an_entry_has_its_fields_whatever_is_in_them_and_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal { path, socket: None };
        for length in [1, 400_000] {
            let process = Process { command: "a\nPRIORITY=0".into(), ..dropped().process.unwrap() };
            let volumes = vec!["v".repeat(length).into()];
            let event = Event { process: Some(process), volumes, ..dropped() };
            let record = Record::Event(std::sync::Arc::new(event.into()));
            let text = record.to_line(LogFormat::Json, &envelope());
            journal.write(Line { text: &text, record: &record, envelope: &envelope() }).unwrap();
            let fields = parsed(&received(&socket));
            assert_eq!((fields["PRIORITY"].as_str(), fields["BORDERGUARD_KIND"].as_str()), ("4", "event"));
            assert_eq!(
                (fields["MESSAGE"].as_str(), fields["BORDERGUARD_PIN"].as_str()),
                (text.trim_end(), "mail")
            );
            assert_eq!(fields["BORDERGUARD_SEQUENCE"], "41");
        }
        assert_eq!(journal.fault(), None);
        drop(socket);
        assert!(journal.fault().is_some_and(|why| why.contains("refused")), "{:?}", journal.fault());
        let record = Record::Event(std::sync::Arc::new(dropped().into()));
        assert!(journal.write(Line { text: "one\n", record: &record, envelope: &envelope() }).is_err());
    }
}
