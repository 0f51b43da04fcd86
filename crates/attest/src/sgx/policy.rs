//! What an enclave may be besides the right one: which states of its platform are taken, and which attributes.

use dcap_qvl::TcbStatus;

const DEBUG_ENCLAVE: &str = "RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE";
const OUTDATED_TCB: &str = "RA_TLS_ALLOW_OUTDATED_TCB_INSECURE";
const HW_CONFIG_NEEDED: &str = "RA_TLS_ALLOW_HW_CONFIG_NEEDED";
const SW_HARDENING_NEEDED: &str = "RA_TLS_ALLOW_SW_HARDENING_NEEDED";

/// What is allowed that isn't by default. The names are those of Gramine's variables, which mean the same here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE`: an enclave whose memory its owner can read.
    pub debug_enclave: bool,
    /// `RA_TLS_ALLOW_OUTDATED_TCB_INSECURE`: a platform that lacks updates, and collateral that has expired.
    pub outdated_tcb: bool,
    /// `RA_TLS_ALLOW_HW_CONFIG_NEEDED`: a platform whose firmware ought to be configured in another way.
    pub hw_config_needed: bool,
    /// `RA_TLS_ALLOW_SW_HARDENING_NEEDED`: a platform on which enclaves have to protect themselves against known attacks.
    pub sw_hardening_needed: bool,
}

impl Policy {
    /// The variables that it can be taken from.
    pub const VARIABLES: [&str; 4] = [DEBUG_ENCLAVE, OUTDATED_TCB, HW_CONFIG_NEEDED, SW_HARDENING_NEEDED];

    /// Takes it from variables that `value` looks up. Only `1` allows anything, as with Gramine.
    #[must_use]
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Self {
        let allowed = |name| value(name).as_deref() == Some("1");
        Self {
            debug_enclave: allowed(DEBUG_ENCLAVE),
            outdated_tcb: allowed(OUTDATED_TCB),
            hw_config_needed: allowed(HW_CONFIG_NEEDED),
            sw_hardening_needed: allowed(SW_HARDENING_NEEDED),
        }
    }

    /// Whether a platform of this status is taken; if not, the variables that would allow it, none if nothing does.
    pub(crate) fn takes(&self, status: TcbStatus, expired: bool) -> Result<(), Vec<&'static str>> {
        let outdated = (self.outdated_tcb, OUTDATED_TCB);
        let config = (self.hw_config_needed, HW_CONFIG_NEEDED);
        let hardening = (self.sw_hardening_needed, SW_HARDENING_NEEDED);
        let mut needed = match status {
            TcbStatus::UpToDate => vec![],
            TcbStatus::ConfigurationNeeded => vec![config],
            TcbStatus::OutOfDate => vec![outdated],
            TcbStatus::OutOfDateConfigurationNeeded => vec![outdated, config],
            TcbStatus::SWHardeningNeeded => vec![hardening],
            TcbStatus::ConfigurationAndSWHardeningNeeded => vec![config, hardening],
            // The last two are of TDX.
            TcbStatus::Revoked
            | TcbStatus::TDRelaunchAdvised
            | TcbStatus::TDRelaunchAdvisedConfigurationNeeded => return Err(vec![]),
        };
        if expired && !needed.contains(&outdated) {
            needed.push(outdated);
        }
        needed.retain(|(allowed, _)| !allowed);
        match needed.is_empty() {
            true => Ok(()),
            false => Err(needed.into_iter().map(|(_, name)| name).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every policy there is, as (debug, outdated, config, hardening).
    fn policies() -> impl Iterator<Item = Policy> {
        (0..16).map(|bits| Policy {
            debug_enclave: bits & 1 != 0,
            outdated_tcb: bits & 2 != 0,
            hw_config_needed: bits & 4 != 0,
            sw_hardening_needed: bits & 8 != 0,
        })
    }

    #[test]
    fn a_platform_is_taken_as_the_table_says() {
        use TcbStatus::*;
        for policy in policies() {
            let Policy {
                outdated_tcb: outdated,
                hw_config_needed: config,
                sw_hardening_needed: hardening,
                ..
            } = policy;
            for (status, taken) in [
                (UpToDate, true),
                (ConfigurationNeeded, config),
                (OutOfDate, outdated),
                (OutOfDateConfigurationNeeded, outdated && config),
                (SWHardeningNeeded, hardening),
                (ConfigurationAndSWHardeningNeeded, config && hardening),
                (Revoked, false),
                (TDRelaunchAdvised, false),
                (TDRelaunchAdvisedConfigurationNeeded, false),
            ] {
                assert_eq!(policy.takes(status, false).is_ok(), taken, "{status} under {policy:?}");
                assert_eq!(
                    policy.takes(status, true).is_ok(),
                    taken && outdated,
                    "{status}, expired, under {policy:?}"
                );
            }
        }
    }

    #[test]
    fn only_1_allows_anything() {
        for value in ["", "0", "true", "yes", " 1", "1 ", "01", "11"] {
            assert_eq!(Policy::from_variables(|_| Some(value.to_owned())), Policy::default(), "{value:?}");
        }
        assert_eq!(Policy::from_variables(|_| None), Policy::default());
        let all = Policy {
            debug_enclave: true,
            outdated_tcb: true,
            hw_config_needed: true,
            sw_hardening_needed: true,
        };
        assert_eq!(Policy::from_variables(|_| Some("1".to_owned())), all);
        let one = |wanted: &'static str| {
            Policy::from_variables(move |name| (name == wanted).then(|| "1".to_owned()))
        };
        let none = Policy::default();
        assert_eq!(one("RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE"), Policy { debug_enclave: true, ..none });
        assert_eq!(one("RA_TLS_ALLOW_OUTDATED_TCB_INSECURE"), Policy { outdated_tcb: true, ..none });
        assert_eq!(one("RA_TLS_ALLOW_HW_CONFIG_NEEDED"), Policy { hw_config_needed: true, ..none });
        assert_eq!(one("RA_TLS_ALLOW_SW_HARDENING_NEEDED"), Policy { sw_hardening_needed: true, ..none });
    }
}
