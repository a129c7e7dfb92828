//! The journal: everything that happened and everything that was decided, in one gapless count. Truth; all else is derived.
//!
//! Two halves under one counter: `journal.db` (SQLite, hash-chained, one writer) holds events and effects; the sample log
//! ([`crate::samples`]) holds ticks and reads. [`Recorder`] writes both, [`JournalReader`] reads both in order while the daemon runs.
//! What is committed survives a loss of power, except that ticks and reads alone are synced every few seconds only; what an action
//! rests on is always synced before the action is.
//! Deliberately absent: clocks, threads, and any state derived from entries. An editor breaks it by changing an entry after it was
//! written, by renaming a serialized field of the model, or by sending an effect before `commit` has returned. Formats:
//! `docs/journal-format.md`.

mod error;
mod reader;
mod recorder;
mod retention;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod verify;

pub use error::{JournalError, JournalErrorKind};
pub use reader::{Entries, Filter, JournalReader, Page};
pub use recorder::{Committed, EntryRef, JournalSettings, Maintenance, Opened, Recorder};
pub use verify::Verification;
