//! Programs as checks, with a real shell where one is the program.

use std::path::Path;

use tokio::time::{sleep, timeout};

use super::*;

fn shell(script: &str, expect: &str) -> String {
    format!(
        "name = 'x'\nkind = 'command'\nprogram = 'sh'\nargs = ['-c', '''{script}''']\nexpect = '''{expect}'''"
    )
}

async fn run(script: &str, expect: &str) -> Finding {
    let guard = guard(
        "g-1",
        "http://me:hunter2@127.0.0.1:5052/x",
        Some(execution("https://me:hunter2@el.example/y", None)),
    );
    ask(&shell(script, expect), &guard).await
}

#[tokio::test]
async fn what_a_program_says() {
    for (script, expect, found) in [
        ("exit 0", "status == 0 && body == null", Finding::good("status = 0, body = null")),
        ("exit 3", "status == 0", Finding::hard("status = 3")),
        ("kill -9 $$", "status == 137", Finding::good("status = 137")),
        ("echo 83", "body < 90", Finding::good("status = 0, body = 83")),
        ("echo 83%", "body == '83%'", Finding::good("status = 0, body = \"83%\"")),
        (
            r#"echo '{\"free\": [1, 2]}'; exit 1"#,
            "status == 1 && body.free[1] == 2",
            Finding::good("status = 1, body.free[1] = 2"),
        ),
        ("cat", "body == null", Finding::good("status = 0, body = null")),
        ("echo loud >&2", "body == null", Finding::good("status = 0, body = null")),
        (
            "echo $MAINSTAY_GUARD $MAINSTAY_BEACON_NODE $MAINSTAY_EXECUTION_NODE",
            "body == 'g-1 http://127.0.0.1:5052 https://el.example'",
            Finding::good("status = 0, body = \"g-1 http://127.0.0.1:5052 https://el.ex…\""),
        ),
        ("env | grep -c ^MAINSTAY_", "body == 3", Finding::good("status = 0, body = 3")),
        ("head -c 1048576 /dev/zero", "size(body) == 1048576", Finding::good("status = 0, body = \"\"")),
        (
            "head -c 1048577 /dev/zero; sleep 1000",
            "true",
            Finding::hard("the program writes more than 1 MiB"),
        ),
        ("echo {1,2", "body == '{1,2'", Finding::good("status = 0, body = \"{1,2\"")),
    ] {
        let script = script.replace("\\\"", "\"");
        assert_eq!(run(&script, expect).await, found, "{script}");
    }
    let soft = format!("{}\nsoft = true", shell("exit 3", "status == 0"));
    assert_eq!(ask(&soft, &guard("g", "http://127.0.0.1:1", None)).await, Finding::soft("status = 3"));
}

#[tokio::test]
async fn there_is_no_shell() {
    let text = "name = 'x'\nkind = 'command'\nprogram = 'echo'\nargs = ['$HOME', '; exit 1']\nexpect = 'true && body == \"$HOME ; exit 1\"'";
    assert!(ask(text, &guard("g", "http://127.0.0.1:1", None)).await.is_good());
}

#[tokio::test]
async fn a_program_that_can_t_be_started_is_a_failed_check() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("gone");
    let mut check = check(&shell("exit 0", "true"));
    check.question = Question::Command { program, args: Vec::new() };
    let context = Context::new(&guard("g", "http://127.0.0.1:1", None), &Client::new).unwrap();
    let found = check.ask(&context, in_time(), moment()).await;
    assert_eq!(found.verdict, Verdict::Hard);
    assert!(found.saw.starts_with("the program can't be started: No such file"), "{found:?}");
}

/// The process id that a script has written.
async fn written(file: &Path) -> i32 {
    let reading = async {
        loop {
            if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
                return pid;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), reading).await.unwrap()
}

/// Waits until a process is no more, or but a zombie that nobody has looked after yet.
async fn ended(pid: i32) {
    let ending = async {
        loop {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            if state
                .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')))
            {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), ending).await.unwrap();
}

#[tokio::test]
async fn what_a_program_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let context = Context::new(&guard("g", "http://127.0.0.1:1", None), &Client::new).unwrap();
    let leaves = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}", file.display());

    // It is over, but what it started keeps its output open.
    let found =
        check(&shell(&format!("{leaves}; echo 7"), "body == 7")).ask(&context, in_time(), moment()).await;
    assert_eq!(found, Finding::good("status = 0, body = 7"));
    ended(written(&file).await).await;
    std::fs::remove_file(&file).unwrap();

    // It takes too long. The deadline is far enough for the file to be written first on most machines; where it isn't, the
    // script is killed before it starts anything.
    let waits = check(&shell(&format!("{leaves}; wait"), "true"));
    let deadline = tokio::time::Instant::now().into_std() + Duration::from_millis(500);
    let found = waits.ask(&context, deadline, moment()).await;
    assert_eq!(found, Finding::hard("timed out"));
    if file.exists() {
        ended(written(&file).await).await;
        std::fs::remove_file(&file).unwrap();
    }

    // Nobody waits for it any more.
    let (context, script) = (context.clone(), waits.clone());
    let asking = tokio::spawn(async move { script.ask(&context, in_time(), moment()).await });
    let pid = written(&file).await;
    asking.abort();
    ended(pid).await;
}
