//! The list of nodes as bytes, the same that prio-load-balancer (Go's `encoding/json`) writes. Pure.

use std::fmt::Write;

/// Writes a JSON array of strings without any space, escaped as Go does it: `<`, `>`, `&` and the two line separators
/// that JavaScript minds as `\u…`, so that both write the same bytes for the same list.
pub(crate) fn write(uris: &[String]) -> String {
    let mut text = String::from("[");
    for (index, uri) in uris.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        quote(uri, &mut text);
    }
    text.push(']');
    text
}

fn quote(uri: &str, text: &mut String) {
    text.push('"');
    for character in uri.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a String can't fail.
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Reads a JSON array of strings, however it is escaped; `null` is an empty list, as it is in Go. The error says where,
/// and quotes nothing: an address may hold a password.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    let list: Option<Vec<String>> = serde_json::from_slice(bytes).map_err(|error| {
        format!("it is no JSON array of strings (line {}, column {})", error.line(), error.column())
    })?;
    Ok(list.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(uris: &[&str]) -> Vec<String> {
        uris.iter().map(|uri| (*uri).to_owned()).collect()
    }

    #[test]
    fn the_bytes_are_those_that_go_writes() {
        // Right: the output of encoding/json (Go 1.24) for the list on the left.
        for (uris, bytes) in [
            (&[][..], "[]"),
            (&["http://a:8545"], r#"["http://a:8545"]"#),
            (&["http://a", "http://b/?x=1&_workers=8"], r#"["http://a","http://b/?x=1\u0026_workers=8"]"#),
            (&["<>\"\\/\u{7f}é"], "[\"\\u003c\\u003e\\\"\\\\/\u{7f}é\"]"),
            (&["\n\r\t\u{8}\u{c}\u{1}\u{2028}\u{2029}"], r#"["\n\r\t\b\f\u0001\u2028\u2029"]"#),
        ] {
            assert_eq!(write(&list(uris)), bytes);
            assert_eq!(read(bytes.as_bytes()), Ok(list(uris)));
        }
    }

    #[test]
    fn other_spellings_of_the_same_list_are_read() {
        assert_eq!(read(br#" [ "http://a?x=1&y=2" ] "#), Ok(list(&["http://a?x=1&y=2"])));
        assert_eq!(read(b"null"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_list_of_strings_is_refused_without_quoting_it() {
        for bytes in
            ["", "[", r#"["http://user:secret@a""#, r#"{"secret":1}"#, r#"["a",1]"#, "[] []", "\u{0}secret"]
        {
            let error = read(bytes.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(read(b"[\"\xff\"]").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(uris in proptest::collection::vec(any::<String>(), 0..8)) {
            prop_assert_eq!(read(write(&uris).as_bytes()), Ok(uris));
        }
    }
}
