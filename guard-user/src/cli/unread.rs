//! Standard output that nobody reads any more (`borderguard doctor | head`).

use std::io::{self, ErrorKind, Write};

/// A writer that throws away what is written once nobody reads it, so that a command goes on to its own exit code: what it found
/// does not become good because a pager was closed.
#[derive(Debug)]
pub struct Unread<W> {
    out: W,
    /// Whether the command goes on for as long as somebody reads: then that nobody does ends it.
    ends: bool,
    is_gone: bool,
}

impl<W: Write> Unread<W> {
    /// Over a writer. `ends` says that the command is one that goes on for as long as somebody reads.
    pub const fn new(out: W, ends: bool) -> Self {
        Self { out, ends, is_gone: false }
    }

    /// `done` where there is still a reader; else what is given in its place.
    fn or_gone<T>(&mut self, done: io::Result<T>, in_its_place: T) -> io::Result<T> {
        match done {
            Err(error) if error.kind() == ErrorKind::BrokenPipe && !self.ends => {
                self.is_gone = true;
                Ok(in_its_place)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Unread<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_gone {
            return Ok(bytes.len());
        }
        let done = self.out.write(bytes);
        self.or_gone(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_gone {
            return Ok(());
        }
        let done = self.out.flush();
        self.or_gone(done, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and is closed then.
    struct Pager(usize);

    impl Write for Pager {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            if self.0 == 0 { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn what_nobody_reads_is_thrown_away_and_ends_only_what_goes_on_until_then() {
        let mut out = Unread::new(Pager(4), false);
        out.write_all(b"a line\n").unwrap();
        out.write_all(b"another\n").unwrap();
        out.flush().unwrap();
        let mut out = Unread::new(Pager(4), true);
        assert_eq!(out.write_all(b"a line\n").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn another_failure_is_one() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(ErrorKind::StorageFull.into())
            }
        }
        let mut out = Unread::new(Full, false);
        assert_eq!(out.write_all(b"a line\n").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(out.flush().is_err());
    }
}
