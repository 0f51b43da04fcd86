//! Patterns in rules: `*` is any text, none included; everything else is itself.

/// Whether `text` is what `pattern` describes. Takes time in proportion to both lengths multiplied, at worst.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if this fails: after the last star, one byte further.
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            back = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, from)) = back {
            back = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text, wanted) in [
            ("eth_call", "eth_call", true),
            ("eth_call", "eth_callBundle", false),
            ("eth_call*", "eth_callBundle", true),
            ("eth_*", "eth_", true),
            ("*_send*", "eth_sendBundle", true),
            ("*_send*", "eth_resend", false),
            ("*a*b", "xxaxxbxxb", true),
            ("*a*b", "xxaxxbxxc", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "a", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn as_one_would_by_trying_everything(pattern in "[ab*]{0,6}", text in "[ab]{0,7}") {
            fn slow(pattern: &str, text: &str) -> bool {
                match pattern.chars().next() {
                    None => text.is_empty(),
                    Some('*') => (0..=text.len()).any(|n| slow(&pattern[1..], &text[n..])),
                    Some(c) => text.starts_with(c) && slow(&pattern[1..], &text[1..]),
                }
            }
            prop_assert_eq!(matches(&pattern, &text), slow(&pattern, &text));
        }
    }
}
