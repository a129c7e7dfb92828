//! After an incident: what happened, told from the journal for people.
//!
//! Reading order: `place` (what belongs together), `book` (entries in, incidents out), `note` and `timeline` (one incident's statements,
//! each with its entry), `markdown`, `prose` (a model's words beside it), `read` (from a journal), `keep` (written by itself when an
//! incident is over). `text` makes what others wrote harmless. Everything but `read` and `keep` is pure. Deliberately absent: deciding
//! and acting; an incident here is a view, the kernel knows none. An editor breaks this by a statement that no entry carries.

pub mod book;
pub mod keep;
mod markdown;
pub mod note;
mod place;
pub mod prose;
pub mod read;
pub mod text;
mod timeline;

#[cfg(test)]
pub(crate) mod tests;

pub use book::{Book, Incident};
pub use note::Note;
pub use prose::{prose_question, with_prose};
