//! What stands in the config file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::testing::settings_of;

fn pair() -> [Guarded; 2] {
    [
        guard("a", "http://127.0.0.1:1", Some(execution("http://127.0.0.1:2", None))),
        guard("b", "http://127.0.0.1:3", None),
    ]
}

#[test]
fn everything_set() {
    let (checks, problems) = read(
        r#"
[[beacon.check]]
name = "version"
kind = "http"
path = "/eth/v1/node/version?x=1"
method = "POST"
headers = ["X-Key: hunter2", "accept: text/plain"]
body = '{"a": 1}'
expect = "status == 200"
interval = "12s"
timeout = "2s"
rise = 4
fall = 3
soft = true
guards = ["a"]
[[beacon.check]]
name = "el-peers"
method = "net_peerCount"
params = '["x", {"y": 1}]'
guards = ["a"]
[[beacon.check]]
name = "disk"
program = "sh"
args = ["-c", "exit 0"]
"#,
        &pair(),
    );
    assert_eq!(problems, [""; 0]);
    let [version, peers, disk] = &checks[..] else { panic!("three checks") };
    assert!(version.soft && version.is_for("a") && !version.is_for("b"));
    assert_eq!(version.expect.text(), "status == 200");
    let common = Timing {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rules: Rules { rise: 2, fall: 1 },
    };
    let own = Timing {
        interval: Duration::from_secs(12),
        timeout: Duration::from_secs(2),
        rules: Rules { rise: 4, fall: 3 },
    };
    assert_eq!((version.tuning.over(common), disk.tuning.over(common)), (own, common));
    let Question::Http { target: Target::Path(Node::Beacon, path), method, headers, body } =
        &version.question
    else {
        panic!("{version:?}")
    };
    assert_eq!(
        (path.as_str(), method.as_str(), &body[..]),
        ("/eth/v1/node/version?x=1", "POST", &b"{\"a\": 1}"[..])
    );
    assert_eq!(headers["x-key"], "hunter2");
    assert!(
        headers["accept"] == "text/plain" && headers["content-type"] == "application/json",
        "{headers:?}"
    );
    assert!(!format!("{checks:?} {headers:?}").contains("hunter2"));

    let Question::JsonRpc { node: Node::Execution, call } = &peers.question else { panic!("{peers:?}") };
    let call: Value = serde_json::from_slice(call).unwrap();
    assert_eq!(
        call,
        serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "net_peerCount", "params": ["x", {"y": 1}]})
    );
    assert_eq!(peers.expect.text(), "has(body.result) && !has(body.error)");

    let Question::Command { program, args } = &disk.question else { panic!("{disk:?}") };
    assert!(program.is_absolute() && program.ends_with("sh") && args == &["-c", "exit 0"]);
    assert!(!disk.soft && disk.is_for("a") && disk.is_for("b"));
    assert_eq!(disk.expect.text(), "status == 0");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let http = "name = \"x\"\nkind = \"http\"\npath = \"/\"\n";
    let rpc = "name = \"x\"\nkind = \"jsonrpc\"\nmethod = \"m\"\nguards = [\"a\"]\n";
    let command = "name = \"x\"\nkind = \"command\"\nprogram = \"sh\"\n";
    for (text, told) in [
        ("kind = \"http\"\npath = \"/\"".to_owned(), "mainstay.toml:2: [[beacon.check]] name: is missing"),
        (
            "name = \"x\"".into(),
            "mainstay.toml:3: [[beacon.check]] kind: it asks nothing: give it path (http), ",
        ),
        (
            "name = \"x\"\nkind = \"tcp\"".into(),
            "mainstay.toml:4: [[beacon.check]] kind: \"tcp\" is not one of",
        ),
        (
            "name = \"x\"\nkind = \"http\"".into(),
            "mainstay.toml:4: [[beacon.check]] kind: a check of kind http needs path",
        ),
        (
            "name = \"x\"\nkind = \"jsonrpc\"\nguards = \"a\"".into(),
            "mainstay.toml:4: [[beacon.check]] kind: a check of kind jsonrpc needs method",
        ),
        (
            "name = \"x\"\nkind = \"command\"".into(),
            "mainstay.toml:4: [[beacon.check]] kind: a check of kind command needs program",
        ),
        (
            format!("{http}expect = \"status === 200\""),
            "mainstay.toml:6: [[beacon.check]] expect: column 10: ",
        ),
        (
            format!("{http}expect = \"\"\"\nstatus == 200\n&& bdoy.x\"\"\""),
            "mainstay.toml:6: [[beacon.check]] expect: line 2, column 4: there is no bdoy",
        ),
        (
            format!("{http}args = [\"x\"]"),
            "mainstay.toml:6: [[beacon.check]] args: is for kind command, this check is of kind http",
        ),
        (
            format!("{http}params = \"[]\""),
            "mainstay.toml:6: [[beacon.check]] params: is for kind jsonrpc, this check is of kind http",
        ),
        (format!("{rpc}path = \"/\""), "path: is for kind http, this check is of kind jsonrpc"),
        (
            format!("{command}method = \"GET\""),
            "method: is for kind http and jsonrpc, this check is of kind command",
        ),
        (
            format!("{command}node = \"beacon\""),
            "node: is for kind http and jsonrpc, this check is of kind command",
        ),
        (
            format!("{http}method = \"GE T\""),
            "mainstay.toml:6: [[beacon.check]] method: is no method of HTTP",
        ),
        (format!("{http}method = \"CONNECT\""), "method: CONNECT is for proxies"),
        (
            format!("{http}headers = [\n\"a: b\",\n\"hunter2\"]"),
            "mainstay.toml:8: [[beacon.check]] headers: is no header, write \"name: value\"",
        ),
        (format!("{http}headers = [\"a b: hunter2\"]"), "headers: has no name of a header before the colon"),
        (
            format!("{http}headers = [\"a: hunter2\\u0001\"]"),
            "headers: has no value of a header after the colon",
        ),
        (
            format!("{http}headers = [\"Host: hunter2\"]"),
            "headers: host belongs to the connection and can't be set",
        ),
        (format!("{http}interval = \"0s\""), "interval: has to be longer than nothing"),
        (format!("{http}timeout = \"0s\""), "timeout: has to be longer than nothing"),
        (format!("{http}rise = 0"), "rise: 0 is not between 1 and 1000"),
        (format!("{http}expcet = \"true\""), "did you mean `expect`?"),
        (
            format!("{http}guards = [\"a\", \"c\"]"),
            "mainstay.toml:6: [[beacon.check]] guards: item 2: there is no guard c, there are a, b",
        ),
        (http.replace("\"/\"", "\"eth/v1\""), "path: has to be a path, for example"),
        (http.replace("\"/\"", "\"/a b\""), "path: is no path that can be asked for"),
        (http.replace("\"/\"", "\"ftp://me:hunter2@h/x\""), "path: ftp: is not http: or https:"),
        (
            http.replace("\"/\"", "\"http://me:hunter2@h/x\"\nnode = \"beacon\""),
            "path: is a URL of its own, leave out node",
        ),
        (
            http.replace("\"x\"", "\"a b\""),
            "mainstay.toml:3: [[beacon.check]] name: a name has letters, digits",
        ),
        (http.replace("\"x\"", "\"peers\""), "name: peers is a check of mainstay's own, take another name"),
        (
            http.replace("\"x\"", "\"traffic\""),
            "name: traffic is a check of mainstay's own, take another name",
        ),
        (format!("{rpc}params = \"[1,\""), "params: is not JSON: "),
        (format!("{rpc}params = \"7\""), "params: has to be a list or an object"),
        (
            rpc.replace("guards = [\"a\"]", ""),
            "mainstay.toml:4: [[beacon.check]] kind: guard b has no execution node",
        ),
        (
            rpc.replace("kind = \"jsonrpc\"", "").replace("guards = [\"a\"]", ""),
            "mainstay.toml:5: [[beacon.check]] method: guard b has no execution node",
        ),
        (
            format!("{http}node = \"execution\""),
            "mainstay.toml:6: [[beacon.check]] node: guard b has no execution node",
        ),
        (
            command.replace("\"sh\"", "\"no-such-program\""),
            "mainstay.toml:5: [[beacon.check]] program: there is no program no-such-program on the PATH",
        ),
        (command.replace("\"sh\"", "\"/no/such\""), "program: /no/such can't be run: No such file"),
        (
            command.replace("\"sh\"", "\"/etc/passwd\""),
            "program: /etc/passwd can't be run: it is not executable",
        ),
        (command.replace("\"sh\"", "\"/etc\""), "program: /etc can't be run: it is not executable"),
        (
            format!("[[beacon.check]]\n{http}[[beacon.check]]\n{command}"),
            "mainstay.toml:7: [[beacon.check]] name: another check is called x too",
        ),
    ] {
        let (_, problems) = read(&text, &pair());
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains(told) && !problems[0].contains("hunter2"), "{text}: {}", problems[0]);
    }
}

#[test]
fn a_program_given_by_its_path_lies_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("check.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let text = "[beacon]\n[[beacon.check]]\nname = \"x\"\nkind = \"command\"\nprogram = \"./check.sh\"\n";
    let read = || {
        let (settings, mut problems) = settings_of(&folder.path().join("mainstay.toml"), &SECTION, text);
        let checks = OwnCheck::from_tables(settings.tables("check"), Some(&[]), &mut problems);
        (checks, problems)
    };
    let (checks, problems) = read();
    assert!(checks.is_empty() && problems[0].to_string().contains("it is not executable"), "{problems:?}");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (checks, problems) = read();
    assert!(problems.is_empty(), "{problems:?}");
    let Question::Command { program, .. } = &checks[0].question else { panic!("{checks:?}") };
    assert_eq!(fs::canonicalize(program).unwrap(), fs::canonicalize(script).unwrap());
}
