//! The journal against crashes, full disks, second daemons, changed rows, and its own retention.

use super::recorder::{SAMPLES_DIR, TABLE_FILE};
use super::table::Table;
use super::*;
use crate::samples::{SampleSettings, SegmentFacts};
use homeostat_model::{
    Action, ActionId, Command, Entry, EntryBody, Event, Lease, Note, Observation, Ordered, Outcome, PolicyId, Receipt, Record, Sample,
    SensorId, Span, Target, Time, Verb,
};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn open(dir: &Path) -> (Recorder, Opened) {
    Recorder::open(dir, JournalSettings::default(), Time(1000)).unwrap()
}

fn read(at: i64) -> EntryBody {
    let mut seen = Observation::new(SensorId::from("host"), Time(at), Span::from_secs(5));
    seen.samples.push(Sample { series: 0, value: at as f64 });
    EntryBody::Event(Event::Observed(Box::new(seen)))
}

fn tick() -> EntryBody {
    EntryBody::Event(Event::Tick)
}

fn pause(reason: &str) -> EntryBody {
    EntryBody::Event(Event::Ordered(Ordered { by: "unix:0".into(), command: Command::Pause { reason: reason.into() } }))
}

fn act(id: u64) -> EntryBody {
    EntryBody::Effect(Record::Act {
        action: Action {
            id: ActionId(id),
            verb: Verb::from("power.wake"),
            target: Target::from("node/muscle"),
            args: Default::default(),
            class: homeostat_model::Class::Restore,
            timeout: Span::from_secs(60),
            lease: Lease { generation: 1, expires: Time(99_000) },
            because: "it is needed".into(),
        },
        attempt: 1,
    })
}

fn settled(id: u64) -> EntryBody {
    EntryBody::Event(Event::Settled(ActionId(id), Outcome::Done(Receipt::default())))
}

fn noted(policy: &str) -> EntryBody {
    let note = Note::Undetermined { policy: PolicyId::from(policy), symptom: "s".into(), why: "no data".into() };
    EntryBody::Effect(Record::Noted(note))
}

/// Writes one batch; entry `n` is stamped `n` seconds.
fn batch(recorder: &mut Recorder, bodies: &[EntryBody]) -> Committed {
    recorder.begin().unwrap();
    for body in bodies {
        let at = Time(recorder.next_seq() as i64 * 1000);
        recorder.push(at, body).unwrap();
    }
    recorder.commit().unwrap()
}

fn all(dir: &Path) -> Vec<Entry> {
    JournalReader::open(dir).unwrap().entries(0).unwrap().map(|entry| entry.unwrap()).collect()
}

fn intact(dir: &Path) -> Verification {
    let found = JournalReader::open(dir).unwrap().verify().unwrap();
    assert!(found.broken.is_none() && found.notes.is_empty(), "{found:?}");
    found
}

#[test]
fn both_halves_come_back_in_one_gapless_order_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    let mut id = String::new();
    for generation in 1..=3u64 {
        let (mut recorder, opened) = open(dir.path());
        assert_eq!((opened.generation, opened.last_seq, opened.created_at), (generation, written.len() as u64, Time(1000)));
        assert!(opened.notes.is_empty(), "{:?}", opened.notes);
        assert!(id.is_empty() || id == opened.journal_id);
        assert!(opened.journal_id.len() == 32);
        id = opened.journal_id;
        for i in 0..300u64 {
            let bodies = [read(i as i64), act(i), tick(), settled(i), noted("disk-full")];
            let bodies = &bodies[..1 + i as usize % 5];
            let done = batch(&mut recorder, bodies);
            written.extend_from_slice(bodies);
            assert_eq!((done.entries, done.last_seq), (bodies.len() as u64, written.len() as u64));
        }
        recorder.maintain(Time(1000), None).unwrap();
    }
    let back = all(dir.path());
    assert_eq!(back.len(), written.len());
    for ((entry, body), seq) in back.iter().zip(&written).zip(1..) {
        assert!(entry.seq == seq && entry.at == Time(seq as i64 * 1000) && entry.body == *body, "{seq}");
    }
    let reader = JournalReader::open(dir.path()).unwrap();
    let some: Vec<u64> = reader.entries(701).unwrap().map(|entry| entry.unwrap().seq).collect();
    assert_eq!(some, (701..=written.len() as u64).collect::<Vec<_>>());
    assert!(reader.events_and_effects(0).all(|entry| !matches!(entry.unwrap().body, EntryBody::Event(Event::Tick | Event::Observed(_)))));
    assert!(intact(dir.path()).segments >= 2);
}

#[test]
fn entries_are_found_by_what_they_are_about() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[act(1), tick(), act(2), settled(1), noted("disk-full"), pause("holiday")]);
    let reader = JournalReader::open(dir.path()).unwrap();
    let seqs = |filter: Filter| reader.find(&filter).unwrap().entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(reader.of_action(ActionId(1)).unwrap().entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(seqs(Filter { name: Some("act".into()), newest_first: true, ..Filter::default() }), [3, 1]);
    assert_eq!(seqs(Filter { target: Some("node/muscle".into()), limit: 1, ..Filter::default() }), [1]);
    assert_eq!(seqs(Filter { policy: Some("disk-full".into()), ..Filter::default() }), [5]);
    assert_eq!(seqs(Filter { from: Some(Time(3000)), until: Some(Time(5000)), ..Filter::default() }), [3, 4]);
    assert_eq!(reader.tail(2).unwrap().entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn what_an_action_rests_on_is_durable_and_reads_alone_are_only_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    assert!(batch(&mut recorder, &[tick()]).durable, "the first batch begins the rhythm");
    assert!(!batch(&mut recorder, &[read(2), tick()]).durable);
    assert!(batch(&mut recorder, &[read(4), act(1)]).durable);
    assert!(!batch(&mut recorder, &[read(6)]).durable);
    assert!(!batch(&mut recorder, &[tick(), tick(), tick()]).durable);
    assert!(batch(&mut recorder, &[tick()]).durable, "five seconds after the last sync");
    assert_eq!(all(dir.path()).len(), 10);
}

#[test]
fn a_second_daemon_is_refused_and_readers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[act(1)]);
    let error = Recorder::open(dir.path(), JournalSettings::default(), Time(0)).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(all(dir.path()).len(), 1);
    drop(recorder);
    open(dir.path());
}

#[test]
fn a_table_locked_by_somebody_else_is_named_and_the_batch_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    recorder.table.connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let other = Connection::open(dir.path().join(TABLE_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    recorder.begin().unwrap();
    assert_eq!(recorder.push(Time(1), &tick()).unwrap(), 1);
    let error = recorder.push(Time(1), &act(1)).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Locked);
    assert!(error.to_string().contains("journal.db"), "{error}");
    assert_eq!(recorder.commit().unwrap_err().kind, JournalErrorKind::Misuse, "the batch is gone");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(batch(&mut recorder, &[tick(), act(1)]).last_seq, 2);
    assert_eq!(all(dir.path()).len(), 2);
    intact(dir.path());
}

#[test]
fn a_full_table_takes_nothing_of_the_batch_and_the_numbers_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[tick(), pause("first")]);
    let pages: i64 = recorder.table.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    recorder.table.connection.pragma_update_and_check(None, "max_page_count", pages + 1, |_| Ok(())).unwrap();
    let big = pause(&"x".repeat(100_000));
    recorder.begin().unwrap();
    recorder.push(Time(3), &read(3)).unwrap();
    let error = recorder.push(Time(3), &big).and_then(|_| recorder.commit().map(|_| 0)).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Full, "{error}");
    assert_eq!((all(dir.path()).len(), recorder.next_seq()), (2, 3));
    recorder.table.connection.pragma_update_and_check(None, "max_page_count", pages + 1000, |_| Ok(())).unwrap();
    batch(&mut recorder, &[read(3), big]);
    assert_eq!(all(dir.path()).len(), 4);
    intact(dir.path());
}

#[test]
fn a_full_sample_log_takes_the_table_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicU64::new(1000));
    let files = crate::samples::narrow_files(left.clone());
    let (mut recorder, _) = Recorder::open_with(dir.path(), JournalSettings::default(), Time(0), files).unwrap();
    batch(&mut recorder, &[tick(), act(1)]);
    left.store(5, Ordering::Relaxed);
    recorder.begin().unwrap();
    recorder.push(Time(3), &act(2)).unwrap();
    recorder.push(Time(3), &read(3)).unwrap();
    let error = recorder.commit().unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Full, "{error}");
    assert_eq!(all(dir.path()).len(), 2);
    left.store(1000, Ordering::Relaxed);
    assert_eq!(batch(&mut recorder, &[act(2), read(4)]).last_seq, 4);
    drop(recorder);
    let (_, opened) = open(dir.path());
    assert_eq!((opened.last_seq, opened.notes), (4, vec![]));
    intact(dir.path());
}

#[test]
fn a_crash_between_the_halves_leaves_no_half_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[tick(), act(1), tick()]);
    // What `commit` does first, then nothing more: the process is gone.
    recorder.begin().unwrap();
    for body in [tick(), act(2), read(6)] {
        recorder.push(Time(4), &body).unwrap();
    }
    recorder.samples.flush().unwrap();
    drop(recorder);
    let (mut recorder, opened) = open(dir.path());
    assert_eq!(opened.last_seq, 4, "the tick before the lost effect follows the last entry and may stay");
    assert!(opened.notes[0].contains("never committed"), "{:?}", opened.notes);
    batch(&mut recorder, &[act(2)]);
    assert_eq!(all(dir.path()).iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    intact(dir.path());
}

#[test]
fn a_changed_row_a_removed_row_and_a_changed_column_are_named() {
    for (change, broken, how) in [
        ("UPDATE entries SET body = replace(body, 'needed', 'wanted') WHERE seq = 3", 3, "does not follow"),
        ("UPDATE entries SET at_ms = at_ms + 1 WHERE seq = 3", 3, "does not follow"),
        ("DELETE FROM entries WHERE seq = 3", 4, "removed"),
        ("UPDATE entries SET target = 'node/other' WHERE seq = 3", 3, "node/other"),
        ("UPDATE entries SET hash = x'00' WHERE seq = 3", 3, "does not follow"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut recorder, _) = open(dir.path());
        batch(&mut recorder, &[act(1), act(2), act(3), act(4), act(5)]);
        assert_eq!(intact(dir.path()).entries, 5);
        drop(recorder);
        Connection::open(dir.path().join(TABLE_FILE)).unwrap().execute_batch(change).unwrap();
        let found = JournalReader::open(dir.path()).unwrap().verify().unwrap();
        let (seq, words) = found.broken.unwrap();
        assert!(seq == broken && words.contains(how), "{change}: {seq} {words}");
    }
}

#[test]
fn a_changed_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[tick(), tick()]);
    recorder.samples.end_segment().unwrap();
    let sealed: Vec<SegmentFacts> = recorder.maintain(Time(0), None).unwrap().samples.sealed;
    assert_eq!(intact(dir.path()).segments, 1);
    let path = dir.path().join(SAMPLES_DIR).join(format!("{:020}.zst", sealed[0].first_seq));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(JournalReader::open(dir.path()).unwrap().verify().unwrap().broken.unwrap().0, 1);
    std::fs::remove_file(&path).unwrap();
    assert!(JournalReader::open(dir.path()).unwrap().verify().unwrap().broken.unwrap().1.contains("missing"));
    drop(recorder);
    let (_, opened) = open(dir.path());
    assert!(opened.notes[0].contains("segment 1 is missing"), "{:?}", opened.notes);
}

#[test]
fn an_entry_of_another_version_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[act(1), tick(), act(2), tick(), act(3)]);
    Connection::open(dir.path().join(TABLE_FILE))
        .unwrap()
        .execute_batch("UPDATE entries SET body = '{\"shrink\":1}' WHERE seq = 3")
        .unwrap();
    let reader = JournalReader::open(dir.path()).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = reader.entries(0).unwrap().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (4, 1));
    let error = bad.into_iter().next().unwrap().unwrap_err();
    assert!(error.kind == JournalErrorKind::Unreadable && error.to_string().contains("entry 3 (`act`)"), "{error}");
    assert_eq!(reader.find(&Filter::default()).unwrap().unreadable.len(), 1);
}

#[test]
fn pruning_keeps_the_chain_and_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { retention: Span::from_secs(10), ..JournalSettings::default() };
    let (mut recorder, _) = Recorder::open(dir.path(), settings, Time(0)).unwrap();
    batch(&mut recorder, &(1..=40).map(act).collect::<Vec<_>>());
    let done = recorder.maintain(Time(40_000), Some(20)).unwrap();
    assert_eq!((done.pruned, done.more_due), (19, false), "entry 20 is still needed");
    assert_eq!(recorder.maintain(Time(40_000), None).unwrap().pruned, 10);
    let found = intact(dir.path());
    assert_eq!((found.entries, found.pruned), (11, 29));
    assert_eq!(recorder.maintain(Time(1 << 40), None).unwrap().pruned, 11, "all of them");
    drop(recorder);
    let (mut recorder, opened) = open(dir.path());
    assert_eq!(opened.last_seq, 40, "numbers are never used again");
    batch(&mut recorder, &[act(41)]);
    assert_eq!(intact(dir.path()).entries, 1);
}

#[test]
fn pruning_by_size_shrinks_the_file_and_says_when_it_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { bytes_max: 300_000, ..JournalSettings::default() };
    let (mut recorder, _) = Recorder::open(dir.path(), settings, Time(0)).unwrap();
    for i in 0..100 {
        batch(&mut recorder, &(0..10).map(|j| pause(&format!("{i} {j} {}", "x".repeat(500)))).collect::<Vec<_>>());
    }
    let blocked = recorder.maintain(Time(0), Some(1)).unwrap();
    assert!(blocked.pruned == 0 && blocked.notes[0].contains("still needed"), "{blocked:?}");
    let done = recorder.maintain(Time(0), None).unwrap();
    assert!(done.pruned > 0 && done.table_bytes <= 300_000, "{done:?}");
    assert!(recorder.maintain(Time(0), None).unwrap().pruned == 0);
    intact(dir.path());
}

#[test]
fn a_backup_is_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorder, _) = open(dir.path());
    batch(&mut recorder, &[act(1), act(2)]);
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join(TABLE_FILE);
    recorder.backup(&to).unwrap();
    assert_eq!(intact(copy.path()).entries, 2);
    assert!(recorder.backup(&to).unwrap_err().to_string().contains("exists"));
    let (mut second, opened) = open(copy.path());
    assert_eq!((opened.last_seq, opened.generation), (2, 2));
    batch(&mut second, &[act(3)]);
    assert_eq!(intact(copy.path()).entries, 3);
}

#[test]
fn migrations_run_once_each_and_newer_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(TABLE_FILE);
    let mut connection = Connection::open(&path).unwrap();
    let first = &["CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (7)"][..];
    assert_eq!(schema::migrate(&mut connection, &path, first).unwrap(), 0);
    let second = &[first[0], "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 0; UPDATE a SET y = x * 2"][..];
    assert_eq!(schema::migrate(&mut connection, &path, second).unwrap(), 1);
    assert_eq!(schema::migrate(&mut connection, &path, second).unwrap(), 2);
    assert_eq!(connection.query_row("SELECT sum(y) FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 14);
    // A migration that fails leaves the version before it.
    let broken = &[second[0], second[1], "CREATE TABLE b (x INTEGER) STRICT; SELECT nonsense FROM a"][..];
    assert!(schema::migrate(&mut connection, &path, broken).is_err());
    assert_eq!(schema::migrate(&mut connection, &path, second).unwrap(), 2);
    drop(connection);
    let error = Recorder::open(dir.path(), JournalSettings::default(), Time(0)).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::TooNew);
    assert!(error.to_string().contains("schema version 2, this build knows versions up to 1"), "{error}");
}

#[test]
fn files_that_are_no_journal_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(TABLE_FILE);
    assert_eq!(JournalReader::open(dir.path()).map(|_| ()).unwrap_err().kind, JournalErrorKind::Missing);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE photos (x)").unwrap();
    let error = Recorder::open(dir.path(), JournalSettings::default(), Time(0)).map(|_| ()).unwrap_err();
    assert!(error.kind == JournalErrorKind::Corrupt && error.to_string().contains("not a Homeostat journal"), "{error}");
    std::fs::write(&path, "not a database at all, but long enough to be looked at".repeat(40)).unwrap();
    assert_eq!(Table::open_writer(&path).map(|_| ()).unwrap_err().kind, JournalErrorKind::Corrupt);
}

#[test]
fn segments_that_retention_deletes_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let samples = SampleSettings { retention: Span::from_secs(1), segment_bytes_max: 1, ..SampleSettings::default() };
    let (mut recorder, _) = Recorder::open(dir.path(), JournalSettings { samples, ..JournalSettings::default() }, Time(0)).unwrap();
    for _ in 0..5 {
        batch(&mut recorder, &[read(1), act(1)]);
    }
    let done = recorder.maintain(Time(9_000), None).unwrap();
    assert_eq!((done.samples.sealed.len(), done.samples.deleted.len()), (4, 4));
    assert_eq!(all(dir.path()).len(), 6, "five actions and the open segment's read");
    assert_eq!(intact(dir.path()).segments, 0);
    drop(recorder);
    assert!(open(dir.path()).1.notes.is_empty());
}
