//! The next page of the same exporter, by comparing instead of parsing.
//!
//! An exporter writes the same lines at every scrape; only numbers change. The memo keeps the last page and, per line, where its
//! value starts and which series it is. A line that begins with the same bytes is the same series, so only its number is read
//! (and not even that if the value's bytes are the same). Where lines were added, removed or moved, it finds its place again; a line
//! that it does not know goes through the grammar. At the first bad line, duplicate or refused series it gives up and the page is
//! read by `parse`, so that its answer is always the parser's. An editor breaks this by keeping anything about a line that its
//! first bytes do not determine, or by keeping lines that do not end with a line break.

use super::grammar::{LabelList, Record, record, tail};
use super::number::short_decimal;
use super::parse::{PageReport, SampleText, Sink, Taken, check_end, parse};
use super::{Format, LINE_BYTES_MAX};
use homeostat_model::{Observation, Sample, Span, StampedSample, Time};
use std::collections::HashMap;

/// A sample whose own time differs more than this from the read's is left out: a future stamp would poison a window.
const SKEW_MAX: Span = Span::from_mins(10);
/// How many lines ahead are tried before the table of all lines is asked.
const AHEAD: usize = 8;

/// Gives series their numbers.
pub trait Numbering {
    /// The number of the series of `sample`, declared in `into` if it is new; `None` when a limit is reached.
    fn number(&mut self, sample: &SampleText<'_, '_>, into: &mut Observation) -> Option<u32>;
    /// Numbers of another epoch are void.
    fn epoch(&self) -> u32;
}

/// What the memo knows of the last page of one exporter.
#[derive(Debug, Default)]
pub struct PageMemo {
    last: Layout,
    /// The layout of the page being read.
    next: Vec<Line>,
    seen: Seen,
    epoch: u32,
    format: Option<Format>,
}

#[derive(Copy, Clone, Debug, PartialEq)]
enum Kind {
    /// A comment or blank line; `value_at` is its end.
    Comment,
    /// A value and a line break.
    Plain,
    /// A timestamp or an exemplar behind the value.
    Long,
}

#[derive(Copy, Clone, Debug)]
struct Line {
    start: u32,
    value_at: u32,
    end: u32,
    series: u32,
    value: f64,
    kind: Kind,
}

/// A page and its lines.
#[derive(Debug, Default)]
struct Layout {
    page: Vec<u8>,
    lines: Vec<Line>,
    /// Lines by the hash of their text up to the value; made when first needed.
    table: HashMap<u64, u32>,
    table_made: bool,
}

/// Which series the page being read has had.
#[derive(Debug, Default)]
struct Seen {
    /// Per series the last page that had it.
    marks: Vec<u32>,
    page: u32,
    stamped: Vec<u32>,
    stamped_before: Vec<u32>,
}

/// Where in the last page the walk is.
#[derive(Debug, Default)]
struct Cursor {
    /// The line that is expected next.
    line: usize,
    /// Whether it has jumped over lines, which may then come later.
    skipped: bool,
}

/// The walk met something that only the parser may judge.
struct Interrupted;

impl PageMemo {
    /// A memo that knows nothing: its first page is parsed.
    pub fn new() -> PageMemo {
        PageMemo::default()
    }

    /// Reads `page` into `into.samples`, `into.stamped` and `into.vanished`. The result is the same as parsing the page anew. The
    /// page is taken; `page` comes back with an older page's buffer. Steady state allocates nothing.
    pub fn read(&mut self, page: &mut Vec<u8>, format: Format, numbering: &mut impl Numbering, into: &mut Observation) -> PageReport {
        if self.epoch != numbering.epoch() || self.format != Some(format) || u32::try_from(page.len()).is_err() {
            *self = PageMemo { epoch: numbering.epoch(), format: Some(format), ..PageMemo::default() };
        }
        let (samples, stamped) = (into.samples.len(), into.stamped.len());
        self.begin();
        let mut report = PageReport::default();
        let known = !self.last.lines.is_empty() && check_end(page, format).is_ok();
        if !known || self.walk(page, format, numbering, into, &mut report).is_err() {
            into.samples.truncate(samples);
            into.stamped.truncate(stamped);
            self.begin();
            let mut sink = PageSink { memo: self, page, numbering, into, samples, stamped };
            report = parse(page, format, &mut sink);
        }
        if report.refused.is_some() {
            // What came before the refusal is void, and the last good page stays the one to compare with.
            into.samples.truncate(samples);
            into.stamped.truncate(stamped);
            return report;
        }
        self.seen.close(into);
        std::mem::swap(&mut self.last.page, page);
        std::mem::swap(&mut self.last.lines, &mut self.next);
        self.last.table_made = false;
        report
    }

    fn begin(&mut self) {
        self.next.clear();
        self.seen.begin();
    }

    /// Reads the page along the last one.
    fn walk(
        &mut self,
        page: &[u8],
        format: Format,
        numbering: &mut impl Numbering,
        into: &mut Observation,
        report: &mut PageReport,
    ) -> Result<(), Interrupted> {
        let mut cursor = Cursor::default();
        let mut at = 0;
        while at < page.len() {
            let Some(line) = self.last.lines.get(cursor.line).filter(|line| self.last.starts(line, page, at)) else {
                at = self.off_track(page, at, &mut cursor, (format, numbering), into, report)?;
                continue;
            };
            let line = *line;
            cursor.line += 1;
            at = self.on_track(line, page, at, format, into, report)?;
        }
        Ok(())
    }

    /// Takes the line at `at`, which starts like `line`. Returns the place after it.
    #[inline]
    fn on_track(
        &mut self,
        line: Line,
        page: &[u8],
        at: usize,
        format: Format,
        into: &mut Observation,
        report: &mut PageReport,
    ) -> Result<usize, Interrupted> {
        let value_at = at + (line.value_at - line.start) as usize;
        let (value, at_ms, end) = match line.kind {
            Kind::Comment => {
                self.next.push(line.moved(at, value_at, value_at));
                return Ok(value_at);
            }
            Kind::Plain => {
                let before = &self.last.page[line.value_at as usize..line.end as usize];
                let short = if page[value_at..].starts_with(before) {
                    Some((line.value, value_at + before.len()))
                } else {
                    short_decimal(page, value_at).filter(|(_, end)| page.get(*end) == Some(&b'\n')).map(|(value, end)| (value, end + 1))
                };
                if let Some((value, end)) = short.filter(|(_, end)| end - at <= LINE_BYTES_MAX) {
                    self.take(line.series, (value, None), into, report)?;
                    self.next.push(Line { value, ..line.moved(at, value_at, end) });
                    return Ok(end);
                }
                read_tail(page, value_at, format)?
            }
            Kind::Long => read_tail(page, value_at, format)?,
        };
        if end - at > LINE_BYTES_MAX {
            return Err(Interrupted);
        }
        self.take(line.series, (value, at_ms), into, report)?;
        self.note(page, at, (value_at, end), line.series, value, at_ms);
        Ok(end)
    }

    /// The line at `at` is not the expected one: looks for it elsewhere in the last page, else parses it.
    fn off_track(
        &mut self,
        page: &[u8],
        at: usize,
        cursor: &mut Cursor,
        (format, numbering): (Format, &mut impl Numbering),
        into: &mut Observation,
        report: &mut PageReport,
    ) -> Result<usize, Interrupted> {
        let ahead = self.last.lines.iter().skip(cursor.line + 1).take(AHEAD).position(|line| self.last.starts(line, page, at));
        if let Some(skipped) = ahead {
            let line = self.last.lines[cursor.line + 1 + skipped];
            *cursor = Cursor { line: cursor.line + skipped + 2, skipped: true };
            return self.on_track(line, page, at, format, into, report);
        }
        let mut labels = LabelList::new();
        match record(page, at, format, &mut labels).map_err(|_| Interrupted)? {
            (Record::Eof, end) if end == page.len() => Ok(end),
            (Record::Eof, _) => Err(Interrupted),
            (Record::Comment | Record::Type { .. }, end) => {
                note_comment(&mut self.next, page, at, end);
                Ok(end)
            }
            (Record::Sample { name, value_at, tail }, end) => {
                // Behind the last page's end there is nothing left to find, unless lines were skipped.
                let all_met = !cursor.skipped && cursor.line >= self.last.lines.len();
                let series = match if all_met { None } else { self.last.find(&page[at..value_at]) } {
                    Some(index) => {
                        *cursor = Cursor { line: index + 1, skipped: true };
                        self.last.lines[index].series
                    }
                    None => {
                        let (value, at_ms) = (tail.value, tail.at_ms);
                        let sample = SampleText { name, labels: &labels, value, at_ms, start: at, value_at, end };
                        numbering.number(&sample, into).ok_or(Interrupted)?
                    }
                };
                self.take(series, (tail.value, tail.at_ms), into, report)?;
                self.note(page, at, (value_at, end), series, tail.value, tail.at_ms);
                Ok(end)
            }
        }
    }

    fn take(
        &mut self,
        series: u32,
        (value, at_ms): (f64, Option<i64>),
        into: &mut Observation,
        report: &mut PageReport,
    ) -> Result<(), Interrupted> {
        match self.seen.take(series, value, at_ms, into) {
            Taken::Yes => report.samples += 1,
            Taken::Skewed => report.skewed += 1,
            Taken::Duplicate | Taken::OverLimit => return Err(Interrupted),
        }
        Ok(())
    }

    #[inline]
    fn note(&mut self, page: &[u8], at: usize, (value_at, end): (usize, usize), series: u32, value: f64, at_ms: Option<i64>) {
        if page[end - 1] == b'\n' {
            // A plain line has nothing but the number: no blank before the line break, no timestamp, no exemplar.
            let plain = at_ms.is_none() && !page[value_at..end].contains(&b' ') && !page[value_at..end].contains(&b'\t');
            let kind = if plain { Kind::Plain } else { Kind::Long };
            self.next.push(Line { start: at as u32, value_at: value_at as u32, end: end as u32, series, value, kind });
        }
    }
}

/// Notes a comment that ends with a line break; one that does not could be the beginning of a longer one next time.
fn note_comment(lines: &mut Vec<Line>, page: &[u8], at: usize, end: usize) {
    if page[end - 1] == b'\n' {
        lines.push(Line { start: at as u32, value_at: end as u32, end: end as u32, series: 0, value: 0.0, kind: Kind::Comment });
    }
}

fn read_tail(page: &[u8], value_at: usize, format: Format) -> Result<(f64, Option<i64>, usize), Interrupted> {
    tail(page, value_at, format).map(|tail| (tail.value, tail.at_ms, tail.end)).map_err(|_| Interrupted)
}

impl Line {
    fn moved(self, start: usize, value_at: usize, end: usize) -> Line {
        Line { start: start as u32, value_at: value_at as u32, end: end as u32, ..self }
    }
}

impl Layout {
    /// Whether the page goes on at `at` as this line began.
    #[inline]
    fn starts(&self, line: &Line, page: &[u8], at: usize) -> bool {
        page[at..].starts_with(&self.page[line.start as usize..line.value_at as usize])
    }

    /// The sample line whose text up to the value is `text`.
    fn find(&mut self, text: &[u8]) -> Option<usize> {
        if !self.table_made {
            self.table.clear();
            for (index, line) in self.lines.iter().enumerate().filter(|(_, line)| line.kind != Kind::Comment) {
                self.table.insert(hash(&self.page[line.start as usize..line.value_at as usize]), index as u32);
            }
            self.table_made = true;
        }
        let index = *self.table.get(&hash(text))? as usize;
        let line = &self.lines[index];
        (self.page[line.start as usize..line.value_at as usize] == *text).then_some(index)
    }
}

/// A quick hash of a line's text; hits are compared, and the table hashes it once more with a random key.
fn hash(text: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    hash ^ hash >> 32
}

impl Seen {
    fn begin(&mut self) {
        self.page = self.page.wrapping_add(1);
        if self.page == 0 {
            self.marks.fill(0);
            self.page = 1;
        }
        self.stamped.clear();
    }

    /// Pushes a value unless the page had its series before.
    #[inline]
    fn take(&mut self, series: u32, value: f64, at_ms: Option<i64>, into: &mut Observation) -> Taken {
        if let Some(at) = at_ms
            && at.abs_diff(into.at.millis()) > SKEW_MAX.millis() as u64
        {
            return Taken::Skewed;
        }
        if self.marks.len() <= series as usize {
            self.marks.resize(series as usize + 1, 0);
        }
        let mark = &mut self.marks[series as usize];
        let again = *mark == self.page;
        *mark = self.page;
        match at_ms {
            None if again => return Taken::Duplicate,
            None => into.samples.push(Sample { series, value }),
            Some(at) => {
                // OpenMetrics allows several points of one series, one after the other, ascending in time.
                let later = into.stamped.last().is_some_and(|last| last.series == series && last.at < Time(at));
                if again && !later {
                    return Taken::Duplicate;
                }
                into.stamped.push(StampedSample { series, at: Time(at), value });
                self.stamped.push(series);
            }
        }
        Taken::Yes
    }

    /// The page is done: stamped series of the last page that it had not are gone.
    fn close(&mut self, into: &mut Observation) {
        for series in &self.stamped_before {
            if self.marks[*series as usize] != self.page && into.vanished.last() != Some(series) {
                into.vanished.push(*series);
            }
        }
        std::mem::swap(&mut self.stamped, &mut self.stamped_before);
    }
}

/// Where the parser's samples go when the memo cannot help.
struct PageSink<'m, N> {
    memo: &'m mut PageMemo,
    page: &'m [u8],
    numbering: &'m mut N,
    into: &'m mut Observation,
    samples: usize,
    stamped: usize,
}

impl<N: Numbering> Sink for PageSink<'_, N> {
    fn sample(&mut self, sample: &SampleText<'_, '_>) -> Taken {
        let known = self.memo.last.find(&self.page[sample.start..sample.value_at]).map(|index| self.memo.last.lines[index].series);
        let Some(series) = known.or_else(|| self.numbering.number(sample, self.into)) else { return Taken::OverLimit };
        let taken = self.memo.seen.take(series, sample.value, sample.at_ms, self.into);
        if taken != Taken::Duplicate {
            self.memo.note(self.page, sample.start, (sample.value_at, sample.end), series, sample.value, sample.at_ms);
        }
        taken
    }

    fn comment(&mut self, start: usize, end: usize) {
        note_comment(&mut self.memo.next, self.page, start, end);
    }

    fn restart(&mut self) {
        self.into.samples.truncate(self.samples);
        self.into.stamped.truncate(self.stamped);
        self.memo.begin();
    }
}
