//! What a sensor has read: normalised and raw series by their keys.

use homeostat_model::{Health, Observation, Sensor, SeriesKey, Time};
use homeostat_sensors::exposition::{ExpositionConfig, ExpositionSensor};
use homeostat_sensors::kepler::{KeplerConfig, KeplerSensor};
use homeostat_sensors::normalise::Normaliser;

pub struct Reader {
    sensor: Box<dyn Sensor>,
    keys: Vec<SeriesKey>,
    pub last: Observation,
}

impl Reader {
    /// A page read as the daemon would read it.
    pub fn page(name: &str, url: &str, node: Option<&str>, target: Option<&str>) -> Reader {
        let mut config = ExpositionConfig::plain(name, url);
        config.node = node.map(str::to_owned);
        if let Some(target) = target {
            config.labels.insert("target".into(), target.into());
        }
        let normaliser = Normaliser::new(config.node.clone(), Vec::new());
        Reader::of(Box::new(ExpositionSensor::new(config, Box::new(normaliser)).unwrap()))
    }

    pub fn kepler(url: &str) -> Reader {
        let config: KeplerConfig = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        Reader::of(Box::new(KeplerSensor::new(&config).unwrap()))
    }

    fn of(sensor: Box<dyn Sensor>) -> Reader {
        let spec = sensor.spec();
        Reader { last: Observation::new(spec.id, Time(0), spec.interval), sensor, keys: Vec::new() }
    }

    pub async fn read(&mut self, at: Time) -> &Observation {
        self.last.reset(at);
        self.sensor.read(at, &mut self.last).await;
        self.keys.truncate(self.last.declared_before as usize);
        self.keys.extend(self.last.declared.iter().map(|decl| decl.key.clone()));
        &self.last
    }

    /// Reads, and nothing may be wrong with the page.
    pub async fn read_well(&mut self, at: Time) {
        self.read(at).await;
        assert_eq!((self.last.health, &self.last.faults[..]), (Health::Ok, &[][..]), "{}", self.last.sensor);
    }

    /// The value of the only series of this metric with these labels (and perhaps others) in the last read.
    #[track_caller]
    pub fn value(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.values(metric, labels);
        assert_eq!(found.len(), 1, "{metric} {labels:?}: {found:?}");
        found[0].1
    }

    pub fn values(&self, metric: &str, labels: &[(&str, &str)]) -> Vec<(SeriesKey, f64)> {
        let plain = self.last.samples.iter().map(|sample| (sample.series, sample.value));
        let stamped = self.last.stamped.iter().map(|sample| (sample.series, sample.value));
        plain
            .chain(stamped)
            .map(|(series, value)| (&self.keys[series as usize], value))
            .filter(|(key, _)| &*key.metric == metric && labels.iter().all(|(name, value)| key.labels.get(name) == Some(*value)))
            .map(|(key, value)| (key.clone(), value))
            .collect()
    }
}
