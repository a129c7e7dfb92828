//! Small files below a root, read into one buffer that is used again; and faults that are said once.
//!
//! Deliberately absent: what the files mean. An editor breaks this by reading without a limit.

use homeostat_model::{Fault, FaultCode, Observation};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// `/proc/stat` of a machine with hundreds of processors has some 100 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads files below a root.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    buffer: Vec<u8>,
}

impl Files {
    pub(super) fn new(root: &Path) -> Files {
        Files { root: root.to_owned(), buffer: Vec::new() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A path like `proc/stat` below the root.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The file's text; what is not UTF-8 is an error, as in `/proc` and `/sys` nothing else is.
    pub(super) fn text(&mut self, path: &Path) -> std::io::Result<&str> {
        self.buffer.clear();
        File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut self.buffer)?;
        std::str::from_utf8(&self.buffer).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }

    /// A file that holds one whole number.
    pub(super) fn number<N: std::str::FromStr>(&mut self, path: &Path) -> std::io::Result<N> {
        let text = self.text(path)?.trim();
        text.parse().map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "expected one whole number"))
    }

    /// A file's only line, trimmed; empty if it cannot be read.
    pub(super) fn line(&mut self, path: &Path) -> String {
        self.text(path).map(|text| text.trim().to_owned()).unwrap_or_default()
    }
}

/// Remembers what was already said, so that a machine without something does not say so at each read.
#[derive(Debug, Default)]
pub(super) struct Once(BTreeSet<String>);

impl Once {
    /// Records the fault unless that about `what` was recorded before. `advice` says what the reader can do, or what it means.
    pub(super) fn missing(&mut self, what: &str, error: &std::io::Error, advice: &str, into: &mut Observation) {
        if !self.0.insert(what.to_owned()) {
            return;
        }
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => FaultCode::NotFound,
            std::io::ErrorKind::PermissionDenied => FaultCode::Denied,
            std::io::ErrorKind::InvalidData => FaultCode::Malformed,
            _ => FaultCode::Failed,
        };
        into.fault(Fault::new(code, format!("read {what}"), format!("{error}; {advice} (said once)")));
    }

    /// It is back: its next absence is news again.
    pub(super) fn found(&mut self, what: &str) {
        if !self.0.is_empty() {
            self.0.remove(what);
        }
    }
}
