//! The units: systemd reads them without a complaint, and finds little that a service so hardened could do.
//! Where systemd isn't installed they can't be looked at, and that is said.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use mainstay_packaging::{both, installed, root};

const UNITS: [&str; 2] = ["mainstay.service", "mainstay.socket"];

#[test]
fn systemd_reads_the_units() {
    let Some(analyze) = installed("systemd-analyze") else {
        eprintln!("systemd-analyze is not installed: the units are not verified");
        return;
    };
    // A root with the targets that units name, and the program that they start.
    let folder = tempfile::tempdir().unwrap();
    let units = folder.path().join("etc/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    for unit in UNITS {
        std::fs::copy(root().join("deploy/systemd").join(unit), units.join(unit)).unwrap();
    }
    for entry in std::fs::read_dir("/usr/lib/systemd/system")
        .or_else(|_| std::fs::read_dir("/lib/systemd/system"))
        .unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "target" || end == "slice") && path.is_file() {
            std::fs::copy(&path, units.join(path.file_name().unwrap())).unwrap();
        }
    }
    let program = folder.path().join("usr/bin/mainstay");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::copy("/bin/true", &program).unwrap();
    let verify = |units: &[&str]| {
        let mut command = Command::new(&analyze);
        command
            .args(["verify", "--man=no", "--recursive-errors=no", "--root"])
            .arg(folder.path())
            .args(units);
        command.output().unwrap()
    };
    let verified = verify(&UNITS);
    let told = both(&verified);
    assert!(verified.status.success() && !told.contains("mainstay"), "{told}");

    // What it would say of a unit that is wrong.
    let unit = units.join("mainstay.service");
    let wrong = std::fs::read_to_string(&unit).unwrap().replace("WatchdogSec=10", "WatchdocSec=10");
    std::fs::write(&unit, wrong).unwrap();
    assert!(both(&verify(&UNITS)).contains("WatchdocSec"));
}

#[test]
fn little_is_left_to_a_service_that_was_broken_into() {
    let Some(analyze) = installed("systemd-analyze") else {
        eprintln!("systemd-analyze is not installed: the units are not judged");
        return;
    };
    let judged = Command::new(analyze)
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(root().join(Path::new("deploy/systemd/mainstay.service")))
        .output()
        .unwrap();
    // Of 10, in tenths; 2.0 is "OK", what most services have is "UNSAFE", 9.
    assert!(judged.status.success(), "{}", both(&judged));
}
