//! The configuration of the Prometheus sensor: what can be set, its defaults and its limits.
//!
//! Deliberately absent: IO. An editor breaks this by a default that a small server cannot answer.

use crate::http::{BasicAuth, HttpConfig, TlsConfig};
use crate::normalise::Normaliser;
use homeostat_model::{Fault, FaultCode, Secret, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Selectors and queries, each.
const QUERIES_MAX: usize = 100;

/// A Prometheus server (or what speaks its query API).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// The sensor's name.
    #[serde(default = "default_name")]
    pub name: String,
    /// The server's address, `http://prometheus:9090`, with its path prefix if it has one.
    pub url: String,
    /// How often to read, `15s`; best the scrape interval.
    #[serde(default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Span,
    /// How long one read may take, at most `interval`.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Vector selectors whose raw samples are read, `node_load1{instance=~"brain.*"}`. Without any: everything that feeds
    /// the normalised signals.
    #[serde(default = "default_selectors")]
    pub selectors: Vec<String>,
    /// Expressions whose results are read under a name of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<RecordedQuery>,
    /// How far back to read at start and after a gap; `0s` for never.
    #[serde(default = "default_backfill")]
    #[schemars(with = "String")]
    pub backfill: Span,
    /// Whether to read active alerts (`prometheus_alert_active`).
    #[serde(default = "yes")]
    pub alerts: bool,
    /// Whether to read the rules' health (`prometheus_rule_health`).
    #[serde(default = "yes")]
    pub rules: bool,
    /// Whether to read the targets' health (`prometheus_target_up`).
    #[serde(default = "yes")]
    pub targets: bool,
    /// Jobs that scrape nodes although no word of their name says so (`node`, `nodes`, `nodeexporter`, `unix`, `windows`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_jobs: Vec<String>,
    /// More series than this are left out.
    #[serde(default = "default_series_max")]
    pub series_max: usize,
    /// An answer with more bytes than this is refused.
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
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
}

/// An expression and the name of its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedQuery {
    /// The metric's name that the result gets, `lab:power:sum`.
    pub record: String,
    /// The PromQL expression.
    pub query: String,
}

fn default_name() -> String {
    "prometheus".into()
}
fn default_interval() -> Span {
    Span::from_secs(15)
}
fn default_timeout() -> Span {
    Span::from_secs(10)
}
fn default_backfill() -> Span {
    Span::from_hours(6)
}
fn yes() -> bool {
    true
}
fn default_series_max() -> usize {
    50_000
}
fn default_body_bytes_max() -> usize {
    64 << 20
}
fn default_selectors() -> Vec<String> {
    vec![format!("{{__name__=~\"{}\"}}", Normaliser::raw_metrics().join("|"))]
}

impl PrometheusConfig {
    /// A server with all defaults.
    pub fn plain(name: impl Into<String>, url: impl Into<String>) -> PrometheusConfig {
        PrometheusConfig {
            name: name.into(),
            url: url.into(),
            interval: default_interval(),
            timeout: default_timeout(),
            selectors: default_selectors(),
            queries: Vec::new(),
            backfill: default_backfill(),
            alerts: true,
            rules: true,
            targets: true,
            node_jobs: Vec::new(),
            series_max: default_series_max(),
            body_bytes_max: default_body_bytes_max(),
            bearer: None,
            basic: None,
            headers: BTreeMap::new(),
            tls: None,
        }
    }

    pub(super) fn http(&self) -> HttpConfig {
        let (bearer, basic, headers, tls) = (self.bearer.clone(), self.basic.clone(), self.headers.clone(), self.tls.clone());
        HttpConfig { url: self.url.clone(), bearer, basic, headers, tls, gzip: None }
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let range = |text: &str| text.trim_end().ends_with(']') || text.trim().is_empty();
        let problem = if self.name.is_empty() {
            Some("`name` is empty".into())
        } else if self.timeout <= Span::ZERO || self.timeout > self.interval {
            Some(format!("`timeout` is {} and `interval` is {}: expected 0 < timeout <= interval", self.timeout, self.interval))
        } else if self.backfill < Span::ZERO {
            Some(format!("`backfill` is {}: expected 0s or more", self.backfill))
        } else if self.series_max == 0 || self.body_bytes_max == 0 {
            Some("`series_max` and `body_bytes_max` must be at least 1".into())
        } else if self.selectors.len() > QUERIES_MAX || self.queries.len() > QUERIES_MAX {
            Some(format!("more than {QUERIES_MAX} `selectors` or `queries`: join selectors by a pattern on `__name__`"))
        } else if let Some(selector) = self.selectors.iter().find(|selector| range(selector)) {
            Some(format!(
                "`{selector}` in `selectors` is not a vector selector: expected one without a range, `node_load1{{job=\"node\"}}`"
            ))
        } else {
            self.queries
                .iter()
                .find(|query| query.record.is_empty() || query.query.trim().is_empty())
                .map(|query| format!("a query needs `record` and `query`, one has `{}` and `{}`", query.record, query.query))
        };
        let doing = format!("set up the prometheus sensor `{}`", self.name);
        problem.map_or(Ok(()), |problem| Err(Fault::new(FaultCode::Malformed, doing, problem)))
    }
}
