//! Any text as the URI of a node that is to attest: nothing panics, what is read is the text's own, and nothing of what it expects is shown
//! or sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_attest::uri::AttestedUri;
use mainstay_wire::client::asks_to_attest;
use url::Url;

fuzz_target!(|text: &str| {
    match AttestedUri::parse(text) {
        Ok(Some(uri)) => {
            assert_eq!(uri.identity(), text);
            assert!(asks_to_attest(&Url::parse(text).expect("it was read as one")));
            assert!(!asks_to_attest(uri.url()));
            assert!(uri.url().username().is_empty() && uri.url().password().is_none());
            assert_eq!(uri.url().scheme(), "https");
            assert!(uri.to_string().contains("_***@"));
        }
        // What asks for nothing is never refused by the client for asking.
        Ok(None) => assert!(!asks_to_attest(&Url::parse(text).expect("it was read as one"))),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
});
