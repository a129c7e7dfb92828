//! The sensors' section: a map of names, each with a `kind` and that kind's own fields.
//!
//! A new sensor costs one line in each of the two lists here. Deliberately absent: the fields (they stand beside the sensors).

use homeostat_sensors::exposition::ExpositionConfig;
use homeostat_sensors::host::HostConfig;
use homeostat_sensors::kepler::KeplerConfig;
use homeostat_sensors::prometheus::PrometheusConfig;
use homeostat_sensors::smart::{ScrutinyConfig, SmartConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;

/// One sensor. Its `name` is the name in the map.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SensorConfig {
    /// This machine.
    Host(HostConfig),
    /// A page of metrics, as Prometheus scrapes it.
    Exposition(ExpositionConfig),
    /// Kepler's page of metrics; read as any page, the energy counters become the common vocabulary.
    Kepler(KeplerConfig),
    /// A Prometheus server, read through its query API, with its alerts, rules and targets.
    Prometheus(PrometheusConfig),
    /// Disk health by `smartctl` on this machine.
    Smart(SmartConfig),
    /// Disk health from Scrutiny.
    Scrutiny(ScrutinyConfig),
}

impl SensorConfig {
    /// The kind's name, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            SensorConfig::Host(_) => "host",
            SensorConfig::Exposition(_) => "exposition",
            SensorConfig::Kepler(_) => "kepler",
            SensorConfig::Prometheus(_) => "prometheus",
            SensorConfig::Smart(_) => "smart",
            SensorConfig::Scrutiny(_) => "scrutiny",
        }
    }
}

/// Written by hand: the tag and the kind's fields must stand in one object, or an editor's validator calls the tag unknown.
impl JsonSchema for SensorConfig {
    fn schema_name() -> Cow<'static, str> {
        "SensorConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let variants = [
            variant("host", "This machine.", HostConfig::json_schema(generator)),
            variant("exposition", "A page of metrics, as Prometheus scrapes it.", ExpositionConfig::json_schema(generator)),
            variant(
                "kepler",
                "Kepler's page of metrics; read as any page, the energy counters become the common vocabulary.",
                KeplerConfig::json_schema(generator),
            ),
            variant(
                "prometheus",
                "A Prometheus server, read through its query API, with its alerts, rules and targets.",
                PrometheusConfig::json_schema(generator),
            ),
            variant("smart", "Disk health by `smartctl` on this machine.", SmartConfig::json_schema(generator)),
            variant("scrutiny", "Disk health from Scrutiny.", ScrutinyConfig::json_schema(generator)),
        ];
        json_schema!({ "description": "One sensor.", "oneOf": variants })
    }
}

fn variant(kind: &str, description: &str, fields: Schema) -> Value {
    let mut fields = fields.to_value();
    fields["description"] = json!(description);
    if let Some(properties) = fields["properties"].as_object_mut() {
        properties.remove("name");
        properties.insert("kind".into(), json!({ "type": "string", "const": kind, "description": "What kind of sensor it is." }));
    }
    let mut required = vec![json!("kind")];
    required.extend(fields["required"].as_array().into_iter().flatten().filter(|name| *name != "name").cloned());
    fields["required"] = json!(required);
    fields
}
