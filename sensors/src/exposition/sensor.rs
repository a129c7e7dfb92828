//! The sensor for one exporter's page.
//!
//! A read is one GET; everything after it is synchronous, so a read that is dropped half way has changed nothing. A failed read is
//! blind and still says `up 0`. Deliberately absent: service discovery, relabelling, retries. An editor breaks this by awaiting
//! anything after `Dictionary::begin`, or by pushing page samples into a blind observation.

use super::Format;
use super::labels::TargetLabels;
use super::memo::{Numbering, PageMemo};
use super::parse::{PageReport, SampleText};
use crate::derive::{self, Derive};
use crate::dictionary::Dictionary;
use crate::http::{Answer, BasicAuth, HttpConfig, HttpReader, TlsConfig};
use homeostat_model::{BoxFuture, Fault, FaultCode, Health, Observation, Secret, Sensor, SensorId, SensorSpec, Span, StampedSample, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// Sent by default: OpenMetrics first, since it shows when a page was cut short.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Sent to servers that answer with something newer than OpenMetrics 1.0.
const ACCEPT_TEXT: &str = "text/plain;version=0.0.4";
/// What Prometheus sends, so that exporters that probe (blackbox) can stop in time.
const TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";
/// The memo addresses a page with 32 bits; far below that, a page is a mistake.
const BODY_BYTES_LIMIT: usize = 1 << 30;
/// `up` and its like are scraped together and share their stamps.
const OWN_COHORT: u32 = 1;
const OWN_METRICS: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

/// One exporter's page of metrics, as Prometheus would scrape it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpositionConfig {
    /// The sensor's name; also the series' label `job`.
    pub name: String,
    /// The page's address, `http://nas:9100/metrics`. Its host and port become the label `instance`.
    pub url: String,
    /// How often to read, `15s`.
    #[serde(default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Span,
    /// How long one read may take, at most `interval`.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// The node that the page tells of, for derived series. Without it: the host in `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Labels added to every series.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether the page's own labels win over the added ones; otherwise they become `exported_…`.
    #[serde(default)]
    pub honor_labels: bool,
    /// A page with more bytes than this (decompressed) is refused.
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
    /// More series than this are left out.
    #[serde(default = "default_series_max")]
    pub series_max: usize,
    /// A token sent as `Authorization: Bearer …`: `${env:NAME}`, `${file:/path}` or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub bearer: Option<Secret>,
    /// A name and password sent as `Authorization: Basic …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// More request headers; values may be secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// How far to trust the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Whether to ask for gzip. Without it: yes, except from this machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip: Option<bool>,
}

fn default_interval() -> Span {
    Span::from_secs(15)
}
fn default_timeout() -> Span {
    Span::from_secs(10)
}
fn default_body_bytes_max() -> usize {
    64 << 20
}
fn default_series_max() -> usize {
    50_000
}

impl ExpositionConfig {
    /// A page with all defaults.
    pub fn plain(name: impl Into<String>, url: impl Into<String>) -> ExpositionConfig {
        ExpositionConfig {
            name: name.into(),
            url: url.into(),
            interval: default_interval(),
            timeout: default_timeout(),
            node: None,
            labels: BTreeMap::new(),
            honor_labels: false,
            body_bytes_max: default_body_bytes_max(),
            series_max: default_series_max(),
            bearer: None,
            basic: None,
            headers: BTreeMap::new(),
            tls: None,
            gzip: None,
        }
    }

    /// The label `instance`: host and port, the port also where the URL leaves it out. Empty for a URL that is none.
    pub fn instance(&self) -> String {
        let Ok(url) = reqwest::Url::parse(&self.url) else { return String::new() };
        format!("{}:{}", url.host_str().unwrap_or(""), url.port_or_known_default().unwrap_or(80))
    }

    /// The node that the page tells of: as configured, else the host in `url`.
    pub fn node(&self) -> String {
        let host = || reqwest::Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.node.clone().or_else(host).unwrap_or_default()
    }

    fn http(&self) -> HttpConfig {
        let mut headers = self.headers.clone();
        if !headers.keys().any(|name| name.eq_ignore_ascii_case(TIMEOUT_HEADER)) {
            headers.insert(TIMEOUT_HEADER.into(), Secret::Literal(self.timeout.seconds().to_string()));
        }
        let (bearer, basic, tls) = (self.bearer.clone(), self.basic.clone(), self.tls.clone());
        HttpConfig { url: self.url.clone(), bearer, basic, headers, tls, gzip: self.gzip }
    }

    fn check(&self) -> Result<(), Fault> {
        let problem = if self.name.is_empty() {
            Some("`name` is empty".into())
        } else if self.interval <= Span::ZERO || self.timeout <= Span::ZERO || self.timeout > self.interval {
            Some(format!("`timeout` is {} and `interval` is {}: expected 0 < timeout <= interval", self.timeout, self.interval))
        } else if self.body_bytes_max == 0 || self.body_bytes_max > BODY_BYTES_LIMIT {
            Some(format!("`body_bytes_max` is {}: expected 1 to {BODY_BYTES_LIMIT}", self.body_bytes_max))
        } else if self.series_max == 0 {
            Some("`series_max` is 0: expected at least 1".into())
        } else {
            self.labels
                .keys()
                .find(|name| name.is_empty() || *name == "__name__")
                .map(|name| format!("`{name}` in `labels` is not a label's name"))
        };
        let doing = format!("set up the exposition sensor `{}`", self.name);
        problem.map_or(Ok(()), |problem| Err(Fault::new(FaultCode::Malformed, doing, problem)))
    }
}

/// Reads one exporter's page.
pub struct ExpositionSensor {
    config: ExpositionConfig,
    reader: HttpReader,
    scrape: Scrape,
    /// The body of the read under way.
    page: Vec<u8>,
}

impl ExpositionSensor {
    /// A sensor; no IO happens. `deriver` makes the normalised series, for the node [`ExpositionConfig::node`]. `Malformed` for a
    /// configuration that cannot work, naming the field.
    pub fn new(config: ExpositionConfig, deriver: Box<dyn Derive>) -> Result<ExpositionSensor, Fault> {
        config.check()?;
        let reader = HttpReader::new(&config.http(), config.timeout)?;
        let scrape = Scrape::new(&config, &reader, deriver);
        Ok(ExpositionSensor { config, reader, scrape, page: Vec::new() })
    }
}

impl Sensor for ExpositionSensor {
    fn spec(&self) -> SensorSpec {
        SensorSpec {
            id: SensorId::from(self.config.name.as_str()),
            kind: "exposition".into(),
            interval: self.config.interval,
            // Longer than the reader's own deadline, which makes the better fault.
            timeout: Span(self.config.timeout.millis().saturating_add(1000)),
            source: self.reader.shown_url(),
        }
    }

    fn read<'a>(&'a mut self, _at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let started = Instant::now();
            let accept = if self.scrape.text_only { ACCEPT_TEXT } else { ACCEPT };
            let answer = self.reader.get(self.reader.url(), accept, self.config.body_bytes_max, &mut self.page).await;
            // No await from here on: all of the rest happens or none.
            self.scrape.take(answer, &mut self.page, started, into);
        })
    }
}

/// Everything between an answer and an observation.
struct Scrape {
    doing: String,
    series_max: usize,
    labels: TargetLabels,
    dictionary: Dictionary,
    memo: PageMemo,
    deriver: Box<dyn Derive>,
    /// Numbers of [`OWN_METRICS`] and the epoch they belong to.
    own: Option<(u32, [Option<u32>; 3])>,
    /// The unknown content type that was reported last.
    reported_type: Option<Option<String>>,
    /// The server sent something newer than asked for: ask for text only.
    text_only: bool,
}

impl Scrape {
    fn new(config: &ExpositionConfig, reader: &HttpReader, deriver: Box<dyn Derive>) -> Scrape {
        Scrape {
            doing: format!("scrape {}", reader.shown_url()),
            series_max: config.series_max,
            labels: TargetLabels::new(&config.name, &config.instance(), &config.labels, config.honor_labels),
            // Room for derived series beside the page's.
            dictionary: Dictionary::new(config.series_max + config.series_max / 4 + 64),
            memo: PageMemo::new(),
            deriver,
            own: None,
            reported_type: None,
            text_only: false,
        }
    }

    /// Fills the observation from an answer whose body is `page`.
    fn take(&mut self, answer: Result<Answer, Fault>, page: &mut Vec<u8>, started: Instant, into: &mut Observation) {
        self.dictionary.begin(into);
        let own = self.own_series(into);
        let outcome = answer.and_then(|answer| self.format(&answer, page, into)).and_then(|format| self.read_page(page, format, into));
        let report = match outcome {
            Ok(report) => Some(report),
            Err(fault) => {
                into.samples.clear();
                into.stamped.clear();
                into.vanished.clear();
                into.fault(fault);
                into.health = Health::Blind;
                None
            }
        };
        let scraped = report.as_ref().map_or(0, |report| report.samples + report.duplicates + report.skewed + report.over_limit);
        let values = [f64::from(report.is_some()), started.elapsed().as_secs_f64(), scraped as f64];
        for (series, value) in own.into_iter().zip(values) {
            into.stamped.extend(series.map(|series| StampedSample { series, at: into.at, value }));
        }
        derive::apply(&mut *self.deriver, &mut self.dictionary, into);
        self.dictionary.commit(into);
        // The dead may hold the places of the living.
        if report.is_some_and(|report| report.over_limit > 0 && report.samples + report.over_limit <= self.series_max as u64) {
            self.dictionary.expire();
        }
    }

    fn own_series(&mut self, into: &mut Observation) -> [Option<u32>; 3] {
        match self.own {
            Some((epoch, numbers)) if epoch == self.dictionary.epoch() => numbers,
            _ => {
                self.labels.renew();
                let numbers = OWN_METRICS.map(|metric| self.dictionary.declare(self.labels.own(metric), OWN_COHORT, into));
                self.own = Some((self.dictionary.epoch(), numbers));
                numbers
            }
        }
    }

    /// How the body is written, by the answer's `Content-Type`.
    fn format(&mut self, answer: &Answer, page: &[u8], into: &mut Observation) -> Result<Format, Fault> {
        answer.require_success(&self.doing, page)?;
        let content_type = answer.content_type.as_deref();
        match content_type.map_or(Ok(None), Format::of_content_type) {
            Ok(Some(format)) => {
                self.reported_type = None;
                Ok(format)
            }
            Ok(None) => {
                if self.reported_type.as_ref().is_none_or(|reported| reported.as_deref() != content_type) {
                    self.reported_type = Some(answer.content_type.clone());
                    let detail = format!(
                        "unknown content type `{}`, read as text 0.0.4: expected `text/plain; version=0.0.4` or \
                         `application/openmetrics-text; version=1.0.0`",
                        content_type.unwrap_or("(none)")
                    );
                    into.fault(Fault::new(FaultCode::Malformed, &self.doing, detail));
                }
                Ok(Format::Text)
            }
            Err(what) => {
                self.text_only = true;
                let detail = format!("the page is {what}, which is not read here; the next request asks for `{ACCEPT_TEXT}` only");
                Err(Fault::new(FaultCode::Malformed, &self.doing, detail))
            }
        }
    }

    fn read_page(&mut self, page: &mut Vec<u8>, format: Format, into: &mut Observation) -> Result<PageReport, Fault> {
        let mut numbering =
            Numbers { labels: &mut self.labels, dictionary: &mut self.dictionary, series_max: self.series_max + OWN_METRICS.len() };
        let report = self.memo.read(page, format, &mut numbering, into);
        let refuse = |detail: String| Err(Fault::new(FaultCode::Malformed, &self.doing, detail));
        if let Some(reason) = &report.refused {
            return refuse(reason.clone());
        }
        if report.bad_lines > report.samples + report.duplicates {
            let first = report.faults.first().map_or(String::new(), |fault| format!("; line {}: {}", fault.line, fault.text));
            return refuse(format!(
                "not a page of metrics: {} lines could not be read, {} samples could{first}",
                report.bad_lines, report.samples
            ));
        }
        self.report_faults(&report, into);
        Ok(report)
    }

    /// What was left out of a page that was read, as faults.
    fn report_faults(&self, report: &PageReport, into: &mut Observation) {
        let mut fault = |code, detail: String| into.fault(Fault::new(code, &self.doing, detail));
        for bad in &report.faults {
            let code = if bad.limit { FaultCode::Limit } else { FaultCode::Malformed };
            fault(code, format!("line {}, column {}: {}", bad.line, bad.column, bad.text));
        }
        if report.bad_lines > report.faults.len() as u64 {
            fault(FaultCode::Malformed, format!("{} bad lines in all; the first are listed", report.bad_lines));
        }
        if report.dropped_samples > 0 || !report.dropped_families.is_empty() {
            let names = report.dropped_families.join(", ");
            let detail = format!("{} samples of histograms or summaries with a bad line were left out: {names}", report.dropped_samples);
            fault(FaultCode::Malformed, detail);
        }
        if report.duplicates > 0 {
            fault(FaultCode::Malformed, format!("{} samples repeat a series of the page; the first of each was taken", report.duplicates));
        }
        if report.skewed > 0 {
            let detail = format!("{} samples carry a time more than 10 minutes away from now and were left out", report.skewed);
            fault(FaultCode::Malformed, detail);
        }
        if report.over_limit > 0 {
            let detail = format!("{} samples were left out: the limit is {} series (`series_max`)", report.over_limit, self.series_max);
            fault(FaultCode::Limit, detail);
        }
        if report.samples == 0 && report.is_clean() {
            fault(FaultCode::Malformed, "the page has no samples".into());
        }
    }
}

/// Numbers for the page's series, with the scrape's labels.
struct Numbers<'s> {
    labels: &'s mut TargetLabels,
    dictionary: &'s mut Dictionary,
    series_max: usize,
}

impl Numbering for Numbers<'_> {
    fn number(&mut self, sample: &SampleText<'_, '_>, into: &mut Observation) -> Option<u32> {
        let key = self.labels.key(sample);
        if self.dictionary.len() >= self.series_max {
            return self.dictionary.get(&key);
        }
        self.dictionary.declare(key, 0, into)
    }
    fn epoch(&self) -> u32 {
        self.dictionary.epoch()
    }
}

#[cfg(test)]
mod tests;
