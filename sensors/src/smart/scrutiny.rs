//! Reads disk health from Scrutiny's REST interface (no authentication of its own).
//!
//! One summary and one detail request per disk. Scrutiny keys both by `scrutiny_uuid` since 0.9, by WWN before; the summary's
//! keys are used as they come. Raw data is used, not Scrutiny's own verdicts: its limits for attribute 188 were wrong for years.
//! Deliberately absent: the history (Scrutiny keeps it, we keep ours). An editor breaks this by taking a result from last month
//! for the disk's present state.

use super::health::DiskSeries;
use super::risk::command_timeouts;
use super::{DISKS_MAX, DiskHealth};
use crate::dictionary::Dictionary;
use crate::http::{BasicAuth, HttpConfig, HttpReader, TlsConfig};
use homeostat_model::{BoxFuture, Fault, FaultCode, Health, Observation, Secret, Sensor, SensorId, SensorSpec, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A week of results of one disk has some 100 KiB.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Reads disk health from Scrutiny.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScrutinyConfig {
    /// The sensor's name.
    #[serde(default = "default_name")]
    pub name: String,
    /// Where Scrutiny is, without a path unless it sits below one: `http://nas:8080`.
    pub url: String,
    /// The label `node` of disks whose collector gives no host id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How often to read.
    #[serde(default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Span,
    /// How long one read of all disks may take.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Results older than this say nothing about the present. Scrutiny's collector runs once a day unless told otherwise.
    #[serde(default = "default_age_max")]
    #[schemars(with = "String")]
    pub age_max: Span,
    /// For a proxy before Scrutiny: a token sent as `Authorization: Bearer …`: `${env:NAME}`, `${file:/path}` or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub bearer: Option<Secret>,
    /// For a proxy before Scrutiny: a name and password sent as `Authorization: Basic …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// More request headers; values may be secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// How far to trust the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

impl ScrutinyConfig {
    fn http(&self) -> HttpConfig {
        HttpConfig {
            bearer: self.bearer.clone(),
            basic: self.basic.clone(),
            headers: self.headers.clone(),
            tls: self.tls.clone(),
            ..HttpConfig::plain(&self.url)
        }
    }
}

fn default_name() -> String {
    "scrutiny".into()
}
fn default_interval() -> Span {
    Span::from_mins(10)
}
fn default_timeout() -> Span {
    Span::from_secs(60)
}
fn default_age_max() -> Span {
    Span::from_hours(36)
}

/// One disk of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the details are asked by: `scrutiny_uuid` or WWN.
    pub id: String,
    /// The device's name, for messages.
    pub name: String,
    /// Whether any result was ever collected.
    pub has_results: bool,
}

/// The newest result about one disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    /// When it was collected.
    pub at: Time,
    /// The collector's host id; empty if it gives none.
    pub host: String,
    /// The disk's state.
    pub health: DiskHealth,
}

/// Reads `/api/summary`: the disks that are not archived, ordered by id. Faults: `Malformed`, `Failed` (`success: false`).
pub fn parse_summary(body: &[u8]) -> Result<Vec<Listed>, Fault> {
    const DOING: &str = "read Scrutiny's summary";
    let document = document(body, DOING)?;
    let Some(summary) = document["data"]["summary"].as_object() else {
        return Err(Fault::new(FaultCode::Malformed, DOING, "no `data.summary` map; expected the answer of Scrutiny's `/api/summary`"));
    };
    let mut listed: Vec<Listed> = summary
        .iter()
        .filter(|(_, entry)| entry["device"]["archived"] != true)
        .map(|(id, entry)| {
            let name = entry["device"]["device_name"].as_str().unwrap_or(id).to_owned();
            Listed { id: id.clone(), name, has_results: entry["smart"].is_object() }
        })
        .collect();
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(listed)
}

/// Reads `/api/device/{id}/details`: the newest result, `None` if there is none. Faults: `Malformed`, `Failed` (`success: false`).
pub fn parse_details(body: &[u8]) -> Result<Option<Collected>, Fault> {
    const DOING: &str = "read Scrutiny's details of a disk";
    let document = document(body, DOING)?;
    let device = &document["data"]["device"];
    if !device.is_object() {
        return Err(Fault::new(FaultCode::Malformed, DOING, "no `data.device`; expected the answer of `/api/device/…/details`"));
    }
    let results = document["data"]["smart_results"].as_array().map_or(&[][..], Vec::as_slice);
    let stamped = results.iter().filter_map(|result| Some((time(&result["date"])?, result)));
    let Some((at, newest)) = stamped.max_by_key(|(at, _)| *at) else { return Ok(None) };
    let text = |name: &str| device[name].as_str().unwrap_or("").trim().to_owned();
    let name = text("device_name");
    let mut health = DiskHealth {
        disk: name.strip_prefix("/dev/").unwrap_or(&name).to_owned(),
        model: text("model_name"),
        serial: text("serial_number"),
        temperature_celsius: newest["temp"].as_f64().filter(|celsius| *celsius != 0.0),
        power_on_seconds: newest["power_on_hours"].as_f64().map(|hours| hours * 3600.0),
        power_cycles: newest["power_cycle_count"].as_f64(),
        ..DiskHealth::default()
    };
    // Bit 0: the disk itself says that it fails. Bit 1 is Scrutiny's opinion.
    health.signs.passed = device["device_status"].as_u64().map(|bits| bits & 1 == 0);
    if let Some(attributes) = newest["attrs"].as_object() {
        attributes.iter().for_each(|(id, attribute)| read_attribute(id, attribute, &mut health));
    }
    Ok(Some(Collected { at, host: text("host_id"), health }))
}

/// ATA attributes are keyed by number, those of NVMe and SCSI by the name that `smartctl` gives them.
fn read_attribute(id: &str, attribute: &Value, health: &mut DiskHealth) {
    let value = || attribute["value"].as_f64().filter(|value| *value >= 0.0);
    let count = || {
        let led: String = attribute["raw_string"].as_str().unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
        let hex = attribute["raw_string"].as_str().is_some_and(|text| text.starts_with("0x"));
        let led = if hex { None } else { led.parse::<u64>().ok() };
        led.or_else(|| attribute["raw_value"].as_u64()).map(|value| value as f64)
    };
    let signs = &mut health.signs;
    match id {
        "5" => signs.reallocated = count(),
        "10" => signs.spin_retries = count(),
        "187" => signs.reported_uncorrectable = count(),
        "188" => signs.command_timeouts = attribute["raw_value"].as_u64().map(|raw| command_timeouts(raw) as f64),
        "196" => signs.reallocation_events = count(),
        "197" => signs.pending = count(),
        "198" => signs.offline_uncorrectable = count(),
        "199" => health.crc_errors = count(),
        "critical_warning" => signs.critical_warning = value(),
        "media_errors" => signs.media_errors = value(),
        "percentage_used" => signs.used_ratio = value().map(|percent| percent / 100.0),
        "available_spare" => {
            signs.spare_avail_ratio = value().map(|percent| percent / 100.0);
            signs.spare_threshold_ratio = attribute["thresh"].as_f64().filter(|percent| *percent >= 0.0).map(|percent| percent / 100.0);
        }
        "scsi_grown_defect_list" => signs.reallocated = value(),
        "read_total_uncorrected_errors" | "write_total_uncorrected_errors" => {
            signs.reported_uncorrectable = value().map(|errors| errors + signs.reported_uncorrectable.unwrap_or(0.0));
        }
        _ => {}
    }
}

fn document(body: &[u8], doing: &str) -> Result<Value, Fault> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::new(FaultCode::Malformed, doing, format!("not JSON: {error}; does `url` name Scrutiny?")))?;
    if value["success"] == false {
        return Err(Fault::new(FaultCode::Failed, doing, "Scrutiny answered `success: false`; its log says why"));
    }
    Ok(value)
}

fn time(value: &Value) -> Option<Time> {
    value.as_str()?.parse::<jiff::Timestamp>().ok().map(|stamp| Time(stamp.as_millisecond()))
}

/// The sensor.
#[derive(Debug)]
pub struct ScrutinySensor {
    config: ScrutinyConfig,
    reader: HttpReader,
    base: String,
    body: Vec<u8>,
    series: Vec<(String, DiskSeries)>,
    dictionary: Dictionary,
}

impl ScrutinySensor {
    /// A sensor; fails as [`HttpReader::new`] does. No IO.
    pub fn new(config: &ScrutinyConfig) -> Result<ScrutinySensor, Fault> {
        let reader = HttpReader::new(&config.http(), config.timeout)?;
        let base = reader.url().trim_end_matches('/').to_owned();
        let dictionary = Dictionary::new(DISKS_MAX * 20);
        Ok(ScrutinySensor { config: config.clone(), reader, base, body: Vec::new(), series: Vec::new(), dictionary })
    }

    async fn get(&mut self, path: &str) -> Result<(), Fault> {
        let url = format!("{}{path}", self.base);
        let answer = self.reader.get(&url, "application/json", BODY_BYTES_MAX, &mut self.body).await?;
        answer.require_success(&format!("GET {}{path}", self.reader.shown_url().trim_end_matches('/')), &self.body)
    }

    async fn read_all(&mut self, at: Time, into: &mut Observation) {
        // Blind reads too must say where the dictionary stands.
        self.dictionary.begin(into);
        let listed = match self.get("/api/summary").await.and_then(|()| parse_summary(&self.body)) {
            Ok(listed) => listed,
            Err(fault) => {
                into.fault(fault);
                into.health = Health::Blind;
                return;
            }
        };
        let silent: Vec<&str> = listed.iter().filter(|disk| !disk.has_results).map(|disk| disk.name.as_str()).collect();
        if !silent.is_empty() {
            let detail =
                format!("nothing was ever collected about {}; run the collector there, or archive them in Scrutiny", silent.join(", "));
            into.fault(Fault::new(FaultCode::NotFound, "read Scrutiny's summary", detail));
        }
        let mut listed: Vec<Listed> = listed.into_iter().filter(|disk| disk.has_results).collect();
        if listed.len() > DISKS_MAX {
            let detail = format!("{} disks, the first {DISKS_MAX} are read", listed.len());
            into.fault(Fault::new(FaultCode::Limit, "read Scrutiny's summary", detail));
            listed.truncate(DISKS_MAX);
        }
        let mut results = Vec::with_capacity(listed.len());
        for disk in &listed {
            match self.details(disk, at).await {
                Ok(result) => results.push((disk.id.clone(), result)),
                Err(fault) => into.fault(fault),
            }
        }
        self.push(results, into);
    }

    async fn details(&mut self, disk: &Listed, at: Time) -> Result<Collected, Fault> {
        let doing = format!("read Scrutiny's details of {} ({})", disk.name, disk.id);
        // An id goes into a path: nothing but what UUIDs and WWNs are made of.
        if !disk.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) || disk.id.contains("..") {
            return Err(Fault::new(FaultCode::Malformed, doing, "the id is neither a UUID nor a WWN"));
        }
        self.get(&format!("/api/device/{}/details?duration_key=week", disk.id)).await?;
        let found = parse_details(&self.body).map_err(|fault| Fault { while_doing: doing.clone(), ..fault })?;
        let age_max = self.config.age_max;
        match found {
            Some(result) if at.since(result.at) <= age_max => Ok(result),
            Some(result) => {
                let detail =
                    format!("the newest result is {} old, more than {age_max} (`age_max`); is the collector running?", at.since(result.at));
                Err(Fault::new(FaultCode::NotFound, doing, detail))
            }
            None => Err(Fault::new(FaultCode::NotFound, doing, "no result within a week; is the collector running?")),
        }
    }

    fn push(&mut self, results: Vec<(String, Collected)>, into: &mut Observation) {
        if results.is_empty() {
            into.health = Health::Blind;
            return;
        }
        self.series.retain(|(id, _)| results.iter().any(|(known, _)| known == id));
        for (id, result) in results {
            let node = if result.host.is_empty() { self.config.node.as_deref().unwrap_or("") } else { &result.host };
            let index = match self.series.iter().position(|(known, _)| *known == id) {
                Some(index) if self.series[index].1.fits(node, &result.health) => index,
                Some(index) => {
                    self.series[index].1 = DiskSeries::new(node, &result.health);
                    index
                }
                None => {
                    self.series.push((id, DiskSeries::new(node, &result.health)));
                    self.series.len() - 1
                }
            };
            self.series[index].1.push(&result.health, None, &mut self.dictionary, into);
        }
        self.dictionary.commit(into);
    }
}

impl Sensor for ScrutinySensor {
    fn spec(&self) -> SensorSpec {
        SensorSpec {
            id: SensorId::from(self.config.name.as_str()),
            kind: "scrutiny".into(),
            interval: self.config.interval,
            timeout: self.config.timeout,
            source: self.reader.shown_url(),
        }
    }

    fn read<'a>(&'a mut self, at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()> {
        Box::pin(self.read_all(at, into))
    }
}

#[cfg(test)]
mod tests;
