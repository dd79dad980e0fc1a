//! Which ports are listened on, read from the kernel's tables.
use std::fmt;
use std::fs;

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        })
    }
}

/// Whether some socket in the calling thread's network namespace listens on the port (for UDP: is
/// bound to it), over IPv4 or IPv6.
pub fn is_listening(transport: Transport, port: u16) -> bool {
    let tables = match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    // Not /proc/net: that follows the process's main thread, which may be in another namespace.
    tables.iter().any(|table| {
        let rows = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        rows.lines().skip(1).any(|row| row_listens(row, transport, port))
    })
}

/// Reads one row of proc_net_tcp (kernel document `networking/proc_net_tcp`): number, local
/// address:port, remote address:port, state, all hexadecimal.
fn row_listens(row: &str, transport: Transport, port: u16) -> bool {
    // TCP_LISTEN is 0A; an unconnected UDP socket shows TCP_CLOSE, 07.
    let state = match transport {
        Transport::Tcp => "0A",
        Transport::Udp => "07",
    };
    let mut fields = row.split_whitespace().skip(1);
    let local = fields.next().and_then(|local| local.rsplit(':').next());
    let local = local.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    local == Some(port) && fields.nth(1) == Some(state)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn real_sockets_are_seen() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        assert!(is_listening(Transport::Tcp, port));
        drop(tcp);
        assert!(!is_listening(Transport::Tcp, port));
        let udp = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap();
        assert!(is_listening(Transport::Udp, udp.local_addr().unwrap().port()));
    }

    #[test]
    fn rows_are_read() {
        let row = "   0: 0A0200C0:1FCF 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0";
        assert!(row_listens(row, Transport::Tcp, 8143));
        assert!(!row_listens(row, Transport::Tcp, 8144));
        assert!(!row_listens(row, Transport::Udp, 8143));
        assert!(!row_listens("", Transport::Tcp, 0));
    }
}
