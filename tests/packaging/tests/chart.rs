//! The chart: helm lints it and renders it, with everything on and with nothing; every version of Kubernetes takes that, by its own schemas;
//! the configuration in it is one that mainstay takes.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

/// A folder of schemas for kubeconform, made of those of a version of Kubernetes that allow no unknown key, and of a `ServiceMonitor`'s.
fn schemas(of: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let definitions = format!("file://{}/_definitions.json", folder.path().display());
    for name in [
        "_definitions",
        "configmap-v1",
        "deployment-apps-v1",
        "service-v1",
        "persistentvolumeclaim-v1",
        "poddisruptionbudget-policy-v1",
    ] {
        let name = format!("{name}.json");
        let text =
            std::fs::read_to_string(of.join(&name)).unwrap_or_else(|why| panic!("{}: {why}", of.display()));
        std::fs::write(folder.path().join(name), text.replace("/api/_definitions.json", &definitions))
            .unwrap();
    }
    let monitor = std::fs::read(tool("prometheus-operator-0.85.0/servicemonitors-crd.json")).unwrap();
    let monitor: serde_json::Value = serde_json::from_slice(&monitor).unwrap();
    let version = &monitor["spec"]["versions"][0];
    assert_eq!(version["name"], "v1");
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    schema["additionalProperties"] = false.into();
    for part in ["/properties/spec", "/properties/spec/properties/endpoints/items"] {
        schema.pointer_mut(part).unwrap()["additionalProperties"] = false.into();
    }
    std::fs::write(folder.path().join("servicemonitor-monitoring-v1.json"), schema.to_string()).unwrap();
    folder
}

fn kubeconform(schemas: &Path, rendered: &str) -> Output {
    let mut child = Command::new(tool("kubeconform-0.8.0/kubeconform"))
        .args(["-strict", "-summary", "-schema-location"])
        .arg(schemas.join("{{.ResourceKind}}{{.KindSuffix}}.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(rendered.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn every_version_of_kubernetes_takes_it() {
    let all = tool("kubernetes-1.37.0/kubernetes_validate/kubernetes-json-schema");
    let versions: Vec<PathBuf> = std::fs::read_dir(all)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with("-local-strict"))
        .collect();
    // From the one that Chart.yaml names on.
    assert_eq!(versions.len(), 13, "{versions:?}");
    for path in versions {
        let name = path.file_name().unwrap().to_str().unwrap();
        let version = name.strip_prefix('v').unwrap().strip_suffix("-local-strict").unwrap();
        let little = fine(&mut helm(&["template", "mainstay", CHART, "--kube-version", version]));
        let all = fine(helm(&["template", "release", CHART, "--kube-version", version]).args(ALL));
        let schemas = schemas(&path);
        let judged = kubeconform(schemas.path(), &format!("{little}\n---\n{all}"));
        let told = both(&judged);
        assert!(judged.status.success(), "{version}: {told}");
        assert!(told.contains("10 resources found parsing stdin - Valid: 10, "), "{version}: {told}");

        // What it would say of keys that are wrong, which is the same for each.
        if version != "1.37.0" {
            continue;
        }
        for (right, wrong, says) in [
            ("readOnlyRootFilesystem: true", "readOnlyRootFileSystem: true", "readOnlyRootFileSystem"),
            ("minAvailable: ", "minAvailabel: ", "minAvailabel"),
            ("path: /metrics", "paht: /metrics", "paht"),
            ("replicas: 2", "replicas: two", "replicas"),
        ] {
            assert!(all.contains(right), "{right} isn't in it: {all}");
            let judged = kubeconform(schemas.path(), &all.replace(right, wrong));
            assert!(!judged.status.success() && both(&judged).contains(says), "{version}: {}", both(&judged));
        }
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
