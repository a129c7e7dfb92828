//! What can go wrong with the journal and its sample log, as data: a kind to branch on, and words that name the operation and the file.

use std::path::{Path, PathBuf};

/// For branching. The driver goes hands-off on every kind but [`JournalErrorKind::Unreadable`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum JournalErrorKind {
    /// The disk or the size allowed to the file is full.
    Full,
    /// Another process holds the data directory or the table.
    Locked,
    /// The file or directory may not be written.
    ReadOnly,
    /// The file is not what it should be.
    Corrupt,
    /// The file was written by a newer Homeostat.
    TooNew,
    /// There is no such file.
    Missing,
    /// One entry cannot be read; the others can.
    Unreadable,
    /// The caller broke an order of calls; a defect of our own.
    Misuse,
    /// Anything else that the operating system said.
    Io,
}

/// A failed operation on the journal or the sample log.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {detail}", path = path.display())]
pub struct JournalError {
    /// For branching.
    pub kind: JournalErrorKind,
    /// What was being done: `append to`, `open`.
    pub operation: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// What was seen, and what to do about it.
    pub detail: String,
    /// The cause, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl JournalError {
    /// An error of our own, without a cause below it.
    pub fn new(kind: JournalErrorKind, operation: &'static str, path: &Path, detail: impl Into<String>) -> JournalError {
        JournalError { kind, operation, path: path.to_owned(), detail: detail.into(), source: None }
    }

    /// Wraps what the operating system said.
    pub fn io(operation: &'static str, path: &Path, error: std::io::Error) -> JournalError {
        use std::io::ErrorKind as Io;
        let (kind, detail) = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => (JournalErrorKind::Full, "no space is left".to_owned()),
            Io::PermissionDenied | Io::ReadOnlyFilesystem => {
                (JournalErrorKind::ReadOnly, format!("not allowed ({error}); the daemon needs to own its data directory"))
            }
            Io::NotFound => (JournalErrorKind::Missing, "no such file".to_owned()),
            _ => (JournalErrorKind::Io, error.to_string()),
        };
        JournalError { kind, operation, path: path.to_owned(), detail, source: Some(Box::new(error)) }
    }

    /// Wraps what SQLite said.
    pub fn sqlite(operation: &'static str, path: &Path, error: rusqlite::Error) -> JournalError {
        use rusqlite::ErrorCode as Code;
        let (kind, detail) = match error.sqlite_error_code() {
            Some(Code::DiskFull) => (JournalErrorKind::Full, "no space is left".to_owned()),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                (JournalErrorKind::Locked, "another process holds the table's lock".to_owned())
            }
            Some(Code::ReadOnly | Code::PermissionDenied | Code::AuthorizationForStatementDenied) => {
                (JournalErrorKind::ReadOnly, format!("not allowed ({error})"))
            }
            Some(Code::CannotOpen) => (JournalErrorKind::Missing, format!("cannot be opened ({error})")),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => (
                JournalErrorKind::Corrupt,
                format!("the file is damaged ({error}); restore a backup, or move it away to start a new journal"),
            ),
            _ => (JournalErrorKind::Io, error.to_string()),
        };
        JournalError { kind, operation, path: path.to_owned(), detail, source: Some(Box::new(error)) }
    }
}
