//! mainstay under a real systemd: a clean Debian is booted, and its units are started, read anew, hung, restarted and removed there.
//! Where none can be booted (no root, no namespaces) that is said.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use mainstay_packaging::machine::{Machine, stripped};
use mainstay_packaging::{both, fine, root};

const CONFIG: &str = "/etc/mainstay/mainstay.toml";
/// Nothing answers there: it is mainstay that is asked, not its node. The address is that of the socket unit.
const RPC: &str = "[rpc]\nlisten = \"127.0.0.1:7000\"\nnodes = [\"http://127.0.0.1:1\"]\nretries_max = 3\n";
/// What answers on the port of the role, at once.
const ASK: &str = "exec 3<>/dev/tcp/127.0.0.1/7000; \
    printf 'GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n' >&3; head -1 <&3 | tr -d '\\r'";

/// With the binary and the units as docs say to install them, and a configuration.
fn with_units(config: &str) -> Option<Machine> {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("mainstay");
    stripped(&binary);
    let units = root().join("deploy/systemd");
    let machine = Machine::boot(&[(folder.path(), "/mnt"), (&units, "/media")])?;
    machine.run(
        "install -m 755 /mnt/mainstay /usr/bin/; install -m 644 /media/* /etc/systemd/system/; mkdir /etc/mainstay; systemctl daemon-reload",
    );
    machine.write(CONFIG, config);
    Some(machine)
}

#[test]
fn a_start_is_over_when_it_serves_and_nothing_more_than_it_needs_is_allowed() {
    let jwt = "[engine]\nlisten = \"127.0.0.1:7001\"\nnodes = [\"http://127.0.0.1:1\"]\n\
        jwt_secret = \"/run/credentials/mainstay.service/jwt.hex\"\nevidence_dir = \"/var/lib/mainstay/evidence\"\n";
    let Some(machine) = with_units(&format!("{RPC}{jwt}")) else { return };
    // A secret that only root can read.
    machine.run(
        "umask 077; printf %064d 1 >/etc/mainstay/jwt.hex; mkdir /etc/systemd/system/mainstay.service.d",
    );
    machine.write(
        "/etc/systemd/system/mainstay.service.d/secret.conf",
        "[Service]\nLoadCredential=jwt.hex:/etc/mainstay/jwt.hex\n",
    );
    // Nobody waits here: it is READY=1 that ends the start.
    assert_eq!(
        machine.run(&format!("systemctl daemon-reload; systemctl start mainstay; {ASK}")),
        "HTTP/1.1 200 OK"
    );
    for (name, value) in [("SubState", "running"), ("NRestarts", "0"), ("User", "mainstay")] {
        assert_eq!(machine.property("mainstay", name), value, "{name}");
    }
    let process = machine.property("mainstay", "MainPID");
    let status = machine.run(&format!("cat /proc/{process}/status"));
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    // Its user is one that systemd makes up.
    assert!((61184..=65519).contains(&of("Uid:").parse::<u32>().unwrap()), "{status}");
    assert_eq!((of("CapBnd:"), of("NoNewPrivs:"), of("Seccomp:")), ("0".repeat(16), "1".into(), "2".into()));
    assert_eq!(machine.run("stat --format %u /var/lib/private/mainstay"), of("Uid:"));
    // A reload works where systemd shows the secret to the service alone.
    machine.run("systemctl reload mainstay");
    assert_eq!(machine.property("mainstay", "StatusText"), "reloaded, nothing differs");
    // It is told how to end, and does.
    machine.run("systemctl stop mainstay");
    assert_eq!(machine.property("mainstay", "Result"), "success");
    assert_eq!(machine.property("mainstay", "ExecMainStatus"), "0");
}

#[test]
fn systemctl_reload_applies_a_changed_file_and_refuses_a_wrong_one() {
    let Some(machine) = with_units(RPC) else { return };
    machine.run("systemctl start mainstay");
    let process = machine.property("mainstay", "MainPID");

    machine.write(CONFIG, &RPC.replace("retries_max = 3", "retries_max = 5"));
    machine.run("systemctl reload mainstay");
    // The reload is over when systemctl is.
    let told = machine.property("mainstay", "StatusText");
    assert_eq!(told, "reloaded, 1 change: [rpc] retries_max: 5 (was 3)");

    // It says why, and goes on.
    machine.write(CONFIG, &RPC.replace("retries_max = 3", "retries_mx = 7"));
    let refused = machine.output("systemctl reload mainstay");
    assert!(!refused.status.success(), "{}", both(&refused));
    let journal = machine.run("journalctl --no-pager --unit mainstay");
    assert!(journal.contains("did you mean `retries_max`?"), "{journal}");

    assert_eq!(machine.property("mainstay", "MainPID"), process, "no restart");
    assert_eq!(machine.property("mainstay", "ActiveState"), "active");
    assert_eq!(machine.run(ASK), "HTTP/1.1 200 OK");
}

#[test]
fn a_process_that_hangs_is_ended_and_another_serves() {
    let Some(machine) = with_units(RPC) else { return };
    machine.run("systemctl start mainstay");
    let process = machine.property("mainstay", "MainPID");
    machine.run(&format!("kill -STOP {process}"));
    machine.eventually("systemctl show mainstay --property NRestarts,SubState --value | xargs", |told| {
        told == "1 running" || told == "running 1"
    });
    let journal = machine.run("journalctl --no-pager --unit mainstay");
    assert!(journal.contains("Failed with result 'watchdog'"), "{journal}");
    assert_ne!(machine.property("mainstay", "MainPID"), process);
    assert_eq!(machine.run(ASK), "HTTP/1.1 200 OK");
}

#[test]
fn systemd_holds_the_listeners_and_nobody_is_refused_while_there_is_no_process() {
    let Some(machine) = with_units(RPC) else { return };
    machine.run("systemctl start mainstay.socket");
    assert_eq!(machine.property("mainstay", "ActiveState"), "inactive");
    // Who comes first has it started.
    assert_eq!(machine.run(ASK), "HTTP/1.1 200 OK");
    assert_eq!(machine.property("mainstay", "ActiveState"), "active");
    // Who comes over restarts finds somebody each time.
    let asked = machine.run(&format!(
        "ask() {{ {ASK}; }}; (for _ in 1 2 3; do systemctl restart mainstay; done) & \
         while kill -0 $! 2>/dev/null; do ask; done; wait $!"
    ));
    assert!(asked.lines().count() > 3 && asked.lines().all(|line| line == "HTTP/1.1 200 OK"), "{asked}");
}

/// The package with `binary`, of this version.
fn package(binary: &Path, version: &str, to: &Path) {
    let architecture = fine(Command::new("dpkg").arg("--print-architecture"));
    fine(
        Command::new(root().join("deploy/deb/build.sh"))
            .arg(binary)
            .arg(architecture.trim())
            .arg(to.join(version))
            .args(["--fast", "--deb-version", version]),
    );
}

#[test]
fn the_package_is_installed_started_upgraded_removed_and_purged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(machine) = Machine::boot(&[(folder.path(), "/mnt")]) else { return };
    let binary = folder.path().join("mainstay");
    stripped(&binary);
    package(&binary, "1.0", folder.path());
    package(&binary, "1.1", folder.path());
    let state = |machine: &Machine| {
        machine.run("echo $(systemctl is-enabled mainstay || true) $(systemctl is-active mainstay || true)")
    };

    // A first installation starts nothing: there is no role.
    machine.run("apt-get install --yes /mnt/1.0/*.deb");
    assert_eq!(state(&machine), "disabled inactive");
    machine.run(&format!("grep -F '# [engine]' {CONFIG}"));

    machine.write(CONFIG, RPC);
    machine.run("systemctl enable --now mainstay");
    assert_eq!(state(&machine), "enabled active");
    assert_eq!(machine.run(ASK), "HTTP/1.1 200 OK");

    // An upgrade restarts it, and its owner's configuration stays.
    let process = machine.property("mainstay", "MainPID");
    machine.run("apt-get install --yes /mnt/1.1/*.deb");
    assert_eq!(state(&machine), "enabled active");
    assert_ne!(machine.property("mainstay", "MainPID"), process);
    assert_eq!(machine.run(&format!("cat {CONFIG}")), RPC.trim_end());
    assert_eq!(machine.run(ASK), "HTTP/1.1 200 OK");

    machine.run("touch /var/lib/private/mainstay/evidence; apt-get remove --yes mainstay");
    assert_eq!(state(&machine), "inactive");
    assert_eq!(machine.run(&format!("cat {CONFIG}; ls /var/lib/mainstay/")), format!("{RPC}evidence"));

    machine.run("apt-get purge --yes mainstay");
    assert_eq!(machine.run("find / -xdev -name '*mainstay*' -not -path '/proc/*' -not -path '/sys/*'"), "");
}
