//! The journal's table: appending with a hash chain, and reading rows back as entries.
//!
//! An entry's hash is `sha256(hash before ‖ seq ‖ at_ms ‖ kind ‖ body)`, numbers as eight bytes little endian, texts as UTF-8. The
//! chain begins with `sha256("homeostat journal" ‖ journal id)`. The other columns repeat what the body says, for indices only.
//! Deliberately absent: the sample log, and any statement that changes a row.

use super::error::{JournalError, JournalErrorKind};
use super::recorder::EntryRef;
use super::schema;
use crate::samples::Hash;
use homeostat_model::{ActionId, Command, Entry, EntryBody, Event, Note, Record, Time};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The table's file, open for reading or writing.
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

/// One row, before its body is read.
pub(super) struct RawRow {
    pub(super) seq: u64,
    pub(super) at: Time,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) action: Option<ActionId>,
    pub(super) target: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) body: String,
    pub(super) hash: Vec<u8>,
}

pub(super) const COLUMNS: &str = "seq, at_ms, kind, name, action_id, target, policy, body, hash";

impl Table {
    /// Opens the file for the one writer, creating and migrating it.
    pub(super) fn open_writer(path: &Path) -> Result<(Table, usize), JournalError> {
        let fail = |error| JournalError::sqlite("open", path, error);
        let mut connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        schema::check(&connection, path, schema::MIGRATIONS)?;
        // Takes effect only before the first table exists.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(fail)?;
        if !mode.eq_ignore_ascii_case("wal") {
            let detail = format!("SQLite answers journal mode `{mode}`, expected `wal`; the file system may not support shared memory");
            return Err(JournalError::new(JournalErrorKind::Io, "open", path, detail));
        }
        for (name, value) in [("synchronous", "FULL"), ("trusted_schema", "OFF")] {
            connection.pragma_update(None, name, value).map_err(fail)?;
        }
        let before = schema::migrate(&mut connection, path, schema::MIGRATIONS)?;
        Ok((Table { path: path.to_owned(), connection }, before))
    }

    /// Opens the file beside a running writer.
    pub(super) fn open_reader(path: &Path) -> Result<Table, JournalError> {
        let fail = |error| JournalError::sqlite("open", path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        if schema::check(&connection, path, schema::MIGRATIONS)? < schema::MIGRATIONS.len() {
            let detail = "the journal has an older schema; start the daemon once, it upgrades the file";
            return Err(JournalError::new(JournalErrorKind::Missing, "open", path, detail));
        }
        Ok(Table { path: path.to_owned(), connection })
    }

    pub(super) fn fail(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> JournalError + '_ {
        move |error| JournalError::sqlite(operation, &self.path, error)
    }

    pub(super) fn execute(&self, operation: &'static str, statement: &str) -> Result<(), JournalError> {
        self.connection.execute_batch(statement).map_err(self.fail(operation))
    }

    pub(super) fn meta(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional().map_err(self.fail("read"))
    }

    pub(super) fn set_meta(&self, key: &str, value: &str) -> Result<(), JournalError> {
        let statement = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.connection.execute(statement, [key, value]).map(drop).map_err(self.fail("write"))
    }

    /// Number and hash of the last entry, also where all entries were pruned.
    pub(super) fn last(&self, journal_id: &str) -> Result<(u64, Hash), JournalError> {
        let statement =
            "SELECT seq, hash FROM (SELECT seq, hash FROM entries UNION ALL SELECT seq, hash FROM checkpoints) ORDER BY seq DESC LIMIT 1";
        let found: Option<(i64, Vec<u8>)> =
            self.connection.query_row(statement, [], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(self.fail("read"))?;
        match found {
            None => Ok((0, genesis(journal_id))),
            Some((seq, hash)) => Ok((seq as u64, self.hash_of(seq as u64, &hash)?)),
        }
    }

    /// A stored hash, refused where it is not one.
    pub(super) fn hash_of(&self, seq: u64, bytes: &[u8]) -> Result<Hash, JournalError> {
        bytes.try_into().map_err(|_| {
            let detail = format!("the hash of entry {seq} has {} bytes, expected 32", bytes.len());
            JournalError::new(JournalErrorKind::Corrupt, "read", &self.path, detail)
        })
    }

    /// Appends an entry within the running transaction. Returns its hash.
    pub(super) fn append(&self, seq: u64, at: Time, entry: EntryRef<'_>, before: &Hash) -> Result<Hash, JournalError> {
        let columns = Columns::of(entry);
        let body = match entry {
            EntryRef::Event(event) => serde_json::to_string(event),
            EntryRef::Effect(record) => serde_json::to_string(record),
        };
        let body = body.map_err(|error| {
            JournalError::new(
                JournalErrorKind::Misuse,
                "append to",
                &self.path,
                format!("`{}` cannot be written as JSON: {error}", columns.name),
            )
        })?;
        let hash = link(before, seq, at, columns.kind, &body);
        let statement = format!("INSERT INTO entries ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        let mut statement = self.connection.prepare_cached(&statement).map_err(self.fail("append to"))?;
        let action = columns.action.map(|action| action.0 as i64);
        let row = (seq as i64, at.millis(), columns.kind, columns.name, action, columns.target, columns.policy, &body, &hash[..]);
        statement.execute(row).map_err(self.fail("append to"))?;
        Ok(hash)
    }

    /// Rows that a condition selects.
    pub(super) fn rows(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<RawRow>, JournalError> {
        let statement = format!("SELECT {COLUMNS} FROM entries {condition}");
        let mut statement = self.connection.prepare_cached(&statement).map_err(self.fail("read"))?;
        let rows = statement.query_map(values, raw_row).map_err(self.fail("read"))?;
        rows.collect::<Result<Vec<_>, _>>().map_err(self.fail("read"))
    }
}

fn raw_row(row: &Row<'_>) -> rusqlite::Result<RawRow> {
    Ok(RawRow {
        seq: row.get::<_, i64>(0)? as u64,
        at: Time(row.get(1)?),
        kind: row.get(2)?,
        name: row.get(3)?,
        action: row.get::<_, Option<i64>>(4)?.map(|action| ActionId(action as u64)),
        target: row.get(5)?,
        policy: row.get(6)?,
        body: row.get(7)?,
        hash: row.get(8)?,
    })
}

impl RawRow {
    /// Reads the body. An entry that this build cannot read is an error of its own; those around it are not touched.
    pub(super) fn entry(&self, path: &Path) -> Result<Entry, JournalError> {
        let body = match self.kind.as_str() {
            "event" => serde_json::from_str(&self.body).map(EntryBody::Event),
            _ => serde_json::from_str(&self.body).map(EntryBody::Effect),
        };
        let body = body.map_err(|error| {
            let detail = format!("entry {} (`{}`) cannot be read: {error}", self.seq, self.name);
            JournalError::new(JournalErrorKind::Unreadable, "read", path, detail)
        })?;
        Ok(Entry { seq: self.seq, at: self.at, body })
    }
}

/// The first link of the chain.
pub(super) fn genesis(journal_id: &str) -> Hash {
    Sha256::new().chain_update(b"homeostat journal").chain_update(journal_id).finalize().into()
}

/// The next link of the chain.
pub(super) fn link(before: &Hash, seq: u64, at: Time, kind: &str, body: &str) -> Hash {
    Sha256::new()
        .chain_update(before)
        .chain_update(seq.to_le_bytes())
        .chain_update(at.millis().to_le_bytes())
        .chain_update(kind)
        .chain_update(body)
        .finalize()
        .into()
}

/// What the indexed columns repeat.
#[derive(Debug, PartialEq)]
pub(super) struct Columns<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) action: Option<ActionId>,
    pub(super) target: Option<&'a str>,
    pub(super) policy: Option<&'a str>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(entry: EntryRef<'a>) -> Columns<'a> {
        match entry {
            EntryRef::Event(event) => {
                let (action, policy) = match event {
                    Event::Settled(action, _) | Event::Reverted(action, _) => (Some(*action), None),
                    Event::Ordered(ordered) => match &ordered.command {
                        Command::Approve { action, .. } | Command::Deny { action } => (Some(*action), None),
                        Command::Unlock { policy, .. } => (None, Some(policy.as_str())),
                        _ => (None, None),
                    },
                    _ => (None, None),
                };
                Columns { kind: "event", name: event.name(), action, target: None, policy }
            }
            EntryRef::Effect(record) => {
                let policy = match record {
                    Record::Ruled { proposal, .. } => proposal.origin.policy(),
                    Record::Noted(
                        Note::EvaluationFault { policy, .. } | Note::Undetermined { policy, .. } | Note::ObserverFault { policy, .. },
                    ) => Some(policy),
                    _ => None,
                };
                Columns {
                    kind: "effect",
                    name: record.name(),
                    action: record.action(),
                    target: record.target().map(|target| target.as_str()),
                    policy: policy.map(|policy| policy.as_str()),
                }
            }
        }
    }
}
