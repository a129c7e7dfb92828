//! Label and field selectors: `app=web,tier!=db,env in (a,b),!gone` and `spec.nodeName=n1,status.phase!=Failed`.
//!
//! Also `metav1.LabelSelector` objects (matchLabels, matchExpressions). Field selectors are refused on fields that the real server does not
//! select on. Broken when a selector that cannot be read selects everything.

use crate::meta;
use crate::status::ApiError;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Need {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// A label selector; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Labels(Vec<(String, Need)>);

impl Labels {
    /// Reads the query form.
    pub(crate) fn parse(text: &str) -> Result<Labels, ApiError> {
        let refuse = |part: &str| ApiError::bad_request(format!("unable to parse requirement: found '{part}' in label selector '{text}'"));
        let mut needs = Vec::new();
        for part in split_outside_brackets(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let need = if let Some((key, rest)) = part.split_once(" notin ") {
                (key.trim(), Need::NotIn(values(rest).ok_or_else(|| refuse(part))?))
            } else if let Some((key, rest)) = part.split_once(" in ") {
                (key.trim(), Need::In(values(rest).ok_or_else(|| refuse(part))?))
            } else if let Some((key, value)) = part.split_once("!=") {
                (key.trim(), Need::NotIn(vec![value.trim().to_string()]))
            } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (key.trim(), Need::In(vec![value.trim().to_string()]))
            } else if let Some(key) = part.strip_prefix('!') {
                (key.trim(), Need::Absent)
            } else {
                (part, Need::Exists)
            };
            if need.0.is_empty() || need.0.contains([' ', '(', ')', '=']) {
                return Err(refuse(part));
            }
            needs.push((need.0.to_string(), need.1));
        }
        Ok(Labels(needs))
    }

    /// Reads a `metav1.LabelSelector`; null selects nothing, the empty object everything.
    pub(crate) fn of(selector: &Value) -> Option<Labels> {
        let object = selector.as_object()?;
        let mut needs: Vec<(String, Need)> = Vec::new();
        if object.contains_key("matchLabels") || object.contains_key("matchExpressions") || object.is_empty() {
            for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
                needs.push((key.clone(), Need::In(vec![value.as_str()?.to_string()])));
            }
            for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
                let values = meta::list(expression, "/values").iter().filter_map(|value| value.as_str().map(str::to_string)).collect();
                let need = match expression["operator"].as_str()? {
                    "In" => Need::In(values),
                    "NotIn" => Need::NotIn(values),
                    "Exists" => Need::Exists,
                    "DoesNotExist" => Need::Absent,
                    _ => return None,
                };
                needs.push((expression["key"].as_str()?.to_string(), need));
            }
        }
        Some(Labels(needs))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels meet every requirement.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = meta::at(object, "/metadata/labels");
        self.0.iter().all(|(key, need)| {
            let value = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            match need {
                Need::In(all) => value.is_some_and(|value| all.iter().any(|one| one == value)),
                Need::NotIn(all) => value.is_none_or(|value| all.iter().all(|one| one != value)),
                Need::Exists => value.is_some(),
                Need::Absent => value.is_none(),
            }
        })
    }

    /// The query form again, as `Scale.status.selector` carries it.
    pub(crate) fn text(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(key, need)| match need {
                Need::In(all) if all.len() == 1 => format!("{key}={}", all[0]),
                Need::In(all) => format!("{key} in ({})", all.join(",")),
                Need::NotIn(all) => format!("{key} notin ({})", all.join(",")),
                Need::Exists => key.clone(),
                Need::Absent => format!("!{key}"),
            })
            .collect();
        parts.join(",")
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn values(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|value| value.trim().to_string()).collect())
}

/// A field selector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields(Vec<(String, bool, String)>);

const SELECTABLE: [(&str, &[&str]); 5] = [
    (
        "Pod",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    ("Node", &["spec.unschedulable"]),
    ("Namespace", &["status.phase"]),
    ("ReplicaSet", &["status.replicas"]),
    ("Secret", &["type"]),
];

impl Fields {
    /// Reads `a=b,c!=d` for one kind.
    pub(crate) fn parse(text: &str, kind: &str) -> Result<Fields, ApiError> {
        let mut needs = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field.trim(), false, value.trim())
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field.trim(), true, value.trim())
            } else {
                return Err(ApiError::bad_request(format!("invalid field selector: '{part}' is not field=value")));
            };
            let known = matches!(field, "metadata.name" | "metadata.namespace")
                || SELECTABLE.iter().any(|(of, fields)| *of == kind && fields.contains(&field))
                || (kind == "Event"
                    && (field.starts_with("involvedObject.")
                        || field.starts_with("regarding.")
                        || matches!(field, "type" | "reason" | "source" | "reportingComponent")));
            if !known {
                return Err(ApiError::bad_request(format!("field label not supported: {field}")));
            }
            needs.push((format!("/{}", field.replace('.', "/")), equal, value.to_string()));
        }
        Ok(Fields(needs))
    }

    /// Whether an object's fields meet every requirement; an absent field reads as the empty text.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(pointer, equal, value)| {
            let found = match meta::at(object, pointer) {
                Some(Value::String(text)) => text == value,
                Some(Value::Bool(flag)) => flag.to_string() == *value,
                Some(Value::Number(number)) => number.to_string() == *value,
                _ => value.is_empty() || (pointer == "/spec/unschedulable" && value == "false"),
            };
            found == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_select() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app!=web", false),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("tier", true),
            ("!tier", false),
            ("!gone,app in (web),tier!=back", true),
        ] {
            assert_eq!(Labels::parse(text).unwrap().matches(&object), expected, "{text}");
        }
        assert!(Labels::parse("a b c").is_err());
        assert!(Labels::parse("a in b").is_err());
        assert!(Labels::of(&Value::Null).is_none(), "an absent selector selects nothing");
        assert!(Labels::of(&json!({})).unwrap().matches(&object));
        let both = Labels::of(
            &json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]}),
        )
        .unwrap();
        assert!(both.matches(&object));
        assert_eq!(both.text(), "app=web,tier notin (back)");
    }

    #[test]
    fn field_selectors_select() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        for (text, expected) in [("spec.nodeName=n1,status.phase!=Failed", true), ("metadata.name=q", false), ("spec.nodeName=", false)] {
            assert_eq!(Fields::parse(text, "Pod").unwrap().matches(&pod), expected, "{text}");
        }
        assert!(Fields::parse("spec.replicas=3", "Deployment").is_err());
        assert!(Fields::parse("nonsense", "Pod").is_err());
    }
}
