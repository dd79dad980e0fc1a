//! Takes IP addresses out of any text, and leaves which of them are the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The longest address as text: IPv6 with an IPv4 address at its end.
const LONGEST: usize = 45;

/// Puts a name in the place of each address: the same one for the same address, in all texts that it is given.
#[derive(Debug, Default)]
pub struct Redactor {
    names: BTreeMap<IpAddr, usize>,
}

impl Redactor {
    /// The text without its addresses. Lengths of prefixes and ports stay. An address that is nobody's (`::`, `0.0.0.0`) and
    /// those of the loopback stay too. What only looks like an address, as some version numbers do, goes with them.
    #[must_use]
    pub fn without_addresses(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find(is_of_address) {
            let (before, run) = rest.split_at(begin);
            let end = run.find(|letter| !is_of_address(letter)).unwrap_or(run.len());
            let (run, behind) = run.split_at(end);
            out.push_str(before);
            self.take_out(run, &mut out);
            rest = behind;
        }
        out.push_str(rest);
        out
    }

    /// Of letters that may all be of an address: takes the longest out that begins first, and looks on behind it.
    fn take_out(&mut self, run: &str, out: &mut String) {
        let mut rest = run;
        while !rest.is_empty() {
            match longest(rest) {
                Some((address, length)) => {
                    let (its, behind) = rest.split_at(length);
                    match address.is_unspecified() || address.is_loopback() {
                        true => out.push_str(its),
                        false => out.push_str(&self.name(address)),
                    }
                    rest = behind;
                }
                // Every letter of a run is of one byte.
                None => {
                    let (letter, behind) = rest.split_at(1);
                    out.push_str(letter);
                    rest = behind;
                }
            }
        }
    }

    fn name(&mut self, address: IpAddr) -> String {
        let next = self.names.len() + 1;
        format!("address-{}", self.names.entry(address).or_insert(next))
    }
}

fn is_of_address(letter: char) -> bool {
    letter.is_ascii_hexdigit() || matches!(letter, '.' | ':')
}

/// The longest address that the text begins with, and its length.
fn longest(text: &str) -> Option<(IpAddr, usize)> {
    // Without three dots or two colons there is none: most runs are numbers, hashes and words.
    let count = |letter: u8| text.bytes().filter(|byte| *byte == letter).count();
    if count(b'.') < 3 && count(b':') < 2 {
        return None;
    }
    (2..=text.len().min(LONGEST)).rev().find_map(|length| Some((text.get(..length)?.parse().ok()?, length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        Redactor::default().without_addresses(text)
    }

    #[test]
    fn addresses_go_and_the_same_have_the_same_name() {
        for (text, expected) in [
            (
                "sources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]",
                "sources = [\"address-1/32\", \"address-2/128\"]",
            ),
            (
                "192.0.2.10:143 to [2001:db8::1]:443, 192.0.2.10",
                "address-1:143 to [address-2]:443, address-1",
            ),
            ("::ffff:192.0.2.1 fe80::1%eth0", "address-1 address-2%eth0"),
            ("1.2.0.192.in-addr.arpa", "address-1.in-addr.arpa"),
            ("lab192.0.2.1", "labaddress-1"),
            ("2001:DB8::1 2001:db8:0::1", "address-1 address-1"),
            // What is nobody's, and what is none.
            (
                "listen 127.0.0.1:9100 [::1]:9100 0.0.0.0/0 ::/0",
                "listen 127.0.0.1:9100 [::1]:9100 0.0.0.0/0 ::/0",
            ),
            (
                "2026-11-29T12:00:04.5Z 02:00:5e:10:00:01 6.12.48 0x20/0xff",
                "2026-11-29T12:00:04.5Z 02:00:5e:10:00:01 6.12.48 0x20/0xff",
            ),
            ("mailbox-ie in Zürich … café", "mailbox-ie in Zürich … café"),
        ] {
            assert_eq!(redacted(text), expected);
        }
        let mut redactor = Redactor::default();
        assert_eq!(redactor.without_addresses("192.0.2.2 192.0.2.1"), "address-1 address-2");
        assert_eq!(redactor.without_addresses("192.0.2.1"), "address-2");
    }

    proptest! {
        #[test]
        fn no_address_is_left_whatever_is_around_it(
            before in "[a-zA-Z \"'=(\\[,/-]{0,6}",
            address: IpAddr,
            behind in "([^0-9a-fA-F.:].{0,8})?",
        ) {
            prop_assume!(!address.is_unspecified() && !address.is_loopback());
            // Letters that are hexadecimal digits go on an address of IPv6 in front; that is another address then, and goes too.
            let text = format!("{before}{address}{behind}");
            let left = redacted(&text);
            prop_assert!(!left.contains(&address.to_string()), "{} {}", text, left);
            prop_assert!(left.contains("address-1"), "{} {}", text, left);
        }
    }
}
