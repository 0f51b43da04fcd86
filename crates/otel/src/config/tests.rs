#![allow(clippy::unwrap_used)]

use super::*;

fn read(variables: &[(&str, &str)]) -> (Option<Config>, Vec<String>) {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut problems = Vec::new();
    let config = Config::read(&variables, &mut problems);
    (config, problems.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn fine(variables: &[(&str, &str)]) -> Config {
    let (config, problems) = read(variables);
    assert_eq!(problems, [""; 0]);
    config.unwrap()
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

#[test]
fn nothing_is_exported_unless_it_is_asked_for() {
    for variables in [
        &[][..],
        &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "no such")],
        &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none"), ENDPOINT],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "  ")],
        &[("OTEL_SDK_DISABLED", "TRUE"), ENDPOINT, ("OTEL_BSP_SCHEDULE_DELAY", "no number")],
        &[("OTEL_LOGS_EXPORTER", "otlp")],
    ] {
        let (config, problems) = read(variables);
        assert!(config.is_none() && problems.is_empty(), "{variables:?}: {config:?} {problems:?}");
    }
}

#[test]
fn where_signals_go() {
    let traces =
        |variables: &[(&str, &str)]| fine(variables).traces.map(|traces| traces.target.url.to_string());
    let metrics =
        |variables: &[(&str, &str)]| fine(variables).metrics.map(|metrics| metrics.target.url.to_string());
    let some = |text: &str| Some(text.to_owned());

    assert_eq!(traces(&[ENDPOINT]), some("http://collector:4318/v1/traces"));
    assert_eq!(metrics(&[ENDPOINT]), some("http://collector:4318/v1/metrics"));
    let deep = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example/otlp/")];
    assert_eq!(traces(&deep), some("https://c.example/otlp/v1/traces"));
    // The signal's own is taken as it is.
    let own = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/in?a=b")];
    assert_eq!(traces(&own), some("http://t:1/in?a=b"));
    assert_eq!(metrics(&own), None, "nobody asked for it");
    let both = [own[0], ENDPOINT];
    assert_eq!(metrics(&both), some("http://collector:4318/v1/metrics"));
    // An exporter alone has the default address.
    assert_eq!(traces(&[("OTEL_TRACES_EXPORTER", "otlp")]), some("http://localhost:4318/v1/traces"));
    assert_eq!(metrics(&[("OTEL_TRACES_EXPORTER", "otlp")]), None);
    assert_eq!(traces(&[("OTEL_TRACES_EXPORTER", "none"), ENDPOINT]), None);
}

#[test]
fn defaults_are_those_of_the_specification() {
    let config = fine(&[ENDPOINT]);
    let traces = config.traces.unwrap();
    assert_eq!((traces.sampler, traces.by_parent), (Sampler::Always, true));
    assert_eq!((traces.queue, traces.batch), (2048, 512));
    assert_eq!((traces.delay, traces.export_within), (Duration::from_secs(5), Duration::from_secs(30)));
    assert_eq!(traces.target.timeout, Duration::from_secs(10));
    assert!(!traces.target.gzip && traces.target.headers.is_empty() && traces.target.tls.is_none());
    let metrics = config.metrics.unwrap();
    assert_eq!((metrics.interval, metrics.export_within), (Duration::from_secs(60), Duration::from_secs(30)));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    assert_eq!(
        config.resource,
        [("service.name".to_owned(), "mainstay".to_owned()), ("service.version".to_owned(), version)]
    );
}

#[test]
fn everything_can_be_set() {
    let config = fine(&[
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb, x-two = 2 ,"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "only=this"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "300"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "500"),
        ("OTEL_SERVICE_NAME", "guard"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%20b"),
    ]);
    let (traces, metrics) = (config.traces.unwrap(), config.metrics.unwrap());
    assert_eq!((traces.sampler, traces.by_parent), (Sampler::Ratio(0.25), false));
    assert_eq!((traces.queue, traces.batch, traces.delay.as_millis()), (10, 5, 100));
    assert_eq!((traces.export_within.as_millis(), traces.target.timeout.as_millis()), (200, 300));
    assert_eq!((metrics.interval.as_millis(), metrics.export_within.as_millis()), (1000, 500));
    assert_eq!(metrics.target.timeout.as_millis(), 250);
    assert!(traces.target.gzip && !metrics.target.gzip);
    assert_eq!(traces.target.headers["api-key"], "a,b");
    assert_eq!(traces.target.headers["x-two"], "2");
    assert_eq!(metrics.target.headers.len(), 1);
    assert_eq!(metrics.target.headers["only"], "this");
    let resource: Vec<_> = config.resource.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert!(resource.contains(&("service.name", "guard")), "{resource:?}");
    assert!(resource.contains(&("deployment.environment.name", "a b")), "{resource:?}");
    assert!(!resource.contains(&("service.name", "other")), "{resource:?}");
}

#[test]
fn every_sampler_of_the_specification() {
    for (word, told) in [
        ("always_on", (Sampler::Always, false)),
        ("always_off", (Sampler::Never, false)),
        ("traceidratio", (Sampler::Ratio(0.5), false)),
        ("parentbased_always_on", (Sampler::Always, true)),
        ("parentbased_always_off", (Sampler::Never, true)),
        ("parentbased_traceidratio", (Sampler::Ratio(0.5), true)),
    ] {
        let set = [ENDPOINT, ("OTEL_TRACES_SAMPLER", word), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
        let traces = fine(&set).traces.unwrap();
        assert_eq!((traces.sampler, traces.by_parent), told, "{word}");
    }
}

#[test]
fn a_batch_that_nobody_chose_fits_the_queue() {
    let traces = fine(&[ENDPOINT, ("OTEL_BSP_MAX_QUEUE_SIZE", "100")]).traces.unwrap();
    assert_eq!((traces.queue, traces.batch), (100, 100));
}

/// Each is told by its name; neither headers nor URLs are quoted.
#[test]
fn what_is_wrong_is_told() {
    let no_file = "/no/such/file.pem";
    for (variable, value, told) in [
        ("OTEL_SDK_DISABLED", "yes", "\"yes\" is neither true nor false"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "\"zipkin\" is not what mainstay exports by: otlp or none"),
        (
            "OTEL_METRICS_EXPORTER",
            "otlp,console",
            "\"otlp,console\" is not what mainstay exports by: otlp or none",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "grpc",
            "\"grpc\" is not spoken here, http/protobuf is: collectors take it on port 4318, gRPC is on 4317",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            "http/json",
            "\"http/json\" is not spoken here, http/protobuf is",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "user:secret@host", "is no http:// or https:// URL"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4318", "is no http:// or https:// URL"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,secret", "entry 2 is no header name=value"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a b=secret", "entry 1 is no header name=value"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=%0asecret", "entry 1 is no header name=value"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "0",
            "\"0\" is no whole number of milliseconds from 1 to 3600000",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd", "\"zstd\" is neither gzip nor none"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
            no_file,
            "a certificate and its key go together, and only one of them is set",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "jaeger_remote",
            "\"jaeger_remote\" is none of always_on, always_off, traceidratio, and the same after parentbased_",
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "\"5s\" is no whole number of milliseconds from 1 to 3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "\"-1\" is no whole number of spans from 1 to 1048576"),
        (
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "4096",
            "4096 spans are more than the queue of 2048 can hold (OTEL_BSP_MAX_QUEUE_SIZE)",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "x", "\"x\" is no whole number of milliseconds from 1 to 3600000"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "entry 2 is no key=value"),
    ] {
        let (_, problems) = read(&[ENDPOINT, (variable, value)]);
        assert_eq!(problems, [format!("{variable}: {told}")]);
    }
    let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
    assert_eq!(read(&ratio).1, ["OTEL_TRACES_SAMPLER_ARG: \"1.5\" is no share between 0 and 1"]);
    let (_, problems) = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", no_file)]);
    assert!(problems[0].starts_with("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: "), "{problems:?}");
}

#[test]
fn neither_headers_nor_credentials_are_shown() {
    let config = fine(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:geheim@host:1/geheim"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=geheim"),
    ]);
    assert!(!format!("{config:?}").contains("geheim"));
}
