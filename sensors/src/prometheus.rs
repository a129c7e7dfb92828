//! The sensor for a Prometheus server: its samples with their true stamps, and what it knows of its alerts, rules and targets.
//!
//! Selectors are read as instant queries of a range vector (`sel[37s]`), so that samples come with the stamps of their scrapes;
//! each sample passes once. Expressions (`queries`) are instant vectors, stamped with the read. **Backfill:** a read returns one
//! observation. While the past is not covered (at start, after a gap of more than 2.5 intervals) reads return `Backfill`
//! observations, oldest first, as many slices as fit into one read's time and bytes; the first `Fresh` one follows. So windows fill in
//! order of time and nothing wakes policies with the past.
//!
//! A read first fetches everything, then takes it in one synchronous stretch: a read that is dropped half way has changed nothing.
//! Deliberately absent: remote read and write, federation, and PromQL of our own. An editor breaks this by an `await` after
//! `Dictionary::begin`, by retrying 400 or 422, or by letting an outage look like vanished series.

mod answer;
mod config;
mod fetch;
pub mod history;
mod plan;
mod status;
mod tracker;

pub use config::{PrometheusConfig, RecordedQuery};

use crate::derive::{self, Derive};
use crate::dictionary::Dictionary;
use crate::http::HttpReader;
use crate::normalise::Normaliser;
use answer::QueryData;
use fetch::{Asked, Fetched, Fetcher};
use homeostat_model::{
    BoxFuture, Fault, FaultCode, Health, Observation, Purpose, Sensor, SensorId, SensorSpec, SeriesKey, Span, StampedSample, Time,
};
use plan::{Coverage, Plan};
use status::Status;
use tracker::{SKEW_MAX, Taken, Tracker};

/// Samples of one backfill observation, about; a slice that is under way is finished.
const BACKFILL_BYTES: usize = 24 << 20;

/// Reads a Prometheus server.
pub struct PrometheusSensor {
    config: PrometheusConfig,
    fetcher: Fetcher,
    coverage: Coverage,
    intake: Intake,
}

/// Everything after the last await.
struct Intake {
    doing: String,
    dictionary: Dictionary,
    tracker: Tracker,
    normaliser: Normaliser,
    status: Status,
    up: SeriesKey,
}

/// What one read fetched.
#[derive(Default)]
struct Haul {
    fetched: Vec<Fetched>,
    faults: Vec<Fault>,
    /// Everything up to here came whole.
    reached: Option<Time>,
    /// Samples of the past, or of the present.
    past: bool,
    /// Every selector and query of the present came.
    complete: bool,
    /// A slice was too much: ask for less next time.
    too_much: bool,
    slices: u32,
}

impl PrometheusSensor {
    /// A sensor; no IO happens. `Malformed` for a configuration that cannot work, naming the field.
    pub fn new(config: PrometheusConfig) -> Result<PrometheusSensor, Fault> {
        config.check()?;
        let reader = HttpReader::new(&config.http(), config.timeout)?;
        let intake = Intake {
            doing: format!("read Prometheus {}", reader.shown_url()),
            // Room for derived series and the status beside the source's own.
            dictionary: Dictionary::new(config.series_max.saturating_mul(2).saturating_add(1000)),
            tracker: Tracker::new(config.series_max),
            normaliser: Normaliser::new(None, config.node_jobs.clone()),
            status: Status::default(),
            up: SeriesKey::new("prometheus_up", [("sensor", config.name.as_str())]),
        };
        let coverage = Coverage::new(config.interval, config.backfill);
        let fetcher = Fetcher::new(reader, config.body_bytes_max);
        Ok(PrometheusSensor { config, fetcher, coverage, intake })
    }

    /// Fetches what `at` needs, within the timeout. Changes nothing but the connection.
    async fn fetch(&self, at: Time) -> Haul {
        let deadline = tokio::time::Instant::now() + self.config.timeout.to_std();
        let mut haul = Haul::default();
        loop {
            match self.coverage.next(at, haul.reached) {
                Plan::Fresh if haul.slices > 0 => return haul,
                Plan::Fresh => {
                    self.fetch_fresh(at, deadline, &mut haul).await;
                    return haul;
                }
                Plan::Past { from, to } => {
                    haul.past = true;
                    let half_over = tokio::time::Instant::now() + self.config.timeout.to_std() / 2 > deadline;
                    let bytes: usize = haul.fetched.iter().map(|fetched| fetched.body.len()).sum();
                    if haul.slices > 0 && (half_over || bytes > BACKFILL_BYTES) {
                        return haul;
                    }
                    if !self.fetch_past(from, to, deadline, &mut haul).await {
                        return haul;
                    }
                }
            }
        }
    }

    async fn fetch_fresh(&self, at: Time, deadline: tokio::time::Instant, haul: &mut Haul) {
        haul.complete = true;
        let data = (0..self.config.selectors.len()).map(Asked::Selector).chain((0..self.config.queries.len()).map(Asked::Query));
        for asked in data {
            let form = match asked {
                // Without `time`: the server's clock decides what is newest.
                Asked::Selector(i) => vec![("query", format!("{}[{}]", self.config.selectors[i], self.coverage.window()))],
                Asked::Query(i) => vec![("query", self.config.queries[i].query.clone()), ("time", seconds(at))],
                _ => continue,
            };
            match self.fetcher.post("query", &form, deadline).await {
                Ok(body) => haul.fetched.push(Fetched { asked, body }),
                Err(fault) => {
                    haul.complete = false;
                    let unreachable = fault.code == FaultCode::Unreachable;
                    haul.faults.push(fault);
                    if unreachable {
                        return;
                    }
                }
            }
        }
        if haul.complete {
            haul.reached = Some(at);
        }
        let status = [
            (self.config.alerts, Asked::Alerts, "alerts"),
            (self.config.rules, Asked::Rules, "rules"),
            (self.config.targets, Asked::Targets, "targets?state=active"),
        ];
        for (_, asked, path) in status.into_iter().filter(|(wanted, ..)| *wanted) {
            match self.fetcher.get(path, deadline).await {
                Ok(body) => haul.fetched.push(Fetched { asked, body }),
                Err(fault) => haul.faults.push(fault),
            }
        }
    }

    /// One slice of the past; `false` if it did not come whole (then none of it is taken).
    async fn fetch_past(&self, from: Time, to: Time, deadline: tokio::time::Instant, haul: &mut Haul) -> bool {
        let before = haul.fetched.len();
        let (length, step) = (to.since(from), self.config.interval);
        let data = (0..self.config.selectors.len()).map(Asked::Selector).chain((0..self.config.queries.len()).map(Asked::Query));
        for asked in data {
            let (path, form) = match asked {
                Asked::Selector(i) => ("query", vec![("query", format!("{}[{length}]", self.config.selectors[i])), ("time", seconds(to))]),
                Asked::Query(i) => {
                    let query = self.config.queries[i].query.clone();
                    let step = ("step", step.seconds().to_string());
                    (
                        "query_range",
                        vec![("query", query), ("start", seconds((from + self.config.interval).min(to))), ("end", seconds(to)), step],
                    )
                }
                _ => continue,
            };
            match self.fetcher.post(path, &form, deadline).await {
                Ok(body) => haul.fetched.push(Fetched { asked, body }),
                Err(fault) if matches!(fault.code, FaultCode::Malformed | FaultCode::Failed | FaultCode::NotFound) => {
                    // This one query can never come; the others' past is worth having.
                    haul.faults.push(fault);
                }
                Err(fault) => {
                    haul.too_much = matches!(fault.code, FaultCode::TimedOut | FaultCode::Limit);
                    haul.faults.push(fault);
                    haul.fetched.truncate(before);
                    return false;
                }
            }
        }
        haul.slices += 1;
        haul.reached = Some(to);
        true
    }

    /// After the observation is complete: how far the sensor has read.
    fn advance(&mut self, haul: &Haul) {
        if let Some(reached) = haul.reached {
            self.coverage.cover(reached);
            if haul.past {
                self.coverage.lengthen();
            }
        }
        if haul.too_much && !self.coverage.shorten() {
            // Not even the shortest slice comes: the present matters more than this piece of the past.
            if let Plan::Past { to, .. } = self.coverage.next(Time::MAX, haul.reached) {
                self.coverage.cover(to);
            }
        }
    }
}

impl Sensor for PrometheusSensor {
    fn spec(&self) -> SensorSpec {
        SensorSpec {
            id: SensorId::from(self.config.name.as_str()),
            kind: "prometheus".into(),
            interval: self.config.interval,
            // Longer than the sensor's own deadline, which makes the better fault.
            timeout: Span(self.config.timeout.millis().saturating_add(1000)),
            source: self.fetcher.shown_url(),
        }
    }

    fn read<'a>(&'a mut self, at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let haul = self.fetch(at).await;
            // No await from here on: all of the rest happens or none.
            self.intake.take(&self.config, &haul, into);
            self.advance(&haul);
        })
    }
}

impl Intake {
    fn take(&mut self, config: &PrometheusConfig, haul: &Haul, into: &mut Observation) {
        self.dictionary.begin(into);
        into.purpose = if haul.past { Purpose::Backfill } else { Purpose::Fresh };
        for fault in &haul.faults {
            into.fault(fault.clone());
        }
        let (mut taken, mut readable) = (Taken::default(), 0);
        for fetched in &haul.fetched {
            let read = match fetched.asked {
                Asked::Selector(_) | Asked::Query(_) => self.take_series(config, fetched, &mut taken, into),
                Asked::Alerts => self.status.alerts(&fetched.body, &self.doing, &mut self.dictionary, into),
                Asked::Rules => self.status.rules(&fetched.body, &self.doing, &mut self.dictionary, into),
                Asked::Targets => self.status.targets(&fetched.body, &self.doing, &mut self.dictionary, into),
            };
            match read {
                Ok(()) => readable += 1,
                Err(fault) => into.fault(fault),
            }
        }
        self.report(taken, config.series_max, into);
        into.interval = config.interval.max(self.tracker.rhythm());
        if readable == 0 {
            into.health = Health::Blind;
        } else if haul.complete && into.health == Health::Ok {
            self.tracker.sweep(self.dictionary.epoch(), into);
        }
        if let Some(series) = self.dictionary.declare(self.up.clone(), 0, into) {
            into.stamped.push(StampedSample { series, at: into.at, value: f64::from(readable > 0) });
        }
        derive::apply(&mut self.normaliser as &mut dyn Derive, &mut self.dictionary, into);
        self.dictionary.commit_live(self.tracker.len() + into.samples.len() + 1, into);
    }

    fn take_series(
        &mut self,
        config: &PrometheusConfig,
        fetched: &Fetched,
        taken: &mut Taken,
        into: &mut Observation,
    ) -> Result<(), Fault> {
        let (text, record) = match fetched.asked {
            Asked::Query(i) => (&config.queries[i].query, Some(config.queries[i].record.as_str())),
            Asked::Selector(i) => (&config.selectors[i], None),
            _ => return Ok(()),
        };
        let short: String = text.chars().take(80).collect();
        let doing = format!("{}, query `{short}`", self.doing);
        let (data, warnings): (QueryData<'_>, Vec<String>) = answer::read(&fetched.body, &doing)?;
        for warning in warnings {
            into.fault(Fault::new(FaultCode::Failed, &doing, format!("the answer may be partial: {warning}")));
        }
        if data.dropped > 0 {
            let detail = format!("{} series were left out: too many in one answer, or more than 64 labels", data.dropped);
            into.fault(Fault::new(FaultCode::Limit, &doing, detail));
        }
        for item in &data.items {
            self.tracker.take(item, record, &mut self.dictionary, into, taken);
        }
        if let (Some(sample), Some(_)) = (data.scalar, record) {
            let item = answer::Item { values: vec![sample], ..Default::default() };
            self.tracker.take(&item, record, &mut self.dictionary, into, taken);
        }
        Ok(())
    }

    fn report(&self, taken: Taken, series_max: usize, into: &mut Observation) {
        if taken.future > 0 {
            let detail = format!("{} samples lie more than {SKEW_MAX} in the future and were dropped: a clock is wrong", taken.future);
            into.fault(Fault::new(FaultCode::Malformed, &self.doing, detail));
        }
        if taken.over_limit > 0 {
            let detail =
                format!("{} series were left out: the limit is {series_max} (`series_max`); choose narrower `selectors`", taken.over_limit);
            into.fault(Fault::new(FaultCode::Limit, &self.doing, detail));
        }
    }
}

/// A moment as the API takes it: Unix seconds with milliseconds.
fn seconds(at: Time) -> String {
    format!("{}.{:03}", at.millis().div_euclid(1000), at.millis().rem_euclid(1000))
}

#[cfg(test)]
mod tests;
