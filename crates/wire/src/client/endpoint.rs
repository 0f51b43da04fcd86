//! Where a client's connections go, worked out once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::uri::{PathAndQuery, Scheme};
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use url::{Host, Url};

use super::Options;
use super::attested::asks_to_attest;
use super::stream::Dial;
use super::tls::Connectors;

/// Why a URL cannot be an endpoint. Quotes neither URL nor credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadEndpoint {
    /// Neither http nor https; the scheme.
    Scheme(String),
    /// There is no host, or not one that TLS can name.
    Host,
    /// Path and query are no target of a request.
    Path,
    /// The node is to prove what it runs, and nothing here can check that.
    Attested,
    /// The node is to prove what it runs, and can't be judged; why.
    Unjudged(String),
    /// The system offers no usable root certificate; what it said.
    Roots(String),
}

impl std::fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadEndpoint::Scheme(scheme) => write!(f, "{scheme}: is not http: or https:"),
            BadEndpoint::Host => f.write_str("the URL has no usable host"),
            BadEndpoint::Path => f.write_str("the URL's path or query cannot be requested"),
            BadEndpoint::Attested => f.write_str(
                "the user name (SGX_, SEV_ or TDX_) asks that the node attests what it runs, which can't be checked here; \
                 such a node is refused, never called unchecked: take it off the list",
            ),
            BadEndpoint::Unjudged(why) => write!(f, "{why}"),
            BadEndpoint::Roots(why) => write!(f, "no root certificates to check the server with: {why}"),
        }
    }
}

impl std::error::Error for BadEndpoint {}

pub(super) struct Endpoint {
    host: Host<String>,
    port: u16,
    tls: Option<(Connectors, ServerName<'static>)>,
    host_header: HeaderValue,
    target: PathAndQuery,
    json_head: Vec<u8>,
    authorization: Option<HeaderValue>,
    /// In the place of TCP.
    dial: Option<Arc<dyn Dial>>,
}

impl Endpoint {
    pub(super) fn new(url: &Url, options: &Options) -> Result<Self, BadEndpoint> {
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(BadEndpoint::Scheme(other.to_owned())),
        };
        let judge = match (asks_to_attest(url), &options.attest) {
            (false, _) => None,
            // Never in the clear, and never by anybody else's word.
            (true, Some(attest)) if secure => Some(attest.node(url).map_err(BadEndpoint::Unjudged)?),
            (true, _) => return Err(BadEndpoint::Attested),
        };
        let host = url.host().ok_or(BadEndpoint::Host)?.to_owned();
        let port = url.port_or_known_default().ok_or(BadEndpoint::Host)?;
        // The port is left out where it is the scheme's own, as browsers and curl do.
        let host_text = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        // What asks to attest is no user name, and goes nowhere.
        let authorization = if judge.is_some() { None } else { basic_authorization(url) };
        let tls = match (secure, judge) {
            (true, Some(judge)) => Some((Connectors::Attested(judge), server_name(&host)?)),
            (true, None) => Some((Connectors::new(options.tls.as_ref())?, server_name(&host)?)),
            (false, _) => None,
        };
        let host_header = HeaderValue::try_from(&host_text).map_err(|_| BadEndpoint::Host)?;
        let target = PathAndQuery::try_from(target).map_err(|_| BadEndpoint::Path)?;
        let json_head = format!(
            "POST {target} HTTP/1.1\r\nhost: {host_text}\r\n\
             content-type: application/json\r\naccept-encoding: identity\r\n"
        );
        Ok(Self {
            target,
            tls,
            host_header,
            json_head: json_head.into_bytes(),
            authorization,
            dial: None,
            host,
            port,
        })
    }

    /// Connects by `dial`, where nobody proves anything.
    pub(super) fn by(self, dial: Arc<dyn Dial>) -> Result<Self, BadEndpoint> {
        match self.is_attested() {
            true => Err(BadEndpoint::Attested),
            false => Ok(Self { dial: Some(dial), ..self }),
        }
    }

    pub(super) fn dial(&self) -> Option<&dyn Dial> {
        self.dial.as_deref()
    }

    pub(super) fn host(&self) -> &Host<String> {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn tls(&self) -> Option<&(Connectors, ServerName<'static>)> {
        self.tls.as_ref()
    }

    /// Whether the node is to prove what it runs.
    pub(super) fn is_attested(&self) -> bool {
        matches!(self.tls, Some((Connectors::Attested(_), _)))
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    pub(super) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Path and query of the URL.
    pub(super) fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// The head of a POST of JSON to path and query of the URL, but for what differs from call to call.
    pub(super) fn json_head(&self) -> &[u8] {
        &self.json_head
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

fn basic_authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, BadEndpoint> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| BadEndpoint::Host),
        Host::Ipv4(address) => Ok(std::net::IpAddr::from(*address).into()),
        Host::Ipv6(address) => Ok(std::net::IpAddr::from(*address).into()),
    }
}
