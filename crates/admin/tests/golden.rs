//! `docs/openapi.json` is what the API says of itself.
// A test's switch is no setting of mainstay.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

#[test]
fn the_openapi_document_is_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let now = format!("{:#}\n", mainstay_admin::openapi());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == now,
        "docs/openapi.json is not up to date: run this test with UPDATE_GOLDEN=1 and look at the difference"
    );
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = mainstay_admin::openapi();
    let text = document.to_string();
    let mut references = 0;
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
        references += 1;
    }
    assert!(references > 10);
}
