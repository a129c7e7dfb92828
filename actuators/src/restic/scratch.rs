//! The folder of one restore test: made new, measured, removed.
//!
//! Deliberately absent: following links. An editor breaks this by adopting a folder that exists.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many files are counted at most.
const FILES_MAX: u64 = 5_000_000;

/// A folder that was made here and goes when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// What lies in a folder.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub files: u64,
    pub bytes: u64,
}

impl Folder {
    /// Makes it; one that is there already is an error.
    pub(super) fn make(parent: &Path, name: &str) -> io::Result<Folder> {
        use std::os::unix::fs::DirBuilderExt;
        let path = parent.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Counts regular files and their bytes; more than twice `bytes_max` or too many files are an error.
    pub(super) fn measure(&self, bytes_max: u64) -> Result<Found, String> {
        let mut found = Found::default();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(|error| format!("what was restored cannot be read: {error}"))?;
            for entry in entries {
                let meta = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)));
                let (path, meta) = meta.map_err(|error| format!("what was restored cannot be read: {error}"))?;
                if meta.is_dir() {
                    folders.push(path);
                } else if meta.is_file() {
                    found = Found { files: found.files + 1, bytes: found.bytes.saturating_add(meta.len()) };
                }
                if found.files > FILES_MAX || found.bytes > bytes_max.saturating_mul(2) {
                    return Err("far more was restored than the snapshot was said to hold".into());
                }
            }
        }
        Ok(found)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::error!(folder = %self.0.display(), %error, "The folder of a restore test stays.");
        }
    }
}
