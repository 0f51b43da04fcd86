//! Any text as a node with suffixes: nothing panics, what is accepted is within bounds, nothing secret is shown.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mainstay_node::NodeSpec;
use mainstay_settings::is_key;
use url::Url;

fuzz_target!(|text: &str| {
    let spec = match NodeSpec::parse(text) {
        Ok(spec) => spec,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return;
        }
    };
    assert!(matches!(spec.url.scheme(), "http" | "https"));
    assert!(spec.url.host_str().is_some_and(|host| !host.is_empty()));
    assert!(!spec.name.is_empty());
    assert!(spec.jwt_secret.as_ref().is_none_or(|path| !path.as_os_str().is_empty()));
    let longest = Duration::from_secs(600);
    assert!(spec.timeout.is_none_or(|timeout| !timeout.is_zero() && timeout <= longest));
    assert_eq!(NodeSpec::parse(text).as_ref(), Ok(&spec));

    let shown = Url::parse(&spec.shown_url()).expect("what is shown is a URL");
    assert!(shown.username().is_empty() && shown.password().is_none() && shown.query().is_none());
    assert_eq!(shown.host_str(), spec.url.host_str());
    assert_eq!(shown.port_or_known_default(), spec.url.port_or_known_default());
    // What looks like a key is the settings' word too: both hide the same.
    let masked = spec.url.path().split('/').map(|part| if is_key(part) { "***" } else { part });
    assert!(shown.path().split('/').eq(masked));
    assert!(format!("{spec:?}").contains(&format!("{:?}", spec.shown_url())));
});
