//! The folder of segments: which there are, and the one way in which files are written.
//!
//! Deliberately absent: any index file. The folder is read anew at every open, so no index can disagree with it. An editor breaks
//! it by renaming before the content is synced.

use super::segment::{self, Hash, SEALED_FRONT_BYTES, SegmentFacts};
use crate::journal::{JournalError, JournalErrorKind};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A file that grows at its end. The tests put one here that gets full.
pub trait AppendFile: Send {
    /// Appends all bytes, or fails; a failure may leave a part of them.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    /// Makes what was appended survive a loss of power.
    fn sync(&mut self) -> std::io::Result<()>;
    /// Cuts the file; the next append begins there.
    fn truncate(&mut self, len: u64) -> std::io::Result<()>;
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }
    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }
    fn truncate(&mut self, len: u64) -> std::io::Result<()> {
        self.set_len(len)
    }
}

/// Creates (or empties) a file to append to.
pub type Opener = Box<dyn Fn(&Path) -> std::io::Result<Box<dyn AppendFile>> + Send>;

/// Real files, in append mode: after a cut the next append goes to the new end.
pub(super) fn real_files() -> Opener {
    Box::new(|path| {
        File::create(path)?;
        let file = File::options().append(true).open(path)?;
        Ok(Box::new(file) as Box<dyn AppendFile>)
    })
}

/// One segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) sealed: bool,
}

/// All segments by their first number. Where a sealed and an open file have the same number, the crash came between the rename and
/// the removal: the sealed one is whole, and stands.
pub(super) fn list(dir: &Path) -> Result<BTreeMap<u64, SegmentFile>, JournalError> {
    let mut found: BTreeMap<u64, SegmentFile> = BTreeMap::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(JournalError::io("list", dir, error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| JournalError::io("list", dir, error))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let sealed = match ending {
            Some("zst") => true,
            Some("log") => false,
            _ => continue,
        };
        let Some(first_seq) = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()) else { continue };
        if sealed || !found.contains_key(&first_seq) {
            found.insert(first_seq, SegmentFile { path, sealed });
        }
    }
    Ok(found)
}

/// Reads the facts of a sealed segment from its front.
pub(super) fn facts_of_sealed(path: &Path) -> Result<SegmentFacts, JournalError> {
    let fail = |error| JournalError::io("read", path, error);
    let file = File::open(path).map_err(fail)?;
    let bytes = file.metadata().map_err(fail)?.len();
    let mut front = Vec::with_capacity(SEALED_FRONT_BYTES);
    file.take(SEALED_FRONT_BYTES as u64).read_to_end(&mut front).map_err(fail)?;
    let (facts, _) = segment::sealed_facts(path, &front)?;
    Ok(SegmentFacts { bytes, ..facts })
}

/// A segment's bytes as they were written, unpacked if needed. A segment that was sealed since it was listed is found under its new
/// name; `Ok(None)` where it is gone.
pub(super) fn raw_bytes(dir: &Path, first_seq: u64) -> Result<Option<(PathBuf, Vec<u8>)>, JournalError> {
    for path in [segment::sealed_path(dir, first_seq), segment::open_path(dir, first_seq), segment::sealed_path(dir, first_seq)] {
        match std::fs::read(&path) {
            Ok(bytes) if path.extension().is_some_and(|ending| ending == "zst") => {
                let raw = segment::unseal(&path, &bytes)?;
                return Ok(Some((path, raw)));
            }
            Ok(bytes) => return Ok(Some((path, bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::io("read", &path, error)),
        }
    }
    Ok(None)
}

/// The sha256 of a sealed segment's content; `None` where the file is gone.
pub(crate) fn segment_hash(dir: &Path, first_seq: u64) -> Result<Option<Hash>, JournalError> {
    Ok(raw_bytes(dir, first_seq)?.map(|(_, raw)| Sha256::digest(&raw).into()))
}

/// Writes a file so that it is there whole or not at all: aside, synced, renamed, the folder synced.
pub(super) fn write_whole(opener: &Opener, path: &Path, content: &[u8]) -> Result<(), JournalError> {
    let aside = path.with_extension("tmp");
    let written = opener(&aside).and_then(|mut file| {
        file.append(content)?;
        file.sync()
    });
    if let Err(error) = written {
        let _ = std::fs::remove_file(&aside);
        return Err(JournalError::io("write", &aside, error));
    }
    std::fs::rename(&aside, path).map_err(|error| JournalError::io("rename", &aside, error))?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Makes names in a folder survive a loss of power.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| JournalError::io("sync", dir, error))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(JournalError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// The error of a caller who broke the order of calls.
pub(super) fn misuse(path: &Path, detail: &str) -> JournalError {
    JournalError::new(JournalErrorKind::Misuse, "append to", path, detail)
}
