//! A directory as the store: what survives, who shares it, what is in it.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use common::{add_at_once, shows, within};
use mainstay_store::{FileStore, Name, NodeList, Reach, Store, StoreError, Swap};

/// Set for the process that writes until it is killed.
const WRITER_DIR: &str = "MAINSTAY_TEST_WRITER_DIR";

static NAME: Name = Name::new("a", "a.json");

fn same(left: &str, right: &str) -> bool {
    left == right
}

async fn list(dir: &Path) -> NodeList {
    NodeList::open(Arc::new(FileStore::open(dir).unwrap()), same).await
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_list_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state/of/mine");
    {
        let nodes = list(&dir).await;
        assert!(nodes.current().nodes.is_empty());
        assert!(nodes.add("http://a?x=1&y=2").await.unwrap());
        assert!(nodes.add("http://b").await.unwrap());
        assert!(!nodes.add("http://b").await.unwrap());
        assert!(nodes.add("http://c").await.unwrap());
        assert!(nodes.remove("http://b").await.unwrap());
        assert!(!nodes.remove("http://b").await.unwrap());
        assert_eq!(*nodes.current().nodes, ["http://a?x=1&y=2", "http://c"]);
    }
    let nodes = list(&dir).await;
    assert_eq!(*nodes.current().nodes, ["http://a?x=1&y=2", "http://c"]);
    assert_eq!(nodes.current().reach, Reach::Ok);
    assert_eq!(
        fs::read_to_string(dir.join("nodes.json")).unwrap(),
        r#"["http://a?x=1\u0026y=2","http://c"]"#
    );
    assert_eq!(files(&dir), [".lock", "nodes.json"]);
}

#[tokio::test]
async fn only_its_owner_reads_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    list(&dir).await.add("http://user:password@a").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("nodes.json")), 0o600);
    assert_eq!(mode(&dir.join(".lock")), 0o600);
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_aside_and_stops_nothing() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path();
    for (number, broken) in ["", "[\"http://a", "\u{0}\u{0}\u{0}", "{}"].into_iter().enumerate() {
        fs::write(dir.join("nodes.json"), broken).unwrap();
        let nodes = list(dir).await;
        assert!(nodes.current().nodes.is_empty());
        assert_eq!(nodes.current().reach, Reach::Ok);
        let aside = dir.join(format!("nodes.json.unreadable-{}", number + 1));
        assert_eq!(fs::read_to_string(aside).unwrap(), broken);
        assert!(nodes.add("http://b").await.unwrap());
        assert_eq!(nodes.load().await.unwrap(), ["http://b"]);
    }
}

#[tokio::test]
async fn what_breaks_while_it_runs_is_kept_aside_too() {
    let state = tempfile::tempdir().unwrap();
    let nodes = list(state.path()).await;
    nodes.add("http://a").await.unwrap();
    fs::write(state.path().join("nodes.json"), "oops").unwrap();
    assert!(nodes.add("http://b").await.unwrap());
    assert_eq!(*nodes.current().nodes, ["http://b"]);
    assert_eq!(files(state.path()), [".lock", "nodes.json", "nodes.json.unreadable-1"]);
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_removed() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("nodes.json"), r#"["http://a"]"#).unwrap();
    fs::write(state.path().join("nodes.json.tmp"), r#"["http://a","htt"#).unwrap();
    fs::write(state.path().join("letter.tmp"), "not ours").unwrap();
    let nodes = list(state.path()).await;
    assert_eq!(*nodes.current().nodes, ["http://a"]);
    assert_eq!(files(state.path()), [".lock", "letter.tmp", "nodes.json"]);
}

#[tokio::test]
async fn a_directory_in_the_files_place_stops_nothing() {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("nodes.json")).unwrap();
    let nodes = list(state.path()).await;
    assert!(!nodes.current().reach.is_ok());
    let error = nodes.add("http://a").await.unwrap_err();
    assert!(error.unchanged() && error.to_string().contains("nodes.json"), "{error}");
    fs::remove_dir(state.path().join("nodes.json")).unwrap();
    shows(&nodes, |listed| listed.reach.is_ok()).await;
    assert!(nodes.add("http://a").await.unwrap());
}

#[tokio::test]
async fn a_directory_that_is_gone_refuses_changes_and_keeps_the_last_list() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let nodes = list(&dir).await;
    nodes.add("http://a").await.unwrap();
    fs::remove_dir_all(&dir).unwrap();
    shows(&nodes, |listed| !listed.reach.is_ok()).await;
    assert_eq!(*nodes.current().nodes, ["http://a"]);
    assert!(nodes.add("http://b").await.unwrap_err().unchanged());
    assert_eq!(*nodes.current().nodes, ["http://a"]);
}

#[tokio::test]
async fn what_is_no_directory_is_a_clear_error() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::write(&file, "").unwrap();
    let error = FileStore::open(&file).err().unwrap();
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
}

#[tokio::test]
async fn too_large_a_list_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let nodes = list(state.path()).await;
    nodes.add("http://a").await.unwrap();
    let error = nodes.add(&"x".repeat(mainstay_store::MAX_DOCUMENT)).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(nodes.load().await.unwrap(), ["http://a"]);
}

#[tokio::test]
async fn swap_changes_only_what_is_as_expected() {
    let state = tempfile::tempdir().unwrap();
    let store = FileStore::open(state.path()).unwrap();
    let [one, two] = [Bytes::from_static(b"1"), Bytes::from_static(b"2")];
    assert_eq!(store.swap(&NAME, Some(&one), two.clone()).await.unwrap(), Swap::Changed(None));
    assert_eq!(store.swap(&NAME, None, one.clone()).await.unwrap(), Swap::Done);
    assert_eq!(store.swap(&NAME, None, two.clone()).await.unwrap(), Swap::Changed(Some(one.clone())));
    assert_eq!(store.swap(&NAME, Some(&one), two.clone()).await.unwrap(), Swap::Done);
    assert_eq!(store.read(&NAME).await.unwrap(), Some(two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_on_one_directory_lose_no_change_and_see_each_others() {
    let state = tempfile::tempdir().unwrap();
    let lists = [list(state.path()).await, list(state.path()).await];
    add_at_once(&lists, 20).await;
    assert_eq!(lists[0].load().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_ends_in_an_error() {
    let state = tempfile::tempdir().unwrap();
    let nodes = list(state.path()).await;
    let lock = fs::File::create(state.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = nodes.add("http://a").await.unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    lock.unlock().unwrap();
    assert!(nodes.add("http://a").await.unwrap());
}

/// A process writes one version after the other and is killed in the middle of it, many times over.
#[tokio::test]
async fn a_writer_killed_at_any_point_leaves_a_complete_version() {
    if let Some(dir) = writer_dir() {
        write_until_killed(Path::new(&dir)).await;
    }
    let state = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..25_u64 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_killed_at_any_point_leaves_a_complete_version"])
            .env(WRITER_DIR, state.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Some versions later, and at another point of its work each time.
        let wanted = last + 1 + round % 7;
        within(20, async {
            while version(state.path()).unwrap_or(0) < wanted {
                tokio::task::yield_now().await;
            }
            for _ in 0..round * 97 {
                std::hint::black_box(round);
                std::thread::yield_now();
            }
        })
        .await;
        writer.kill().unwrap();
        writer.wait().unwrap();
        let found = version(state.path()).unwrap();
        assert!(found >= wanted, "went back from {wanted} to {found}");
        last = found;
    }
    let nodes = list(state.path()).await;
    assert_eq!(nodes.current().reach, Reach::Ok);
    assert!(nodes.add("http://after").await.unwrap());
    assert_eq!(files(state.path()), [".lock", "nodes.json"]);
}

#[allow(clippy::disallowed_methods, reason = "how a test tells its own child what to be")]
fn writer_dir() -> Option<std::ffi::OsString> {
    std::env::var_os(WRITER_DIR)
}

/// Every version is 200 nodes that all carry its number.
async fn write_until_killed(dir: &Path) -> ! {
    let nodes = list(dir).await;
    let mut number = nodes.current().nodes.first().map_or(0, |uri| number_of(uri));
    loop {
        number += 1;
        nodes
            .edit(|nodes| {
                *nodes = (0..200).map(|node| format!("http://{number}/{node}/{}", "x".repeat(200))).collect();
                true
            })
            .await
            .unwrap();
    }
}

fn number_of(uri: &str) -> u64 {
    uri.split('/').nth(2).unwrap().parse().unwrap()
}

/// The version in the file, whole; `None` before the first.
fn version(dir: &Path) -> Option<u64> {
    let bytes = fs::read(dir.join("nodes.json")).ok()?;
    let nodes: Vec<String> = serde_json::from_slice(&bytes).expect("a complete version");
    assert_eq!(nodes.len(), 200);
    let number = number_of(&nodes[0]);
    assert!(nodes.iter().all(|uri| number_of(uri) == number), "two versions mixed");
    Some(number)
}
