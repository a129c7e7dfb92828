//! Reading the sample log back, segment by segment, while the daemon may be writing it.
//!
//! A damaged segment costs itself and nothing else: it is reported as one item and reading goes on behind it. Deliberately absent:
//! repair (only the writer cuts), and memory beyond one unpacked segment.

use super::directory;
use super::record::{Decoded, Decoder};
use super::segment::{HEADER_BYTES, take_frame, take_header};
use super::wire::Broken;
use crate::journal::{JournalError, JournalErrorKind};
use homeostat_model::{Event, Observation, SensorId, Time};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// One entry of the sample log.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleEntry {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// A tick or a read.
    pub event: Event,
}

/// A segment in memory.
struct Loaded {
    path: PathBuf,
    raw: Vec<u8>,
    offset: usize,
    decoder: Decoder,
}

/// Entries in the order of their numbers.
pub struct SampleReader {
    dir: PathBuf,
    segments: VecDeque<u64>,
    loaded: Option<Loaded>,
    from_seq: u64,
    from_at: Time,
    /// Sensors that were already given; `None` where entries are wanted exactly as they were written.
    given: Option<BTreeSet<SensorId>>,
}

impl SampleReader {
    /// Entries numbered `seq` or above. Segments are listed now; what is appended to the last one later is not seen.
    ///
    /// # Errors
    /// The folder cannot be listed. A folder that does not exist is an empty log.
    pub fn from_seq(dir: &Path, seq: u64) -> Result<SampleReader, JournalError> {
        let mut segments: VecDeque<u64> = directory::list(dir)?.into_keys().collect();
        while segments.len() > 1 && segments[1] <= seq {
            segments.pop_front();
        }
        Ok(SampleReader { dir: dir.to_owned(), segments, loaded: None, from_seq: seq, from_at: Time::MIN, given: None })
    }

    /// Entries of `at` or later. Sealed segments that end earlier are not unpacked.
    ///
    /// # Errors
    /// As [`SampleReader::from_seq`].
    pub fn from_time(dir: &Path, at: Time) -> Result<SampleReader, JournalError> {
        let mut reader = SampleReader::from_seq(dir, 0)?;
        let files = directory::list(dir)?;
        reader.segments.retain(|first_seq| match files.get(first_seq) {
            Some(file) if file.sealed => !directory::facts_of_sealed(&file.path).is_ok_and(|facts| facts.last_at < at),
            _ => true,
        });
        reader.from_at = at;
        Ok(reader)
    }

    /// Gives each sensor's first read its whole dictionary (`declared_before` back at the dictionary's beginning), so that a store
    /// that knows nothing can begin anywhere. For replay, which compares, leave it off.
    pub fn self_contained(mut self) -> SampleReader {
        self.given = Some(BTreeSet::new());
        self
    }

    /// Opens the next segment; `false` at the end.
    fn load(&mut self) -> Result<bool, JournalError> {
        while let Some(first_seq) = self.segments.pop_front() {
            let Some((path, raw)) = directory::raw_bytes(&self.dir, first_seq)? else { continue };
            let Some(first_seq) = take_header(&path, &raw)? else { continue };
            self.loaded = Some(Loaded { path, raw, offset: HEADER_BYTES, decoder: Decoder::new(first_seq) });
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether the bytes end here because they were being written. Anywhere but in the last segment it is damage.
    fn torn(&self, loaded: &Loaded) -> Option<JournalError> {
        let left = loaded.raw.len() - loaded.offset;
        if left == 0 || self.segments.is_empty() {
            return None;
        }
        let detail = format!("a record is damaged; {left} bytes behind byte {} are lost", loaded.offset);
        Some(JournalError::new(JournalErrorKind::Unreadable, "read", &loaded.path, detail))
    }

    fn complete(&mut self, seen: &mut Observation, loaded: &Loaded, sensor: Option<usize>) {
        let Some((given, sensor)) = self.given.as_mut().zip(sensor.and_then(|index| loaded.decoder.sensors.get(index))) else { return };
        if !given.contains(&seen.sensor) {
            given.insert(seen.sensor.clone());
            seen.declared_before = sensor.dictionary.base;
            seen.declared.clone_from(&sensor.dictionary.declared);
        }
    }
}

impl Iterator for SampleReader {
    type Item = Result<SampleEntry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(mut loaded) = self.loaded.take() else {
                match self.load() {
                    Ok(true) => continue,
                    Ok(false) => return None,
                    Err(error) => return Some(Err(error)),
                }
            };
            let Some((body, len)) = take_frame(&loaded.raw[loaded.offset..]) else {
                match self.torn(&loaded) {
                    Some(error) => return Some(Err(error)),
                    None => continue,
                }
            };
            let decoded = loaded.decoder.decode(body);
            loaded.offset += len;
            match decoded {
                Ok(Decoded::Introduction) => self.loaded = Some(loaded),
                Ok(Decoded::Entry { seq, at, mut event, sensor }) => {
                    let wanted = seq >= self.from_seq && at >= self.from_at;
                    if let (true, Event::Observed(seen)) = (wanted, &mut event) {
                        self.complete(seen, &loaded, sensor);
                    }
                    self.loaded = Some(loaded);
                    if wanted {
                        return Some(Ok(SampleEntry { seq, at, event }));
                    }
                }
                // The state of the decoder is unknown now: the rest of this segment is not guessed at.
                Err(Broken(why)) => {
                    let detail = format!("{why}; the rest of the segment, {} bytes, is skipped", loaded.raw.len() - loaded.offset);
                    return Some(Err(JournalError::new(JournalErrorKind::Unreadable, "read", &loaded.path, detail)));
                }
            }
        }
    }
}
