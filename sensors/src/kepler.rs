//! The sensor for Kepler: the exposition sensor with the normaliser and Kepler's defaults, and nothing else.
//!
//! Both generations are read: before 0.10 (`kepler_exporter_build_info`, joules only, port 8888 or 9102) and since 0.10
//! (`kepler_build_info`, port 28282). The normaliser's rules know both; the generation is only looked at to say when a page is not
//! Kepler's. Deliberately absent: energy arithmetic. An editor breaks this by summing zones here.

use crate::exposition::{ExpositionConfig, ExpositionSensor};
use crate::http::{BasicAuth, TlsConfig};
use crate::normalise::Normaliser;
use homeostat_model::{BoxFuture, Fault, FaultCode, Health, Observation, Secret, Sensor, SensorSpec, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Kepler exporter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeplerConfig {
    /// The sensor's name; also the series' label `job`.
    #[serde(default = "default_name")]
    pub name: String,
    /// The page's address. Kepler before 0.10 listens on 8888 or 9102.
    #[serde(default = "default_url")]
    pub url: String,
    /// How often to read, `15s`.
    #[serde(default = "default_interval")]
    #[schemars(with = "String")]
    pub interval: Span,
    /// How long one read may take, at most `interval`.
    #[serde(default = "default_timeout")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// The node that the page tells of. Without it: what Kepler says (`node_name`, before 0.10 `instance`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A token sent as `Authorization: Bearer …`: `${env:NAME}`, `${file:/path}` or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub bearer: Option<Secret>,
    /// A name and password sent as `Authorization: Basic …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// How far to trust the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

fn default_name() -> String {
    "kepler".into()
}
fn default_url() -> String {
    "http://127.0.0.1:28282/metrics".into()
}
fn default_interval() -> Span {
    Span::from_secs(15)
}
fn default_timeout() -> Span {
    Span::from_secs(10)
}

impl KeplerConfig {
    fn exposition(&self) -> ExpositionConfig {
        let mut config = ExpositionConfig::plain(self.name.clone(), self.url.clone());
        (config.interval, config.timeout, config.node) = (self.interval, self.timeout, self.node.clone());
        (config.bearer, config.basic, config.tls) = (self.bearer.clone(), self.basic.clone(), self.tls.clone());
        config
    }
}

/// Which Kepler wrote a page.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 0.9 and earlier.
    UpTo09,
    /// 0.10 and later.
    Since010,
}

/// Reads a Kepler exporter.
pub struct KeplerSensor {
    page: ExpositionSensor,
    /// The epoch in which the generation was seen, and it.
    generation: Option<(u32, Generation)>,
}

impl KeplerSensor {
    /// A sensor; no IO happens. `Malformed` for a configuration that cannot work, naming the field.
    pub fn new(config: &KeplerConfig) -> Result<KeplerSensor, Fault> {
        let normaliser = Normaliser::new(config.node.clone(), Vec::new());
        Ok(KeplerSensor { page: ExpositionSensor::new(config.exposition(), Box::new(normaliser))?, generation: None })
    }

    /// Which Kepler wrote the last page; `None` before the first, or if it was none.
    pub fn generation(&self) -> Option<Generation> {
        self.generation.map(|(_, generation)| generation)
    }

    /// Looks at what a read declared; a page that names no Kepler is told of.
    fn recognise(&mut self, into: &mut Observation) {
        if self.generation.is_some_and(|(epoch, _)| epoch != into.epoch) {
            self.generation = None;
        }
        for decl in &into.declared {
            match &*decl.key.metric {
                "kepler_exporter_build_info" => self.generation = Some((into.epoch, Generation::UpTo09)),
                "kepler_build_info" => self.generation = Some((into.epoch, Generation::Since010)),
                _ => {}
            }
        }
        if self.generation.is_none() && into.health < Health::Blind {
            let detail =
                "the page has neither `kepler_build_info` (0.10 and later) nor `kepler_exporter_build_info` (earlier): not a Kepler?";
            into.fault(Fault::new(FaultCode::Malformed, format!("read Kepler {}", self.page.spec().source), detail));
        }
    }
}

impl Sensor for KeplerSensor {
    fn spec(&self) -> SensorSpec {
        SensorSpec { kind: "kepler".into(), ..self.page.spec() }
    }

    fn read<'a>(&'a mut self, at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.page.read(at, into).await;
            self.recognise(into);
        })
    }
}

#[cfg(test)]
mod tests;
