//! What every actuator must do, run for each of them.

use crate::Ledger;
use homeostat_model::{Action, ActionId, Args, Class, Lease, Span, Time};
use std::path::PathBuf;
use std::sync::Arc;

/// A ledger in a folder of its own.
pub(crate) fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(&dir.path().join("receipts")).unwrap());
    (dir, ledger)
}

/// An action without arguments, its lease ending at 60 s.
pub(crate) fn action(id: u64, verb: &str, target: &str) -> Action {
    action_with(id, verb, target, Args::new())
}

/// An action with arguments.
pub(crate) fn action_with(id: u64, verb: &str, target: &str, args: Args) -> Action {
    Action {
        id: ActionId(id),
        verb: verb.into(),
        target: target.into(),
        args,
        class: Class::Disruptive,
        timeout: Span::from_secs(30),
        lease: Lease { generation: 1, expires: Time(60_000) },
        because: "it was asked for".into(),
    }
}

/// A folder of the corpus; says loudly when it is absent.
pub(crate) fn corpus(folder: &str) -> Option<PathBuf> {
    let root = std::env::var("HOMEOSTAT_CORPUS")
        .map(PathBuf::from)
        .unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures"));
    let dir = root.join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: no corpus at {}", dir.display());
    None
}
