//! Notes by themselves: when an incident is over, its note is written to `<data>/notes/<id>.md`, once.
//!
//! It runs beside the loop, reads the journal and never asks the loop for more than the time. What was written last stands in
//! `newest.json`, so that a restart goes on there, and a note whose file went with the oldest does not come back. The first start writes
//! nothing of the past; `homeostat incident note` has it. Deliberately absent: telling people (the digest and the notices do), and retries
//! of a model. An editor breaks this by waiting on a model with the mark unwritten: it would be asked again at each start.

use super::book::{Incident, QUIET, SCORES_WAIT, SILENT_MAX};
use super::{Book, Note, prose_question, read, with_prose};
use crate::journal::JournalReader;
use crate::live::Handle;
use homeostat_model::{BoxFuture, Question, Span, Time};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Files that are kept; the oldest go first.
const FILES_MAX: usize = 200;
/// The journal is looked at this often, by the daemon's clock …
const LOOK_EVERY: Span = Span::from_mins(1);
/// … and no more often than this.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);
/// The folder within the data directory.
const FOLDER: &str = "notes";
/// What was written last.
const MARK: &str = "newest.json";

/// Asks a model for prose: the model's name and its JSON, or nothing. Whoever has the chain of reasoners makes one.
pub type Author = Arc<dyn Fn(Question) -> BoxFuture<'static, Option<(String, String)>> + Send + Sync>;

/// Up to where notes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Mark {
    /// When the newest written incident was over for good.
    over: Time,
    /// The entry that began it.
    began: u64,
}

impl Mark {
    /// Incidents are over in this order, whenever they began.
    fn of(incident: &Incident) -> Mark {
        let over = if incident.silent { incident.heard + SILENT_MAX } else { incident.ended.unwrap_or(incident.heard) + QUIET };
        Mark { over, began: incident.entries.first().copied().unwrap_or_default() }
    }
}

/// Knows which notes are due; see the module.
pub struct Keeper {
    data: PathBuf,
    book: Book,
    mark: Mark,
    unreadable: u64,
}

impl Keeper {
    /// On a data directory. Where nothing was ever kept, notes begin now.
    ///
    /// # Errors
    /// The folder or the mark cannot be written or read.
    pub fn open(data: &Path, now: Time) -> Result<Keeper, String> {
        let path = data.join(FOLDER).join(MARK);
        let mark = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| format!("read {}: {error}; delete it to begin anew", path.display()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mark = Mark { over: now, began: u64::MAX };
                write_mark(data, mark)?;
                mark
            }
            Err(error) => return Err(format!("read {}: {error}", path.display())),
        };
        Ok(Keeper { data: data.to_owned(), book: Book::new(), mark, unreadable: 0 })
    }

    /// Notes that are to be written now, in the order of their incidents' ends. Reads the journal: not for the loop's thread.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn due(&mut self, now: Time) -> Result<Vec<Note>, String> {
        let reader = JournalReader::open(&self.data).map_err(|error| error.to_string())?;
        self.unreadable += read::catch_up(&mut self.book, &reader, now).map_err(|error| error.to_string())?;
        let mut over: Vec<&Incident> =
            self.book.incidents().into_iter().filter(|incident| incident.closed && Mark::of(incident) > self.mark).collect();
        over.sort_by_key(|incident| Mark::of(incident));
        // Behind one that waits for its scores, later ones wait too: the mark is one moment.
        let ready = |incident: &&&Incident| !incident.awaits_scores || now.since(Mark::of(incident).over) >= SCORES_WAIT;
        over.iter().take_while(ready).map(|incident| read::note(&reader, incident).map_err(|error| error.to_string())).collect()
    }

    /// Writes a note that was due, and that it was written.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep(&mut self, note: &Note, text: &str) -> Result<PathBuf, String> {
        let dir = self.data.join(FOLDER);
        let path = dir.join(format!("{}.md", note.id));
        write(&path, text.as_bytes()).map_err(|error| format!("write {}: {error}", path.display()))?;
        if let Ok(incident) = self.book.find(&note.id) {
            self.mark = self.mark.max(Mark::of(incident));
            write_mark(&self.data, self.mark)?;
        }
        trim(&dir).map_err(|error| format!("remove old notes in {}: {error}", dir.display()))?;
        Ok(path)
    }
}

fn write_mark(data: &Path, mark: Mark) -> Result<(), String> {
    let path = data.join(FOLDER).join(MARK);
    let text = serde_json::to_vec(&mark).map_err(|error| error.to_string())?;
    write(&path, &text).map_err(|error| format!("write {}: {error}", path.display()))
}

/// Whole or not at all.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}

/// The oldest go where there are too many: their names are the numbers of the entries that began them.
fn trim(dir: &Path) -> std::io::Result<()> {
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix('i')?.strip_suffix(".md")?.to_owned();
        let (seq, nth) = name.split_once('-').unwrap_or((&name, "0"));
        Some((seq.parse::<u64>().ok()?, nth.parse::<u64>().ok()?))
    };
    let all = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut notes: Vec<((u64, u64), PathBuf)> = all.filter_map(|path| Some((number(&path)?, path))).collect();
    notes.sort_unstable();
    let too_many = notes.len().saturating_sub(FILES_MAX);
    notes.iter().take(too_many).try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// Keeps notes until it is aborted. With an author, each gets a model's words; without an answer it stands as it is.
pub async fn run(data: PathBuf, handle: Handle, author: Option<Author>) {
    let now = handle.now();
    let opened = blocking(move || Keeper::open(&data, now)).await;
    let mut keeper = match opened {
        Ok(keeper) => keeper,
        Err(error) => {
            tracing::warn!(error, "Notes after incidents are not written; `homeostat incident note` prints them.");
            return;
        }
    };
    let mut told = false;
    loop {
        tokio::time::sleep(handle.clock().real(LOOK_EVERY).max(LOOK_EVERY_MIN)).await;
        let now = handle.now();
        let looked = tokio::task::spawn_blocking(move || {
            let due = keeper.due(now);
            (keeper, due)
        });
        let (back, due) = match looked.await {
            Ok(looked) => looked,
            // Shutting down, or a panic that is told by itself.
            Err(_) => return,
        };
        keeper = back;
        let kept = match due {
            Ok(notes) => keep_all(keeper, notes, author.as_ref()).await,
            Err(error) => Some((keeper, Err(error))),
        };
        let Some((back, result)) = kept else { return };
        keeper = back;
        if let (Err(error), false) = (&result, told) {
            tracing::warn!(error, "A note after an incident was not written; it is tried again.");
        }
        told = result.is_err();
    }
}

/// Writes one after the other; `None`: the runtime ends.
async fn keep_all(mut keeper: Keeper, notes: Vec<Note>, author: Option<&Author>) -> Option<(Keeper, Result<(), String>)> {
    for note in notes {
        let answer = match author {
            Some(author) => author(prose_question(&note)).await,
            None => None,
        };
        let (back, kept) = tokio::task::spawn_blocking(move || {
            let text = answer.map_or_else(|| note.markdown(), |(model, json)| with_prose(&note, &model, &json));
            let kept = keeper.keep(&note, &text);
            (keeper, kept)
        })
        .await
        .ok()?;
        keeper = back;
        match kept {
            Ok(path) => tracing::info!(path = %path.display(), "An incident is over; its note is written."),
            Err(error) => return Some((keeper, Err(error))),
        }
    }
    Some((keeper, Ok(())))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::tests::house::{self, at};

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir.join(FOLDER)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn keep_due(keeper: &mut Keeper, now: Time) -> usize {
        let notes = keeper.due(now).unwrap();
        notes.iter().for_each(|note| drop(keeper.keep(note, &note.markdown()).unwrap()));
        notes.len()
    }

    #[test]
    fn a_note_is_written_once_over_restarts_and_removals() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::open(dir.path(), house::BEGIN).unwrap();
        house::disk(dir.path());
        assert_eq!(keep_due(&mut keeper, at(9000)), 1, "the one that is over");
        let name = files(dir.path()).into_iter().find(|name| name.ends_with(".md")).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FOLDER).join(&name)).unwrap();
        assert!(text.contains("`node/nas`") && text.contains("exec.clean"), "{text}");
        assert_eq!(keep_due(&mut keeper, at(9060)), 0);
        // After a restart, and although somebody removed the file.
        std::fs::remove_file(dir.path().join(FOLDER).join(&name)).unwrap();
        let mut again = Keeper::open(dir.path(), at(9100)).unwrap();
        assert_eq!(keep_due(&mut again, at(9100)), 0);
        assert_eq!(files(dir.path()), [MARK]);
        // The other one falls silent after a day.
        assert_eq!(keep_due(&mut again, at(9000) + SILENT_MAX), 1);
        assert_eq!(keep_due(&mut Keeper::open(dir.path(), at(9000) + SILENT_MAX).unwrap(), at(9000) + SILENT_MAX), 0);
    }

    #[test]
    fn the_past_is_not_written_at_the_first_start_and_a_missed_end_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        house::disk(dir.path());
        assert_eq!(keep_due(&mut Keeper::open(dir.path(), at(9000)).unwrap(), at(9000)), 0);
        let dir = tempfile::tempdir().unwrap();
        drop(Keeper::open(dir.path(), house::BEGIN).unwrap());
        house::disk(dir.path());
        // It ended while nothing kept notes.
        assert_eq!(keep_due(&mut Keeper::open(dir.path(), at(9000)).unwrap(), at(9000)), 1);
    }

    #[test]
    fn only_so_many_stay_and_a_broken_mark_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let notes = dir.path().join(FOLDER);
        std::fs::create_dir_all(&notes).unwrap();
        for seq in 0..=FILES_MAX {
            std::fs::write(notes.join(format!("i{seq}.md")), "x").unwrap();
        }
        std::fs::write(notes.join("mine.md"), "a person's own").unwrap();
        trim(&notes).unwrap();
        assert!(!notes.join("i0.md").exists() && notes.join("i1.md").exists() && notes.join("mine.md").exists());
        std::fs::write(notes.join(MARK), "{").unwrap();
        let error = Keeper::open(dir.path(), house::BEGIN).err().unwrap();
        assert!(error.contains(MARK) && error.contains("delete it"), "{error}");
    }
}
