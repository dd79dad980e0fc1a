//! A TCP connection between the storage host and a client, of which the test has both ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Result, ensure};

/// Both ends of a TCP connection.
#[derive(Debug)]
pub struct Connection {
    /// The storage host's.
    pub server: TcpStream,
    /// The client's.
    pub client: TcpStream,
}

impl Connection {
    /// Sends some bytes from the storage host to the client.
    ///
    /// # Errors
    /// Where they do not arrive.
    pub fn passes(&self) -> Result<()> {
        let mut word = [0; 6];
        (&self.server).write_all(b"a mail")?;
        (&self.client).read_exact(&mut word)?;
        ensure!(&word == b"a mail", "{word:?} arrived");
        Ok(())
    }
}
