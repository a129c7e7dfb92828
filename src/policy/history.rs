//! History from a Prometheus server for a backtest: fetched slice by slice, kept on disk, played as observations.
//!
//! Slices lie on a grid of their own (a day, or as many steps as one query may have), so that another `--from` finds what an earlier
//! one fetched. A slice that lies wholly in the past is kept in one zstd file per query; an interrupted fetch goes on from there. What
//! the server or the body limit finds too much (many series) is halved. Deliberately absent: names and signals; those are the
//! sensor's ([`PrometheusHistory`]). An editor breaks this by keeping a slice that was not complete, or an answer that cannot be read.

use anyhow::{Context, anyhow, bail};
use homeostat_model::{Fault, FaultCode, Observation, Span, Time};
use homeostat_sensors::prometheus::PrometheusConfig;
use homeostat_sensors::prometheus::history::{HistoryAnswer, HistoryQuery, PrometheusHistory, STEPS_MAX};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};

/// The longest slice.
const SLICE_MAX: Span = Span::from_hours(24);
/// A slice of fewer steps is not halved again.
const HALVES_STEPS_MIN: i64 = 16;
/// A slice that ended less than this ago may still change: late scrapes, the server's lookback.
const SETTLED_AFTER: Span = Span::from_mins(15);
/// Bytes kept on disk; the oldest files go first.
const CACHE_BYTES_MAX: u64 = 4 << 30;
/// Requests of one fetch.
const REQUESTS_MAX: usize = 200_000;
/// Level of compression: bodies are text that repeats itself.
const ZSTD_LEVEL: i32 = 3;

/// Steps from the first to the last, both included.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slice {
    from: Time,
    to: Time,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The first moment, windows before the looked-at time included.
    pub(super) from: Time,
    /// The last moment.
    pub(super) to: Time,
    /// The time between two values.
    pub(super) step: Span,
    /// Metrics as the policies name them.
    pub(super) metrics: BTreeSet<String>,
    /// Ask nobody; use what is kept.
    pub(super) offline: bool,
}

/// History that is at hand.
pub(super) struct Past {
    history: PrometheusHistory,
    queries: Vec<HistoryQuery>,
    slices: Vec<Slice>,
    step: Span,
    cache: Cache,
    /// Metrics as the policies name them.
    metrics: BTreeSet<String>,
    /// What may not be kept on disk yet.
    fresh: BTreeMap<(usize, Slice), Vec<u8>>,
    body_bytes_max: u64,
    /// What limits the answer.
    pub(super) notes: Vec<String>,
    /// Requests that were made.
    pub(super) requests: usize,
}

/// Slices that cover the time, on their own grid.
fn slices(from: Time, to: Time, step: Span) -> Vec<Slice> {
    let step_ms = step.millis().max(1);
    let steps = (SLICE_MAX.millis() / step_ms).clamp(1, STEPS_MAX);
    let length = steps * step_ms;
    let last = to.millis().div_euclid(step_ms) * step_ms;
    let mut begin = from.millis().div_euclid(length) * length;
    let mut slices = Vec::new();
    while begin <= last {
        slices.push(Slice { from: Time(begin), to: Time((begin + length - step_ms).min(last)) });
        begin += length;
    }
    slices
}

impl Slice {
    fn steps(self, step: Span) -> i64 {
        self.to.since(self.from).millis() / step.millis().max(1) + 1
    }

    fn halves(self, step: Span) -> Option<[Slice; 2]> {
        let steps = self.steps(step);
        (steps >= HALVES_STEPS_MIN).then(|| {
            let middle = self.from + Span(step.millis() * (steps / 2));
            [Slice { from: self.from, to: middle - step }, Slice { from: middle, to: self.to }]
        })
    }
}

/// Answers on disk.
pub(super) struct Cache {
    dir: PathBuf,
    server: String,
    step: Span,
}

impl Cache {
    fn key(&self, query: &HistoryQuery, slice: Slice) -> String {
        format!("{}\n{}\n{}\n{}\n{}", self.server, query.query, self.step.millis(), slice.from.millis(), slice.to.millis())
    }

    fn path(&self, query: &HistoryQuery, slice: Slice) -> PathBuf {
        let hash = Sha256::digest(self.key(query, slice));
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{name}.zst"))
    }

    fn has(&self, query: &HistoryQuery, slice: Slice) -> bool {
        self.path(query, slice).is_file()
    }

    /// Whether a slice was kept in parts, because it was too much at once.
    fn is_halved(&self, query: &HistoryQuery, slice: Slice) -> bool {
        let mut left = slice;
        while let Some([first, _]) = left.halves(self.step) {
            if self.has(query, first) {
                return true;
            }
            left = first;
        }
        false
    }

    /// What was kept; `None` where nothing was, or where it is not what its name says.
    fn get(&self, query: &HistoryQuery, slice: Slice, bytes_max: u64) -> Option<Vec<u8>> {
        let file = std::fs::File::open(self.path(query, slice)).ok()?;
        let mut text = Vec::new();
        zstd::Decoder::new(file).ok()?.take(bytes_max.saturating_add(64 << 10)).read_to_end(&mut text).ok()?;
        let key = self.key(query, slice) + "\n\n";
        text.strip_prefix(key.as_bytes()).map(<[u8]>::to_vec)
    }

    fn put(&self, query: &HistoryQuery, slice: Slice, body: &[u8]) -> anyhow::Result<()> {
        let path = self.path(query, slice);
        let part = path.with_extension(format!("part{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut encoder = zstd::Encoder::new(std::fs::File::create(&part)?, ZSTD_LEVEL)?;
            encoder.write_all((self.key(query, slice) + "\n\n").as_bytes())?;
            encoder.write_all(body)?;
            encoder.finish()?.sync_data()?;
            std::fs::rename(&part, &path)
        };
        write().with_context(|| format!("keep fetched history in {}", path.display()))
    }

    /// Removes the oldest files until what is left fits.
    fn trim(&self, bytes_max: u64) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let mut files: Vec<(std::time::SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let data = entry.metadata().ok()?;
                data.is_file().then(|| Some((data.modified().ok()?, data.len(), entry.path())))?
            })
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= bytes_max {
                return;
            }
            if std::fs::remove_file(&path).is_ok() {
                total -= bytes;
            }
        }
    }
}

/// Fetches what is wanted and not kept yet.
///
/// # Errors
/// The server cannot be reached or refuses; what was fetched until then is kept.
pub(super) async fn fetch(config: PrometheusConfig, wanted: &Wanted, dir: &Path, now: Time) -> anyhow::Result<Past> {
    anyhow::ensure!(wanted.step >= Span::from_secs(1), "`--step {}` is too short, at least 1s is possible", wanted.step);
    std::fs::create_dir_all(dir).with_context(|| format!("make the folder {} for fetched history", dir.display()))?;
    let body_bytes_max = config.body_bytes_max as u64;
    let history = PrometheusHistory::new(config).map_err(told)?;
    let queries = history.queries(&wanted.metrics);
    let cache = Cache { dir: dir.to_owned(), server: history.shown_url(), step: wanted.step };
    let slices = slices(wanted.from, wanted.to.min(now), wanted.step);
    let metrics = wanted.metrics.clone();
    let mut past = Past {
        metrics,
        history,
        queries,
        slices,
        step: wanted.step,
        cache,
        fresh: BTreeMap::new(),
        body_bytes_max,
        notes: Vec::new(),
        requests: 0,
    };
    let total = past.slices.len() * past.queries.len();
    anyhow::ensure!(
        total <= REQUESTS_MAX,
        "{total} requests would be needed, at most {REQUESTS_MAX} are made; choose a longer `--step` or a later `--from`"
    );
    let mut progress = Progress::new(total);
    let mut missing = 0;
    // Slice by slice, oldest first: what an interrupted fetch leaves is whole up to some moment.
    for slice in past.slices.clone() {
        for number in 0..past.queries.len() {
            if wanted.offline {
                missing += usize::from(!past.is_kept(number, slice));
            } else {
                past.fetch_slice(number, slice, now).await?;
            }
            progress.step(past.requests);
        }
    }
    progress.end();
    if missing == total && total > 0 {
        bail!("nothing of this time is kept in {}; run once without `--offline`", past.cache.dir.display());
    }
    if missing > 0 {
        past.notes.push(format!("`--offline`: {missing} of {total} pieces of the history are not kept, and were left out"));
    }
    if past.requests > 0 {
        past.cache.trim(CACHE_BYTES_MAX);
    }
    Ok(past)
}

fn told(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}

impl Past {
    fn is_kept(&self, number: usize, slice: Slice) -> bool {
        let query = &self.queries[number];
        self.cache.has(query, slice) || self.cache.is_halved(query, slice)
    }

    async fn fetch_slice(&mut self, number: usize, slice: Slice, now: Time) -> anyhow::Result<()> {
        let query = self.queries[number].clone();
        let mut todo = vec![slice];
        while let Some(slice) = todo.pop() {
            if self.cache.has(&query, slice) {
                continue;
            }
            let halves = slice.halves(self.step);
            if let Some([first, second]) = halves.filter(|_| self.cache.is_halved(&query, slice)) {
                todo.extend([second, first]);
                continue;
            }
            self.requests += 1;
            match self.history.range(&query, slice.from, slice.to, self.step).await {
                Ok(body) if slice.to + SETTLED_AFTER < now => self.cache.put(&query, slice, &body)?,
                Ok(body) => drop(self.fresh.insert((number, slice), body)),
                Err(fault) if matches!(fault.code, FaultCode::Limit | FaultCode::TimedOut) && halves.is_some() => {
                    todo.extend(halves.into_iter().flatten().rev());
                }
                Err(fault) => return Err(told(fault).context("what was fetched so far is kept; the same command goes on from there")),
            }
        }
        Ok(())
    }

    /// The bodies of one query over one slice, in order.
    fn bodies(&self, number: usize, slice: Slice) -> Vec<Vec<u8>> {
        let query = &self.queries[number];
        let mut found = Vec::new();
        let mut todo = vec![slice];
        while let Some(slice) = todo.pop() {
            if let Some(body) = self.fresh.get(&(number, slice)) {
                found.push(body.clone());
            } else if let Some(body) = self.cache.get(query, slice, self.body_bytes_max) {
                found.push(body);
            } else if let Some([first, second]) = slice.halves(self.step) {
                todo.extend([second, first]);
            }
        }
        found
    }

    /// Shows all of it, step by step, in order of time.
    ///
    /// # Errors
    /// An answer cannot be read.
    pub(super) fn play(&mut self, each: &mut dyn FnMut(&Observation)) -> anyhow::Result<()> {
        let (mut warned, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut each = |row: &Observation| {
            for decl in row.declared.iter().filter(|decl| self.metrics.contains(&*decl.key.metric)) {
                seen.insert(decl.key.metric.to_string());
            }
            each(row);
        };
        for slice in self.slices.clone() {
            let bodies: Vec<(usize, Vec<u8>)> =
                (0..self.queries.len()).flat_map(|number| self.bodies(number, slice).into_iter().map(move |body| (number, body))).collect();
            let answers: Vec<HistoryAnswer<'_>> =
                bodies.iter().map(|(number, body)| HistoryAnswer { asked: &self.queries[*number], body }).collect();
            warned.extend(self.history.rows(&answers, (slice.from, slice.to, self.step), &mut each).map_err(told)?);
        }
        let unseen = self.metrics.difference(&seen).map(|metric| format!("`{metric}`: the history has no series of it"));
        self.notes.extend(unseen);
        self.notes.extend(warned.into_iter().take(10).map(|warning| format!("the server says: {warning}")));
        Ok(())
    }
}

/// How far a fetch is: a bar on a terminal, a line per tenth elsewhere. On stderr, so that stdout stays the answer.
struct Progress {
    total: usize,
    done: usize,
    is_terminal: bool,
    tenths: usize,
    /// Whether anything had to be asked.
    asked: usize,
}

impl Progress {
    fn new(total: usize) -> Progress {
        Progress { total, done: 0, is_terminal: std::io::stderr().is_terminal(), tenths: 0, asked: 0 }
    }

    fn step(&mut self, requests: usize) {
        self.done += 1;
        self.asked = requests;
        let tenths = self.done * 10 / self.total.max(1);
        if requests == 0 {
            return;
        }
        if self.is_terminal {
            let filled = self.done * 30 / self.total.max(1);
            let bar: String = (0..30).map(|place| if place < filled { '#' } else { '.' }).collect();
            eprint!("\rfetching history [{bar}] {}/{} ", self.done, self.total);
        } else if tenths > self.tenths {
            eprintln!("fetching history: {}/{} pieces", self.done, self.total);
        }
        self.tenths = tenths;
    }

    fn end(&self) {
        if self.is_terminal && self.asked > 0 {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> HistoryQuery {
        HistoryQuery { query: name.into(), record: None }
    }

    #[test]
    fn slices_lie_on_their_own_grid_and_under_the_limit_of_steps() {
        let (minute, hour, day) = (60_000, 3_600_000, 86_400_000);
        let found = slices(Time(day + 5 * hour), Time(3 * day + 90_000), Span(minute));
        let edges: Vec<(i64, i64)> = found.iter().map(|slice| (slice.from.0, slice.to.0)).collect();
        assert_eq!(edges, [(day, 2 * day - minute), (2 * day, 3 * day - minute), (3 * day, 3 * day + minute)]);
        let later = slices(Time(day + 9 * hour), Time(3 * day + 90_000), Span(minute));
        assert_eq!(later, found, "another beginning finds the same pieces");
        assert!(slices(Time(0), Time(day), Span::from_secs(1)).iter().all(|slice| slice.steps(Span::from_secs(1)) <= 11_000));
    }

    #[test]
    fn halves_are_whole_and_end() {
        let step = Span::from_mins(1);
        let mut all = vec![Slice { from: Time(0), to: Time(1439 * 60_000) }];
        while let Some([a, b]) = all.last().and_then(|slice| slice.halves(step)) {
            let whole = all.pop().unwrap_or_else(|| panic!("there is one"));
            assert_eq!((a.from, b.to, a.to + step), (whole.from, whole.to, b.from));
            assert_eq!(a.steps(step) + b.steps(step), whole.steps(step));
            all.extend([a, b]);
        }
        assert!(all.len() > 5);
    }

    #[test]
    fn what_is_kept_is_found_again_and_never_mistaken() {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let cache = Cache { dir: dir.path().to_owned(), server: "http://a".into(), step: Span::from_mins(1) };
        let slice = Slice { from: Time(0), to: Time(3_540_000) };
        assert!(!cache.has(&plain("up"), slice) && cache.get(&plain("up"), slice, 1000).is_none());
        cache.put(&plain("up"), slice, b"body").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(cache.get(&plain("up"), slice, 1000).as_deref(), Some(&b"body"[..]));
        assert!(cache.get(&plain("down"), slice, 1000).is_none());
        let elsewhere = Cache { dir: dir.path().to_owned(), server: "http://b".into(), step: cache.step };
        assert!(!elsewhere.has(&plain("up"), slice));
        // A file that is not what its name says is none.
        std::fs::copy(cache.path(&plain("up"), slice), elsewhere.path(&plain("up"), slice)).unwrap_or_else(|error| panic!("{error}"));
        assert!(elsewhere.get(&plain("up"), slice, 1000).is_none());
        let whole = Slice { from: Time(0), to: Time(7_140_000) };
        assert!(cache.is_halved(&plain("up"), whole), "its first half is kept");
        cache.trim(0);
        assert!(!cache.has(&plain("up"), slice));
    }
}
