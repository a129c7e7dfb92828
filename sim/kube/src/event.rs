//! Events: one shelf, two faces (`v1` and `events.k8s.io/v1`), and the events that the controllers leave for `describe`.
//!
//! Events are stored as `v1`. Repeats of the controllers' events count up in one object; events older than an hour go.

use crate::meta;
use crate::resource::Resource;
use crate::world::World;
use homeostat_model::Span;
use serde_json::{Value, json};

/// How long an event stays (the real server's default).
const KEEP: Span = Span::from_hours(1);

/// The renames between the two faces: `events.k8s.io/v1`, `v1`.
const NAMES: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(map) = object.as_object_mut() else { return };
    for (from, to) in pairs {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_string(), value);
        }
    }
}

/// The stored form of what came in through `resource`.
pub(crate) fn inward(resource: &Resource, object: &mut Value) {
    if resource.group == "events.k8s.io" {
        rename(object, NAMES.into_iter());
    }
}

/// The form in which `resource` shows a stored event.
pub(crate) fn outward(resource: &Resource, object: &mut Value) {
    if resource.group == "events.k8s.io" {
        rename(object, NAMES.into_iter().map(|(new, old)| (old, new)));
    }
}

impl World {
    /// Leaves an event about `object`; a repeat of the same reason counts up.
    pub(crate) fn note(&mut self, object: &Value, kind: &str, reason: &str, component: &str, message: &str) {
        let space = if meta::namespace(object).is_empty() { "default" } else { meta::namespace(object) }.to_string();
        let hash = meta::hash(&json!([meta::uid(object), reason, message]));
        let name = format!("{}.{hash}", meta::name(object));
        let stamp = self.stamp();
        if self.get("events", &space, &name).is_some() {
            self.amend("events", &space, &name, |event| {
                let count = meta::int(event, "/count").unwrap_or(1) + 1;
                meta::set(event, "/count", json!(count));
                meta::set(event, "/lastTimestamp", json!(stamp));
            });
            return;
        }
        if self.room().is_err() {
            return; // counted by room(); an event is not worth failing for
        }
        let mut event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": space},
            "involvedObject": {"apiVersion": object["apiVersion"], "kind": object["kind"], "namespace": object["metadata"]["namespace"], "name": meta::name(object), "uid": meta::uid(object)},
            "type": kind, "reason": reason, "message": message, "source": {"component": component}, "reportingComponent": component,
            "reportingInstance": "", "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1,
        });
        self.stamp_new(&mut event);
        self.commit("events", event);
    }

    /// Removes events past their time; looks once a minute of plant time.
    pub(crate) fn forget_events(&mut self) {
        if self.now.since(self.models.events_checked) < Span::from_mins(1) {
            return;
        }
        self.models.events_checked = self.now;
        for event in self.all("events") {
            let last = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
                .iter()
                .find_map(|at| crate::stamp::parse(meta::text(&event, at)));
            if last.is_some_and(|last| self.now.since(last) > KEEP) {
                self.remove("events", meta::namespace(&event), meta::name(&event));
            }
        }
    }
}
