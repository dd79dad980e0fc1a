//! The name of this host.

use std::sync::OnceLock;

/// Returns this host's name (uname(2)) as it was when it was first asked for. Documents name the hosts that they are for:
/// a name that is set later must not make one be for this host, so the daemon asks before anybody can load.
pub fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
