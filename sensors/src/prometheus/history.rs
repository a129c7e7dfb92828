//! The past of a Prometheus server, for backtests: range queries out, observations in, by the same naming as the live sensor's.
//!
//! A range query answers with a value per step for every series that had one within the server's lookback (five minutes), and with
//! none after a staleness marker; so every step is a complete row, and what is absent from it is stale, as live. The rows pass the
//! live sensor's dictionary and normaliser: there is no second rule for what a raw series is called. Deliberately absent: caching,
//! choosing slices, and what a policy needs. An editor breaks this by asking for more than 11,000 steps at once, or by deriving
//! signals anywhere else.

use super::answer::{self, Item, QueryData};
use super::fetch::Fetcher;
use super::{PrometheusConfig, seconds};
use crate::derive::{self, Derive};
use crate::dictionary::Dictionary;
use crate::http::HttpReader;
use crate::normalise::Normaliser;
use homeostat_model::{Fault, Observation, Sample, SensorId, SeriesKey, Span, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// Steps of one range query at most; Prometheus refuses more than 11,000.
pub const STEPS_MAX: i64 = 10_900;
/// How long one request may take. The past is more than a live read.
const TIMEOUT: Span = Span::from_secs(120);

/// One thing to ask for over a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryQuery {
    /// The PromQL text.
    pub query: String,
    /// The name that the result gets, for the configuration's `queries`; `None`: the series' own.
    pub record: Option<String>,
}

/// One answer, as it came.
#[derive(Clone, Copy, Debug)]
pub struct HistoryAnswer<'a> {
    /// What was asked.
    pub asked: &'a HistoryQuery,
    /// The body.
    pub body: &'a [u8],
}

/// Reads a server's past. Rows must be taken in order of time.
pub struct PrometheusHistory {
    config: PrometheusConfig,
    fetcher: Fetcher,
    dictionary: Dictionary,
    normaliser: Normaliser,
}

/// A series of the slices under way.
struct Column {
    key: SeriesKey,
    cohort: u32,
    number: Option<u32>,
    values: Vec<(Time, f64)>,
    next: usize,
}

impl PrometheusHistory {
    /// A reader; no IO happens. `Malformed` for a configuration that cannot work, naming the field.
    pub fn new(config: PrometheusConfig) -> Result<PrometheusHistory, Fault> {
        config.check()?;
        let reader = HttpReader::new(&config.http(), TIMEOUT)?;
        Ok(PrometheusHistory {
            fetcher: Fetcher::new(reader, config.body_bytes_max),
            dictionary: Dictionary::new(config.series_max.saturating_mul(2).saturating_add(1000)),
            normaliser: Normaliser::new(None, config.node_jobs.clone()),
            config,
        })
    }

    /// The server without credentials.
    pub fn shown_url(&self) -> String {
        self.fetcher.shown_url()
    }

    /// What to ask for so that these metrics (signals of the vocabulary, raw names, or names of the configuration's `queries`) can be
    /// read.
    pub fn queries(&self, metrics: &BTreeSet<String>) -> Vec<HistoryQuery> {
        let mut wanted = BTreeSet::new();
        let plain = |name: &str| HistoryQuery { query: SeriesKey::bare(name).to_string(), record: None };
        for metric in metrics {
            let recorded = self.config.queries.iter().filter(|query| &query.record == metric);
            let before = wanted.len();
            wanted.extend(recorded.map(|query| HistoryQuery { query: query.query.clone(), record: Some(query.record.clone()) }));
            if wanted.len() == before {
                // A source may speak the vocabulary itself.
                wanted.insert(plain(metric));
                wanted.extend(Normaliser::raw_metrics_of(metric).into_iter().map(plain));
            }
        }
        wanted.into_iter().collect()
    }

    /// One range query, first and last step included: the body as it came. At most [`STEPS_MAX`] steps.
    ///
    /// # Errors
    /// What the server, the network or a limit says; `Limit` and `TimedOut`: ask for a shorter range.
    pub async fn range(&self, query: &HistoryQuery, from: Time, to: Time, step: Span) -> Result<Vec<u8>, Fault> {
        let form = [
            ("query", query.query.clone()),
            ("start", seconds(from)),
            ("end", seconds(to)),
            ("step", format!("{}.{:03}", step.millis() / 1000, step.millis() % 1000)),
        ];
        let deadline = tokio::time::Instant::now() + Duration::from_millis(TIMEOUT.millis().max(0) as u64);
        let body = self.fetcher.post("query_range", &form, deadline).await?;
        // What cannot be read must not be cached.
        let doing = self.doing(query);
        answer::read::<QueryData<'_>>(&body, &doing)?;
        Ok(body)
    }

    /// Makes one complete row per step of these answers to ranges over the same steps, and shows it. Returns the server's warnings.
    ///
    /// # Errors
    /// An answer cannot be read.
    pub fn rows(
        &mut self,
        answers: &[HistoryAnswer<'_>],
        (from, to, step): (Time, Time, Span),
        each: &mut dyn FnMut(&Observation),
    ) -> Result<Vec<String>, Fault> {
        let (mut columns, mut warnings) = (Vec::new(), Vec::new());
        for answer in answers {
            let (data, warned): (QueryData<'_>, Vec<String>) = answer::read(answer.body, &self.doing(answer.asked))?;
            warnings.extend(warned);
            if data.dropped > 0 {
                warnings
                    .push(format!("{} series of `{}` were left out: too many, or with too many labels", data.dropped, answer.asked.query));
            }
            columns.extend(data.items.into_iter().map(|item| column(item, answer.asked.record.as_deref())));
        }
        let sensor = SensorId::from(self.config.name.as_str());
        let mut row = Observation::new(sensor, from, step);
        let (mut at, mut epoch) = (from, None);
        while at <= to {
            row.reset(at);
            row.interval = step;
            self.dictionary.begin(&mut row);
            if epoch != Some(self.dictionary.epoch()) {
                epoch = Some(self.dictionary.epoch());
                for column in &mut columns {
                    column.number = self.dictionary.declare(column.key.clone(), column.cohort, &mut row);
                }
            }
            for column in &mut columns {
                while let Some((then, value)) = column.values.get(column.next).filter(|(then, _)| *then <= at) {
                    if *then == at
                        && let Some(series) = column.number
                    {
                        row.samples.push(Sample { series, value: *value });
                    }
                    column.next += 1;
                }
            }
            derive::apply(&mut self.normaliser as &mut dyn Derive, &mut self.dictionary, &mut row);
            self.dictionary.commit_live(columns.len().max(row.samples.len()), &mut row);
            each(&row);
            at = at + step;
        }
        Ok(warnings)
    }

    fn doing(&self, query: &HistoryQuery) -> String {
        let short: String = query.query.chars().take(80).collect();
        format!("read the past of Prometheus {}, query `{short}`", self.shown_url())
    }
}

fn column(item: Item<'_>, record: Option<&str>) -> Column {
    let label = |name: &str| item.labels.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
    let cohort = super::tracker::cohort_of(label("job"), label("instance"));
    let key = SeriesKey::new(record.unwrap_or(&item.name), item.labels.iter().map(|(name, value)| (&**name, &**value)));
    Column { key, cohort, number: None, values: item.values, next: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> PrometheusHistory {
        let mut config = PrometheusConfig::plain("prometheus", "http://127.0.0.1:1");
        config.queries.push(super::super::RecordedQuery { record: "lab:sum".into(), query: "sum(lab)".into() });
        PrometheusHistory::new(config).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn texts(history: &PrometheusHistory, metrics: &[&str]) -> Vec<String> {
        let metrics = metrics.iter().map(ToString::to_string).collect();
        history.queries(&metrics).into_iter().map(|query| query.query).collect()
    }

    #[test]
    fn a_signal_asks_for_what_feeds_it() {
        let history = history();
        assert_eq!(
            texts(&history, &["filesystem_avail_ratio"]),
            ["filesystem_avail_ratio", "node_filesystem_avail_bytes", "node_filesystem_size_bytes"]
        );
        assert_eq!(texts(&history, &["node_load15"]), ["node_load15"]);
        assert_eq!(texts(&history, &["lab:sum"]), ["sum(lab)"]);
        assert!(texts(&history, &["disk_failure_risk"]).contains(&"smartctl_device".to_owned()), "it names the disk");
    }

    #[test]
    fn rows_are_complete_and_named_as_live_ones() {
        let mut history = history();
        let body = |name: &str, values: &str| {
            format!(
                r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"__name__":"{name}","instance":"nas:9100","job":"node","mountpoint":"/","device":"/dev/sda1","fstype":"ext4"}},"values":[{values}]}}]}}}}"#
            )
        };
        let avail = body("node_filesystem_avail_bytes", r#"[0,"5"],[60,"4"],[180,"1"]"#);
        let size = body("node_filesystem_size_bytes", r#"[0,"10"],[60,"10"],[120,"10"],[180,"10"]"#);
        let plain = |name: &str| HistoryQuery { query: name.into(), record: None };
        let (a, b) = (plain("node_filesystem_avail_bytes"), plain("node_filesystem_size_bytes"));
        let answers = [HistoryAnswer { asked: &a, body: avail.as_bytes() }, HistoryAnswer { asked: &b, body: size.as_bytes() }];
        let (mut names, mut ratios) = (Vec::new(), Vec::new());
        let mut look = |row: &Observation| {
            names.extend(row.declared.iter().map(|decl| decl.key.to_string()));
            let ratio = names.iter().position(|name| name.starts_with("filesystem_avail_ratio")).unwrap_or(usize::MAX);
            let value = row.samples.iter().find(|sample| sample.series as usize == ratio).map(|sample| sample.value);
            ratios.push((row.at.millis() / 1000, value));
        };
        let steps = (Time(0), Time(180_000), Span::from_secs(60));
        assert_eq!(history.rows(&answers, steps, &mut look), Ok(Vec::new()));
        assert_eq!(ratios, [(0, Some(0.5)), (60, Some(0.4)), (120, None), (180, Some(0.1))]);
        assert!(names.iter().any(|name| name.starts_with("filesystem_avail_ratio{") && name.contains("node=\"nas\"")), "{names:?}");
        let broken =
            [HistoryAnswer { asked: &a, body: b"{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"too many samples\"}" }];
        let fault = history.rows(&broken, steps, &mut |_| {}).unwrap_err();
        assert_eq!(fault.code, homeostat_model::FaultCode::Limit);
    }
}
