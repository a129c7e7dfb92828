//! What leaves the journal and how it is remembered: checkpoints for pruned entries, rows for sealed and deleted segments, backups.
//!
//! Pruning takes from the front only and leaves the hash at the cut, so the chain can still be verified. Deliberately absent: knowing
//! what is still needed (the caller says). An editor breaks it by deleting in the middle.

use super::error::{JournalError, JournalErrorKind};
use super::recorder::{JournalSettings, Maintenance};
use super::table::Table;
use crate::samples::{Hash, Maintained, SampleLog, SegmentFacts};
use homeostat_model::Time;
use rusqlite::OptionalExtension;
use sha2::{Digest, Sha256};
use std::path::Path;

/// So many entries leave in one call, so that a call stays short.
const PRUNED_PER_CALL_MAX: i64 = 20_000;
/// Pruning by size goes down to this share of the limit, so that not every call has to prune.
const BYTES_KEPT_RATIO: f64 = 0.8;

/// Prunes by age and size.
pub(super) fn prune(
    table: &Table,
    settings: &JournalSettings,
    now: Time,
    keep_from: Option<u64>,
    done: &mut Maintenance,
) -> Result<(), JournalError> {
    done.table_bytes = bytes_in_use(table)?;
    let by_age = first_kept_by_age(table, now - settings.retention)?;
    let by_size = first_kept_by_size(table, settings.bytes_max, done.table_bytes)?;
    let Some(wanted) = by_age.max(by_size) else { return Ok(()) };
    let allowed = keep_from.map_or(wanted, |keep| wanted.min(keep as i64));
    if allowed < wanted && by_size.is_some_and(|size| size > allowed) {
        done.notes.push(format!(
            "the table has {} bytes, allowed are {}; it cannot be pruned behind entry {allowed}, which is still needed",
            done.table_bytes, settings.bytes_max
        ));
    }
    let cut = last_of_call(table, allowed)?;
    let Some((cut, more)) = cut else { return Ok(()) };
    done.pruned = delete_through(table, cut, now)?;
    done.more_due = more;
    table.execute("shrink", "PRAGMA incremental_vacuum(4096)")?;
    done.table_bytes = bytes_in_use(table)?;
    Ok(())
}

fn bytes_in_use(table: &Table) -> Result<u64, JournalError> {
    let number = |name: &str| table.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(table.fail("read"));
    Ok(((number("page_count")? - number("freelist_count")?) * number("page_size")?) as u64)
}

/// The first entry that is young enough; older ones behind it stay, because the clock was set back there.
fn first_kept_by_age(table: &Table, oldest: Time) -> Result<Option<i64>, JournalError> {
    let connection = &table.connection;
    let first: Option<i64> = connection
        .query_row("SELECT min(seq) FROM entries WHERE at_ms >= ?1", [oldest.millis()], |row| row.get(0))
        .map_err(table.fail("read"))?;
    match first {
        Some(first) => Ok(Some(first)),
        None => {
            let last: Option<i64> =
                connection.query_row("SELECT max(seq) FROM entries", [], |row| row.get(0)).map_err(table.fail("read"))?;
            Ok(last.map(|last| last + 1))
        }
    }
}

/// The first entry to keep so that the table shrinks by what it has too much; `None` where it is small enough.
fn first_kept_by_size(table: &Table, bytes_max: u64, bytes: u64) -> Result<Option<i64>, JournalError> {
    if bytes <= bytes_max {
        return Ok(None);
    }
    let entries: i64 = table.connection.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).map_err(table.fail("read"))?;
    let share = 1.0 - bytes_max as f64 * BYTES_KEPT_RATIO / bytes as f64;
    let offset = ((entries as f64 * share) as i64).clamp(0, entries - 1);
    table
        .connection
        .query_row("SELECT seq FROM entries ORDER BY seq LIMIT 1 OFFSET ?1", [offset], |row| row.get(0))
        .optional()
        .map_err(table.fail("read"))
}

/// The last entry that this call deletes, and whether there are more below `first_kept`.
fn last_of_call(table: &Table, first_kept: i64) -> Result<Option<(i64, bool)>, JournalError> {
    let statement = "SELECT max(seq), count(*) FROM (SELECT seq FROM entries WHERE seq < ?1 ORDER BY seq LIMIT ?2)";
    let (last, count): (Option<i64>, i64) = table
        .connection
        .query_row(statement, [first_kept, PRUNED_PER_CALL_MAX], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(table.fail("read"))?;
    Ok(last.map(|last| (last, count == PRUNED_PER_CALL_MAX)))
}

/// Deletes entries up to and including `cut`, and leaves a checkpoint with its hash.
fn delete_through(table: &Table, cut: i64, now: Time) -> Result<u64, JournalError> {
    let connection = &table.connection;
    let transaction = connection.unchecked_transaction().map_err(table.fail("prune"))?;
    let hash: Vec<u8> =
        connection.query_row("SELECT hash FROM entries WHERE seq = ?1", [cut], |row| row.get(0)).map_err(table.fail("prune"))?;
    let pruned = connection.execute("DELETE FROM entries WHERE seq <= ?1", [cut]).map_err(table.fail("prune"))?;
    connection
        .execute(
            "INSERT INTO checkpoints (seq, hash, pruned, pruned_at_ms) VALUES (?1, ?2, ?3, ?4)",
            (cut, hash, pruned as i64, now.millis()),
        )
        .map_err(table.fail("prune"))?;
    transaction.commit().map_err(table.fail("prune"))?;
    Ok(pruned as u64)
}

/// The next link of the segments' chain.
pub(super) fn segment_link(before: &[u8], first_seq: u64, last_seq: u64, entries: u64, hash: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(before)
        .chain_update(first_seq.to_le_bytes())
        .chain_update(last_seq.to_le_bytes())
        .chain_update(entries.to_le_bytes())
        .chain_update(hash)
        .finalize()
        .into()
}

/// Writes down which segments were sealed and which were deleted.
pub(super) fn note_segments(table: &Table, done: &Maintained, now: Time) -> Result<(), JournalError> {
    if done.sealed.is_empty() && done.deleted.is_empty() {
        return Ok(());
    }
    let transaction = table.connection.unchecked_transaction().map_err(table.fail("write"))?;
    for facts in &done.sealed {
        insert_segment(table, facts)?;
    }
    for facts in &done.deleted {
        let statement = "UPDATE segments SET deleted_at_ms = ?1 WHERE first_seq = ?2";
        table.connection.execute(statement, [now.millis(), facts.first_seq as i64]).map_err(table.fail("write"))?;
    }
    transaction.commit().map_err(table.fail("write"))
}

fn insert_segment(table: &Table, facts: &SegmentFacts) -> Result<(), JournalError> {
    let Some(hash) = facts.hash else { return Ok(()) };
    let before: Option<Vec<u8>> = table
        .connection
        .query_row("SELECT chain FROM segments ORDER BY number DESC LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(table.fail("write"))?;
    let chain = segment_link(&before.unwrap_or_default(), facts.first_seq, facts.last_seq, facts.entries, &hash);
    let statement = "INSERT OR IGNORE INTO segments (first_seq, last_seq, entries, hash, chain) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = (facts.first_seq as i64, facts.last_seq as i64, facts.entries as i64, &hash[..], &chain[..]);
    table.connection.execute(statement, row).map(drop).map_err(table.fail("write"))
}

/// At the start: segments that were sealed just before a crash get their rows; rows without a file are named.
pub(super) fn reconcile(table: &Table, samples: &SampleLog) -> Result<Vec<String>, JournalError> {
    for facts in samples.segments() {
        // Does nothing for those that have their row.
        insert_segment(table, facts)?;
    }
    let mut statement =
        table.connection.prepare("SELECT first_seq FROM segments WHERE deleted_at_ms IS NULL").map_err(table.fail("read"))?;
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).map_err(table.fail("read"))?;
    let mut notes = Vec::new();
    for first_seq in rows {
        let first_seq = first_seq.map_err(table.fail("read"))? as u64;
        if samples.segments().binary_search_by_key(&first_seq, |facts| facts.first_seq).is_err() {
            notes.push(format!("the sample log's segment {first_seq} is missing or damaged"));
        }
    }
    Ok(notes)
}

/// Copies the table.
pub(super) fn backup(table: &Table, to: &Path) -> Result<(), JournalError> {
    let Some(text) = to.to_str() else {
        return Err(JournalError::new(JournalErrorKind::Io, "back up to", to, "the path is not UTF-8"));
    };
    if to.exists() {
        return Err(JournalError::new(JournalErrorKind::Io, "back up to", to, "the file exists; give a new name"));
    }
    table.connection.execute("VACUUM INTO ?1", [text]).map(drop).map_err(|error| JournalError::sqlite("back up to", to, error))
}
