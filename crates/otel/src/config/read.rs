//! One variable after the other.

use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_settings::{Origin, Problem, Variables};
use mainstay_wire::client::Tls;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Sampler, Target};

/// Where a collector listens unless somebody says otherwise.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// The most that a queue or a batch may hold.
const MOST_SPANS: usize = 1 << 20;
/// The longest time: an hour.
const MOST_MS: u64 = 3_600_000;

pub(super) struct Read<'a> {
    pub(super) variables: &'a Variables,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Read<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(super) fn wrong(&mut self, name: &str, what: impl Into<String>) {
        let origin = Origin::Variable(name.to_owned());
        let problem = Problem { origin, key: String::new(), what: what.into() };
        // What is wrong for both signals is told once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.get(name) {
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) if value.eq_ignore_ascii_case("false") => false,
            None => false,
            Some(other) => {
                let what = format!("{other:?} is neither true nor false");
                self.wrong(name, what);
                false
            }
        }
    }

    /// A time in whole milliseconds.
    pub(super) fn time(&mut self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, default, MOST_MS, "milliseconds"))
    }

    pub(super) fn count(&mut self, name: &str, default: usize) -> usize {
        let read = self.number(name, default as u64, MOST_SPANS as u64, "spans");
        usize::try_from(read).unwrap_or(default)
    }

    fn number(&mut self, name: &str, default: u64, most: u64, unit: &str) -> u64 {
        let Some(text) = self.get(name) else { return default };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => number,
            _ => {
                let what = format!("{text:?} is no whole number of {unit} from 1 to {most}");
                self.wrong(name, what);
                default
            }
        }
    }

    /// The variable of one signal, or the one for all, with its name.
    fn of(&self, signal: &str, end: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{end}");
        let all = format!("OTEL_EXPORTER_OTLP_{end}");
        [own, all].into_iter().find_map(|name| Some((self.get(&name)?.to_owned(), name)))
    }

    /// Where a signal goes, if it is asked for: by its exporter, or an endpoint.
    pub(super) fn target(&mut self, signal: &str, path: &str) -> Option<Target> {
        let exporter = format!("OTEL_{signal}_EXPORTER");
        let is_named = match self.get(&exporter) {
            None => false,
            Some("otlp") => true,
            Some("none") => return None,
            Some(other) => {
                let what = format!("{other:?} is not what mainstay exports by: otlp or none");
                self.wrong(&exporter, what);
                return None;
            }
        };
        let endpoint = self.of(signal, "ENDPOINT");
        if endpoint.is_none() && !is_named {
            return None;
        }
        self.protocol(signal);
        let url = self.url(signal, endpoint, path);
        let gzip = match self.of(signal, "COMPRESSION") {
            Some((value, _)) if value == "gzip" => true,
            Some((value, _)) if value == "none" => false,
            None => false,
            Some((value, name)) => {
                self.wrong(&name, format!("{value:?} is neither gzip nor none"));
                false
            }
        };
        let headers = self.headers(signal);
        let timeout = self.of(signal, "TIMEOUT").map(|(_, name)| name);
        let timeout = self.time(timeout.as_deref().unwrap_or("OTEL_EXPORTER_OTLP_TIMEOUT"), 10_000);
        let tls = self.tls(signal);
        Some(Target { url: url?, headers, timeout, gzip, tls })
    }

    fn protocol(&mut self, signal: &str) {
        let Some((value, name)) = self.of(signal, "PROTOCOL") else { return };
        if value == "http/protobuf" {
            return;
        }
        let hint = if value == "grpc" { ": collectors take it on port 4318, gRPC is on 4317" } else { "" };
        self.wrong(&name, format!("{value:?} is not spoken here, http/protobuf is{hint}"));
    }

    /// Never quoted: it may hold credentials.
    fn url(&mut self, signal: &str, endpoint: Option<(String, String)>, path: &str) -> Option<Url> {
        let default = || (DEFAULT_ENDPOINT.to_owned(), "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned());
        let (text, name) = endpoint.unwrap_or_else(default);
        let is_own = name == format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let parsed = Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let Some(mut url) = parsed.filter(Url::has_host) else {
            self.wrong(&name, "is no http:// or https:// URL");
            return None;
        };
        url.set_fragment(None);
        // The signal's own is taken as it is, the one for all is where all of them are.
        if !is_own {
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}/v1/{path}"));
        }
        Some(url)
    }

    /// `name=value,…`, values percent-encoded. A signal's own take the place of those for all. Values are never quoted.
    fn headers(&mut self, signal: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some((text, name)) = self.of(signal, "HEADERS") else { return headers };
        for (nth, pair) in text.split(',').enumerate().filter(|(_, pair)| !pair.trim().is_empty()) {
            let read = pair.split_once('=').and_then(|(key, value)| {
                let key = HeaderName::try_from(key.trim()).ok()?;
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                let mut value = HeaderValue::try_from(value.as_ref()).ok()?;
                value.set_sensitive(true);
                Some((key, value))
            });
            match read {
                Some((key, value)) => {
                    headers.insert(key, value);
                }
                None => self.wrong(&name, format!("entry {} is no header name=value", nth + 1)),
            }
        }
        headers
    }

    fn tls(&mut self, signal: &str) -> Option<Tls> {
        let authorities = self.of(signal, "CERTIFICATE");
        let certificate = self.of(signal, "CLIENT_CERTIFICATE");
        let key = self.of(signal, "CLIENT_KEY");
        let identity = match (&certificate, &key) {
            (Some((certificate, _)), Some((key, _))) => Some((Path::new(certificate), Path::new(key))),
            (None, None) => None,
            (Some((_, name)), None) | (None, Some((_, name))) => {
                let name = name.clone();
                self.wrong(&name, "a certificate and its key go together, and only one of them is set");
                return None;
            }
        };
        if authorities.is_none() && identity.is_none() {
            return None;
        }
        match Tls::from_pem(authorities.as_ref().map(|(file, _)| Path::new(file)), identity) {
            Ok(tls) => Some(tls),
            Err(bad) => {
                let all = [&authorities, &certificate, &key];
                let blamed = all.into_iter().flatten().find(|(file, _)| Path::new(file) == bad.file());
                let name = blamed.map_or("OTEL_EXPORTER_OTLP_CERTIFICATE", |(_, name)| name).to_owned();
                self.wrong(&name, bad.to_string());
                None
            }
        }
    }

    /// Which spans, and whether a caller's decision counts more.
    pub(super) fn sampler(&mut self) -> (Sampler, bool) {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let word = self.get(SAMPLER).unwrap_or("parentbased_always_on").to_owned();
        let (by_parent, own) = match word.strip_prefix("parentbased_") {
            Some(own) => (true, own),
            None => (false, word.as_str()),
        };
        let sampler = match own {
            "always_on" => Sampler::Always,
            "always_off" => Sampler::Never,
            "traceidratio" => Sampler::Ratio(self.ratio()),
            _ => {
                let what = format!(
                    "{word:?} is none of always_on, always_off, traceidratio, and the same after parentbased_"
                );
                self.wrong(SAMPLER, what);
                Sampler::Always
            }
        };
        (sampler, by_parent)
    }

    fn ratio(&mut self) -> f64 {
        const ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.get(ARG) else { return 1.0 };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                let what = format!("{text:?} is no share between 0 and 1");
                self.wrong(ARG, what);
                1.0
            }
        }
    }

    /// `OTEL_RESOURCE_ATTRIBUTES`, over which `OTEL_SERVICE_NAME` goes; a name of ours and our version where there is none.
    pub(super) fn resource(&mut self) -> Vec<(String, String)> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let mut all: Vec<(String, String)> = Vec::new();
        let text = self.get(ATTRIBUTES).unwrap_or_default().to_owned();
        for (nth, pair) in text.split(',').enumerate().filter(|(_, pair)| !pair.trim().is_empty()) {
            let decoded = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
            let read = pair.split_once('=').and_then(|(key, value)| Some((decoded(key)?, decoded(value)?)));
            match read.filter(|(key, _)| !key.is_empty()) {
                Some(pair) => all.push(pair),
                None => self.wrong(ATTRIBUTES, format!("entry {} is no key=value", nth + 1)),
            }
        }
        let mut default = |key: &str, value: &str| {
            if !all.iter().any(|(known, _)| known == key) {
                all.push((key.to_owned(), value.to_owned()));
            }
        };
        default("service.name", "mainstay");
        default("service.version", env!("CARGO_PKG_VERSION"));
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            let name = name.to_owned();
            all.retain(|(key, _)| key != "service.name");
            all.push(("service.name".to_owned(), name));
        }
        all
    }
}
