//! The storage service: nginx with a mailbox and an address book, for the demo and the stories.
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::proc::{Process, Transport};

/// The TCP port that the mailbox is served on.
pub const MAILBOX_PORT: u16 = 8143;
/// The TCP port that the address book is served on.
pub const ADDRESS_BOOK_PORT: u16 = 8080;

/// How fast the archive is served, in bytes a second.
const ARCHIVE_RATE: u64 = 4 << 20;

/// What clients can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The pinned mailbox.
    Mailbox,
    /// The address book, which is not pinned.
    AddressBook,
    /// A mailbox so large, and served so slowly, that it takes a while.
    Archive,
}

impl Item {
    const ALL: [Item; 3] = [Item::Mailbox, Item::AddressBook, Item::Archive];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Item::Mailbox => "mailbox",
            Item::AddressBook => "address book",
            Item::Archive => "archive",
        }
    }

    /// The TCP port that it is served on.
    pub fn port(self) -> u16 {
        match self {
            Item::Mailbox | Item::Archive => MAILBOX_PORT,
            Item::AddressBook => ADDRESS_BOOK_PORT,
        }
    }

    /// Its file, below the service's folder and in the URL alike.
    pub fn file(self) -> &'static str {
        match self {
            Item::Mailbox => "mail/inbox.mbox",
            Item::Archive => "mail/archive.mbox",
            Item::AddressBook => "contacts/addresses.vcf",
        }
    }

    fn write(self, path: &Path) -> std::io::Result<()> {
        // One block of text is made and repeated: a reader could tell any missing part of it.
        let (block, times) = match self {
            Item::Mailbox => (mails(0..2_500), 1),
            Item::Archive => (mails(0..2_500), 12),
            Item::AddressBook => (contacts(0..2_000), 1),
        };
        let mut file = File::create(path)?;
        (0..times).try_for_each(|_| file.write_all(block.as_bytes()))
    }
}

/// nginx, running.
#[derive(Debug)]
pub struct Service {
    folder: PathBuf,
    _nginx: Process,
}

impl Service {
    /// Writes the data below `folder` and serves it on every address of a host.
    ///
    /// # Errors
    /// Where the data can't be written, or nginx does not start.
    pub fn start(netns: &Netns, folder: &Path) -> Result<Self> {
        for item in Item::ALL {
            let path = folder.join(item.file());
            fs::create_dir_all(path.parent().unwrap_or(folder))
                .context("cannot make the storage's folder")?;
            item.write(&path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let config = folder.join("nginx.conf");
        fs::write(&config, nginx_config(folder))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = netns.command("nginx")?;
        command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&config);
        let nginx = Process::spawn("nginx", command)?;
        for port in [Item::Mailbox.port(), Item::AddressBook.port()] {
            nginx.wait_for_port(netns, Transport::Tcp, port, Duration::from_secs(10))?;
        }
        Ok(Service { folder: folder.to_owned(), _nginx: nginx })
    }

    /// What is stored, as it should arrive.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn content(&self, item: Item) -> Result<Vec<u8>> {
        let path = self.folder.join(item.file());
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// How many bytes that is.
    ///
    /// # Errors
    /// Where its file is gone.
    pub fn length(&self, item: Item) -> Result<u64> {
        let path = self.folder.join(item.file());
        Ok(fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len())
    }
}

fn nginx_config(folder: &Path) -> String {
    let folder = folder.display();
    let (mail, contacts) = (Item::Mailbox.port(), Item::AddressBook.port());
    format!(
        r#"daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    default_type text/plain;
    client_body_temp_path {folder}/tmp-body;
    proxy_temp_path {folder}/tmp-proxy;
    fastcgi_temp_path {folder}/tmp-fastcgi;
    uwsgi_temp_path {folder}/tmp-uwsgi;
    scgi_temp_path {folder}/tmp-scgi;
    server {{
        listen {mail};
        listen [::]:{mail};
        location = /mail/inbox.mbox {{ root {folder}; }}
        location = /mail/archive.mbox {{ root {folder}; limit_rate {ARCHIVE_RATE}; }}
    }}
    server {{
        listen {contacts};
        listen [::]:{contacts};
        location /contacts/ {{ root {folder}; }}
    }}
}}
"#
    )
}

/// Mails in the mbox format (RFC 4155).
fn mails(numbers: std::ops::Range<u32>) -> String {
    numbers.fold(String::new(), |mut text, n| {
        let (day, hour, minute) = (1 + n % 28, n / 60 % 24, n % 60);
        let _infallible = write!(
            text,
            "From sender{n}@example.org Mon Dec {day:2} {hour:02}:{minute:02}:00 2013\n\
             From: Sender {n} <sender{n}@example.org>\n\
             To: Customer <customer@example.ie>\n\
             Subject: Message {n}\n\
             Date: {day:02} Dec 2013 {hour:02}:{minute:02}:00 +0000\n\
             Message-ID: <{n}@example.org>\n\n"
        );
        for line in 0..10 {
            let _infallible = writeln!(
                text,
                "This is line {line} of message {n}, which stays in Ireland unless the law lets it go."
            );
        }
        text.push('\n');
        text
    })
}

/// Contacts in the vCard format (RFC 6350).
fn contacts(numbers: std::ops::Range<u32>) -> String {
    numbers.fold(String::new(), |mut text, n| {
        let _infallible = write!(
            text,
            "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Contact {n}\r\nEMAIL:contact{n}@example.org\r\nEND:VCARD\r\n"
        );
        text
    })
}
