//! The sample log: what ticked and what the sensors read, in compressed segments with bounded retention.
//!
//! It is the journal's second half. [`crate::journal::Recorder`] writes both under one gapless counter; this module knows nothing of
//! the table. Steady state costs one bit per unchanged sample and eight bytes per changed one, and allocates nothing per sample.
//! Deliberately absent: clocks (time comes with the entries), threads, and any downsampling: what is read back is what was seen,
//! bit for bit. An editor breaks it by letting a segment depend on an older one (the oldest are deleted), or by acknowledging
//! bytes that are not in the file. The format is described in `docs/journal-format.md`.

mod column;
mod dictionary;
mod directory;
mod log;
mod reader;
mod record;
mod segment;
#[cfg(test)]
mod tests;
mod wire;

#[cfg(test)]
pub(crate) use tests::narrow_files;

pub(crate) use directory::segment_hash;
pub use directory::{AppendFile, Opener};
pub use log::{Maintained, OpenedLog, SampleLog};
pub use reader::{SampleEntry, SampleReader};
pub use segment::{Hash, SegmentFacts};

use homeostat_model::Span;

/// The sample log's limits.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleSettings {
    /// How long segments are kept.
    pub retention: Span,
    /// Bytes on disk, all segments together; the oldest go first.
    pub bytes_max: u64,
    /// A segment ends at this many bytes …
    pub segment_bytes_max: u64,
    /// … or at this age.
    pub segment_age_max: Span,
}

impl Default for SampleSettings {
    fn default() -> SampleSettings {
        SampleSettings {
            retention: Span::from_hours(7 * 24),
            bytes_max: 2 << 30,
            segment_bytes_max: 8 << 20,
            segment_age_max: Span::from_hours(1),
        }
    }
}
