//! Alerts as the journal knows them: each once per (fingerprint, start, status), whatever the sender repeats (lesson 15).

use homeostat_model::{Alert, AlertDelivery, AlertStatus, Span, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Known alerts; more are refused and counted.
const ALERTS_MAX: usize = 5_000;
/// Their texts together, in bytes.
const BYTES_MAX: usize = 32 << 20;
/// A firing alert that nobody repeated for this long is forgotten: senders repeat every few hours.
const SILENT_MAX: Span = Span::from_hours(24);
/// How long an alert that has ended stays known, for repeats of its end.
const ENDED_MAX: Span = Span::from_hours(1);

/// An alert and when it was last heard of.
#[derive(Clone, Debug)]
pub struct KnownAlert {
    /// As it was sent, the newest status.
    pub alert: Arc<Alert>,
    /// Whether it is on.
    pub firing: bool,
    /// When this status was first heard.
    pub since: Time,
    /// When it was last heard, repeats included.
    pub heard_at: Time,
    /// How often it was repeated.
    pub repeats: u64,
}

#[derive(Default)]
pub(super) struct Alerts {
    known: BTreeMap<String, KnownAlert>,
    bytes: usize,
    /// Nothing is to be forgotten before this.
    forget_at: Time,
    pub(super) refused: u64,
}

impl Alerts {
    pub(super) fn get(&self, fingerprint: &str) -> Option<&KnownAlert> {
        self.known.get(fingerprint)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownAlert> {
        self.known.values()
    }

    pub(super) fn is_news(&self, alert: &Alert) -> bool {
        match self.known.get(&alert.fingerprint) {
            None => true,
            Some(known) => {
                let same = known.alert.starts_at == alert.starts_at && known.alert.status == alert.status;
                // A late copy of an older episode is no news: deliveries have no order.
                let older = alert.starts_at < known.alert.starts_at;
                let reopened = known.alert.starts_at == alert.starts_at && !known.firing && alert.status == AlertStatus::Firing;
                !(same || older || reopened)
            }
        }
    }

    pub(super) fn take(&mut self, at: Time, delivery: &AlertDelivery) {
        self.forget(at);
        for alert in &delivery.alerts {
            let news = self.is_news(alert);
            if let Some(known) = self.known.get_mut(&alert.fingerprint) {
                known.heard_at = at;
                if !news {
                    known.repeats += 1;
                    continue;
                }
            } else if self.known.len() >= ALERTS_MAX || self.bytes + size(alert) > BYTES_MAX {
                self.refused += 1;
                continue;
            }
            let firing = alert.status == AlertStatus::Firing;
            self.forget_at = self.forget_at.min(at + kept_for(firing));
            self.bytes += size(alert);
            let old = self.known.insert(
                alert.fingerprint.clone(),
                KnownAlert { alert: Arc::new(alert.clone()), firing, since: at, heard_at: at, repeats: 0 },
            );
            self.bytes -= old.map_or(0, |old| size(&old.alert));
        }
    }

    /// Drops what was silent for too long. Thousands may be known, so they are walked only when the first of them may be due.
    fn forget(&mut self, now: Time) {
        if now < self.forget_at {
            return;
        }
        let (bytes, mut next) = (&mut self.bytes, Time::MAX);
        self.known.retain(|_, known| {
            let keep = now.since(known.heard_at) < kept_for(known.firing);
            if keep {
                next = next.min(known.heard_at + kept_for(known.firing));
            } else {
                *bytes -= size(&known.alert);
            }
            keep
        });
        self.forget_at = next;
    }
}

fn kept_for(firing: bool) -> Span {
    if firing { SILENT_MAX } else { ENDED_MAX }
}

fn size(alert: &Alert) -> usize {
    let labels: usize = alert.labels.iter().map(|(n, v)| n.len() + v.len()).sum();
    let annotations: usize = alert.annotations.iter().map(|(n, v)| n.len() + v.len()).sum();
    256 + labels + annotations
}
