use proptest::prelude::*;

use super::*;

const HEX: &str = "f94ccbe6a504676b2edbefdcb8781a512913f7d8864c6f88592a843d0f9d4a66";

fn read(text: &str) -> Result<Option<AttestedUri>, BadUri> {
    AttestedUri::parse(text)
}

#[test]
fn an_enclave_is_32_bytes_in_hex() {
    let expected = const_hex::decode(HEX).unwrap();
    for user in [
        format!("SGX_{HEX}"),
        format!("SGX_{}", HEX.to_uppercase()),
        format!("SGX%5F{HEX}"),
        format!("SGX_%66{}", &HEX[1..]),
    ] {
        let uri = read(&format!("https://{user}@host:1234/path?key=hunter2")).unwrap().unwrap();
        let Expectation::Sgx(enclave) = uri.expectation() else { panic!("{user}") };
        assert_eq!(enclave.0[..], expected, "{user}");
        assert_eq!(uri.expectation().kind(), Kind::Sgx);
    }
}

#[test]
fn anything_else_is_refused() {
    let long = format!("{HEX}00");
    for (text, part) in [
        ("https://SGX_@h".to_owned(), "would be any enclave"),
        (format!("https://SGX_{}@h", &HEX[..62]), "followed by 62 digits"),
        (format!("https://SGX_{}@h", &HEX[..63]), "followed by 63 digits"),
        (format!("https://SGX_{long}@h"), "followed by 66 digits"),
        (format!("https://SGX_{}g@h", &HEX[..63]), "character 64 after it is no hex digit"),
        (format!("https://SGX_0x{}@h", &HEX[2..]), "character 2 after it is no hex digit"),
        (format!("https://SGX_%C3%A9{}@h", &HEX[2..]), "character 1 after it is no hex digit"),
        (format!("https://SGX_{HEX}%00@h"), "character 65 after it is no hex digit"),
        (format!("http://SGX_{HEX}@h"), "reached by https"),
        (format!("ws://SGX_{HEX}@h"), "reached by https"),
        (format!("https://sgx_{HEX}@h"), "SGX_ is written in capitals"),
        (format!("https://Sgx_{HEX}@h"), "SGX_ is written in capitals"),
        (format!("https://SGX_{HEX}:pw@h"), "has no password"),
        (format!("https://SGX_{HEX}@h /x"), "not a URL"),
        (format!("https://SGX_{HEX}@h/a b"), "has a blank"),
        (format!("ht\ntps://SGX_{HEX}@h"), "has a blank"),
        (format!("https:\\\\SGX_{HEX}@h"), "has a blank"),
        (format!("https://SGX_{HEX}@"), "not a URL"),
        (format!("https://SGX_{HEX}@h/{}", "x".repeat(MAX_URI)), "longer than"),
        ("https://sev_xx@h".to_owned(), "SEV_ is written in capitals"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?} gave {error:?}");
        assert!(!error.contains(&HEX[8..40]), "{error}");
    }
}

#[test]
fn ordinary_user_names_ask_for_nothing() {
    for text in
        ["https://h", "https://me@h", "https://SGX@h", "http://me:SGX_00@h/SGX_00", "https://%FFGX_@h"]
    {
        assert_eq!(read(text), Ok(None), "{text}");
    }
    assert!(Expectation::parse("me").unwrap_err().to_string().contains("expected SGX_"));
    assert!(Expectation::parse("").is_err());
}

#[test]
fn measurements_are_read_whether_the_padding_is_encoded_or_not() {
    let json = format!(r#"{{"4":"{HEX}","9":"{HEX}","12":"{HEX}"}}"#);
    let packed = crate::measurements::encode(json.as_bytes()).unwrap();
    let part = packed.trim_start_matches("SEV_");
    let padded = format!(
        "{}{}",
        part.trim_end_matches('='),
        "=".repeat(part.len() - part.trim_end_matches('=').len())
    );
    for part in [padded.clone(), padded.replace('=', "%3D")] {
        let text = format!("https://SEV_{part}@h");
        let uri = read(&text).unwrap().unwrap();
        assert_eq!(uri.expectation().kind(), Kind::Sev);
        assert_eq!(uri.identity(), text);
        assert_eq!(uri.to_string(), "https://SEV_***@h");
    }
    for text in ["https://SEV_@h", "https://SEV_AAAA@h", "https://TDX_@h", "https://TDX_AAAA@h"] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with(&text[8..12]), "{error}");
    }
}

#[test]
fn the_text_is_the_identity_and_nothing_of_it_is_shown_or_sent() {
    let text = format!("https://SGX_{}@Host:443/p/a?_workers=8&key=hunter2", HEX.to_uppercase());
    let uri = read(&text).unwrap().unwrap();
    assert_eq!(uri.identity(), text);
    assert_eq!(uri.url().as_str(), "https://host/p/a?_workers=8&key=hunter2");
    assert_eq!(uri.to_string(), "https://SGX_***@host/p/a");
    let debug = format!("{uri:?}");
    assert!(!debug.contains("F94C") && !debug.contains("hunter2"), "{debug}");
    let other = read(&format!("https://SGX_{HEX}@h:1")).unwrap().unwrap();
    assert_eq!(other.to_string(), "https://SGX_***@h:1");
}

proptest! {
    #[test]
    fn whatever_is_read_is_32_bytes(digits in "[0-9a-fA-F]{60,68}") {
        let read = read(&format!("https://SGX_{digits}@h"));
        prop_assert_eq!(read.is_ok(), digits.len() == 64);
        if let Ok(Some(uri)) = read {
            prop_assert_eq!(uri.expectation(), &Expectation::parse(&format!("SGX_{}", digits.to_lowercase())).unwrap());
        }
    }

    #[test]
    fn garbage_never_panics(text in "\\PC{0,80}") {
        let _ = read(&text);
        let _ = read(&format!("https://SGX_{text}@h"));
        let _ = Expectation::parse(&text);
    }
}
