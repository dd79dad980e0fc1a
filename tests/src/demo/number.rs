//! Numbers as people read them.

/// With a comma after every three digits: `2,097,152`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (2_097_152, "2,097,152")] {
            assert_eq!(super::grouped(number), text);
        }
    }
}
