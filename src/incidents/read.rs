//! Incidents and notes from a journal on disk.
//!
//! The whole table is taken in once, and then only what came since: the numbers of incidents must not depend on where reading began.
//! Deliberately absent: state between calls beside the [`Book`]. An editor breaks this by calling it on the loop's thread.

use super::{Book, Incident, Note};
use crate::journal::{Filter, JournalError, JournalReader};
use homeostat_model::{Entry, Time};

/// Takes in what the journal has beyond the book, and closes what is over at `now`. Gives how many entries could not be read.
///
/// # Errors
/// The table itself cannot be read.
pub fn catch_up(book: &mut Book, reader: &JournalReader, now: Time) -> Result<u64, JournalError> {
    let last = reader.last_table_seq()?;
    let mut unreadable = 0;
    if last >= book.next_seq() {
        for entry in reader.events_and_effects(book.next_seq()) {
            match entry {
                Ok(entry) => book.take(&entry),
                // One that this build cannot read is left out; the note says that entries are missing only where it knew of them.
                Err(_) => unreadable += 1,
            }
        }
    }
    book.close(now);
    Ok(unreadable)
}

/// An incident's note, its entries read from the journal.
///
/// # Errors
/// The table cannot be read.
pub fn note(reader: &JournalReader, incident: &Incident) -> Result<Note, JournalError> {
    let mut entries: Vec<Entry> = Vec::with_capacity(incident.entries.len());
    for wanted in runs(&incident.entries) {
        let filter = Filter { from_seq: wanted.0, limit: wanted.1, ..Filter::default() };
        entries.extend(reader.find(&filter)?.entries);
    }
    // Numbers of ticks and reads lie between those of the table, so a fetch may reach into the next.
    entries.sort_by_key(|entry| entry.seq);
    entries.dedup_by_key(|entry| entry.seq);
    Ok(Note::of(incident, &entries))
}

/// Numbers that lie close together are fetched together: first number and how many.
fn runs(numbers: &[u64]) -> Vec<(u64, u32)> {
    const FETCHED_MAX: u64 = 256;
    let mut runs: Vec<(u64, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, count)) if number - *first < FETCHED_MAX && number - *first < u64::from(*count) + 16 => {
                *count = (number - *first + 1) as u32;
            }
            _ => runs.push((*number, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_a_run() {
        assert_eq!(runs(&[3, 4, 10, 100, 101, 5000]), [(3, 8), (100, 2), (5000, 1)]);
        let many: Vec<u64> = (0..1000).collect();
        let runs = runs(&many);
        assert!(many.iter().all(|n| runs.iter().any(|(first, count)| (*first..first + u64::from(*count)).contains(n))));
        assert!(runs.iter().all(|(_, count)| *count <= 256));
    }
}
