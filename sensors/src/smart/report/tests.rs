use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(document: &Value) -> DiskHealth {
    match parse("/dev/sda", document.to_string().as_bytes()) {
        Ok(SmartReport::Health(health)) => *health,
        other => panic!("{other:?}"),
    }
}

fn refused(document: &Value) -> Fault {
    parse("/dev/sda", document.to_string().as_bytes()).unwrap_err()
}

fn attribute(id: u64, name: &str, value: u64, string: &str) -> Value {
    json!({"id": id, "name": name, "raw": {"value": value, "string": string}})
}

/// A failing disk: exit status 216 = failing now, prefail attribute below threshold, error log, self-test log.
fn failing_ata() -> Value {
    json!({
        "smartctl": {"exit_status": 216},
        "device": {"name": "/dev/sdc", "type": "sat", "protocol": "ATA"},
        "model_name": "Spinner 500", "serial_number": "S1", "smart_status": {"passed": false},
        "ata_smart_attributes": {"table": [
            attribute(5, "Reallocated_Sector_Ct", 1975, "1975"), attribute(10, "Spin_Retry_Count", 0, "0"),
            attribute(187, "Reported_Uncorrect", 3, "3"), attribute(188, "Command_Timeout", 17_180_131_332, "4 4 4"),
            attribute(194, "Temperature_Celsius", 133_145_034_776, "24 (Min/Max 16/31)"),
            attribute(196, "Reallocated_Event_Count", 53_416_508_262_463, "2111 (12437 0)"),
            attribute(197, "Current_Pending_Sector", 8, "8"), attribute(198, "Offline_Uncorrectable", 0, "0"),
            attribute(199, "UDMA_CRC_Error_Count", 3_118_119, "3118119"),
        ]},
        "ata_smart_self_test_log": {"standard": {"count": 5, "error_count_total": 2}},
        "power_on_time": {"hours": 10, "minutes": 30}, "power_cycle_count": 86, "temperature": {"current": 24},
    })
}

#[test]
fn a_failing_ata_disk_is_read_whatever_the_exit_status() {
    let health = read(&failing_ata());
    assert_eq!((health.disk.as_str(), health.model.as_str(), health.serial.as_str()), ("sdc", "Spinner 500", "S1"));
    let signs = health.signs;
    assert_eq!(signs.passed, Some(false));
    assert_eq!([signs.reallocated, signs.pending, signs.offline_uncorrectable], [Some(1975.0), Some(8.0), Some(0.0)]);
    assert_eq!([signs.command_timeouts, signs.reallocation_events], [Some(4.0), Some(2111.0)], "packed values are split");
    assert_eq!([health.temperature_celsius, health.crc_errors], [Some(24.0), Some(3_118_119.0)], "not attribute 194's raw value");
    assert_eq!([health.power_on_seconds, health.power_cycles, health.selftest_errors], [Some(37_800.0), Some(86.0), Some(2.0)]);
    assert_eq!([signs.critical_warning, signs.used_ratio, signs.media_errors], [None; 3], "unknown is not 0");
    assert_eq!(health.failure_risk(), Some(1.5028), "1975 reallocated sectors weigh more than the verdict");
}

#[test]
fn crc_errors_never_make_a_risk() {
    let document = json!({"ata_smart_attributes": {"table": [attribute(199, "UDMA_CRC_Error_Count", 3_118_119, "3118119")]}});
    let health = read(&document);
    assert_eq!((health.crc_errors, health.failure_risk()), (Some(3_118_119.0), None));
}

#[test]
fn a_failing_nvme_disk_is_read() {
    let document = json!({
        "smartctl": {"exit_status": 8}, "device": {"name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"}, "model_name": "Flash",
        "smart_status": {"passed": false, "nvme": {"value": 16}},
        "nvme_smart_health_information_log": {"critical_warning": 16, "available_spare": 100, "available_spare_threshold": 10,
            "percentage_used": 104, "media_errors": 9_007_199_254_740_993u64, "media_errors_s": "9007199254740993"},
        "nvme_self_test_log": {"table": [{"self_test_result": {"value": 0}}, {"self_test_result": {"value": 7}}]},
    });
    let health = read(&document);
    let signs = health.signs;
    assert_eq!((health.disk.as_str(), signs.passed, signs.critical_warning), ("nvme0", Some(false), Some(16.0)));
    assert_eq!([signs.used_ratio, signs.spare_avail_ratio, signs.spare_threshold_ratio], [Some(1.04), Some(1.0), Some(0.1)]);
    assert_eq!((signs.media_errors, health.selftest_errors), (Some(9_007_199_254_740_992.0), Some(1.0)));
    assert_eq!(health.failure_risk(), Some(1.0));
}

#[test]
fn a_scsi_disk_is_read() {
    let document = json!({
        "smartctl": {"exit_status": 0}, "device": {"name": "/dev/sdg", "type": "scsi", "protocol": "SCSI"},
        "scsi_model_name": "SEAGATE X", "smart_status": {"passed": true}, "scsi_grown_defect_list": 56,
        "scsi_error_counter_log": {"read": {"total_uncorrected_errors": 1, "gigabytes_processed": "12.345"}, "write": {"total_uncorrected_errors": 2}},
        "temperature": {"current": 0, "drive_trip": 0}, "scsi_self_test_0": {"result": {"value": 6}}, "scsi_self_test_1": {"result": {"value": 0}},
    });
    let health = read(&document);
    assert_eq!(
        (health.model.as_str(), health.signs.reallocated, health.signs.reported_uncorrectable),
        ("SEAGATE X", Some(56.0), Some(3.0))
    );
    assert_eq!((health.temperature_celsius, health.selftest_errors), (None, Some(1.0)), "0 °C with a trip point of 0 is no sensor");
}

#[test]
fn endurance_of_7_5_counts_for_every_protocol() {
    let document = json!({"smart_status": {"passed": true}, "endurance_used": {"current_percent": 3}, "spare_available": {"current_percent": 99, "threshold_percent": 10}});
    let signs = read(&document).signs;
    assert_eq!([signs.used_ratio, signs.spare_avail_ratio, signs.spare_threshold_ratio], [Some(0.03), Some(0.99), Some(0.1)]);
}

#[test]
fn behind_raid_the_verdict_is_unknown_and_the_place_names_the_disk() {
    let document = json!({
        "smartctl": {"exit_status": 4}, "device": {"name": "/dev/sda", "type": "sat+megaraid,3"},
        "ata_smart_attributes": {"table": [attribute(5, "Reallocated_Sector_Ct", 0, "0")]},
    });
    let health = read(&document);
    assert_eq!((health.disk.as_str(), health.signs.passed), ("sda:megaraid,3", None));
}

#[test]
fn a_sleeping_disk_is_no_fault() {
    for document in [
        json!({"smartctl": {"exit_status": 2, "messages": [{"string": "Device is in STANDBY mode, exit(2)", "severity": "information"}]}}),
        json!({"smartctl": {"exit_status": 2, "messages": [{"string": "Device is in SLEEP mode, exit(2)"}]}, "device": {"name": "/dev/sda"}}),
        json!({"smartctl": {"exit_status": 2}, "device": {"name": "/dev/sda"}}),
    ] {
        assert_eq!(parse("/dev/sda", document.to_string().as_bytes()), Ok(SmartReport::Standby), "{document}");
    }
}

#[test]
fn what_could_not_be_opened_says_how_to_open_it() {
    let said = |status: u64, text: &str| {
        refused(&json!({"smartctl": {"exit_status": status, "messages": [{"string": text, "severity": "error"}]}}))
    };
    let denied = said(2, "Smartctl open device: /dev/sda failed: Permission denied");
    assert!(
        denied.code == FaultCode::Denied && denied.detail.contains("CAP_SYS_RAWIO") && denied.while_doing.contains("/dev/sda"),
        "{denied}"
    );
    assert_eq!(said(1, "/dev/sda: Unable to detect device type").code, FaultCode::NotFound);
    assert_eq!(said(2, "\\\\.\\PhysicalDrive0: Open failed, Error=5").code, FaultCode::Failed);
    assert_eq!(refused(&json!({"smartctl": {"exit_status": 2}})).code, FaultCode::Failed);
    assert_eq!(refused(&json!({"smartctl": {"exit_status": 0}, "device": {"name": "/dev/sda"}})).code, FaultCode::Malformed);
}

#[test]
fn a_stray_line_before_the_document_is_skipped() {
    let output = format!("  Pending defect count: 0 Pending Defects\n{}", failing_ata());
    assert!(matches!(parse("/dev/sdc", output.as_bytes()), Ok(SmartReport::Health(_))));
    for output in ["", " \n", "smartctl 6.6 2017-11-05", "{\"smartctl\":", "[]", "\u{0}"] {
        assert_eq!(parse("/dev/sda", output.as_bytes()).unwrap_err().code, FaultCode::Malformed, "{output:?}");
    }
}

#[test]
fn a_scan_may_list_nothing() {
    let listed = json!({"devices": [{"name": "/dev/sda", "type": "scsi"}, {"name": "/dev/bus/0", "type": "megaraid,0"}, {"type": "x"}]});
    let names = parse_scan(listed.to_string().as_bytes()).unwrap();
    assert_eq!(names, [("/dev/sda".into(), Some("scsi".into())), ("/dev/bus/0".into(), Some("megaraid,0".into()))]);
    assert_eq!(parse_scan(br#"{"smartctl":{"exit_status":0}}"#), Ok(vec![]));
    let refused = parse_scan(br#"{"smartctl":{"exit_status":1,"messages":[{"string":"=======> UNRECOGNIZED OPTION: bogus"}]}}"#);
    assert!(refused.unwrap_err().detail.contains("UNRECOGNIZED OPTION"));
}

#[test]
fn every_real_report_is_read() {
    let exporter = crate::corpus::files("sensing/smartctl_exporter", ".json");
    let mut risky = 0;
    for (name, output) in &exporter {
        let report = parse("/dev/x", output).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let SmartReport::Health(health) = report else { panic!("{name} sleeps") };
        assert!(!health.disk.is_empty() && !health.model.is_empty() && health.signs.passed.is_some(), "{name}: {health:?}");
        assert!(health.temperature_celsius.is_none_or(|celsius| (10.0..80.0).contains(&celsius)), "{name}: {health:?}");
        let failing = name.contains("SAMSUNG_MZWLL3T2HAJQ");
        assert_eq!(health.signs.passed, Some(!failing), "{name}");
        let risk = health.failure_risk().unwrap_or_else(|| panic!("{name}: {health:?}"));
        assert!(!failing || risk >= 1.0, "{name}: {risk}");
        if risk >= 0.2 {
            println!("{name}: {:?}", super::super::disk_failure_risk(&health.signs));
            risky += 1;
        }
    }
    assert!(risky * 5 < exporter.len().max(1), "most disks that run are well: {risky}");
    let mut seen = [0; 2];
    let scrutiny: Vec<_> =
        crate::corpus::files("sensing/scrutiny", ".json").into_iter().filter(|(name, _)| !name.contains("scan")).collect();
    let scrutiny = scrutiny.iter().filter(|(name, _)| name.starts_with("smart") || name.starts_with("upload"));
    for (name, output) in scrutiny {
        let partial = ["smart-fail.json", "smartctl_info"].iter().any(|known| name.starts_with(known));
        match parse("/dev/x", output) {
            Ok(SmartReport::Health(health)) => {
                assert!(!partial, "{name}");
                if !name.starts_with("smart-nvme-failed") {
                    assert_eq!(health.signs.passed == Some(false), name.starts_with("smart-fail2"), "{name}");
                }
                seen[0] += 1;
            }
            Ok(SmartReport::Standby) => panic!("{name} sleeps"),
            Err(fault) => {
                assert!(partial, "{name}: {fault}");
                seen[1] += 1;
            }
        }
    }
    for (name, output) in
        crate::corpus::files("sensing/captured", ".json").iter().filter(|(name, _)| name.contains("device") || name.contains("bad"))
    {
        assert!(matches!(parse("/dev/x", output).unwrap_err().code, FaultCode::NotFound | FaultCode::Failed), "{name}");
    }
    println!("{} reports of the exporter and {} of Scrutiny were read, {} partial ones refused", exporter.len(), seen[0], seen[1]);
}

proptest! {
    #[test]
    fn broken_reports_never_panic(cut in 0usize..2000, at in 0usize..2000, byte in any::<u8>()) {
        let mut output = failing_ata().to_string().into_bytes();
        let len = output.len();
        output[at % len] = byte;
        let _ = parse("/dev/sda", &output);
        let _ = parse("/dev/sda", &output[..cut.min(len)]);
        let _ = parse_scan(&output);
    }
}
