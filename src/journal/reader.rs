//! Reading the journal while the daemon runs: both halves in the order of their numbers, or the table by what entries are about.
//!
//! One entry that cannot be read is one item with an error; what stands behind it still comes. Deliberately absent: writing, locks,
//! and state between calls.

use super::error::{JournalError, JournalErrorKind};
use super::recorder::{SAMPLES_DIR, TABLE_FILE};
use super::retention;
use super::table::{RawRow, Table};
use crate::samples::{SampleEntry, SampleReader};
use homeostat_model::{ActionId, Entry, EntryBody, Time};
use rusqlite::ToSql;
use std::collections::VecDeque;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

const ROWS_PER_FETCH: i64 = 256;

/// What to look for in the table. Empty fields let everything through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Numbers from this one.
    pub from_seq: u64,
    /// Entries at this time or later.
    pub from: Option<Time>,
    /// Entries before this time.
    pub until: Option<Time>,
    /// The action.
    pub action: Option<ActionId>,
    /// The event's or record's name: `ruled`, `settled` …
    pub name: Option<String>,
    /// The target.
    pub target: Option<String>,
    /// The policy.
    pub policy: Option<String>,
    /// At most so many; 0 stands for 1,000.
    pub limit: u32,
    /// Newest first.
    pub newest_first: bool,
}

/// What a [`Filter`] found.
#[derive(Debug, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Entries that cannot be read by this build.
    pub unreadable: Vec<JournalError>,
}

/// A reader beside the daemon.
pub struct JournalReader {
    pub(super) dir: PathBuf,
    pub(super) table: Table,
    pub(super) journal_id: String,
}

impl JournalReader {
    /// Opens a data directory for reading; takes no lock.
    ///
    /// # Errors
    /// There is no journal, or it is of another version.
    pub fn open(dir: &Path) -> Result<JournalReader, JournalError> {
        let path = dir.join(TABLE_FILE);
        if !path.exists() {
            let detail = "there is no journal here; start the daemon once, or name its data directory";
            return Err(JournalError::new(JournalErrorKind::Missing, "open", &path, detail));
        }
        let table = Table::open_reader(&path)?;
        let journal_id = table.meta("journal_id")?.ok_or_else(|| {
            JournalError::new(JournalErrorKind::Corrupt, "open", &path, "the journal has no id; its first start did not finish")
        })?;
        Ok(JournalReader { dir: dir.to_owned(), table, journal_id })
    }

    /// The journal's id: 32 hex digits.
    pub fn journal_id(&self) -> &str {
        &self.journal_id
    }

    /// When the journal was created.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn created_at(&self) -> Result<Option<Time>, JournalError> {
        Ok(self.table.meta("created_at_ms")?.and_then(|text| text.parse().ok()).map(Time))
    }

    /// Number of the table's last entry; ticks and reads may stand behind it.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn last_table_seq(&self) -> Result<u64, JournalError> {
        Ok(self.table.last(&self.journal_id)?.0)
    }

    /// Everything from a number on, both halves merged. Ticks and reads that retention has deleted are left out.
    ///
    /// # Errors
    /// The sample log's folder cannot be listed.
    pub fn entries(&self, from_seq: u64) -> Result<Entries<'_>, JournalError> {
        let samples = SampleReader::from_seq(&self.dir.join(SAMPLES_DIR), from_seq)?;
        Ok(Entries { rows: self.table_entries(from_seq), samples: Some(samples.peekable()), failed: false })
    }

    /// The table's entries alone from a number on: all but ticks and reads. What state is derived from.
    pub fn events_and_effects(&self, from_seq: u64) -> Entries<'_> {
        Entries { rows: self.table_entries(from_seq), samples: None, failed: false }
    }

    /// Ticks and reads of a time or later, each sensor's first with its whole dictionary, to fill a new store.
    ///
    /// # Errors
    /// The sample log's folder cannot be listed.
    pub fn samples_from(&self, at: Time) -> Result<SampleReader, JournalError> {
        Ok(SampleReader::from_time(&self.dir.join(SAMPLES_DIR), at)?.self_contained())
    }

    /// The last `count` entries of the table, oldest first.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn tail(&self, count: u32) -> Result<Page, JournalError> {
        let mut page = self.find(&Filter { limit: count.max(1), newest_first: true, ..Filter::default() })?;
        page.entries.reverse();
        Ok(page)
    }

    /// Everything the table has about one action, oldest first.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn of_action(&self, action: ActionId) -> Result<Page, JournalError> {
        self.find(&Filter { action: Some(action), ..Filter::default() })
    }

    /// Entries of the table by what they are about.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn find(&self, filter: &Filter) -> Result<Page, JournalError> {
        let mut page = Page::default();
        for row in self.select(filter)? {
            match row.entry(&self.table.path) {
                Ok(entry) => page.entries.push(entry),
                Err(error) => page.unreadable.push(error),
            }
        }
        Ok(page)
    }

    fn select(&self, filter: &Filter) -> Result<Vec<RawRow>, JournalError> {
        let from_seq = filter.from_seq as i64;
        let (from, until) = (filter.from.map(Time::millis), filter.until.map(Time::millis));
        let action = filter.action.map(|action| action.0 as i64);
        let limit = i64::from(if filter.limit == 0 { 1000 } else { filter.limit });
        let mut condition = String::from("WHERE seq >= ?");
        let mut values: Vec<&dyn ToSql> = vec![&from_seq];
        let optional: [(&str, Option<&dyn ToSql>); 6] = [
            ("at_ms >= ?", from.as_ref().map(|value| value as &dyn ToSql)),
            ("at_ms < ?", until.as_ref().map(|value| value as &dyn ToSql)),
            ("action_id = ?", action.as_ref().map(|value| value as &dyn ToSql)),
            ("name = ?", filter.name.as_ref().map(|value| value as &dyn ToSql)),
            ("target = ?", filter.target.as_ref().map(|value| value as &dyn ToSql)),
            ("policy = ?", filter.policy.as_ref().map(|value| value as &dyn ToSql)),
        ];
        for (clause, value) in optional {
            if let Some(value) = value {
                condition.push_str(" AND ");
                condition.push_str(clause);
                values.push(value);
            }
        }
        condition.push_str(if filter.newest_first { " ORDER BY seq DESC LIMIT ?" } else { " ORDER BY seq LIMIT ?" });
        values.push(&limit);
        self.table.rows(&condition, &values)
    }

    fn table_entries(&self, from_seq: u64) -> Rows<'_> {
        Rows { table: &self.table, from_seq, fetched: VecDeque::new(), ended: false }
    }

    /// Copies the table to a file that does not exist yet.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<(), JournalError> {
        retention::backup(&self.table, to)
    }
}

/// The table's rows in fetches, so that no statement stays open while the caller works.
pub(super) struct Rows<'a> {
    table: &'a Table,
    from_seq: u64,
    fetched: VecDeque<RawRow>,
    ended: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(table: &'a Table) -> Rows<'a> {
        Rows { table, from_seq: 0, fetched: VecDeque::new(), ended: false }
    }

    fn fetch(&mut self) -> Result<(), JournalError> {
        if self.fetched.is_empty() && !self.ended {
            let rows = self.table.rows("WHERE seq >= ?1 ORDER BY seq LIMIT ?2", &[&(self.from_seq as i64), &ROWS_PER_FETCH])?;
            self.ended = (rows.len() as i64) < ROWS_PER_FETCH;
            if let Some(last) = rows.last() {
                self.from_seq = last.seq + 1;
            }
            self.fetched.extend(rows);
        }
        Ok(())
    }

    fn peek_seq(&mut self) -> Result<Option<u64>, JournalError> {
        self.fetch()?;
        Ok(self.fetched.front().map(|row| row.seq))
    }

    pub(super) fn next_row(&mut self) -> Result<Option<RawRow>, JournalError> {
        self.fetch()?;
        Ok(self.fetched.pop_front())
    }
}

/// Entries in the order of their numbers.
pub struct Entries<'a> {
    rows: Rows<'a>,
    samples: Option<Peekable<SampleReader>>,
    failed: bool,
}

impl Entries<'_> {
    fn next_inner(&mut self) -> Option<Result<Entry, JournalError>> {
        let row_seq = match self.rows.peek_seq() {
            Ok(seq) => seq,
            Err(error) => {
                // The table itself fails: the next fetch would fail too.
                self.failed = true;
                return Some(Err(error));
            }
        };
        if let Some(samples) = &mut self.samples {
            let first = match samples.peek() {
                Some(Ok(entry)) => row_seq.is_none_or(|row_seq| entry.seq < row_seq),
                Some(Err(_)) => true,
                None => false,
            };
            if first {
                return samples.next().map(|found| found.map(entry_of));
            }
        }
        match self.rows.next_row() {
            Ok(row) => row.map(|row| row.entry(&self.rows.table.path)),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

fn entry_of(sample: SampleEntry) -> Entry {
    Entry { seq: sample.seq, at: sample.at, body: EntryBody::Event(sample.event) }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed { None } else { self.next_inner() }
    }
}
