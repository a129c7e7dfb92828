//! Reads what `smartctl --json` printed: ATA, NVMe and SCSI, versions 7.0 to 8.0.
//!
//! The exit status is a bit mask; only bits 0 (bad call, unknown device) and 1 (open failed, or the disk sleeps) mean that there is
//! no data. Deliberately absent: anything that runs `smartctl`. An editor breaks this by trusting raw values (194 and 188 are
//! packed), by taking a missing `smart_status` (RAID) for a good one, or by taking a sleeping disk for a broken one.

use super::DiskHealth;
use super::risk::command_timeouts;
use homeostat_model::{Fault, FaultCode};
use serde_json::Value;

/// Raw values have 48 bits; more is a misreading.
const RAW_MAX: u64 = 1 << 48;

/// What one call of `smartctl` said.
#[derive(Clone, Debug, PartialEq)]
pub enum SmartReport {
    /// The disk's state.
    Health(Box<DiskHealth>),
    /// The disk sleeps and was left alone: what was known stays true.
    Standby,
}

/// Reads one disk's report. `device` is its path, as asked for; it names the disk and appears in faults.
///
/// Faults: `Malformed` (not JSON, or nothing about health in it), `Denied` (no permission), `NotFound` (no such device or not one
/// that `smartctl` knows), `Failed` (opened, but no data).
pub fn parse(device: &str, output: &[u8]) -> Result<SmartReport, Fault> {
    let doing = || format!("read the health of {device}");
    let document = document(output, &doing())?;
    let status = document["smartctl"]["exit_status"].as_u64().unwrap_or(0);
    if status & 0b11 != 0 {
        return if is_asleep(&document, status) { Ok(SmartReport::Standby) } else { Err(no_data(&document, status, &doing())) };
    }
    let health = health(device, &document);
    if !health.is_known() {
        let detail = format!("`smartctl` answered (exit status {status}) without any health data; expected `smart_status` or attributes");
        return Err(Fault::new(FaultCode::Malformed, doing(), detail));
    }
    Ok(SmartReport::Health(Box::new(health)))
}

/// Reads `smartctl --json --scan`: pairs of device path and type. Empty where the machine has no disk that `smartctl` can ask.
pub fn parse_scan(output: &[u8]) -> Result<Vec<(String, Option<String>)>, Fault> {
    const DOING: &str = "list disks by `smartctl --scan`";
    let document = document(output, DOING)?;
    let status = document["smartctl"]["exit_status"].as_u64().unwrap_or(0);
    if status & 0b11 != 0 {
        return Err(no_data(&document, status, DOING));
    }
    let devices = document["devices"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(devices.iter().filter_map(|device| Some((text(&device["name"])?, text(&device["type"])))).collect())
}

/// The JSON document. Before 7.3 a stray line (`  Pending defect count:`) may stand before it.
fn document(output: &[u8], doing: &str) -> Result<Value, Fault> {
    let malformed = |detail: String| Fault::new(FaultCode::Malformed, doing, detail);
    let head = || String::from_utf8_lossy(&output[..output.len().min(100)]).trim().to_owned();
    let start = match output.iter().position(|b| !b.is_ascii_whitespace()) {
        None => return Err(malformed("`smartctl` printed nothing; expected JSON (smartmontools 7.0 or later)".into())),
        Some(first) if output[first] == b'{' => first,
        Some(first) => output[first..]
            .windows(2)
            .position(|pair| pair == b"\n{")
            .map(|line| first + line + 1)
            .ok_or_else(|| malformed(format!("`smartctl` printed no JSON (smartmontools 7.0 or later is needed): {:?}", head())))?,
    };
    let value: Value = serde_json::from_slice(&output[start..]).map_err(|error| malformed(format!("broken JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(malformed(format!("expected a JSON object: {:?}", head()))) }
}

/// Exit status bit 1 alone is ambiguous: a sleeping disk says so, or at least reports no error.
fn is_asleep(document: &Value, status: u64) -> bool {
    if status & 0b01 != 0 {
        return false;
    }
    let asleep = |text: &str| ["STANDBY", "SLEEP", "LOW-POWER", "LOW POWER"].iter().any(|word| text.to_uppercase().contains(word));
    let mut messages = messages(document).peekable();
    if messages.peek().is_none() {
        return document.get("device").is_some();
    }
    messages.any(|(text, _)| asleep(text)) || document.get("power_mode").is_some_and(|mode| asleep(&mode.to_string()))
}

fn messages(document: &Value) -> impl Iterator<Item = (&str, &str)> {
    let list = document["smartctl"]["messages"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|message| Some((message["string"].as_str()?, message["severity"].as_str().unwrap_or(""))))
}

fn no_data(document: &Value, status: u64, doing: &str) -> Fault {
    let said: Vec<&str> = messages(document).map(|(text, _)| text).collect();
    let said = if said.is_empty() { "it gave no reason".to_owned() } else { said.join("; ") };
    let lower = said.to_lowercase();
    let denied = ["permission denied", "operation not permitted", "access denied"].iter().any(|word| lower.contains(word));
    let missing =
        ["no such device", "no such file", "unable to detect device type", "not available"].iter().any(|word| lower.contains(word));
    let (code, advice) = match () {
        () if denied => {
            (FaultCode::Denied, "; run as root, or give the service CAP_SYS_RAWIO (NVMe also CAP_SYS_ADMIN) and the group `disk`")
        }
        () if missing => (FaultCode::NotFound, "; expected a disk that `smartctl --scan` lists (some need a `type`)"),
        () => (FaultCode::Failed, ""),
    };
    Fault::new(code, doing, format!("`smartctl` exited with {status}: {said}{advice}"))
}

fn health(device: &str, document: &Value) -> DiskHealth {
    let text = |name: &str| document[name].as_str().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let mut health = DiskHealth {
        disk: disk_name(document["device"]["name"].as_str().unwrap_or(device), document["device"]["type"].as_str()),
        model: text("model_name").or_else(|| text("scsi_model_name")).unwrap_or_default(),
        serial: text("serial_number").unwrap_or_default(),
        power_on_seconds: number(&document["power_on_time"], "hours")
            .map(|hours| hours * 3600.0 + number(&document["power_on_time"], "minutes").unwrap_or(0.0) * 60.0),
        power_cycles: number(document, "power_cycle_count"),
        selftest_errors: selftest_errors(document),
        temperature_celsius: temperature(document),
        ..DiskHealth::default()
    };
    // Absent behind RAID controllers: then the disk's own verdict is unknown.
    health.signs.passed = document["smart_status"]["passed"].as_bool();
    read_ata(document, &mut health);
    read_nvme(document, &mut health);
    read_scsi(document, &mut health);
    // Since 7.5 for every protocol; the same numbers as NVMe's log.
    let signs = &mut health.signs;
    signs.used_ratio = percent(&document["endurance_used"], "current_percent").or(signs.used_ratio);
    signs.spare_avail_ratio = percent(&document["spare_available"], "current_percent").or(signs.spare_avail_ratio);
    signs.spare_threshold_ratio = percent(&document["spare_available"], "threshold_percent").or(signs.spare_threshold_ratio);
    health
}

/// `/dev/sda` is `sda`. Behind a controller many disks share one path: the type tells them apart.
pub(super) fn disk_name(path: &str, kind: Option<&str>) -> String {
    let name = path.strip_prefix("/dev/").unwrap_or(path);
    match kind.filter(|kind| kind.contains(',')) {
        Some(kind) => format!("{name}:{}", kind.rsplit('+').next().unwrap_or(kind)),
        None => name.to_owned(),
    }
}

fn temperature(document: &Value) -> Option<f64> {
    let celsius = number(&document["temperature"], "current")?;
    // SCSI disks without a sensor report 0 and a trip point of 0.
    let absent = celsius == 0.0 && number(&document["temperature"], "drive_trip") == Some(0.0);
    (!absent && (-60.0..=200.0).contains(&celsius)).then_some(celsius)
}

fn read_ata(document: &Value, health: &mut DiskHealth) {
    let Some(table) = document["ata_smart_attributes"]["table"].as_array() else { return };
    for attribute in table {
        let name = attribute["name"].as_str().unwrap_or("");
        let raw = &attribute["raw"];
        let signs = &mut health.signs;
        match attribute["id"].as_u64() {
            Some(5) => signs.reallocated = count(raw),
            Some(10) if name.contains("Spin_Retry") => signs.spin_retries = count(raw),
            Some(187) => signs.reported_uncorrectable = count(raw),
            Some(188) => signs.command_timeouts = whole(raw, "value").filter(|v| *v < RAW_MAX).map(|v| command_timeouts(v) as f64),
            Some(196) => signs.reallocation_events = count(raw),
            Some(197) if !name.contains("Not_In_Use") => signs.pending = count(raw),
            Some(198) => signs.offline_uncorrectable = count(raw),
            Some(199) => health.crc_errors = count(raw),
            _ => {}
        }
    }
    for page in document["ata_device_statistics"]["pages"].as_array().map_or(&[][..], Vec::as_slice) {
        for entry in page["table"].as_array().map_or(&[][..], Vec::as_slice) {
            if entry["name"] == "Percentage Used Endurance Indicator" {
                health.signs.used_ratio = percent(entry, "value");
            }
        }
    }
}

/// A counter. Vendors pack more into the 48 bits (`53416508262463`); `string` then leads with the count: `2111 (12437 0)`.
fn count(raw: &Value) -> Option<f64> {
    let text = raw["string"].as_str().unwrap_or("");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let led = if text.starts_with("0x") { None } else { text[..digits].parse::<u64>().ok() };
    led.or_else(|| whole(raw, "value")).filter(|value| *value < RAW_MAX).map(|value| value as f64)
}

fn read_nvme(document: &Value, health: &mut DiskHealth) {
    let log = &document["nvme_smart_health_information_log"];
    let signs = &mut health.signs;
    signs.critical_warning = number(log, "critical_warning").or_else(|| number(&document["smart_status"]["nvme"], "value"));
    signs.used_ratio = percent(log, "percentage_used").or(signs.used_ratio);
    signs.spare_avail_ratio = percent(log, "available_spare");
    signs.spare_threshold_ratio = percent(log, "available_spare_threshold");
    signs.media_errors = number(log, "media_errors");
}

fn read_scsi(document: &Value, health: &mut DiskHealth) {
    let signs = &mut health.signs;
    signs.reallocated = signs.reallocated.or_else(|| number(document, "scsi_grown_defect_list"));
    signs.used_ratio = percent(document, "scsi_percentage_used_endurance_indicator").or(signs.used_ratio);
    let log = &document["scsi_error_counter_log"];
    let errors = ["read", "write", "verify"].into_iter().filter_map(|kind| number(&log[kind], "total_uncorrected_errors"));
    signs.reported_uncorrectable = signs.reported_uncorrectable.or_else(|| errors.reduce(|a, b| a + b));
}

/// Failed self-tests in the log; unknown where there is no log.
fn selftest_errors(document: &Value) -> Option<f64> {
    let log = &document["ata_smart_self_test_log"];
    for kind in ["extended", "standard"] {
        if let Some(errors) = number(&log[kind], "error_count_total") {
            return Some(errors);
        }
        if number(&log[kind], "count") == Some(0.0) {
            return Some(0.0);
        }
    }
    if let Some(log) = document["nvme_self_test_log"].as_object() {
        // NVMe base specification, self-test result: 5 to 7 are failures, the rest success or abort.
        let table = log.get("table").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let failed = |test: &&Value| matches!(test["self_test_result"]["value"].as_u64(), Some(5..=7));
        return Some(table.iter().filter(failed).count() as f64);
    }
    // SPC self-test results: 3 to 7 are failures.
    let tests = || (0..20).map_while(|i| document.get(format!("scsi_self_test_{i}")));
    tests().next()?;
    Some(tests().filter(|test| matches!(test["result"]["value"].as_u64(), Some(3..=7))).count() as f64)
}

fn percent(object: &Value, name: &str) -> Option<f64> {
    number(object, name).map(|percent| percent / 100.0)
}

/// A number. Beyond 2^53 `smartctl` repeats it as text under `NAME_s`, which is exact.
fn number(object: &Value, name: &str) -> Option<f64> {
    exact(object, name).or_else(|| object[name].as_f64()).filter(|value| value.is_finite() && *value >= -1000.0)
}

fn whole(object: &Value, name: &str) -> Option<u64> {
    object[format!("{name}_s")].as_str().and_then(|text| text.parse().ok()).or_else(|| object[name].as_u64())
}

fn exact(object: &Value, name: &str) -> Option<f64> {
    // The lookup by a second name costs an allocation: only where numbers can be that large.
    object[name].as_f64().filter(|value| *value >= 2f64.powi(53))?;
    object[format!("{name}_s")].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests;
