//! One number or text that is asked for: a page, a command's answer, a sensor of Home Assistant.
//!
//! Deliberately absent: what it means; callers compare. An editor breaks this by giving a number for what could not be read: nobody logged
//! in and nobody to ask are not the same.

use super::command::{Program, Ran, word_problem};
use super::config::{HomeAssistantConfig, NodeConfig, ReadingConfig};
use super::wire::{Login, Wire};
use crate::redact::Redactor;
use homeostat_model::{FaultCode, Planned};
use serde_json::Value;

/// What is wrong with a reading: its kind, and words.
pub(super) type Trouble = (FaultCode, String);

/// Something that can be asked.
#[derive(Debug)]
pub(super) enum Reading {
    Page { wire: Wire, json_pointer: Option<String>, metric: Option<String> },
    Ssh(Program),
    Sensor { wire: Wire, entity: String },
}

impl Reading {
    pub(super) fn new(config: &ReadingConfig, node: &NodeConfig) -> Result<Reading, String> {
        match config {
            ReadingConfig::Http { url, headers, json_pointer, metric } => {
                if json_pointer.is_some() && metric.is_some() {
                    return Err("give `json_pointer` or `metric`, not both".into());
                }
                if let Some(pointer) = json_pointer.as_ref().filter(|pointer| !pointer.starts_with('/')) {
                    return Err(format!("`json_pointer` is `{pointer}`, expected one such as `/watts`"));
                }
                let wire = Wire::new(url, Login::Headers(headers.clone()), None)?;
                Ok(Reading::Page { wire, json_pointer: json_pointer.clone(), metric: metric.clone() })
            }
            ReadingConfig::Ssh { key_file, command } => {
                let ssh = node.ssh.as_ref().ok_or("`via: ssh` needs the node's `ssh`")?;
                Ok(Reading::Ssh(Program::ssh(ssh, key_file, command)))
            }
            ReadingConfig::HomeAssistant { entity } => {
                let home = node.home_assistant.as_ref().ok_or("`via: home-assistant` needs the node's `home_assistant`")?;
                Ok(Reading::Sensor { wire: home_assistant(home)?, entity: entity_of(entity)?.to_owned() })
            }
        }
    }

    /// What would be asked.
    pub(super) fn planned(&self) -> Planned {
        let call = match self {
            Reading::Page { wire, .. } => format!("GET {}", wire.url("")),
            Reading::Ssh(program) => program.shown(),
            Reading::Sensor { wire, entity } => format!("GET {}", wire.url(&state_path(entity))),
        };
        Planned { call, body: None, writes: false }
    }

    /// Asks; the text as it stands there.
    pub(super) async fn text(&self) -> Result<String, Trouble> {
        let mut redactor = Redactor::default();
        match self {
            Reading::Page { wire, json_pointer, metric } => {
                let answer = wire.get("", &[], &mut redactor).await?;
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                let missing = |what: &str| (FaultCode::Malformed, format!("GET {}: no {what} on the page", wire.url("")));
                match (json_pointer, metric) {
                    (Some(pointer), _) => {
                        let value = answer.json().and_then(|value| value.pointer(pointer).cloned());
                        value.map(|value| plain(&value)).ok_or_else(|| missing(&format!("`{pointer}`")))
                    }
                    (None, Some(metric)) => {
                        let cut = if answer.whole { "" } else { " (only its first 64 KiB were read)" };
                        sum(&text, metric).map(|sum| sum.to_string()).ok_or_else(|| missing(&format!("metric `{metric}`{cut}")))
                    }
                    (None, None) => Ok(text.trim().to_owned()),
                }
            }
            Reading::Ssh(program) => match program.run_ssh().await {
                Ran::Well(text) => Ok(text.trim().to_owned()),
                Ran::Badly(code, words) => Err((FaultCode::Failed, format!("`{}` ended with {code}: {words}", program.shown()))),
                Ran::NotSent(code, words) | Ran::Lost(code, words) => Err((code, format!("`{}`: {words}", program.shown()))),
            },
            Reading::Sensor { wire, entity } => state(wire, entity).await,
        }
    }

    /// Asks for a number.
    pub(super) async fn number(&self) -> Result<f64, Trouble> {
        let text = self.text().await?;
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| (FaultCode::Malformed, format!("`{}` is not a number", head(&text))))
    }

    /// Asks how many there are: a number, the length of a JSON list, or the lines of a command's answer.
    pub(super) async fn count(&self) -> Result<f64, Trouble> {
        let text = self.text().await?;
        if matches!(self, Reading::Ssh(_)) {
            return Ok(text.lines().filter(|line| !line.trim().is_empty()).count() as f64);
        }
        let listed = serde_json::from_str::<Vec<Value>>(&text).ok().map(|list| list.len() as f64);
        let number = listed.or_else(|| text.parse::<f64>().ok().filter(|number| number.is_finite()));
        number.ok_or_else(|| (FaultCode::Malformed, format!("`{}` is neither a number nor a list", head(&text))))
    }
}

/// A connection to Home Assistant.
pub(super) fn home_assistant(config: &HomeAssistantConfig) -> Result<Wire, String> {
    Wire::new(&config.url, Login::Token("Bearer ", config.token.clone()), None)
}

/// An entity's id, `domain.name`.
pub(super) fn entity_of(entity: &str) -> Result<&str, String> {
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match entity.split_once('.') {
        Some((domain, name)) if plain(domain) && plain(name) => Ok(entity),
        _ => Err(format!("`{entity}` is not an entity of Home Assistant: expected one such as `switch.nas_plug`")),
    }
}

/// Where an entity's state is.
pub(super) fn state_path(entity: &str) -> String {
    format!("/api/states/{entity}")
}

/// An entity's state; "unavailable" and "unknown" are no states.
pub(super) async fn state(wire: &Wire, entity: &str) -> Result<String, Trouble> {
    let value = wire.get_json(&state_path(entity), &[], &mut Redactor::default()).await?;
    match value.get("state").and_then(Value::as_str) {
        Some(state @ ("unavailable" | "unknown")) => Err((FaultCode::Unreachable, format!("`{entity}` is {state}"))),
        Some(state) => Ok(state.to_owned()),
        None => Err((FaultCode::Malformed, format!("the answer about `{entity}` has no state"))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn head(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The sum of a metric's series on an exporter's page; `None` if it has none. A value of NaN is passed on.
fn sum(page: &str, metric: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(metric)?;
        // The name ends at its labels or at a blank; labels may hold anything in quotes, the value stands after the last brace.
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.starts_with([' ', '\t']).then_some(rest)?,
        };
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    page.lines().filter_map(value).fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// What is wrong with a reading's own words.
pub(super) fn problems(node: &NodeConfig) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(ssh) = &node.ssh {
        problems.extend(word_problem("ssh.host", &ssh.host));
        problems.extend(word_problem("ssh.user", &ssh.user));
    }
    if let Some(ipmi) = &node.ipmi {
        problems.extend(word_problem("ipmi.host", &ipmi.host));
        problems.extend(word_problem("ipmi.user", &ipmi.user));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_added_up_by_their_whole_name() {
        let page = "# HELP users x\nusers{host=\"a} 9\"} 2\nusers{host=\"b\"} 1 1700000000000\nusers_total 50\nboot 1.5e9\n";
        assert_eq!(sum(page, "users"), Some(3.0));
        assert_eq!(sum(page, "boot"), Some(1.5e9));
        assert_eq!(sum(page, "user"), None);
    }

    #[test]
    fn entities_are_plain() {
        assert!(entity_of("switch.nas_plug").is_ok());
        for bad in ["nas", "switch.", "switch.a/b", "switch.a?x", "Switch.a", "a.b.c"] {
            assert!(entity_of(bad).is_err(), "{bad}");
        }
    }
}
