//! The labels that a scrape adds: `job`, `instance` and the configured ones, as Prometheus attaches them.
//!
//! A scraped label of the same name becomes `exported_<name>` (`honor_labels: false`) or wins (`true`). Texts are interned, since
//! the same few names and values fill most of a page. An editor breaks this by making the result depend on anything but the
//! sample's name and labels: the memo keeps it.

use super::SampleText;
use homeostat_model::{Labels, SeriesKey};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Makes series' identities out of a page's samples.
#[derive(Debug)]
pub(super) struct TargetLabels {
    target: Vec<(Arc<str>, Arc<str>)>,
    honor: bool,
    texts: HashSet<Arc<str>>,
}

impl TargetLabels {
    /// `extra` wins over `job` and `instance`.
    pub(super) fn new(job: &str, instance: &str, extra: &BTreeMap<String, String>, honor: bool) -> TargetLabels {
        let mut all = BTreeMap::from([("job", job), ("instance", instance)]);
        all.extend(extra.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let target = all.into_iter().map(|(name, value)| (Arc::from(name), Arc::from(value))).collect();
        TargetLabels { target, honor, texts: HashSet::new() }
    }

    /// A series of the sensor's own, such as `up`.
    pub(super) fn own(&self, metric: &str) -> SeriesKey {
        SeriesKey::new(metric, self.target.iter().cloned())
    }

    /// Forgets the interned texts.
    pub(super) fn renew(&mut self) {
        self.texts.clear();
    }

    /// The identity of a scraped series.
    pub(super) fn key(&mut self, sample: &SampleText<'_, '_>) -> SeriesKey {
        let metric = self.intern(sample.name.unescape());
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(sample.labels.len() + self.target.len());
        for (name, value) in sample.labels {
            let mut name = name.unescape();
            while !self.honor && self.target.iter().any(|(own, _)| **own == *name) || pairs.iter().any(|(other, _)| **other == *name) {
                name = Cow::Owned(format!("exported_{name}"));
            }
            let (name, value) = (self.intern(name), self.intern(value.unescape()));
            pairs.push((name, value));
        }
        for (name, value) in &self.target {
            if !pairs.iter().any(|(scraped, _)| scraped == name) {
                pairs.push((name.clone(), value.clone()));
            }
        }
        SeriesKey { metric, labels: Labels::new(pairs) }
    }

    fn intern(&mut self, text: Cow<'_, str>) -> Arc<str> {
        if let Some(known) = self.texts.get(&*text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Sink, Taken, parse};
    use super::*;

    /// Keys of a page, by these target labels.
    struct Keys(TargetLabels, Vec<String>);

    impl Sink for Keys {
        fn sample(&mut self, sample: &SampleText<'_, '_>) -> Taken {
            self.1.push(self.0.key(sample).to_string());
            Taken::Yes
        }
        fn restart(&mut self) {
            self.1.clear();
        }
    }

    fn key(line: &str, honor: bool) -> String {
        let extra = BTreeMap::from([("rack".to_owned(), "r1".to_owned())]);
        let mut keys = Keys(TargetLabels::new("node", "brain:9100", &extra, honor), Vec::new());
        parse(line.as_bytes(), Format::Text, &mut keys);
        keys.1.remove(0)
    }

    #[test]
    fn labels_are_attached_as_prometheus_does() {
        for (line, honor, expected) in [
            (r#"a 1"#, false, r#"a{instance="brain:9100",job="node",rack="r1"}"#),
            (r#"a{job="x"} 1"#, false, r#"a{exported_job="x",instance="brain:9100",job="node",rack="r1"}"#),
            (
                r#"a{exported_job="y",job="x"} 1"#,
                false,
                r#"a{exported_exported_job="x",exported_job="y",instance="brain:9100",job="node",rack="r1"}"#,
            ),
            (r#"a{job="x",rack="r2"} 1"#, true, r#"a{instance="brain:9100",job="x",rack="r2"}"#),
            (r#"{"a.b",c=""} 1"#, true, r#"{"a.b",instance="brain:9100",job="node",rack="r1"}"#),
        ] {
            assert_eq!(key(line, honor), expected, "{line}");
        }
    }
}
