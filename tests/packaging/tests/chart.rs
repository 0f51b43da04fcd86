//! The chart: helm lints it and renders it, with everything on and with nothing; the configuration in it is one that mainstay takes.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use mainstay_packaging::{both, fine, mainstay, root, tool};

const CHART: &str = "deploy/helm/mainstay";

fn helm(arguments: &[&str]) -> Command {
    let mut command = Command::new(tool("helm-3.19.5/helm"));
    // None of a user's own settings, repositories and plugins.
    let nowhere = root().join("target/no-helm");
    for variable in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &nowhere);
    }
    command.args(arguments).current_dir(root());
    command
}

const ALL: [&str; 12] = [
    "--set",
    "serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus",
    "--set",
    "podDisruptionBudget.enabled=true,replicas=2,strategy=RollingUpdate",
    "--set",
    "persistence.enabled=true,persistence.storageClass=fast",
    "--set",
    "secrets={jwt,admin},imagePullSecrets[0].name=pull",
    "--set",
    "podAnnotations.a=b,nodeSelector.c=d,image.tag=v9",
    "--set",
    "service.annotations.e=f,tolerations[0].key=g",
];

/// Documents by their kinds, in order.
fn kinds(rendered: &str) -> Vec<&str> {
    let mut kinds: Vec<&str> = rendered.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn helm_lints_it() {
    fine(&mut helm(&["lint", "--strict", "--quiet", CHART]));
    fine(helm(&["lint", "--strict", "--quiet", CHART]).args(ALL));
}

#[test]
fn it_is_rendered_with_everything_and_with_nothing() {
    let little = fine(&mut helm(&["template", "mainstay", CHART, "--kube-version", "1.31"]));
    assert_eq!(kinds(&little), ["ConfigMap", "Deployment", "Service"]);
    let all = fine(helm(&["template", "release", CHART, "--kube-version", "1.31"]).args(ALL));
    assert_eq!(
        kinds(&all),
        [
            "ConfigMap",
            "Deployment",
            "PersistentVolumeClaim",
            "PodDisruptionBudget",
            "Service",
            "Service",
            "ServiceMonitor"
        ]
    );
    for part in [
        "name: release-mainstay\n",
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "drop: [ALL]",
        "mountPath: /secrets/jwt,",
        "secretName: admin,",
        "storageClassName: fast",
        "image: \"ghcr.io/mainstay-rs/mainstay:v9\"",
        "/usr/bin/mainstay\", \"healthcheck\"",
    ] {
        assert!(all.contains(part), "{part} is missing:\n{all}");
    }
}

#[test]
fn a_value_that_is_misspelt_is_refused() {
    let output = helm(&["template", "mainstay", CHART, "--kube-version", "1.31", "--set", "replica=2"])
        .output()
        .unwrap();
    assert!(!output.status.success() && both(&output).contains("replica"), "{}", both(&output));
}

#[test]
fn its_configuration_is_one_that_mainstay_takes() {
    let rendered = fine(&mut helm(&[
        "template",
        "mainstay",
        CHART,
        "--kube-version",
        "1.31",
        "--show-only",
        "templates/configmap.yaml",
    ]));
    let config: String = rendered
        .lines()
        .skip_while(|line| *line != "  mainstay.toml: |")
        .skip(1)
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mainstay.toml"), &config).unwrap();
    let told = fine(Command::new(mainstay()).arg("check").current_dir(folder.path()).env_clear());
    assert!(told.contains("rpc on 0.0.0.0:8080 with 2 nodes"), "{told}\n{config}");
}

#[test]
fn its_version_is_the_programs() {
    let chart = std::fs::read_to_string(root().join(CHART).join(Path::new("Chart.yaml"))).unwrap();
    let version = concat!("ersion: ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(chart.matches(version).count(), 2, "version and appVersion are those of Cargo.toml");
}
