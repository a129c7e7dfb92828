//! The table's schema, as a list of migrations; `user_version` counts those that were applied.
//!
//! Deliberately absent: downgrades. An editor adds a migration at the end and never changes one that was released.

use super::error::{JournalError, JournalErrorKind};
use rusqlite::Connection;
use std::path::Path;

/// "HSTT": the file is a Homeostat journal.
const APPLICATION_ID: i32 = 0x4853_5454;

/// What leads from each version to the next.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('event', 'effect')),
        name TEXT NOT NULL,
        action_id INTEGER,
        target TEXT,
        policy TEXT,
        body TEXT NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE INDEX entries_by_action ON entries (action_id, seq) WHERE action_id IS NOT NULL;
    CREATE INDEX entries_by_name ON entries (name, seq);
    CREATE INDEX entries_by_at ON entries (at_ms);
    CREATE TABLE checkpoints (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, pruned INTEGER NOT NULL, pruned_at_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE segments (
        number INTEGER PRIMARY KEY,
        first_seq INTEGER NOT NULL UNIQUE,
        last_seq INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        hash BLOB NOT NULL,
        chain BLOB NOT NULL,
        deleted_at_ms INTEGER
    ) STRICT;
"];

/// Checks what the file is, without changing it. Returns its version.
pub(super) fn check(connection: &Connection, path: &Path, known: &[&str]) -> Result<usize, JournalError> {
    let number = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(|error| JournalError::sqlite("open", path, error))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| JournalError::sqlite("open", path, error))?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(JournalError::new(JournalErrorKind::Corrupt, "open", path, "this SQLite file is not a Homeostat journal"));
    }
    match usize::try_from(version) {
        Ok(version) if version <= known.len() => Ok(version),
        _ => Err(JournalError::new(
            JournalErrorKind::TooNew,
            "open",
            path,
            format!(
                "the journal has schema version {version}, this build knows versions up to {}; start the Homeostat that wrote it, \
                 or restore the backup from before the upgrade",
                known.len()
            ),
        )),
    }
}

/// Applies what is missing, each migration in a transaction of its own. Returns the version before.
pub(super) fn migrate(connection: &mut Connection, path: &Path, known: &[&str]) -> Result<usize, JournalError> {
    let before = check(connection, path, known)?;
    let fail = |error| JournalError::sqlite("migrate", path, error);
    for (index, statements) in known.iter().enumerate().skip(before) {
        let transaction = connection.transaction().map_err(fail)?;
        transaction.execute_batch(statements).map_err(fail)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fail)?;
        transaction.pragma_update(None, "user_version", (index + 1) as i32).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(before)
}
