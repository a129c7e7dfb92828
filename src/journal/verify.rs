//! Whether the journal is what was written: the hash chain, the columns that repeat the body, the sealed segments, and the count.
//!
//! Deliberately absent: repair. What the chain cannot see: entries cut off at the very end, and a file replaced as a whole with a
//! chain computed anew; keep a backup, or note the last hash elsewhere.

use super::error::JournalError;
use super::reader::{JournalReader, Rows};
use super::recorder::{EntryRef, SAMPLES_DIR};
use super::retention::segment_link;
use super::table::{Columns, RawRow, genesis, link};
use crate::samples::{Hash, segment_hash};
use rusqlite::OptionalExtension;

/// What [`JournalReader::verify`] found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Entries of the table that were checked.
    pub entries: u64,
    /// Sealed segments that were checked.
    pub segments: u64,
    /// Entries that were pruned before the first one; the chain begins at their checkpoint.
    pub pruned: u64,
    /// Number and hash of the last entry of the table, to be noted elsewhere.
    pub last: Option<(u64, Hash)>,
    /// The first broken number, and how it is broken.
    pub broken: Option<(u64, String)>,
    /// Everything else that is worth a look.
    pub notes: Vec<String>,
}

/// A row of `segments`.
struct SegmentRow {
    first_seq: u64,
    last_seq: u64,
    entries: u64,
    hash: Vec<u8>,
    chain: Vec<u8>,
    deleted: bool,
}

impl JournalReader {
    /// Checks everything there is. Reads the whole table and every sealed segment.
    ///
    /// # Errors
    /// The table cannot be read at all; what is wrong inside is the result, not an error.
    pub fn verify(&self) -> Result<Verification, JournalError> {
        let mut found = Verification::default();
        for problem in self.integrity()? {
            found.notes.push(format!("SQLite: {problem}"));
        }
        self.verify_entries(&mut found)?;
        self.verify_segments(&mut found)?;
        Ok(found)
    }

    /// SQLite's own check of the file; empty where all is well.
    ///
    /// # Errors
    /// The check cannot run.
    pub fn integrity(&self) -> Result<Vec<String>, JournalError> {
        let fail = self.table.fail("check");
        let mut statement = self.table.connection.prepare("PRAGMA integrity_check(20)").map_err(&fail)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(&fail)?;
        let lines = rows.collect::<Result<Vec<_>, _>>().map_err(&fail)?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    fn verify_entries(&self, found: &mut Verification) -> Result<(), JournalError> {
        let fail = self.table.fail("verify");
        let statement = "SELECT seq, hash, (SELECT sum(pruned) FROM checkpoints) FROM checkpoints ORDER BY seq DESC LIMIT 1";
        let checkpoint: Option<(i64, Vec<u8>, i64)> =
            self.table.connection.query_row(statement, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional().map_err(&fail)?;
        let mut before = genesis(&self.journal_id);
        if let Some((seq, hash, pruned)) = checkpoint {
            before = self.table.hash_of(seq as u64, &hash)?;
            found.pruned = pruned as u64;
        }
        let mut rows = Rows::new(&self.table);
        while let Some(row) = rows.next_row()? {
            found.entries += 1;
            let expected = link(&before, row.seq, row.at, &row.kind, &row.body);
            if found.broken.is_none() {
                found.broken = self.fault_of(&row, &expected).map(|how| (row.seq, how));
            }
            if row.hash.len() != 32 {
                break;
            }
            before = self.table.hash_of(row.seq, &row.hash)?;
            found.last = Some((row.seq, before));
        }
        Ok(())
    }

    fn fault_of(&self, row: &RawRow, expected: &Hash) -> Option<String> {
        if row.hash != expected {
            return Some(
                "its hash does not follow from the entry before it: one of the two was changed, or one between them removed".into(),
            );
        }
        // A body of another version cannot be compared; its hash holds.
        let entry = row.entry(&self.table.path).ok()?;
        let columns = Columns::of(EntryRef::from(&entry.body));
        let written = (row.name.as_str(), row.action, row.target.as_deref(), row.policy.as_deref());
        let derived = (columns.name, columns.action, columns.target, columns.policy);
        (written != derived).then(|| format!("its columns say {written:?}, its body says {derived:?}"))
    }

    fn verify_segments(&self, found: &mut Verification) -> Result<(), JournalError> {
        let mut chain: Vec<u8> = Vec::new();
        for row in self.segment_rows()? {
            let expected = segment_link(&chain, row.first_seq, row.last_seq, row.entries, &row.hash);
            if row.chain != expected {
                let how = "the row of this segment does not follow from the one before it";
                found.broken.get_or_insert((row.first_seq, how.into()));
            }
            chain.clone_from(&row.chain);
            if row.deleted {
                continue;
            }
            found.segments += 1;
            match segment_hash(&self.dir.join(SAMPLES_DIR), row.first_seq) {
                Ok(Some(hash)) if hash[..] == row.hash[..] => {}
                Ok(Some(_)) => {
                    found.broken.get_or_insert((row.first_seq, "the segment's content is not what was sealed".into()));
                }
                Ok(None) => {
                    found.broken.get_or_insert((row.first_seq, "the segment's file is missing".into()));
                }
                Err(error) => {
                    found.broken.get_or_insert((row.first_seq, error.to_string()));
                }
            }
            let missing = self.missing_between(&row)?;
            if missing != 0 {
                found.notes.push(format!("between {} and {}, {missing} numbers are in neither half", row.first_seq, row.last_seq));
            }
        }
        Ok(())
    }

    fn segment_rows(&self) -> Result<Vec<SegmentRow>, JournalError> {
        let fail = self.table.fail("verify");
        let statement = "SELECT first_seq, last_seq, entries, hash, chain, deleted_at_ms IS NOT NULL FROM segments ORDER BY number";
        let mut statement = self.table.connection.prepare(statement).map_err(&fail)?;
        let rows = statement
            .query_map([], |row| {
                Ok(SegmentRow {
                    first_seq: row.get::<_, i64>(0)? as u64,
                    last_seq: row.get::<_, i64>(1)? as u64,
                    entries: row.get::<_, i64>(2)? as u64,
                    hash: row.get(3)?,
                    chain: row.get(4)?,
                    deleted: row.get(5)?,
                })
            })
            .map_err(&fail)?;
        rows.collect::<Result<Vec<_>, _>>().map_err(&fail)
    }

    /// Numbers of a segment's range that neither half has. Pruned ranges cannot be counted and are left out.
    fn missing_between(&self, row: &SegmentRow) -> Result<i64, JournalError> {
        let statement =
            "SELECT (SELECT count(*) FROM entries WHERE seq BETWEEN ?1 AND ?2), (SELECT coalesce(max(seq), 0) FROM checkpoints)";
        let (in_table, pruned_through): (i64, i64) = self
            .table
            .connection
            .query_row(statement, [row.first_seq as i64, row.last_seq as i64], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(self.table.fail("verify"))?;
        if pruned_through >= row.first_seq as i64 {
            return Ok(0);
        }
        Ok((row.last_seq - row.first_seq + 1) as i64 - row.entries as i64 - in_table)
    }
}
