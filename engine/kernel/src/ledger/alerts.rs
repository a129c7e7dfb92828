//! Alerts as the journal knows them: each once per (fingerprint, start, status), whatever the sender repeats (traps 6, 14).

use homeostat_model::{Alert, AlertDelivery, AlertStatus, Span, Time};
use std::collections::BTreeMap;

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
    pub alert: Alert,
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
            self.bytes += size(alert);
            let old = self.known.insert(alert.fingerprint.clone(), KnownAlert { alert: alert.clone(), firing, since: at, heard_at: at, repeats: 0 });
            self.bytes -= old.map_or(0, |old| size(&old.alert));
        }
    }

    fn forget(&mut self, now: Time) {
        let bytes = &mut self.bytes;
        self.known.retain(|_, known| {
            let keep = now.since(known.heard_at) < if known.firing { SILENT_MAX } else { ENDED_MAX };
            if !keep {
                *bytes -= size(&known.alert);
            }
            keep
        });
    }
}

fn size(alert: &Alert) -> usize {
    let labels: usize = alert.labels.iter().map(|(n, v)| n.len() + v.len()).sum();
    let annotations: usize = alert.annotations.iter().map(|(n, v)| n.len() + v.len()).sum();
    256 + labels + annotations
}
