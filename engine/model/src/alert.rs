//! Alerts as Alertmanager, Grafana and Prometheus send them, in one shape.
//!
//! Annotation values come from people and workloads and are *tainted*: they are shown, never parsed into actions.

use crate::{Labels, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who sent the alert.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSource {
    /// Alertmanager's webhook, version 4.
    Alertmanager,
    /// Grafana's webhook contact point, version 1.
    Grafana,
}

impl AlertSource {
    /// The name used in metrics, journal and URLs.
    pub fn name(self) -> &'static str {
        match self {
            AlertSource::Alertmanager => "alertmanager",
            AlertSource::Grafana => "grafana",
        }
    }
}

/// Whether the alert is on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// It is on.
    Firing,
    /// It has ended.
    Resolved,
}

/// What the alert means: a condition, or that the condition could not be evaluated.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The rule's condition.
    #[default]
    Condition,
    /// Grafana's `DatasourceNoData`: the rule saw nothing. Not healthy, not firing: blind.
    NoData,
    /// Grafana's `DatasourceError`: the rule could not be evaluated.
    Error,
}

/// One alert of a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The source's fingerprint of the label set, as it was sent.
    pub fingerprint: String,
    /// Whether it is on.
    pub status: AlertStatus,
    /// What it means.
    pub kind: AlertKind,
    /// The rule's name: label `alertname`, or `rulename` for Grafana's NoData and Error alerts.
    pub name: String,
    /// All labels, `alertname` included.
    pub labels: Labels,
    /// Annotations; tainted.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: Time,
    /// When it ended; `None` while firing (the source writes year 1).
    pub ends_at: Option<Time>,
    /// Grafana's values by reference id; empty otherwise.
    pub values: BTreeMap<String, f64>,
}

/// One webhook delivery after validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertDelivery {
    /// Who sent it.
    pub source: AlertSource,
    /// The receiver or contact point, with Alertmanager's regex quoting taken off.
    pub receiver: String,
    /// The sender's group key.
    pub group_key: String,
    /// How many alerts the sender left out.
    pub truncated: u64,
    /// The alerts.
    pub alerts: Vec<Alert>,
}
