use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SCAN: &str = r#"{"smartctl":{"exit_status":0},"devices":[{"name":"/dev/sda","type":"scsi"},{"name":"/dev/nvme0","type":"nvme"}]}"#;
const SDA: &str = r#"{"smartctl":{"exit_status":0},"device":{"name":"/dev/sda","type":"sat"},"model_name":"M","serial_number":"S",
    "smart_status":{"passed":true},"temperature":{"current":31},
    "ata_smart_attributes":{"table":[{"id":5,"name":"Reallocated_Sector_Ct","raw":{"value":3,"string":"3"}}]}}"#;
const ASLEEP: &str =
    r#"{"smartctl":{"exit_status":2,"messages":[{"string":"Device is in STANDBY mode, exit(2)","severity":"information"}]}}"#;
const DENIED: &str = r#"{"smartctl":{"exit_status":2,"messages":[{"string":"Smartctl open device: /dev/nvme0 failed: Permission denied","severity":"error"}]}}"#;

/// A `smartctl` that prints `scan`, `sda` and `nvme0` from files and notes its arguments and environment.
fn fake(folder: &Path) -> SmartConfig {
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {0}/calls\n/usr/bin/env >> {0}/env\ncase \"$*\" in *--scan*) cat {0}/scan;; *sda) cat {0}/sda;; *) cat {0}/nvme0;; esac\n",
        folder.display()
    );
    put(folder, "scan", SCAN);
    put(folder, "sda", SDA);
    put(folder, "nvme0", DENIED);
    // Written by another process: a descriptor of ours that is open for writing while another test forks makes `exec` fail (ETXTBSY).
    put(folder, "script.txt", &script);
    let copied = std::process::Command::new("/bin/cp").args([folder.join("script.txt"), folder.join("smartctl")]).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(folder.join("smartctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let smartctl = folder.join("smartctl").to_str().unwrap().to_owned();
    SmartConfig { node: Some("brain".into()), smartctl, ..SmartConfig::default() }
}

fn put(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// Reads once and gives the values by series, with declarations remembered over reads.
async fn read(sensor: &mut SmartSensor, names: &mut Vec<String>) -> (BTreeMap<String, f64>, Observation) {
    let spec = sensor.spec();
    let mut into = Observation::new(spec.id, Time(0), spec.interval);
    sensor.read(Time(0), &mut into).await;
    names.truncate(into.declared_before as usize);
    names.extend(into.declared.iter().map(|decl| decl.key.to_string()));
    (into.samples.iter().map(|sample| (names[sample.series as usize].clone(), sample.value)).collect(), into)
}

fn sda(metric: &str) -> String {
    format!("{metric}{{disk=\"sda\",model=\"M\",node=\"brain\",serial=\"S\"}}")
}

#[tokio::test]
async fn disks_are_scanned_asked_and_a_refused_one_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sensor, mut names) = (SmartSensor::new(&fake(folder.path())).unwrap(), Vec::new());
    let (values, into) = read(&mut sensor, &mut names).await;
    assert_eq!(values[&sda("disk_health_passed")], 1.0);
    assert_eq!([values[&sda("disk_reallocated_sectors")], values[&sda("disk_failure_risk")]], [3.0, 0.0274]);
    assert_eq!([values[&sda("disk_temperature_celsius")], values[&sda("disk_standby")]], [31.0, 0.0]);
    assert_eq!(values.len(), 5, "unknown values have no series: {values:?}");
    assert_eq!((into.health, into.faults.len(), into.faults[0].code), (Health::Degraded, 1, FaultCode::Denied));
    assert!(into.faults[0].while_doing.contains("/dev/nvme0") && into.faults[0].detail.contains("CAP_SYS_ADMIN"), "{}", into.faults[0]);
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!((calls.len(), calls[0]), (3, "--json --scan"));
    assert!(!calls[1].contains("--device") && calls[1].contains("--nocheck=standby") && calls[1].ends_with(" /dev/sda"), "{}", calls[1]);
    assert!(calls[2].contains("--device=nvme") && calls[2].ends_with(" /dev/nvme0"), "{}", calls[2]);
    let environment = std::fs::read_to_string(folder.path().join("env")).unwrap();
    assert!(!environment.contains("CARGO") && environment.contains("LC_ALL=C"), "{environment}");
    let (again, into) = read(&mut sensor, &mut names).await;
    assert_eq!((again.len(), into.declared.len(), into.epoch), (values.len(), 0, 0));
    put(folder.path(), "scan", "");
    let (_, into) = read(&mut sensor, &mut names).await;
    assert_eq!((into.health, into.epoch, into.declared_before as usize), (Health::Blind, 0, values.len()));
    put(folder.path(), "scan", SCAN);
    assert_eq!(read(&mut sensor, &mut names).await.0, values);
}

#[tokio::test]
async fn a_sleeping_disk_keeps_its_last_values() {
    let folder = tempfile::tempdir().unwrap();
    let config = SmartConfig { devices: Some(vec![SmartDevice { path: "/dev/sda".into(), kind: None }]), ..fake(folder.path()) };
    put(folder.path(), "sda", ASLEEP);
    let (mut sensor, mut names) = (SmartSensor::new(&config).unwrap(), Vec::new());
    let (values, into) = read(&mut sensor, &mut names).await;
    assert_eq!(values, BTreeMap::from([("disk_standby{disk=\"sda\",node=\"brain\"}".into(), 1.0)]), "nothing is known yet");
    assert_eq!(into.health, Health::Ok);
    put(folder.path(), "sda", SDA);
    let (awake, _) = read(&mut sensor, &mut names).await;
    put(folder.path(), "sda", ASLEEP);
    let (asleep, into) = read(&mut sensor, &mut names).await;
    assert_eq!((asleep[&sda("disk_standby")], awake[&sda("disk_standby")], into.health), (1.0, 0.0, Health::Ok));
    assert_eq!(asleep[&sda("disk_reallocated_sectors")], 3.0);
    assert_eq!(asleep.len(), awake.len());
}

#[tokio::test]
async fn an_exchanged_disk_has_its_own_series() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sensor, mut names) = (SmartSensor::new(&fake(folder.path())).unwrap(), Vec::new());
    read(&mut sensor, &mut names).await;
    put(folder.path(), "sda", &SDA.replace("\"S\"", "\"T\""));
    let (values, _) = read(&mut sensor, &mut names).await;
    assert!(!values.contains_key(&sda("disk_health_passed")) && values.len() == 5, "{values:?}");
}

#[tokio::test]
async fn a_missing_program_blinds_and_says_what_to_install() {
    let config = SmartConfig { smartctl: "/nowhere/smartctl".into(), ..SmartConfig::default() };
    let (values, into) = read(&mut SmartSensor::new(&config).unwrap(), &mut Vec::new()).await;
    assert_eq!((values.len(), into.health, into.faults[0].code), (0, Health::Blind, FaultCode::NotFound));
    assert!(into.faults[0].detail.contains("smartmontools"), "{}", into.faults[0]);
}

#[tokio::test]
async fn all_disks_refused_or_none_there_is_blind() {
    let folder = tempfile::tempdir().unwrap();
    let mut sensor = SmartSensor::new(&fake(folder.path())).unwrap();
    put(folder.path(), "sda", DENIED);
    let (_, into) = read(&mut sensor, &mut Vec::new()).await;
    assert_eq!((into.health, into.faults.len(), into.samples.len()), (Health::Blind, 2, 0));
    put(folder.path(), "scan", r#"{"smartctl":{"exit_status":0}}"#);
    let (_, into) = read(&mut sensor, &mut Vec::new()).await;
    assert_eq!((into.health, into.faults[0].code), (Health::Blind, FaultCode::NotFound));
}

#[tokio::test]
async fn a_program_that_hangs_or_floods_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = SmartConfig { device_timeout: Span::from_millis(300), ..fake(folder.path()) };
    put(folder.path(), "script.txt", "#!/bin/sh\ncase \"$*\" in *--scan*) exec sleep 1000;; esac\nexec cat /dev/zero\n");
    assert!(
        std::process::Command::new("/bin/cp")
            .args([folder.path().join("script.txt"), folder.path().join("smartctl")])
            .status()
            .unwrap()
            .success()
    );
    let (_, into) = read(&mut SmartSensor::new(&config).unwrap(), &mut Vec::new()).await;
    assert_eq!((into.health, into.faults[0].code), (Health::Blind, FaultCode::TimedOut));
    let devices = Some(vec![SmartDevice { path: "/dev/sda".into(), kind: None }]);
    let config = SmartConfig { devices, device_timeout: Span::from_secs(60), ..config };
    let (_, into) = read(&mut SmartSensor::new(&config).unwrap(), &mut Vec::new()).await;
    assert_eq!((into.health, into.faults[0].code), (Health::Blind, FaultCode::Limit));
}

#[test]
fn configuration_has_defaults_and_refuses_relative_paths() {
    let config: SmartConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(config, SmartConfig::default());
    let config: SmartConfig = serde_json::from_str(r#"{"devices":[{"path":"sda","type":"sat"}]}"#).unwrap();
    assert!(SmartSensor::new(&config).unwrap_err().detail.contains("/dev/sda"));
    for schema in [
        schemars::schema_for!(SmartConfig),
        schemars::schema_for!(crate::smart::ScrutinyConfig),
        schemars::schema_for!(crate::host::HostConfig),
    ] {
        let schema = schema.as_value();
        assert_eq!(schema["properties"]["interval"]["type"], "string", "{schema}");
        let undocumented = schema["properties"].as_object().unwrap().iter().find(|(_, property)| property["description"].is_null());
        assert_eq!(undocumented, None);
    }
}
