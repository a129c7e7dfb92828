//! Durable marks: which action was begun on this machine, and how it ended.
//!
//! `begin` puts `<mark>.started` on disk (created exclusively, file and folder synced) *before* anything leaves the machine;
//! `finish` puts `<mark>.done` beside it. After a crash the files tell "never started", "started, end unknown" and "ended so"
//! apart, and a second `apply` of one number never acts twice. The folder belongs to one journal: action numbers repeat in
//! another. Deliberately absent: retries, and any opinion on what an unknown end means. Calls block for the length of an fsync;
//! actions are rare, so they are not moved to another thread. An editor breaks this by returning from `begin` before the sync.

use homeostat_model::{Action, ActionId, Arg, Fault, FaultCode, Outcome, Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fmt, io, process};

/// Marks older than this are dropped while the daemon runs; leases live for minutes.
pub const RETENTION: Span = Span::from_hours(24 * 30);
/// How many `begin`s pass between two prunings.
const BEGINS_PER_PRUNE: u32 = 256;
/// The note of an undoing that was ordered while its action was under way.
const EARLY: &str = "early";
/// A mark's file is never longer; a longer one is damaged.
const MARK_BYTES_MAX: u64 = 256 * 1024;

/// What is begun: an action or its undoing. They are numbered alike and remembered apart.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The action itself.
    Apply(ActionId),
    /// Taking it back.
    Revert(ActionId),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Apply(id) => write!(f, "{id}"),
            Mark::Revert(id) => write!(f, "{id}-revert"),
        }
    }
}

/// A mark without an end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The moment of the call; the epoch if the file is damaged.
    pub at: Time,
    /// The daemon start that began it.
    pub generation: u64,
    /// What the actuator noted on the way: a process id, channels reached.
    #[serde(default)]
    pub notes: BTreeMap<String, Arg>,
}

/// What the ledger holds for a mark.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    /// Nothing: it was never started (and, returned by [`Ledger::begin`], it is marked now).
    Fresh,
    /// It was started and its end was not recorded.
    Started(Started),
    /// It ended so.
    Finished(Outcome),
}

/// The folder of marks. Safe for several threads and processes: the file system decides who begins.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    begins: AtomicU32,
}

impl Ledger {
    /// Opens the folder, making it if needed.
    pub fn open(dir: &Path) -> Result<Ledger, Fault> {
        fs::create_dir_all(dir).map_err(|error| fault("open", dir, &error))?;
        Ok(Ledger { dir: dir.to_path_buf(), begins: AtomicU32::new(0) })
    }

    /// What is known of a mark. Changes nothing.
    pub fn look(&self, mark: Mark) -> Result<Begin, Fault> {
        let ended = self.read(&self.path(mark, "done"))?;
        if let Some(outcome) = ended.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(Begin::Finished(outcome));
        }
        Ok(self.started(mark)?.map_or(Begin::Fresh, Begin::Started))
    }

    /// How a mark was begun, whether or not it ended.
    pub fn started(&self, mark: Mark) -> Result<Option<Started>, Fault> {
        let Some(text) = self.read(&self.path(mark, "started"))? else { return Ok(None) };
        let mut started: Started = serde_json::from_str(&text).unwrap_or_default();
        if let Some(notes) = self.read(&self.path(mark, "notes"))? {
            started.notes = serde_json::from_str(&notes).unwrap_or_default();
        }
        Ok(Some(started))
    }

    /// Marks as begun, durably, unless it was before. A `generation` older than one seen in this folder is refused (`Conflict`):
    /// a later daemon owns the world now.
    pub fn begin(&self, mark: Mark, now: Time, generation: u64) -> Result<Begin, Fault> {
        match self.look(mark)? {
            Begin::Fresh => {}
            known => return Ok(known),
        }
        self.fence(generation)?;
        if self.begins.fetch_add(1, Ordering::Relaxed) % BEGINS_PER_PRUNE == BEGINS_PER_PRUNE - 1 {
            self.prune(RETENTION)?;
        }
        let path = self.path(mark, "started");
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return self.look(mark),
            Err(error) => return Err(fault("mark as begun", &path, &error)),
        };
        let text = serde_json::to_vec(&Started { at: now, generation, notes: BTreeMap::new() }).unwrap_or_default();
        let written = file.write_all(&text).and_then(|()| file.sync_all()).and_then(|()| self.sync_dir());
        if let Err(error) = written {
            // Nothing has left the machine: without this the mark would read as "end unknown" for ever.
            let _ = fs::remove_file(&path);
            return Err(fault("mark as begun", &path, &error));
        }
        Ok(Begin::Fresh)
    }

    /// Adds a note to a begun mark, durably. One writer per mark.
    pub fn note(&self, mark: Mark, name: &str, value: Arg) -> Result<(), Fault> {
        let path = self.path(mark, "notes");
        let mut notes: BTreeMap<String, Arg> = self.read(&path)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        notes.insert(name.into(), value);
        self.replace(&path, &serde_json::to_vec(&notes).unwrap_or_default()).map_err(|error| fault("note in", &path, &error))
    }

    /// Records the end, durably. A later end replaces an earlier one (a probe knows more than a lost answer).
    pub fn finish(&self, mark: Mark, outcome: &Outcome) -> Result<(), Fault> {
        let path = self.path(mark, "done");
        let text = serde_json::to_vec(outcome)
            .map_err(|error| Fault::new(FaultCode::Internal, format!("record the end of {mark}"), error.to_string()))?;
        self.replace(&path, &text).map_err(|error| fault("record the end in", &path, &error))
    }

    /// Drops the files of marks last written longer ago than this; returns how many files.
    pub fn prune(&self, older_than: Span) -> Result<usize, Fault> {
        let mut dropped = 0;
        let listing = fs::read_dir(&self.dir).map_err(|error| fault("prune", &self.dir, &error))?;
        for entry in listing.flatten() {
            let name = entry.file_name();
            let is_mark = name.to_str().and_then(|name| name.rsplit_once('.')).is_some_and(|(_, end)| {
                matches!(end, "started" | "done" | "notes" | "new") // `new`: a replacement that a crash cut short
            });
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            if is_mark && age.is_some_and(|age| age > older_than.to_std()) && fs::remove_file(entry.path()).is_ok() {
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// The way in for `apply`: `Ok` means "marked, go on"; `Err` holds the answer to give instead. A repeated number gets its
    /// stored end (or `Unknown`), a late or superseded one `NotDone` with `NeverStarted` or `Conflict`. An undoing is not bound to the action's
    /// lease, and one that was ordered while its action was under way is begun once more after that has ended: it may have come before.
    pub fn admit(&self, now: Time, action: &Action, mark: Mark) -> Result<(), Outcome> {
        let doing = doing(mark, action);
        let refuse = |fault: Fault| Outcome::NotDone(Fault::new(fault.code, doing.clone(), fault.detail));
        let is_under_way = matches!(mark, Mark::Revert(_)) && matches!(self.look(Mark::Apply(action.id)), Ok(Begin::Started(_)));
        let mut known = self.look(mark).map_err(&refuse)?;
        if matches!((mark, &known), (Mark::Revert(_), Begin::Finished(_))) && !is_under_way && self.was_early(mark).map_err(&refuse)? {
            self.forget(mark).map_err(&refuse)?;
            known = Begin::Fresh;
        }
        let begun = match known {
            Begin::Fresh if matches!(mark, Mark::Apply(_)) && now > action.lease.expires => {
                let late = now.since(action.lease.expires);
                return Err(never_started(doing, format!("the lease ended {late} before; nothing was sent")));
            }
            Begin::Fresh => self.begin(mark, now, action.lease.generation).map_err(&refuse)?,
            known => known,
        };
        match begun {
            Begin::Fresh if is_under_way => self.note(mark, EARLY, Arg::Bool(true)).map_err(&refuse),
            Begin::Fresh => Ok(()),
            Begin::Finished(outcome) => Err(outcome),
            Begin::Started(_) => Err(Outcome::Unknown(Fault::new(
                FaultCode::Conflict,
                doing,
                "it was begun before and its end was not seen; it is not begun again",
            ))),
        }
    }

    fn was_early(&self, mark: Mark) -> Result<bool, Fault> {
        Ok(self.started(mark)?.is_some_and(|started| started.notes.contains_key(EARLY)))
    }

    /// Drops a mark, its end first: what a crash leaves of it is an unknown end.
    fn forget(&self, mark: Mark) -> Result<(), Fault> {
        for ending in ["done", "notes", "started"] {
            let path = self.path(mark, ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault("forget", &path, &error)),
                _ => {}
            }
        }
        self.sync_dir().map_err(|error| fault("forget", &self.dir, &error))
    }

    /// The way out for `apply`: records the end and hands it on. An end that cannot be recorded is still the end; the loss is logged.
    pub fn settle(&self, mark: Mark, outcome: Outcome) -> Outcome {
        if matches!(&outcome, Outcome::NotDone(fault) if fault.code == FaultCode::NeverStarted) {
            // Nothing left the machine, so the same number may be tried again: an answer kept here would be given for ever.
            match fs::remove_file(self.path(mark, "started")).and_then(|()| self.sync_dir()) {
                Ok(()) => return outcome,
                Err(error) => tracing::error!(%mark, %error, "The mark of an action that never started stays."),
            }
        }
        if let Err(fault) = self.finish(mark, &outcome) {
            tracing::error!(%mark, %fault, "The end of an action was not recorded.");
        }
        outcome
    }

    /// The way in for `probe`: `Ok` means "begun, its end is not known: look at the world"; `Err` holds the answer to give instead.
    pub(crate) fn open_end(&self, action: &Action) -> Result<Started, Outcome> {
        let mark = Mark::Apply(action.id);
        match self.look(mark).map_err(Outcome::Unknown)? {
            Begin::Fresh => Err(never_started(probing(action), "it was never started here")),
            Begin::Started(started) => Ok(started),
            Begin::Finished(Outcome::Unknown(_)) => Ok(self.started(mark).map_err(Outcome::Unknown)?.unwrap_or_default()),
            Begin::Finished(outcome) => Err(outcome),
        }
    }

    /// What an actuator keeps beside the marks under this name, if anything; see [`Ledger::keep`].
    pub(crate) fn recall(&self, name: &str) -> Result<Option<String>, Fault> {
        self.read(&self.dir.join(name))
    }

    /// Keeps a small file beside the marks, durably, in place of an earlier one. The name begins with the actuator's and ends in `.json`, so that
    /// it is neither a mark nor pruned.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.dir.join(name);
        self.replace(&path, bytes).map_err(|error| fault("keep", &path, &error))
    }

    fn path(&self, mark: Mark, ending: &str) -> PathBuf {
        self.dir.join(format!("{mark}.{ending}"))
    }

    fn read(&self, path: &Path) -> Result<Option<String>, Fault> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("read", path, &error)),
        };
        let mut bytes = Vec::new();
        file.take(MARK_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| fault("read", path, &error))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Refuses an older daemon, remembers a newer one.
    fn fence(&self, generation: u64) -> Result<(), Fault> {
        let path = self.dir.join("generation");
        let seen: u64 = self.read(&path)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if generation < seen {
            let detail = format!("generation {generation} was superseded by {seen}; nothing was sent");
            return Err(Fault::new(FaultCode::Conflict, "begin an action", detail));
        }
        if generation > seen {
            self.replace(&path, generation.to_string().as_bytes()).map_err(|error| fault("write", &path, &error))?;
        }
        Ok(())
    }

    /// Writes beside, syncs, renames over, syncs the folder.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let new = path.with_extension(format!(
            "{}-{}-{}.new",
            path.extension().and_then(|end| end.to_str()).unwrap_or(""),
            process::id(),
            SERIAL.fetch_add(1, Ordering::Relaxed)
        ));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// The words for `while_doing`: what is done to what, under which mark.
pub(crate) fn doing(mark: Mark, action: &Action) -> String {
    let what = if matches!(mark, Mark::Revert(_)) { "revert" } else { "apply" };
    format!("{what} {} {} on {}", action.id, action.verb, action.target)
}

/// The same for a probe.
pub(crate) fn probing(action: &Action) -> String {
    format!("probe {} {} on {}", action.id, action.verb, action.target)
}

/// `NotDone`: nothing has left this machine.
pub(crate) fn never_started(while_doing: impl Into<String>, detail: impl Into<String>) -> Outcome {
    Outcome::NotDone(Fault::new(FaultCode::NeverStarted, while_doing, detail))
}

/// The answer of a `revert` that does not exist.
pub(crate) fn not_revertible(action: &Action, instead: &str) -> Outcome {
    never_started(doing(Mark::Revert(action.id), action), format!("`{}` cannot be taken back; {instead}", action.verb))
}

/// How long `apply` may take: what the action allows, within what the verb was configured for.
pub(crate) fn time_allowed(action: &Action, verb_timeout: Span) -> std::time::Duration {
    action.timeout.min(verb_timeout).to_std()
}

fn fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    let code = if error.kind() == ErrorKind::PermissionDenied { FaultCode::Denied } else { FaultCode::NeverStarted };
    Fault::new(code, format!("{what} {}", path.display()), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::Receipt;
    use std::sync::Arc;

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("receipts")).unwrap();
        (dir, ledger)
    }

    fn done(observed: &str) -> Outcome {
        Outcome::Done(Receipt { observed: observed.into(), ..Receipt::default() })
    }

    #[test]
    fn a_kill_between_begin_and_finish_is_seen_after_the_restart() {
        let (dir, ledger) = ledger();
        let mark = Mark::Apply(ActionId(7));
        assert_eq!(ledger.look(mark).unwrap(), Begin::Fresh);
        assert_eq!(ledger.begin(mark, Time(5), 1).unwrap(), Begin::Fresh);
        ledger.note(mark, "pid", Arg::Int(42)).unwrap();
        drop(ledger); // the kill

        let ledger = Ledger::open(&dir.path().join("receipts")).unwrap();
        let notes = BTreeMap::from([("pid".to_owned(), Arg::Int(42))]);
        let started = Begin::Started(Started { at: Time(5), generation: 1, notes });
        assert_eq!(ledger.look(mark).unwrap(), started);
        assert_eq!(ledger.begin(mark, Time(9), 2).unwrap(), started, "not begun twice");
        assert_eq!(ledger.look(Mark::Revert(ActionId(7))).unwrap(), Begin::Fresh, "its undoing is remembered apart");

        ledger.finish(mark, &done("seen")).unwrap();
        drop(ledger);
        let ledger = Ledger::open(&dir.path().join("receipts")).unwrap();
        assert_eq!(ledger.begin(mark, Time(9), 2).unwrap(), Begin::Finished(done("seen")));
    }

    #[test]
    fn one_of_many_begins() {
        let (_dir, ledger) = ledger();
        let ledger = Arc::new(ledger);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let ledger = ledger.clone();
                std::thread::spawn(move || {
                    (0..20).filter(|id| ledger.begin(Mark::Apply(ActionId(*id)), Time(0), 1).unwrap() == Begin::Fresh).count()
                })
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 20);
    }

    #[test]
    fn an_undoing_from_before_the_end_of_its_action_is_begun_once_more_after_it_and_only_once() {
        let (_dir, ledger) = ledger();
        let action = crate::conformance::action(7, "a.b", "node/m");
        let (apply, revert) = (Mark::Apply(action.id), Mark::Revert(action.id));
        assert_eq!(ledger.admit(Time(0), &action, apply), Ok(()));
        assert_eq!(ledger.admit(Time(1), &action, revert), Ok(()));
        ledger.settle(revert, done("there was nothing yet"));
        assert_eq!(ledger.admit(Time(2), &action, revert), Err(done("there was nothing yet")), "it is still under way");
        ledger.settle(apply, done("made after all"));
        assert_eq!(ledger.admit(Time(3), &action, revert), Ok(()));
        ledger.settle(revert, done("taken back"));
        assert_eq!(ledger.admit(Time(4), &action, revert), Err(done("taken back")));
    }

    #[test]
    fn an_older_generation_is_fenced_off() {
        let (_dir, ledger) = ledger();
        ledger.begin(Mark::Apply(ActionId(1)), Time(0), 3).unwrap();
        let fault = ledger.begin(Mark::Apply(ActionId(2)), Time(0), 2).unwrap_err();
        assert_eq!(fault.code, FaultCode::Conflict);
        assert_eq!(ledger.look(Mark::Apply(ActionId(2))).unwrap(), Begin::Fresh, "a refused one leaves no mark");
        assert!(ledger.begin(Mark::Apply(ActionId(2)), Time(0), 3).is_ok());
    }

    #[test]
    fn damaged_files_are_an_unknown_end_never_a_panic() {
        let (_dir, ledger) = ledger();
        let mark = Mark::Apply(ActionId(1));
        fs::write(ledger.path(mark, "started"), b"{\"at\":").unwrap();
        fs::write(ledger.path(mark, "done"), b"\xff\xfe").unwrap();
        assert_eq!(ledger.begin(mark, Time(1), 1).unwrap(), Begin::Started(Started::default()));
    }

    #[test]
    fn pruning_drops_old_marks_and_only_marks() {
        let (_dir, ledger) = ledger();
        let mark = Mark::Apply(ActionId(1));
        ledger.begin(mark, Time(0), 1).unwrap();
        ledger.finish(mark, &done("x")).unwrap();
        assert_eq!(ledger.prune(Span::from_hours(1)).unwrap(), 0);
        for entry in fs::read_dir(&ledger.dir).unwrap().flatten() {
            let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
            File::options().write(true).open(entry.path()).unwrap().set_modified(hour_ago).unwrap();
        }
        assert_eq!(ledger.prune(Span::from_hours(1)).unwrap(), 2);
        assert!(ledger.dir.join("generation").exists());
        assert_eq!(ledger.look(mark).unwrap(), Begin::Fresh);
    }
}
