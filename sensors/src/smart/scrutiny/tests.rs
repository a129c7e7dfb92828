use super::*;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::collections::BTreeMap;

const NOW: Time = Time(1_635_120_000_000); // 2021-10-25T00:00:00Z

fn summary() -> Value {
    let entry = |name: &str, archived: bool, smart: bool| {
        let mut entry = json!({"device": {"device_name": name, "archived": archived}});
        if smart {
            entry["smart"] = json!({"temp": 30});
        }
        entry
    };
    json!({"success": true, "data": {"summary": {
        "0x5000c500673e6b5f": entry("sda", false, true), "ecfaaf20-d1f6-558b-b33a-3e8db19a6c2c": entry("nvme0", false, true),
        "old": entry("sdx", true, true), "never": entry("sdn", false, false), "../x": entry("evil", false, true), "gone": entry("sdg", false, true),
    }}})
}

fn details(id: &str) -> Value {
    let device = |name: &str, status: u64| json!({"device_name": name, "model_name": "M", "serial_number": "S", "host_id": "nas", "device_status": status});
    let result = |date: &str, attrs: Value| json!({"date": date, "temp": 36, "power_on_hours": 2, "power_cycle_count": 9, "attrs": attrs});
    let attribute = |raw: u64, text: &str| json!({"raw_value": raw, "raw_string": text, "value": 100, "status": 4, "failure_rate": 0.5});
    match id {
        "0x5000c500673e6b5f" => json!({"success": true, "data": {"device": device("sda", 2), "smart_results": [
            result("2021-10-24T20:34:04Z", json!({"197": attribute(0, "0")})),
            result("2021-10-24T23:20:44Z", json!({"197": attribute(8, "8"), "188": attribute(17_180_131_332, "4 4 4"), "196": attribute(53_416_508_262_463, "2111 (12437 0)")})),
            result("2021-10-24T10:00:00Z", json!({"197": attribute(1, "1")})),
        ]}}),
        "gone" => {
            json!({"success": true, "data": {"device": device("sdg", 0), "smart_results": [result("2021-10-20T00:00:00Z", json!({}))]}})
        }
        _ => json!({"success": true, "data": {"device": device("nvme0", 1), "smart_results": [result("2021-10-24T23:20:44Z",
            json!({"critical_warning": {"value": 1}, "percentage_used": {"value": 12}, "available_spare": {"value": 100, "thresh": 10}, "media_errors": {"value": 0}}))]}}),
    }
}

async fn serve(app: Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

fn sensor(url: &str) -> ScrutinySensor {
    let config: ScrutinyConfig = serde_json::from_value(json!({"url": url})).unwrap();
    ScrutinySensor::new(&config).unwrap()
}

#[tokio::test]
async fn all_disks_are_read_and_old_or_silent_ones_are_faults() {
    let app = Router::new()
        .route("/api/summary", get(|| async { Json(summary()) }))
        .route("/api/device/{id}/details", get(|Path(id): Path<String>| async move { Json(details(&id)) }));
    let (url, server) = serve(app).await;
    let mut sensor = sensor(&url);
    let mut into = Observation::new(sensor.spec().id, NOW, Span::from_mins(10));
    sensor.read(NOW, &mut into).await;
    let names: Vec<String> = into.declared.iter().map(|decl| decl.key.to_string()).collect();
    let values: BTreeMap<&str, f64> = into.samples.iter().map(|sample| (names[sample.series as usize].as_str(), sample.value)).collect();
    let of = |metric: &str, disk: &str| {
        values.get(format!("{metric}{{disk=\"{disk}\",model=\"M\",node=\"nas\",serial=\"S\"}}").as_str()).copied()
    };
    assert_eq!([of("disk_pending_sectors", "sda"), of("disk_command_timeouts", "sda")], [Some(8.0), Some(4.0)], "the newest result counts");
    assert_eq!(
        [of("disk_health_passed", "sda"), of("disk_health_passed", "nvme0")],
        [Some(1.0), Some(0.0)],
        "Scrutiny's opinion is not the disk's"
    );
    assert_eq!([of("disk_used_ratio", "nvme0"), of("disk_spare_threshold_ratio", "nvme0")], [Some(0.12), Some(0.1)]);
    assert_eq!(
        [of("disk_power_on_seconds", "sda"), of("disk_standby", "sda"), of("disk_temperature_celsius", "sdg")],
        [Some(7200.0), None, None]
    );
    let faults: Vec<&str> = into.faults.iter().map(|fault| fault.detail.as_str()).collect();
    assert!(faults[0].contains("sdn") && faults[1].contains("neither a UUID") && faults[2].contains("5d old"), "{faults:?}");
    assert_eq!((into.health, faults.len()), (Health::Degraded, 3));
    let before = values.len();
    into.reset(NOW);
    sensor.read(NOW, &mut into).await;
    assert_eq!((into.declared.len(), into.samples.len()), (0, before));
    server.abort();
}

#[tokio::test]
async fn what_scrutiny_refuses_is_blind() {
    let app = Router::new().route("/api/summary", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"success": false}))) }));
    let (url, server) = serve(app).await;
    let mut into = Observation::new(SensorId::from("s"), NOW, Span::from_mins(10));
    sensor(&url).read(NOW, &mut into).await;
    assert_eq!((into.health, into.faults.len(), into.samples.len()), (Health::Blind, 1, 0));
    assert!(into.faults[0].detail.contains("500"), "{}", into.faults[0]);
    server.abort();
}

#[test]
fn answers_of_another_shape_are_faults() {
    for body in ["", "<html>", "{}", r#"{"data":{"summary":[]}}"#] {
        assert_eq!(parse_summary(body.as_bytes()).unwrap_err().code, FaultCode::Malformed, "{body}");
        assert_eq!(parse_details(body.as_bytes()).unwrap_err().code, FaultCode::Malformed, "{body}");
    }
    assert_eq!(parse_details(br#"{"success":false}"#).unwrap_err().code, FaultCode::Failed);
    assert_eq!(parse_details(br#"{"data":{"device":{},"smart_results":null}}"#), Ok(None));
}

#[test]
fn real_answers_are_read() {
    let Some(summary) = crate::corpus::read("sensing/scrutiny/api_summary.json") else { return };
    let listed = parse_summary(&summary).unwrap();
    assert_eq!((listed.len(), listed.iter().filter(|disk| disk.has_results).count()), (7, 4));
    let [sda, sdb] = ["sda", "sdb"].map(|name| {
        let body = crate::corpus::read(&format!("sensing/scrutiny/api_device_details_{name}.json")).unwrap();
        parse_details(&body).unwrap().unwrap()
    });
    assert_eq!((sda.health.disk.as_str(), sda.health.signs.used_ratio, sda.health.failure_risk()), ("sda", Some(0.0), Some(0.01)));
    assert_eq!((sdb.health.disk.as_str(), sdb.at), ("sdb", Time(1_635_117_644_000)));
    assert!(sdb.health.signs.pending.is_some() && sdb.health.signs.passed == Some(true), "{sdb:?}");
    println!("a summary of {} disks and 2 details were read", listed.len());
}
