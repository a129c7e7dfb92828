//! Every channel against a far end that behaves as the service does.

mod far_end;
mod home_assistant;
mod links;
mod slack;
mod telegram;

use crate::{Book, Keys, Question, Way};
use homeostat_model::{ActionId, Time};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tokens of one message.
pub(crate) fn keys() -> Keys {
    let mut book = Book::new(1);
    book.open(ActionId(12), "p", Time(1)).unwrap();
    book.issue(ActionId(12), "x:y", &Way::Link, [[0xab; 20], [0xcd; 20], [0xef; 20]]).unwrap()
}

/// Looks again and again.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A folder of the corpus, if it is there; else says loudly that it is not.
pub(crate) fn corpus(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let dir = std::env::var_os("HOMEOSTAT_CORPUS").map_or_else(beside, PathBuf::from).join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: no corpus at {}", dir.display());
    None
}

/// A small question.
pub(crate) fn question() -> Question {
    Question {
        action: ActionId(12),
        title: "power.wake on node/nas".into(),
        args: vec!["wait = 60".into()],
        wished_by: "policy wake-nas".into(),
        because: "GPU queue 7 > 5 for 10 min".into(),
        asked_because: Some("autonomy: the class `restore` allows `suggest`".into()),
        claim: Some("node_up{node='nas'} > 0.5 within 5m".into()),
        plan: "0123456789abcdef".into(),
        until: Time(1_795_217_694_000),
        until_text: "2026-11-20 23:34 UTC (in 15m)".into(),
        silence_is_yes: false,
    }
}
