//! `[attest]`: whom to trust, what is allowed, where collateral comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_attest::collateral::pcs::Service;
use mainstay_attest::collateral::{Collateral, MAX_COLLATERAL};
use mainstay_attest::sev::{Policy, Roots};
use mainstay_attest::sgx::{self, Root};
use mainstay_settings::{Key, Kind, Problem, Section, Settings};

use crate::Trust;
use crate::keeper::read_file;

/// The largest file of roots that is read, in bytes.
const MAX_ROOTS: usize = 256 * 1024;
const BYTE: Kind = Kind::Integer { min: 0, max: 255 };

/// The keys of `[attest]`.
pub static SECTION: Section = Section::shared(
    "attest",
    "Nodes that prove what they run: https://SGX_…@host, SEV_…@host and TDX_…@host in any list of nodes",
    &[
        Key::new(
            "collateral_url",
            Kind::Or(&Kind::Url, &["off"]),
            "Who is asked for Intel's collateral, without which no SGX or TDX node is taken: Intel's own service or a PCCS; off for nobody",
        )
        .default("https://api.trustedservices.intel.com/sgx/certification/v4/"),
        Key::new(
            "collateral_files",
            Kind::List(&Kind::Path),
            "Collateral in files, as JSON with the fields of sgx_ql_qve_collateral_t; looked at before anybody is asked, read again when it runs out",
        ),
        Key::new(
            "collateral_dir",
            Kind::Path,
            "Folder in which collateral that was fetched is kept, so that nobody has to be asked after a restart",
        ),
        Key::new("refresh_ahead", Kind::Duration, "How long before it expires collateral is fetched again (Intel's lasts 30 days)")
            .default("168h"),
        Key::new(
            "result_ttl",
            Kind::Duration,
            "How long it is remembered that an SGX node's certificate held; every other connection is verified anew",
        )
        .default("1h"),
        Key::new(
            "allow_outdated_tcb",
            Kind::Switch,
            "Take Intel platforms that lack updates, and SGX collateral that has expired; as RA_TLS_ALLOW_OUTDATED_TCB_INSECURE=1",
        )
        .default("false"),
        Key::new(
            "allow_hw_config_needed",
            Kind::Switch,
            "Take Intel platforms whose firmware ought to be configured otherwise; as RA_TLS_ALLOW_HW_CONFIG_NEEDED=1",
        )
        .default("false"),
        Key::new(
            "allow_sw_hardening_needed",
            Kind::Switch,
            "Take Intel platforms on which software has to protect itself; as RA_TLS_ALLOW_SW_HARDENING_NEEDED=1",
        )
        .default("false"),
        Key::new(
            "allow_debug_enclave",
            Kind::Switch,
            "Take SGX enclaves whose memory their owner can read; as RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE=1",
        )
        .default("false"),
        Key::new(
            "sev_id_keys",
            Kind::List(&Kind::Text),
            "Digests (SHA-384, 96 hex digits) of the keys that may have signed the identity of an SEV-SNP machine's firmware; Azure's three by default",
        )
        .default(
            "57486a447ec0f1958002a22a06b7673b9fd27d11e1c6527498056054c5fa92d23c50f9de44072760fe2b6fb89740b696,\
             0356215882a825279a85b300b0b742931d113bf7e32dde2e50ffde7ec743ca491ecdd7f336dc28a6e0b2bb57af7a44a3,\
             934f68bd8ba01938eec21475c872e3a942b60c59fafc6df9e9a76ee66bc47f2d09c676f61c0315c578da26085fb13a71",
        ),
        Key::new("sev_min_boot_loader", BYTE, "The oldest boot loader of an SEV-SNP machine that is taken").default("2"),
        Key::new("sev_min_tee", BYTE, "The oldest operating system of its secure processor").default("0"),
        Key::new("sev_min_snp", BYTE, "The oldest SNP firmware").default("6"),
        Key::new("sev_min_microcode", BYTE, "The oldest microcode").default("93"),
        Key::new("sev_min_fmc", BYTE, "The oldest first mutable code, which Turin and newer have").default("0"),
        Key::new(
            "intel_root",
            Kind::Path,
            "Trust this certificate (DER or PEM) in the place of Intel's root; for tests with platforms of one's own",
        ),
        Key::new(
            "amd_roots",
            Kind::Path,
            "Trust these certificates (PEM) in the place of AMD's roots; for tests with chips of one's own",
        ),
    ],
);

/// Variables that mean the same as a key, where they are `1`.
pub const VARIABLES: [(&str, &str); 4] = [
    ("allow_outdated_tcb", "RA_TLS_ALLOW_OUTDATED_TCB_INSECURE"),
    ("allow_hw_config_needed", "RA_TLS_ALLOW_HW_CONFIG_NEEDED"),
    ("allow_sw_hardening_needed", "RA_TLS_ALLOW_SW_HARDENING_NEEDED"),
    ("allow_debug_enclave", "RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE"),
];

/// The validated `[attest]`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to trust, and what is allowed.
    pub trust: Trust,
    /// Who is asked for collateral.
    pub service: Option<Service>,
    /// Files with collateral.
    pub files: Vec<PathBuf>,
    /// What was in them.
    pub collateral: Vec<Arc<Collateral>>,
    /// Where what was fetched is kept.
    pub dir: Option<PathBuf>,
    /// How long before it expires collateral is fetched again.
    pub refresh_ahead: Duration,
    /// How long results are remembered at most.
    pub result_ttl: Duration,
}

impl Default for Config {
    /// The makers' roots, nothing allowed, and nobody is asked.
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            service: None,
            files: Vec::new(),
            collateral: Vec::new(),
            dir: None,
            refresh_ahead: Duration::from_secs(7 * 86_400),
            result_ttl: Duration::from_secs(3_600),
        }
    }
}

impl Config {
    /// Validates `[attest]`; reads the files that it names.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        let before = problems.len();
        let mut config = Self {
            trust: Trust {
                intel: Root::intel(),
                intel_policy: sgx::Policy {
                    debug_enclave: settings.switch("allow_debug_enclave"),
                    outdated_tcb: settings.switch("allow_outdated_tcb"),
                    hw_config_needed: settings.switch("allow_hw_config_needed"),
                    sw_hardening_needed: settings.switch("allow_sw_hardening_needed"),
                },
                amd: Roots::amd(),
                amd_policy: sev_policy(settings, problems),
            },
            files: settings.paths("collateral_files"),
            dir: settings.path("collateral_dir").map(Path::to_owned),
            refresh_ahead: settings.duration("refresh_ahead").unwrap_or_default(),
            result_ttl: settings.duration("result_ttl").unwrap_or_default(),
            ..Self::default()
        };
        let mut told = |key: &str, what: String| problems.push(settings.problem(key, what));
        match settings.text("collateral_url") {
            None | Some("off") => {}
            Some(url) => match Service::new(url) {
                Ok(service) => config.service = Some(service),
                Err(why) => told("collateral_url", why),
            },
        }
        for path in &config.files {
            match read_file(path, MAX_COLLATERAL).and_then(|json| read_collateral(path, &json)) {
                Ok(collateral) => config.collateral.push(Arc::new(collateral)),
                Err(why) => told("collateral_files", why),
            }
        }
        let root = |key: &str| settings.path(key).map(|path| (path.to_owned(), read_file(path, MAX_ROOTS)));
        if let Some((path, file)) = root("intel_root") {
            match file.and_then(|file| Root::read(&file).map_err(|why| format!("{}: {why}", path.display())))
            {
                Ok(root) => config.trust.intel = root,
                Err(why) => told("intel_root", why),
            }
        }
        if let Some((path, file)) = root("amd_roots") {
            match file
                .and_then(|file| Roots::from_pem(&file).map_err(|why| format!("{}: {why}", path.display())))
            {
                Ok(roots) => config.trust.amd = roots,
                Err(why) => told("amd_roots", why),
            }
        }
        (problems.len() == before).then_some(config)
    }

    /// What an operator ought to know before he trusts a node, one line each; nothing if all is as it is by default.
    #[must_use]
    pub fn warnings(settings: &Settings) -> Vec<String> {
        let mut warnings = Vec::new();
        for (key, maker) in [("intel_root", "Intel"), ("amd_roots", "AMD")] {
            if settings.path(key).is_some() {
                warnings.push(format!("[attest] {key}: nodes are trusted that {maker} doesn't vouch for"));
            }
        }
        for (key, _) in VARIABLES {
            if settings.switch(key) {
                warnings.push(format!("[attest] {key}: nodes are taken that Intel warns of"));
            }
        }
        warnings
    }
}

/// Reads a file of collateral.
pub(crate) fn read_collateral(path: &Path, json: &[u8]) -> Result<Collateral, String> {
    Collateral::from_json(json).map_err(|why| format!("{}: {why}", path.display()))
}

fn sev_policy(settings: &Settings, problems: &mut Vec<Problem>) -> Policy {
    let mut policy = Policy::default();
    let digests: Vec<Option<[u8; 48]>> =
        settings.list("sev_id_keys").iter().map(|hex| const_hex::decode_to_array(hex).ok()).collect();
    match digests.iter().position(Option::is_none) {
        Some(nth) => problems.push(settings.problem(
            "sev_id_keys",
            format!("item {} is no SHA-384 digest, write its 96 hex digits", nth + 1),
        )),
        None if digests.is_empty() => problems.push(settings.problem(
            "sev_id_keys",
            "is empty, so no machine could be taken; leave it out for Azure's".to_owned(),
        )),
        None => policy.id_keys = digests.into_iter().flatten().collect(),
    }
    let version =
        |key| settings.integer(key).and_then(|version| u8::try_from(version).ok()).unwrap_or_default();
    policy.minimum.boot_loader = version("sev_min_boot_loader");
    policy.minimum.tee = version("sev_min_tee");
    policy.minimum.snp = version("sev_min_snp");
    policy.minimum.microcode = version("sev_min_microcode");
    policy.minimum.fmc = Some(version("sev_min_fmc")).filter(|fmc| *fmc > 0);
    policy
}
