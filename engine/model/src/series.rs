//! The identity of a series: a metric's name and its ordered labels.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::sync::Arc;

/// Labels, ordered by name, each name once. The metric's name is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Labels(Box<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Orders the pairs. Of two pairs with one name, the later wins. Empty values are dropped: in Prometheus an empty label is no label.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let mut unique: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match unique.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => unique.push(pair),
            }
        }
        unique.retain(|(_, value)| !value.is_empty());
        Labels(unique.into_boxed_slice())
    }

    /// The value of one label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok().map(|i| self.0[i].1.as_ref())
    }

    /// All pairs in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        Ok(Labels::new(Vec::<(Arc<str>, Arc<str>)>::deserialize(deserializer)?))
    }
}

/// A series' identity. Written as PromQL writes it: `node_load1{node="brain"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The metric's name.
    pub metric: Arc<str>,
    /// The labels, ordered.
    pub labels: Labels,
}

impl SeriesKey {
    /// A series' identity from its parts.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(metric: impl Into<Arc<str>>, labels: impl IntoIterator<Item = (N, V)>) -> SeriesKey {
        SeriesKey { metric: metric.into(), labels: Labels::new(labels) }
    }

    /// A series without labels.
    pub fn bare(metric: &str) -> SeriesKey {
        SeriesKey { metric: metric.into(), labels: Labels::default() }
    }
}

/// Whether a name can stand unquoted in PromQL. Label names may not hold a colon.
fn is_plain(name: &str, colon: bool) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':') || (i > 0 && b.is_ascii_digit()))
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = is_plain(&self.metric, true);
        if plain {
            f.write_str(&self.metric)?;
            if self.labels.is_empty() {
                return Ok(());
            }
        }
        f.write_str("{")?;
        let mut first = true;
        if !plain {
            write!(f, "{:?}", &*self.metric)?;
            first = false;
        }
        for (name, value) in self.labels.iter() {
            if !first {
                f.write_str(",")?;
            }
            first = false;
            if is_plain(name, false) { write!(f, "{name}={value:?}")? } else { write!(f, "{name:?}={value:?}")? }
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_ordered_unique_and_never_empty() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!((labels.get("b"), labels.get("c")), (Some("3"), None));
    }

    #[test]
    fn a_key_is_written_as_promql() {
        assert_eq!(SeriesKey::new("up", [("job", "a\"b")]).to_string(), r#"up{job="a\"b"}"#);
        assert_eq!(SeriesKey::bare("up").to_string(), "up");
        assert_eq!(SeriesKey::new("lab.power", [("host.name", "x")]).to_string(), r#"{"lab.power","host.name"="x"}"#);
    }
}
