//! The one writer: batches over both halves of the journal, written whole or not at all.
//!
//! A batch is `begin`, `push` …, `commit`. Where it holds anything for the table, the sample log is synced first and the table
//! committed with a full sync after: what an action rests on is durable before the action is. A batch of ticks and reads alone is
//! handed to the operating system and synced every `sync_every`. After any error the batch is gone from both halves and its numbers are
//! used again. Deliberately absent: retries (the driver goes hands-off), and time (it comes with the entries).

use super::error::{JournalError, JournalErrorKind};
use super::retention;
use super::table::Table;
use crate::samples::{Hash, Maintained, Opener, SampleLog, SampleSettings};
use homeostat_model::{EntryBody, Event, Record, Span, Time};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) const TABLE_FILE: &str = "journal.db";
pub(super) const SAMPLES_DIR: &str = "samples";
const LOCK_FILE: &str = "journal.lock";

/// The journal's limits.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalSettings {
    /// How long entries of the table are kept.
    pub retention: Span,
    /// Bytes of the table; the oldest entries go first.
    pub bytes_max: u64,
    /// How long ticks and reads may stay unsynced.
    pub sync_every: Span,
    /// The sample log's limits.
    pub samples: SampleSettings,
}

impl Default for JournalSettings {
    fn default() -> JournalSettings {
        JournalSettings {
            retention: Span::from_hours(400 * 24),
            bytes_max: 2 << 30,
            sync_every: Span::from_secs(5),
            samples: SampleSettings::default(),
        }
    }
}

/// What was found when the journal was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal's name for ever: 32 hex digits.
    pub journal_id: String,
    /// When the journal was created.
    pub created_at: Time,
    /// This start's number; the first is 1. Already durable.
    pub generation: u64,
    /// Number of the last entry; 0 where there is none.
    pub last_seq: u64,
    /// What had to be repaired or left out, in words.
    pub notes: Vec<String>,
}

/// A borrowed entry, so that a read is written without being copied.
#[derive(Copy, Clone, Debug)]
pub enum EntryRef<'a> {
    /// Something happened.
    Event(&'a Event),
    /// Something was decided.
    Effect(&'a Record),
}

impl<'a> From<&'a EntryBody> for EntryRef<'a> {
    fn from(body: &'a EntryBody) -> EntryRef<'a> {
        match body {
            EntryBody::Event(event) => EntryRef::Event(event),
            EntryBody::Effect(record) => EntryRef::Effect(record),
        }
    }
}

impl<'a> From<&'a Event> for EntryRef<'a> {
    fn from(event: &'a Event) -> EntryRef<'a> {
        EntryRef::Event(event)
    }
}

impl<'a> From<&'a Record> for EntryRef<'a> {
    fn from(record: &'a Record) -> EntryRef<'a> {
        EntryRef::Effect(record)
    }
}

/// A committed batch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Number of the last entry, of this batch or an earlier one.
    pub last_seq: u64,
    /// Entries in the batch.
    pub entries: u64,
    /// Whether all of it survives a loss of power now.
    pub durable: bool,
}

/// What [`Recorder::maintain`] did.
#[derive(Debug, Default)]
pub struct Maintenance {
    /// The sample log's part.
    pub samples: Maintained,
    /// Table entries pruned.
    pub pruned: u64,
    /// Whether more is due than one call prunes.
    pub more_due: bool,
    /// Bytes in use by the table.
    pub table_bytes: u64,
    /// What could not be done, in words.
    pub notes: Vec<String>,
}

/// The batch that runs.
struct Batch {
    first_seq: u64,
    hash_before: Hash,
    at: Option<Time>,
    in_table: bool,
}

/// The one writer of a journal. Holds the data directory's lock until it is dropped.
pub struct Recorder {
    dir: PathBuf,
    pub(super) table: Table,
    pub(super) samples: SampleLog,
    pub(super) settings: JournalSettings,
    next_seq: u64,
    hash: Hash,
    batch: Option<Batch>,
    synced_at: Option<Time>,
    _lock: File,
}

impl Recorder {
    /// Opens or creates the journal in a data directory and counts one more start.
    ///
    /// # Errors
    /// `Locked` where another daemon uses the directory; `TooNew`, `Corrupt`, `ReadOnly`, `Full` as they say. A torn tail of the sample
    /// log is no error: it is cut off and noted.
    pub fn open(dir: &Path, settings: JournalSettings, now: Time) -> Result<(Recorder, Opened), JournalError> {
        Recorder::open_inner(dir, settings, now, None)
    }

    /// [`Recorder::open`] with the sample log on files of the caller's making.
    ///
    /// # Errors
    /// As [`Recorder::open`].
    pub fn open_with(dir: &Path, settings: JournalSettings, now: Time, opener: Opener) -> Result<(Recorder, Opened), JournalError> {
        Recorder::open_inner(dir, settings, now, Some(opener))
    }

    fn open_inner(dir: &Path, settings: JournalSettings, now: Time, opener: Option<Opener>) -> Result<(Recorder, Opened), JournalError> {
        std::fs::create_dir_all(dir).map_err(|error| JournalError::io("create", dir, error))?;
        let lock = lock(&dir.join(LOCK_FILE))?;
        let (table, _) = Table::open_writer(&dir.join(TABLE_FILE))?;
        let (journal_id, created_at) = identity(&table, now)?;
        let generation = table.meta("generation")?.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
        table.set_meta("generation", &generation.to_string())?;
        let (table_last, hash) = table.last(&journal_id)?;
        let samples_dir = dir.join(SAMPLES_DIR);
        let (samples, log) = match opener {
            Some(opener) => SampleLog::open_with(&samples_dir, settings.samples.clone(), table_last, opener)?,
            None => SampleLog::open(&samples_dir, settings.samples.clone(), table_last)?,
        };
        let last_seq = log.last_seq.unwrap_or(0).max(table_last);
        let mut notes = log.notes;
        notes.extend(retention::reconcile(&table, &samples)?);
        let opened = Opened { journal_id, created_at, generation, last_seq, notes };
        let recorder = Recorder {
            dir: dir.to_owned(),
            table,
            samples,
            settings,
            next_seq: last_seq + 1,
            hash,
            batch: None,
            synced_at: None,
            _lock: lock,
        };
        Ok((recorder, opened))
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number that the next entry gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Begins a batch.
    ///
    /// # Errors
    /// `Misuse` where one is running.
    pub fn begin(&mut self) -> Result<(), JournalError> {
        if self.batch.is_some() {
            return Err(self.misuse("a batch is running already: `commit` or `rollback` it first"));
        }
        self.batch = Some(Batch { first_seq: self.next_seq, hash_before: self.hash, at: None, in_table: false });
        Ok(())
    }

    /// Adds an entry to the batch and returns its number. Nothing is durable before [`Recorder::commit`] has returned.
    ///
    /// # Errors
    /// The table or the sample log cannot be written; the whole batch is rolled back then.
    pub fn push<'a>(&mut self, at: Time, entry: impl Into<EntryRef<'a>>) -> Result<u64, JournalError> {
        let pushed = self.push_inner(at, entry.into());
        if pushed.is_err() {
            self.rollback();
        }
        pushed
    }

    fn push_inner(&mut self, at: Time, entry: EntryRef<'_>) -> Result<u64, JournalError> {
        let seq = self.next_seq;
        let Some(batch) = &mut self.batch else { return Err(self.misuse("no batch is running: `begin` one first")) };
        let first = batch.at.is_none();
        batch.at = Some(at);
        match entry {
            EntryRef::Event(event) if event.is_sampled() => {
                if first {
                    self.samples.begin(at)?;
                }
                self.samples.write(seq, at, event)?;
            }
            _ => {
                if first {
                    self.samples.begin(at)?;
                }
                if !batch.in_table {
                    self.table.execute("begin a batch in", "BEGIN IMMEDIATE")?;
                    batch.in_table = true;
                }
                self.hash = self.table.append(seq, at, entry, &self.hash)?;
            }
        }
        self.next_seq += 1;
        Ok(seq)
    }

    /// Writes the batch. Returns when it is as durable as it must be; only then may its effects be sent.
    ///
    /// # Errors
    /// Either half cannot be written or synced; the whole batch is rolled back then.
    pub fn commit(&mut self) -> Result<Committed, JournalError> {
        let committed = self.commit_inner();
        if committed.is_err() {
            self.rollback();
        }
        committed
    }

    fn commit_inner(&mut self) -> Result<Committed, JournalError> {
        let Some(batch) = &self.batch else { return Err(self.misuse("no batch is running: `begin` one first")) };
        let at = batch.at.or(self.synced_at).unwrap_or(Time(0));
        let due = self.synced_at.is_none_or(|synced| at.since(synced) >= self.settings.sync_every || at < synced);
        let durable = batch.in_table || due;
        self.samples.flush()?;
        if durable {
            self.samples.sync()?;
        }
        if batch.in_table {
            self.table.execute("commit to", "COMMIT")?;
        }
        self.samples.keep();
        if durable {
            self.synced_at = Some(at);
        }
        let committed = Committed { last_seq: self.next_seq - 1, entries: self.next_seq - batch.first_seq, durable };
        self.batch = None;
        Ok(committed)
    }

    /// Takes the running batch back. Does nothing where none is running. What the sample log cannot cut off now, the next open
    /// cuts off.
    pub fn rollback(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        if batch.in_table && !self.table.connection.is_autocommit() {
            // A failure here means that SQLite has rolled back by itself already.
            let _ = self.table.execute("roll back", "ROLLBACK");
        }
        if batch.at.is_some() {
            let _ = self.samples.rollback();
        }
        self.next_seq = batch.first_seq;
        self.hash = batch.hash_before;
    }

    /// Makes everything committed so far survive a loss of power.
    ///
    /// # Errors
    /// The sample log cannot be synced.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.samples.sync()
    }

    /// Seals and deletes segments, prunes the table. To be called between batches, about once a minute; takes up to a few hundred
    /// milliseconds. `keep_from` is the lowest number that state still rests on: entries of open actions, a standing
    /// hands-off order, the last loaded rules. It and everything after it is never pruned.
    ///
    /// # Errors
    /// The table cannot be written. The sample log's troubles are notes.
    pub fn maintain(&mut self, now: Time, keep_from: Option<u64>) -> Result<Maintenance, JournalError> {
        if self.batch.is_some() {
            return Err(self.misuse("maintenance is done between batches"));
        }
        let mut done = Maintenance { samples: self.samples.maintain(now), ..Maintenance::default() };
        done.notes.append(&mut done.samples.notes);
        retention::note_segments(&self.table, &done.samples, now)?;
        retention::prune(&self.table, &self.settings, now, keep_from, &mut done)?;
        Ok(done)
    }

    /// Copies the table, consistent and compact, to a file that does not exist yet. Sealed segments of the sample log are plain files
    /// and can be copied beside it.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<(), JournalError> {
        retention::backup(&self.table, to)
    }

    fn misuse(&self, detail: &str) -> JournalError {
        JournalError::new(JournalErrorKind::Misuse, "append to", &self.table.path, detail)
    }
}

/// Takes the directory's lock and leaves the process id in it, for the message of whoever comes second.
/// A daemon that was killed while it started a command leaves the lock with that child until the child's `exec`, and systemd may
/// start the next daemon before that; so the lock is tried for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

fn try_lock_for(file: &File, patience: Duration) -> Result<(), std::fs::TryLockError> {
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            tried => return tried,
        }
    }
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| JournalError::io("open", path, error))?;
    match try_lock_for(&file, LOCK_PATIENCE) {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = (&mut file).take(20).read_to_string(&mut holder);
            let detail = format!(
                "another Homeostat (process {}) uses this data directory; stop it, or give this one another `data` directory",
                holder.trim()
            );
            return Err(JournalError::new(JournalErrorKind::Locked, "lock", path, detail));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(JournalError::io("lock", path, error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(|error| JournalError::io("write", path, error))?;
    Ok(file)
}

/// The journal's id and birth, made at the first open.
fn identity(table: &Table, now: Time) -> Result<(String, Time), JournalError> {
    if let Some(id) = table.meta("journal_id")? {
        let created = table.meta("created_at_ms")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        return Ok((id, Time(created)));
    }
    let id: String = table
        .connection
        .query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))
        .map_err(|error| JournalError::sqlite("read", &table.path, error))?;
    table.execute("write", "BEGIN IMMEDIATE")?;
    table.set_meta("journal_id", &id)?;
    table.set_meta("created_at_ms", &now.millis().to_string())?;
    table.execute("write", "COMMIT")?;
    Ok((id, now))
}
