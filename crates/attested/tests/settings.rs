//! `[attest]` as it is written, and what is wrong with it.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use mainstay_attest::{sev, sgx};
use mainstay_attested::{Config, SECTION, VARIABLES};
use mainstay_settings::{Flags, Problem, Sources, Variables, resolve};
use peer::common::{Intel, Told};

/// What keys with these values come to, and what of them is wrong.
fn configured(keys: &[(&str, &str)]) -> (Option<Config>, Vec<Problem>) {
    let mut flags = Flags::default();
    for (key, value) in keys {
        flags.set(key, format!("--attest-{key}"), vec![(*value).to_owned()]);
    }
    let mut problems = Vec::new();
    let settings = resolve(&SECTION, &Sources { flags: &flags, ..Sources::default() }, &mut problems);
    (Config::from_settings(&settings, &mut problems), problems)
}

fn fine(keys: &[(&str, &str)]) -> Config {
    let (config, problems) = configured(keys);
    assert!(problems.is_empty(), "{problems:?}");
    config.unwrap()
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let config = fine(&[]);
    assert_eq!(config.trust.amd_policy, sev::Policy::default());
    assert_eq!(config.trust.intel_policy, sgx::Policy::default());
    assert_eq!(config.trust.intel, sgx::Root::intel());
    assert_eq!(config.trust.amd.names().count(), 3);
    let service = format!("{:?}", config.service.unwrap());
    assert!(service.contains("api.trustedservices.intel.com"), "{service}");
    assert_eq!((config.files.len(), config.dir, config.collateral.len()), (0, None, 0));
    assert_eq!(config.refresh_ahead, Duration::from_secs(7 * 86_400));
    assert_eq!(config.result_ttl, Duration::from_secs(3_600));
}

#[test]
fn what_is_set_is_what_counts() {
    let place = tempfile::tempdir().unwrap();
    let intel = Intel::new();
    let file = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let collateral = file("collateral.json", intel.collateral(&Told::default()).to_string().as_bytes());
    let root = file("root.pem", intel.root_pem().as_bytes());
    let ark = file("ark.pem", peer::chips::ARK);
    let digests = ["0a".repeat(48), "0b".repeat(48)].join(",");
    let config = fine(&[
        ("collateral_url", "off"),
        ("collateral_files", &collateral),
        ("collateral_dir", "kept"),
        ("refresh_ahead", "24h"),
        ("result_ttl", "5m"),
        ("allow_outdated_tcb", "true"),
        ("allow_debug_enclave", "true"),
        ("sev_id_keys", &digests),
        ("sev_min_boot_loader", "3"),
        ("sev_min_tee", "4"),
        ("sev_min_snp", "5"),
        ("sev_min_microcode", "6"),
        ("sev_min_fmc", "7"),
        ("intel_root", &root),
        ("amd_roots", &ark),
    ]);
    assert_eq!((config.service, config.collateral.len()), (None, 1));
    assert_eq!(config.dir.unwrap().to_str(), Some("kept"));
    assert_eq!((config.refresh_ahead.as_secs(), config.result_ttl.as_secs()), (86_400, 300));
    let policy = config.trust.intel_policy;
    assert!(
        policy.outdated_tcb
            && policy.debug_enclave
            && !policy.hw_config_needed
            && !policy.sw_hardening_needed
    );
    let minimum = sev::Tcb { fmc: Some(7), boot_loader: 3, tee: 4, snp: 5, microcode: 6 };
    assert_eq!(config.trust.amd_policy, sev::Policy { id_keys: vec![[0x0a; 48], [0x0b; 48]], minimum });
    assert_eq!(config.trust.intel, intel.root());
    assert_eq!(config.trust.amd.names().collect::<Vec<_>>(), ["CN=ARK-Forged"]);
}

#[test]
fn each_variable_allows_what_its_key_does() {
    for (key, variable) in VARIABLES {
        let name = variable.trim_start_matches("RA_TLS_ALLOW_").trim_end_matches("_INSECURE").to_lowercase();
        assert_eq!(key, format!("allow_{name}"), "{variable}");
        let variables = Variables::from([(variable.to_owned(), "1".to_owned())]);
        let sources =
            Sources { variables: Some(&variables), fallbacks: &[(key, variable)], ..Sources::default() };
        let mut problems = Vec::new();
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config = Config::from_settings(&settings, &mut problems).unwrap();
        let same = sgx::Policy::from_variables(|name| variables.get(name).cloned());
        assert_eq!(config.trust.intel_policy, same, "{variable}");
        let warnings = Config::warnings(&settings);
        assert!(warnings.len() == 1 && warnings[0].contains(key), "{warnings:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bad");
    std::fs::write(&path, "nonsense").unwrap();
    let bad = path.to_str().unwrap();
    for (key, value, part) in [
        ("collateral_url", "ftp://pccs", "http or https"),
        ("collateral_url", "https://me:secret@pccs", "nothing but host, port and path"),
        ("collateral_url", "nobody", "URL"),
        ("collateral_files", bad, "bad: collateral: "),
        ("collateral_files", "/none/collateral.json", "/none/collateral.json: cannot be read"),
        ("sev_id_keys", "00", "item 1 is no SHA-384 digest, write its 96 hex digits"),
        ("sev_min_snp", "256", "256 is not between 0 and 255"),
        ("sev_min_snp", "-1", "-1 is not between 0 and 255"),
        ("result_ttl", "60", "no unit"),
        ("allow_debug_enclave", "perhaps", "true or false"),
        ("intel_root", bad, "bad: neither a certificate"),
        ("intel_root", "/none", "/none: cannot be read"),
        ("amd_roots", bad, "bad: the roots hold no certificate"),
    ] {
        let (config, problems) = configured(&[(key, value)]);
        assert_eq!(problems.len(), 1, "{key} = {value}: {problems:?}");
        let told = problems[0].to_string();
        assert!(told.starts_with(&format!("--attest-{key}: ")) && told.contains(part), "{told}");
        assert!(!told.contains("secret"), "{told}");
        let _ = config;
    }
}

#[test]
fn an_empty_list_of_id_keys_is_refused() {
    let mut flags = Flags::default();
    flags.set("sev_id_keys", "--attest-sev-id-keys".to_owned(), Vec::new());
    let mut problems = Vec::new();
    let settings = resolve(&SECTION, &Sources { flags: &flags, ..Sources::default() }, &mut problems);
    let _ = Config::from_settings(&settings, &mut problems);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("no machine could be taken"), "{told:?}");
}
