//! A whole page: every sample goes to a sink, every bad line is reported, and no half histogram gets through.
//!
//! A bad line costs that line, unless its family is a histogram or a summary: their samples mean something together only, so the
//! whole family is left out. Since it may have begun before the bad line, the page is then read a second time without it. An
//! OpenMetrics page without its `# EOF` was cut short and is refused. An editor breaks this by handing samples on before
//! [`parse`] returns: until then [`Sink::restart`] may take them all back.

use super::Format;
use super::grammar::{Bad, LabelList, Record, Text, record};
use memchr::memchr;
use std::collections::BTreeSet;

/// A sample as it stands in the page.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct SampleText<'p, 'l> {
    /// The metric's name.
    pub name: Text<'p>,
    /// Labels in the page's order, each name once.
    pub labels: &'l [(Text<'p>, Text<'p>)],
    /// The value.
    pub value: f64,
    /// The explicit timestamp, in milliseconds since the Unix epoch.
    pub at_ms: Option<i64>,
    /// Where the record starts.
    pub start: usize,
    /// Where its value starts; everything before tells the series.
    pub value_at: usize,
    /// Where the next record starts.
    pub end: usize,
}

/// What becomes of a sample.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Taken.
    Yes,
    /// The page has had this series (at this or a later time) before; the first wins.
    Duplicate,
    /// A limit on series was reached.
    OverLimit,
    /// Its own time is too far from now.
    Skewed,
}

/// Where samples go.
pub trait Sink {
    /// A sample.
    fn sample(&mut self, sample: &SampleText<'_, '_>) -> Taken;
    /// A record without a sample, from `start` to `end`.
    fn comment(&mut self, start: usize, end: usize) {
        let _ = (start, end);
    }
    /// All samples so far are void; the page is read again from its start.
    fn restart(&mut self);
}

/// One bad line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in bytes, counted from 1.
    pub column: u32,
    /// What was expected and what was found.
    pub text: String,
    /// Whether a limit was reached rather than the grammar violated.
    pub limit: bool,
}

/// What a page was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageReport {
    /// Samples taken.
    pub samples: u64,
    /// Bad lines.
    pub bad_lines: u64,
    /// The first bad lines, at most [`PageReport::FAULTS_MAX`].
    pub faults: Vec<LineFault>,
    /// Samples left out because the page had their series before.
    pub duplicates: u64,
    /// Histograms and summaries left out as a whole, at most [`PageReport::FAULTS_MAX`] names.
    pub dropped_families: Vec<String>,
    /// Samples left out with them.
    pub dropped_samples: u64,
    /// Samples left out by the limit on series.
    pub over_limit: u64,
    /// Samples left out because their own time is too far from now.
    pub skewed: u64,
    /// Why the whole page was refused.
    pub refused: Option<String>,
}

impl PageReport {
    /// More bad lines and families than this are only counted.
    pub const FAULTS_MAX: usize = 8;

    /// Whether everything in the page was taken.
    pub fn is_clean(&self) -> bool {
        self.bad_lines == 0
            && self.duplicates == 0
            && self.dropped_samples == 0
            && self.over_limit == 0
            && self.skewed == 0
            && self.refused.is_none()
    }
}

/// Reads a page. The sink holds the page's samples when this returns without `refused`.
pub fn parse(page: &[u8], format: Format, sink: &mut impl Sink) -> PageReport {
    if let Err(reason) = check_end(page, format) {
        return PageReport { refused: Some(reason.into()), ..PageReport::default() };
    }
    let mut pass = Pass::new(page, format);
    pass.run(sink);
    if pass.report.refused.is_none() && !pass.dropped.is_empty() {
        sink.restart();
        let dropped = std::mem::take(&mut pass.dropped);
        pass = Pass::new(page, format);
        pass.complex.extend(&dropped);
        pass.dropped = dropped;
        pass.run(sink);
    }
    pass.report.dropped_families = pass.dropped.iter().take(PageReport::FAULTS_MAX).map(|name| (*name).to_owned()).collect();
    pass.report
}

/// An OpenMetrics page must end with `# EOF`; without it the end is missing.
pub(super) fn check_end(page: &[u8], format: Format) -> Result<(), &'static str> {
    let body = page.strip_suffix(b"\n").unwrap_or(page);
    if format == Format::Text || body == b"# EOF" || body.ends_with(b"\n# EOF") {
        return Ok(());
    }
    Err("the OpenMetrics page does not end with `# EOF`: it was cut short, or something follows")
}

struct Pass<'p> {
    page: &'p [u8],
    format: Format,
    report: PageReport,
    /// Histograms and summaries by their declared name.
    complex: BTreeSet<&'p str>,
    /// The family of the last `# TYPE`, and whether it is one of those.
    current: Option<(&'p str, bool)>,
    /// Families to leave out.
    dropped: BTreeSet<&'p str>,
    /// Line number of `counted_to`, to number bad lines without counting all.
    line: u32,
    counted_to: usize,
}

impl<'p> Pass<'p> {
    fn new(page: &'p [u8], format: Format) -> Pass<'p> {
        let (report, complex, dropped) = (PageReport::default(), BTreeSet::new(), BTreeSet::new());
        Pass { page, format, report, complex, current: None, dropped, line: 1, counted_to: 0 }
    }

    fn run(&mut self, sink: &mut impl Sink) {
        let mut labels = LabelList::new();
        let mut start = 0;
        while start < self.page.len() {
            start = match record(self.page, start, self.format, &mut labels) {
                Ok((Record::Comment, end)) => {
                    sink.comment(start, end);
                    end
                }
                Ok((Record::Type { name, complex }, end)) => {
                    self.current = Some((name.raw, complex));
                    self.complex.extend(complex.then_some(name.raw));
                    sink.comment(start, end);
                    end
                }
                Ok((Record::Eof, end)) => {
                    if end < self.page.len() {
                        self.report.refused = Some(format!("line {} is `# EOF`, but more follows", self.line_of(start)));
                        return;
                    }
                    end
                }
                Ok((Record::Sample { name, value_at, tail }, end)) => {
                    let (value, at_ms) = (tail.value, tail.at_ms);
                    let sample = SampleText { name, labels: &labels, value, at_ms, start, value_at, end };
                    self.sample(&sample, sink);
                    end
                }
                Err(bad) => self.bad(start, bad),
            };
        }
    }

    fn sample(&mut self, sample: &SampleText<'p, '_>, sink: &mut impl Sink) {
        let family = if self.complex.is_empty() { None } else { self.family(sample.name.raw) };
        if family.is_some_and(|family| self.dropped.contains(family)) {
            self.report.dropped_samples += 1;
            return;
        }
        match sink.sample(sample) {
            Taken::Yes => self.report.samples += 1,
            Taken::Duplicate => self.report.duplicates += 1,
            Taken::Skewed => self.report.skewed += 1,
            Taken::OverLimit => {
                self.report.over_limit += 1;
                self.dropped.extend(family);
            }
        }
    }

    /// The declared histogram or summary that a metric belongs to.
    fn family(&self, name: &'p str) -> Option<&'p str> {
        // Nearly always the sample stands below its own `# TYPE`.
        if let Some((current, complex)) = self.current
            && let Some(suffix) = name.strip_prefix(current)
            && (suffix.is_empty() || (complex && FAMILY_SUFFIXES.contains(&suffix)) || suffix == "_total")
        {
            return complex.then_some(current);
        }
        family_names(name).find(|base| self.complex.contains(base))
    }

    /// Notes a bad record and returns where to go on: at the next line, since an unclosed quote may have run far.
    fn bad(&mut self, start: usize, bad: Bad<'p>) -> usize {
        let end = memchr(b'\n', &self.page[start..]).map_or(self.page.len(), |length| start + length + 1);
        match bad.name {
            Some(name) => {
                let bucket = name.raw.strip_suffix("_bucket");
                let family = self.family(name.raw).or(bucket);
                // A bucket without its `# TYPE` is as much a part of a histogram as one with it.
                self.complex.extend(family);
                self.dropped.extend(family);
            }
            None => self.dropped.extend(self.current.filter(|(_, complex)| *complex).map(|(name, _)| name)),
        }
        self.report.bad_lines += 1;
        if self.report.faults.len() < PageReport::FAULTS_MAX {
            let line = self.line_of(start);
            let column = (bad.at.max(start) - start + 1) as u32;
            let found = found_at(&self.page[bad.at.min(end)..end]);
            let text = format!("expected {}, found {found}", bad.expected);
            self.report.faults.push(LineFault { line, column, text, limit: bad.limit });
        }
        end
    }

    fn line_of(&mut self, at: usize) -> u32 {
        self.line += memchr::memchr_iter(b'\n', &self.page[self.counted_to..at]).count() as u32;
        self.counted_to = at;
        self.line
    }
}

/// Endings of the samples of a histogram or summary.
const FAMILY_SUFFIXES: [&str; 6] = ["_bucket", "_sum", "_count", "_created", "_gsum", "_gcount"];

/// The names under which a metric's family may have been declared.
fn family_names(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(FAMILY_SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix)))
}

/// The first characters of what was found, shown as text.
fn found_at(rest: &[u8]) -> String {
    match rest.first() {
        None | Some(b'\n') => "the end of the line".into(),
        Some(_) => format!("{:?}", String::from_utf8_lossy(&rest[..rest.len().min(24)]).trim_end_matches('\n')),
    }
}
