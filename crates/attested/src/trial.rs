//! One connection to a node: its nonce, the verdict on what the node shows, and the report of that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_attest::atls::Nonce;
use mainstay_attest::{Attested, Expectation, Kind, Refusal};
use mainstay_wire::client::{Refused, Trial};
use ring::rand::SecureRandom;
use url::Url;

use crate::ground::{Ground, Judged, Missing};
use crate::verify::{Terms, verify};

/// What a node is to prove, and on what ground it is judged.
pub(crate) struct Node {
    pub(crate) url: Url,
    pub(crate) expectation: Expectation,
    pub(crate) ground: Arc<dyn Ground>,
}

/// One connection.
pub(crate) struct Connection {
    node: Arc<Node>,
    /// With aTLS.
    nonce: Option<Nonce>,
    held: Mutex<Option<Held>>,
}

/// What held, until the peer has proved that it holds the key.
struct Held {
    attested: Attested,
    certificate: Vec<u8>,
    remembered: bool,
    at: SystemTime,
}

/// For how long a connection is used at most, however long its evidence holds; and at least, where evidence is taken although something has expired.
const LONGEST: Duration = Duration::from_secs(3_600);
const SHORTEST: Duration = Duration::from_secs(60);

impl Connection {
    pub(crate) fn new(node: Arc<Node>, random: &dyn SecureRandom) -> Result<Self, String> {
        let nonce = match node.expectation.kind() {
            Kind::Sgx => None,
            Kind::Sev | Kind::Tdx => {
                let mut drawn = [0; 40];
                random.fill(&mut drawn).map_err(|_| "the system gives no random numbers for a nonce")?;
                Some(Nonce::new(&drawn))
            }
        };
        Ok(Self { node, nonce, held: Mutex::default() })
    }

    fn verdict(&self, certificate: &[u8], now: SystemTime) -> (Result<Attested, Refusal>, Option<Missing>) {
        let ground = &self.node.ground;
        let missing = Mutex::new(None);
        let collateral = |of| {
            *lock(&missing) = Some(of);
            ground.collateral(of)
        };
        let verdict = verify(
            certificate,
            &Terms {
                expectation: &self.node.expectation,
                nonce: self.nonce.as_ref().map(Nonce::bytes),
                trust: &ground.trust(),
                collateral: &collateral,
                now,
            },
        );
        let lacks = matches!(&verdict, Err(refusal) if refusal.step == "collateral");
        (verdict, missing.into_inner().unwrap_or_else(PoisonError::into_inner).filter(|_| lacks))
    }

    fn report(
        &self,
        certificate: &[u8],
        verdict: Result<&Attested, &Refusal>,
        remembered: bool,
        at: SystemTime,
    ) {
        self.node.ground.judged(&Judged {
            node: &self.node.url,
            expectation: &self.node.expectation,
            certificate,
            nonce: self.nonce.as_ref().map(Nonce::bytes),
            verdict,
            remembered,
            at,
        });
    }
}

impl Trial for Connection {
    fn server_name(&self) -> Option<&str> {
        self.nonce.as_ref().map(Nonce::server_name)
    }

    fn judge(&self, certificate: &[u8]) -> Result<(), Refused> {
        let ground = &self.node.ground;
        let now = ground.now();
        let known = match self.nonce {
            None => ground.remembered(certificate, &self.node.expectation, now),
            // Evidence that was made for another connection is worth nothing.
            Some(_) => None,
        };
        let remembered = known.is_some();
        let (verdict, missing) = match known {
            Some(known) => (Ok(known), None),
            None => self.verdict(certificate, now),
        };
        match verdict {
            Ok(attested) => {
                let certificate = certificate.to_vec();
                *lock(&self.held) = Some(Held { attested, certificate, remembered, at: now });
                Ok(())
            }
            Err(refusal) => {
                self.report(certificate, Err(&refusal), false, now);
                let wait = missing.and_then(|missing| ground.fetching(missing));
                Err(Refused { reason: refusal.to_string(), wait })
            }
        }
    }

    fn held(&self) -> Duration {
        let Some(held) = lock(&self.held).take() else { return Duration::ZERO };
        self.report(&held.certificate, Ok(&held.attested), held.remembered, held.at);
        held.attested.until.duration_since(held.at).unwrap_or_default().clamp(SHORTEST, LONGEST)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under it can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
