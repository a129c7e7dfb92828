//! What a kernel knows after a restart: the journal's entries folded in order, and the windows filled from the sample log.
//!
//! Live start, rebuild after a panic, and replay use this one function, so that a replayed run begins with exactly what the live run
//! began with. Deliberately absent: handling anything; the caller sends `Started` and `Loaded` afterwards.

use crate::journal::{JournalError, JournalReader};
use homeostat_kernel::Kernel;
use homeostat_model::{Event, StoreSettings, Time};
use std::path::Path;

/// What a journal gives back.
pub struct Recovered {
    /// The kernel.
    pub kernel: Kernel,
    /// Entries of the table that could not be read: what they said is not known.
    pub unreadable: u64,
}

/// A kernel that knows what was written before `before` (all of it for `None`), with windows as far back as the store keeps them.
///
/// # Errors
/// The journal cannot be read. A single entry that cannot be is left out and logged.
pub fn recover(dir: &Path, store: &StoreSettings, now: Time, before: Option<u64>) -> Result<Recovered, JournalError> {
    let mut unreadable = 0;
    let mut kernel = Kernel::new(store.clone());
    let reader = JournalReader::open(dir)?;
    let until = before.unwrap_or(u64::MAX);
    for entry in reader.events_and_effects(0) {
        match entry {
            Ok(entry) if entry.seq >= until => break,
            Ok(entry) => kernel.recover(entry.at, &entry.body),
            Err(error) => {
                unreadable += 1;
                tracing::error!(error = %error, "A journal entry cannot be read and is left out.");
            }
        }
    }
    for sample in reader.samples_from(now - store.retention)? {
        match sample {
            Ok(sample) if sample.seq >= until => break,
            Ok(sample) => {
                if let Event::Observed(observation) = sample.event {
                    kernel.restore_samples(&observation);
                }
            }
            Err(error) => tracing::warn!(error = %error, "A part of the sample log cannot be read and is left out."),
        }
    }
    Ok(Recovered { kernel, unreadable })
}
