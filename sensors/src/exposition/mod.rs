//! Pages of metrics as exporters write them: Prometheus text and OpenMetrics.
//!
//! Reading order: `number`, `grammar` (one record), `parse` (one page, what a bad record means), `memo` (the next page of the same
//! exporter, by comparing instead of parsing), `labels` (what a scrape adds), `sensor`. Deliberately absent: the protobuf format,
//! native histograms and OpenMetrics 2.0. An editor breaks this by making the memo accept a page that `parse` would not, or
//! by letting through a part of a histogram.

mod grammar;
mod labels;
mod memo;
mod number;
mod parse;
mod sensor;

pub use grammar::Text;
pub use memo::{Numbering, PageMemo};
pub use number::parse_number;
pub use parse::{LineFault, PageReport, SampleText, Sink, Taken, parse};
pub use sensor::{ExpositionConfig, ExpositionSensor};

/// A record longer than this is refused.
pub const LINE_BYTES_MAX: usize = 65_536;
/// A name or a label value longer than this is refused.
pub const LABEL_BYTES_MAX: usize = 16_384;
/// A series with more labels than this is refused.
pub const LABELS_MAX: usize = 64;

/// How a page is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4, and 1.0.0 with quoted names.
    Text,
    /// OpenMetrics 1.0.0 and 0.0.1.
    OpenMetrics,
}

impl Format {
    /// The format that a `Content-Type` announces: `Ok(None)` if it announces none that is known here, `Err` if it announces one
    /// that is known and not read (protobuf, OpenMetrics 2).
    pub fn of_content_type(content_type: &str) -> Result<Option<Format>, &'static str> {
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or("").to_ascii_lowercase();
        let version = parts.find_map(|part| part.strip_prefix("version=")).map(|version| version.trim_matches('"'));
        match (media.as_str(), version) {
            ("text/plain", None | Some("0.0.4" | "1.0.0")) => Ok(Some(Format::Text)),
            ("application/openmetrics-text", None | Some("0.0.1" | "1.0.0")) => Ok(Some(Format::OpenMetrics)),
            ("application/openmetrics-text", Some(_)) => Err("OpenMetrics in a version other than 1.0.0"),
            ("application/vnd.google.protobuf", _) => Err("protobuf"),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
