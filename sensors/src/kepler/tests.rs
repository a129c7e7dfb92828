use super::*;
use axum::extract::State;
use homeostat_model::SensorId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

async fn serve(page: Arc<Mutex<String>>) -> String {
    let answer = |State(page): State<Arc<Mutex<String>>>| async move {
        ([("content-type", "text/plain; version=0.0.4")], page.lock().unwrap().clone())
    };
    let app = axum::Router::new().route("/metrics", axum::routing::get(answer)).with_state(page);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn both_generations_read_over_http_say_the_same_node_power() {
    use crate::normalise::fixtures::{new_kepler, old_kepler};
    let writers = [(old_kepler as fn(f64) -> String, Generation::UpTo09), (new_kepler, Generation::Since010)];
    for (write, generation) in writers {
        let page = Arc::new(Mutex::new(String::new()));
        let url = serve(page.clone()).await;
        let config: KeplerConfig = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let mut sensor = KeplerSensor::new(&config).unwrap();
        let (mut into, mut keys) = (Observation::new(SensorId::from("kepler"), Time(0), config.interval), Vec::new());
        for second in [1_000_000, 1_000_005] {
            *page.lock().unwrap() = write((second - 1_000_000) as f64);
            into.reset(Time(second * 1000));
            sensor.read(into.at, &mut into).await;
            keys.extend(into.declared.iter().map(|decl| decl.key.to_string()));
        }
        assert_eq!((into.health, sensor.generation()), (Health::Ok, Some(generation)), "{:?}", into.faults);
        let values: BTreeMap<&str, f64> = into.samples.iter().map(|s| (keys[s.series as usize].as_str(), s.value)).collect();
        assert_eq!(values.get(r#"node_power_watts{node="brain"}"#), Some(&34.0), "{generation:?} {values:#?}");
        assert_eq!(sensor.spec().kind, "kepler");
    }
}

#[tokio::test]
async fn another_page_is_told_of() {
    let page = Arc::new(Mutex::new("node_load1 1\n".to_owned()));
    let config: KeplerConfig = serde_json::from_value(serde_json::json!({ "url": serve(page).await })).unwrap();
    let mut sensor = KeplerSensor::new(&config).unwrap();
    let mut into = Observation::new(SensorId::from("kepler"), Time(1_000_000_000), config.interval);
    sensor.read(into.at, &mut into).await;
    assert_eq!((into.health, sensor.generation()), (Health::Degraded, None));
    assert!(into.faults[0].detail.contains("kepler_build_info"), "{:?}", into.faults);
}
