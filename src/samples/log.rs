//! The writer of the sample log: one open segment, batches that are written whole or not at all, sealing and retention.
//!
//! Order of calls: `begin`, any number of `write`, then `flush` (bytes are with the operating system), perhaps `sync` (bytes survive a
//! loss of power), then `keep` or `rollback`. A batch lies in one segment. After a rollback or a failed write the segment ends
//! there, because the encoder has moved on; the next batch begins a new one, which restates everything it needs.
//! Deliberately absent: threads; `maintain` takes its time (about 40 ms per 8 MiB) and is called when the driver has it.

use super::SampleSettings;
use super::directory::{self, AppendFile, Opener, misuse};
use super::record::Encoder;
use super::segment::{self, SegmentFacts};
use crate::journal::{JournalError, JournalErrorKind};
use homeostat_model::{Event, Time};
use std::path::{Path, PathBuf};

/// What was found when the log was opened.
#[derive(Debug, Default)]
pub struct OpenedLog {
    /// Number of the last entry.
    pub last_seq: Option<u64>,
    /// What had to be cut off or left out, in words.
    pub notes: Vec<String>,
}

/// What [`SampleLog::maintain`] did.
#[derive(Debug, Default)]
pub struct Maintained {
    /// Segments sealed just now, with their hashes.
    pub sealed: Vec<SegmentFacts>,
    /// Segments deleted by age or size.
    pub deleted: Vec<SegmentFacts>,
    /// Bytes on disk afterwards, the open segment included.
    pub bytes: u64,
    /// What could not be done, in words; the log goes on without it.
    pub notes: Vec<String>,
}

/// The segment that grows.
struct OpenSegment {
    path: PathBuf,
    /// Created with the first flush.
    file: Option<Box<dyn AppendFile>>,
    /// Facts of what is kept; `bytes` is the file's good length.
    kept: SegmentFacts,
    /// Facts with the running batch.
    now: SegmentFacts,
    /// Whether bytes are in the file that were not synced.
    dirty: bool,
    /// Bytes of introductions, which do not count against the segment's size.
    introduced_bytes: u64,
}

/// The writer.
pub struct SampleLog {
    dir: PathBuf,
    settings: SampleSettings,
    opener: Opener,
    /// Ended segments, ascending.
    ended: Vec<SegmentFacts>,
    open: Option<OpenSegment>,
    encoder: Encoder,
    /// Bytes of the running batch.
    batch: Vec<u8>,
    body: Vec<u8>,
}

impl SampleLog {
    /// Opens the folder, creating it where needed. `table_last_seq` is the last number in the journal's table: what the last segment
    /// holds above it must be contiguous, because a batch is acknowledged only when both halves are down.
    ///
    /// # Errors
    /// The folder cannot be read or written, or a segment is of a newer version. Damage is no error: it is cut off or left out,
    /// and noted.
    pub fn open(dir: &Path, settings: SampleSettings, table_last_seq: u64) -> Result<(SampleLog, OpenedLog), JournalError> {
        SampleLog::open_with(dir, settings, table_last_seq, directory::real_files())
    }

    /// [`SampleLog::open`] on files of the caller's making.
    ///
    /// # Errors
    /// As [`SampleLog::open`].
    pub fn open_with(
        dir: &Path,
        settings: SampleSettings,
        table_last_seq: u64,
        opener: Opener,
    ) -> Result<(SampleLog, OpenedLog), JournalError> {
        std::fs::create_dir_all(dir).map_err(|error| JournalError::io("create", dir, error))?;
        let mut opened = OpenedLog::default();
        let mut ended = Vec::new();
        let files = directory::list(dir)?;
        let last_open = files.iter().rev().find(|(_, file)| !file.sealed).map(|(first_seq, _)| *first_seq);
        for (first_seq, file) in &files {
            let found = if file.sealed {
                directory::remove(&segment::open_path(dir, *first_seq))?;
                directory::facts_of_sealed(&file.path).map(Some)
            } else {
                let before = ended.iter().map(|facts: &SegmentFacts| facts.last_seq).max().unwrap_or(0);
                let after = (last_open == Some(*first_seq)).then_some(table_last_seq.max(before));
                recover(&file.path, after, &mut opened.notes)
            };
            match found {
                Ok(facts) => ended.extend(facts),
                Err(error) if error.kind == JournalErrorKind::Corrupt => opened.notes.push(format!("left out: {error}")),
                Err(error) => return Err(error),
            }
        }
        opened.last_seq = ended.iter().map(|facts| facts.last_seq).max();
        let log = SampleLog {
            dir: dir.to_owned(),
            settings,
            opener,
            ended,
            open: None,
            encoder: Encoder::default(),
            batch: Vec::new(),
            body: Vec::new(),
        };
        Ok((log, opened))
    }

    /// Begins a batch, in a new segment where the old one is large or old enough.
    ///
    /// # Errors
    /// The old segment cannot be synced.
    pub fn begin(&mut self, at: Time) -> Result<(), JournalError> {
        self.batch.clear();
        let due = self.open.as_ref().is_some_and(|open| {
            open.kept.bytes.saturating_sub(open.introduced_bytes) >= self.settings.segment_bytes_max
                || at.since(open.kept.first_at) >= self.settings.segment_age_max
        });
        if due { self.end_segment() } else { Ok(()) }
    }

    /// Adds a tick or a read to the batch. No IO.
    ///
    /// # Errors
    /// `Misuse` where the event is not a sampled one.
    pub fn write(&mut self, seq: u64, at: Time, event: &Event) -> Result<(), JournalError> {
        if !event.is_sampled() {
            return Err(misuse(&self.dir, &format!("`{}` is not kept in the sample log", event.name())));
        }
        if self.open.is_none() {
            self.open = Some(self.new_segment(seq, at));
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        self.body.clear();
        if let Event::Observed(seen) = event {
            if self.encoder.introduce(&mut self.body, seen) {
                segment::put_frame(&mut self.batch, &self.body);
                open.introduced_bytes += self.body.len() as u64;
                self.body.clear();
            }
            self.encoder.read(&mut self.body, seq, at, seen);
        } else {
            self.encoder.tick(&mut self.body, seq, at);
        }
        segment::put_frame(&mut self.batch, &self.body);
        (open.now.last_seq, open.now.last_at, open.now.entries) = (seq, at, open.now.entries + 1);
        Ok(())
    }

    fn new_segment(&mut self, first_seq: u64, first_at: Time) -> OpenSegment {
        self.encoder.restart(first_seq);
        segment::put_header(&mut self.batch, first_seq);
        let facts = SegmentFacts { first_seq, last_seq: first_seq, first_at, last_at: first_at, entries: 0, bytes: 0, hash: None };
        OpenSegment {
            path: segment::open_path(&self.dir, first_seq),
            file: None,
            kept: facts.clone(),
            now: facts,
            dirty: false,
            introduced_bytes: 0,
        }
    }

    /// Hands the batch to the operating system. The caller answers an error with [`SampleLog::rollback`].
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if self.batch.is_empty() {
            return Ok(());
        }
        let fail = |operation, error| JournalError::io(operation, &open.path, error);
        let file = match &mut open.file {
            Some(file) => file,
            None => {
                let file = (self.opener)(&open.path).map_err(|error| fail("create", error))?;
                directory::sync_dir(&self.dir)?;
                open.file.insert(file)
            }
        };
        open.dirty = true;
        file.append(&self.batch).map_err(|error| fail("append to", error))?;
        open.now.bytes += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }

    /// Makes everything flushed survive a loss of power. Does nothing where nothing was flushed since the last time.
    ///
    /// # Errors
    /// The operating system says that it could not; the caller answers with [`SampleLog::rollback`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let Some(open) = self.open.as_mut().filter(|open| open.dirty) else { return Ok(()) };
        if let Some(file) = &mut open.file {
            file.sync().map_err(|error| JournalError::io("sync", &open.path, error))?;
        }
        open.dirty = false;
        Ok(())
    }

    /// The flushed batch stands.
    pub fn keep(&mut self) {
        if let Some(open) = &mut self.open {
            open.kept = open.now.clone();
        }
    }

    /// Takes the batch back: the file ends where the last kept batch ended, and so does the segment.
    ///
    /// # Errors
    /// The file cannot be cut. The next open finds the rest as an uncommitted batch.
    pub fn rollback(&mut self) -> Result<(), JournalError> {
        self.batch.clear();
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if open.kept.entries == 0 {
            drop(open.file.take());
            return directory::remove(&open.path);
        }
        let cut = match &mut open.file {
            Some(file) => file.truncate(open.kept.bytes).and_then(|()| file.sync()),
            None => Ok(()),
        };
        self.ended.push(open.kept.clone());
        cut.map_err(|error| JournalError::io("cut", &open.path, error))
    }

    /// Ends the open segment, so that it can be sealed.
    ///
    /// # Errors
    /// It cannot be synced; it stays open.
    pub fn end_segment(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        if let Some(open) = self.open.take().filter(|open| open.kept.entries > 0) {
            self.ended.push(open.kept);
        }
        Ok(())
    }

    /// Seals ended segments and deletes what is too old or too much, oldest first. The open segment is left alone. To be called
    /// between batches, about once a minute.
    pub fn maintain(&mut self, now: Time) -> Maintained {
        let mut done = Maintained::default();
        let dir = self.dir.clone();
        for facts in self.ended.iter_mut().filter(|facts| facts.hash.is_none()) {
            match seal_file(&dir, &self.opener, facts) {
                Ok(sealed) => {
                    *facts = sealed;
                    done.sealed.push(facts.clone());
                }
                Err(error) => done.notes.push(format!("the segment stays unsealed: {error}")),
            }
        }
        let open_bytes = self.open.as_ref().map_or(0, |open| open.kept.bytes);
        done.bytes = open_bytes + self.ended.iter().map(|facts| facts.bytes).sum::<u64>();
        let oldest_kept = now - self.settings.retention;
        while let Some(oldest) = self.ended.first() {
            if oldest.last_at >= oldest_kept && done.bytes <= self.settings.bytes_max {
                break;
            }
            let removed = directory::remove(&segment::sealed_path(&dir, oldest.first_seq))
                .and_then(|()| directory::remove(&segment::open_path(&dir, oldest.first_seq)));
            if let Err(error) = removed {
                done.notes.push(format!("the segment stays although it is due: {error}"));
                break;
            }
            done.bytes = done.bytes.saturating_sub(oldest.bytes);
            done.deleted.push(self.ended.remove(0));
        }
        done
    }

    /// The ended segments, oldest first.
    pub fn segments(&self) -> &[SegmentFacts] {
        &self.ended
    }
}

/// Cuts an open segment at its last good entry. `None` where nothing is left of it; then it is removed.
fn recover(path: &Path, contiguous_after: Option<u64>, notes: &mut Vec<String>) -> Result<Option<SegmentFacts>, JournalError> {
    let raw = std::fs::read(path).map_err(|error| JournalError::io("read", path, error))?;
    let found = segment::scan(path, &raw, contiguous_after)?;
    if let Some(why) = found.torn {
        notes.push(format!("{}: {why}; {} of {} bytes cut off", path.display(), raw.len() - found.good, raw.len()));
    }
    if found.facts.is_none() {
        directory::remove(path)?;
    } else if found.good < raw.len() {
        let cut = std::fs::File::options().write(true).open(path).and_then(|file| {
            file.set_len(found.good as u64)?;
            file.sync_all()
        });
        cut.map_err(|error| JournalError::io("cut", path, error))?;
    }
    Ok(found.facts)
}

fn seal_file(dir: &Path, opener: &Opener, facts: &SegmentFacts) -> Result<SegmentFacts, JournalError> {
    let open = segment::open_path(dir, facts.first_seq);
    let mut raw = std::fs::read(&open).map_err(|error| JournalError::io("read", &open, error))?;
    // A rollback that could not cut the file left bytes of a batch that was never acknowledged.
    raw.truncate(usize::try_from(facts.bytes).unwrap_or(usize::MAX));
    let (packed, hash) = segment::seal(&open, facts, &raw)?;
    directory::write_whole(opener, &segment::sealed_path(dir, facts.first_seq), &packed)?;
    directory::remove(&open)?;
    Ok(SegmentFacts { bytes: packed.len() as u64, hash: Some(hash), ..facts.clone() })
}
