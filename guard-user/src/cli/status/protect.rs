//! What the status says of keeping others from the guard's maps and links.

use crate::cli::table::plain;
use crate::control::status::ProtectStatus;
use crate::report::number::grouped;

/// Whether they are kept from them: nothing where the config does not ask for it.
pub(super) fn text(protect: &ProtectStatus) -> Option<String> {
    match (&protect.not_on, protect.on) {
        (Some(why), _) => Some(format!("changes of the guard by others: NOT refused, for {}", plain(why))),
        (None, true) => {
            Some(format!("changes of the guard by others: refused, so far {} times", grouped(protect.denied)))
        }
        (None, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_where_the_config_asks_for_it() {
        assert_eq!(text(&ProtectStatus::default()), None);
        let on = ProtectStatus { lsm: true, on: true, denied: 1_203, ..Default::default() };
        assert_eq!(text(&on).unwrap(), "changes of the guard by others: refused, so far 1,203 times");
        let not_on =
            ProtectStatus { lsm: true, not_on: Some("no\u{7} bpf".to_owned()), ..Default::default() };
        assert_eq!(text(&not_on).unwrap(), "changes of the guard by others: NOT refused, for no\\u{7} bpf");
    }
}
