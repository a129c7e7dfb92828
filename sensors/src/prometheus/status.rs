//! What the server knows about itself: active alerts, the health of rules and of scrape targets, as plain row samples.
//!
//! A broken rule shows `inactive` and evaluates nothing; it is a blind spot, not calm. Deliberately absent: acting on alerts (the
//! webhooks bring those with their identity). An editor breaks this by reporting an unknown health as 1 or 0.

use super::answer::{self, AlertsData, RulesData, TargetsData};
use crate::dictionary::Dictionary;
use homeostat_model::{Fault, FaultCode, Observation, Sample, SeriesKey};
use std::collections::BTreeMap;

/// Characters of a target's last error that are shown.
const ERROR_CHARS_MAX: usize = 300;

/// Remembers each target's last error, so that it is told once.
#[derive(Debug, Default)]
pub(super) struct Status {
    errors: BTreeMap<(String, String), String>,
}

impl Status {
    /// `prometheus_alert_active{alertname,state,…} 1`
    pub(super) fn alerts(&mut self, body: &[u8], doing: &str, dictionary: &mut Dictionary, into: &mut Observation) -> Result<(), Fault> {
        let (data, _) = answer::read::<AlertsData>(body, &format!("{doing}, alerts"))?;
        let mut rows = BTreeMap::new();
        for mut alert in data.alerts.into_iter().filter(|alert| !answer::too_wide(&alert.labels)) {
            alert.labels.insert("state".into(), alert.state);
            rows.insert(SeriesKey::new("prometheus_alert_active", alert.labels), 1.0);
        }
        push(rows, dictionary, into);
        Ok(())
    }

    /// `prometheus_rule_health{group,rule}`: 1 evaluates, 0 fails; the worst where a name stands twice.
    pub(super) fn rules(&mut self, body: &[u8], doing: &str, dictionary: &mut Dictionary, into: &mut Observation) -> Result<(), Fault> {
        let (data, _) = answer::read::<RulesData>(body, &format!("{doing}, rules"))?;
        let mut rows = BTreeMap::new();
        for group in data.groups {
            for rule in group.rules {
                let Some(value) = health(&rule.health, "ok", "err") else { continue };
                let key = SeriesKey::new("prometheus_rule_health", [("group", group.name.as_str()), ("rule", rule.name.as_str())]);
                least(&mut rows, key, value);
            }
        }
        push(rows, dictionary, into);
        Ok(())
    }

    /// `prometheus_target_up{job,instance}` and, once per change, a fault with the target's last error.
    pub(super) fn targets(&mut self, body: &[u8], doing: &str, dictionary: &mut Dictionary, into: &mut Observation) -> Result<(), Fault> {
        let (data, _) = answer::read::<TargetsData>(body, &format!("{doing}, targets"))?;
        let (mut rows, mut errors) = (BTreeMap::new(), BTreeMap::new());
        for target in data.active {
            let label = |name: &str| target.labels.get(name).cloned().unwrap_or_default();
            let id = (label("job"), label("instance"));
            if !target.last_error.is_empty() {
                errors.insert(id.clone(), target.last_error.chars().take(ERROR_CHARS_MAX).collect::<String>());
            }
            let Some(value) = health(&target.health, "up", "down") else { continue };
            let key = SeriesKey::new("prometheus_target_up", [("job", id.0), ("instance", id.1)]);
            least(&mut rows, key, value);
        }
        for ((job, instance), error) in &errors {
            if self.errors.get(&(job.clone(), instance.clone())) != Some(error) {
                into.fault(Fault::new(FaultCode::Failed, format!("{doing}, scrape of `{instance}` (job `{job}`)"), error.clone()));
            }
        }
        self.errors = errors;
        push(rows, dictionary, into);
        Ok(())
    }
}

fn health(text: &str, good: &str, bad: &str) -> Option<f64> {
    if text == good {
        Some(1.0)
    } else if text == bad {
        Some(0.0)
    } else {
        None
    }
}

fn least(rows: &mut BTreeMap<SeriesKey, f64>, key: SeriesKey, value: f64) {
    rows.entry(key).and_modify(|old| *old = old.min(value)).or_insert(value);
}

fn push(rows: BTreeMap<SeriesKey, f64>, dictionary: &mut Dictionary, into: &mut Observation) {
    for (key, value) in rows {
        if let Some(series) = dictionary.declare(key, 0, into) {
            into.samples.push(Sample { series, value });
        }
    }
}
