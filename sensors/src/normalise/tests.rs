use super::fixtures::{new_kepler, old_kepler};
use super::*;
use crate::corpus;
use crate::derive::apply;
use homeostat_model::{Health, SensorId, Span};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A plain reader of exposition text for tests: names, quoted labels, values; no escapes but `\"`, `\\` and `\n`.
pub(crate) fn page(text: &str) -> Vec<(SeriesKey, f64)> {
    let mut series = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name_end = line.find(['{', ' ']).unwrap();
        let (metric, mut rest) = line.split_at(name_end);
        let mut labels: Vec<(String, String)> = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let mut inner = inner;
            while !inner.starts_with('}') {
                let (name, after) = inner.split_once("=\"").unwrap();
                let (mut value, mut chars) = (String::new(), after.char_indices());
                let end = loop {
                    match chars.next().unwrap() {
                        (_, '\\') => value.push(chars.next().map(|(_, c)| if c == 'n' { '\n' } else { c }).unwrap()),
                        (i, '"') => break i,
                        (_, c) => value.push(c),
                    }
                };
                labels.push((name.to_owned(), value));
                inner = after[end + 1..].trim_start_matches(',');
            }
            rest = &inner[1..];
        }
        let value = rest.split_whitespace().next().unwrap();
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        series.push((SeriesKey::new(metric, labels), value));
    }
    series
}

/// A sensor that is only a dictionary and a normaliser.
struct Bench {
    dictionary: Dictionary,
    normaliser: Normaliser,
    into: Observation,
    keys: Vec<SeriesKey>,
}

impl Bench {
    fn new(node: Option<&str>) -> Bench {
        Bench {
            dictionary: Dictionary::new(100_000),
            normaliser: Normaliser::new(node.map(str::to_owned), vec!["fleet".into()]),
            into: Observation::new(SensorId::from("s"), Time(0), Span::from_secs(15)),
            keys: Vec::new(),
        }
    }

    /// Reads a page at a second; returns the derived values, as PromQL writes their series.
    fn read(&mut self, second: i64, series: &[(SeriesKey, f64)]) -> BTreeMap<String, f64> {
        self.into.reset(Time(second * 1000));
        self.dictionary.begin(&mut self.into);
        for (key, value) in series {
            let number = self.dictionary.declare(key.clone(), 0, &mut self.into).unwrap();
            self.into.samples.push(Sample { series: number, value: *value });
        }
        let raw = self.into.samples.len();
        self.finish();
        let derived: Vec<&Sample> = self.into.samples[raw..].iter().collect();
        let count = derived.len();
        let map: BTreeMap<String, f64> = derived.iter().map(|s| (self.keys[s.series as usize].to_string(), s.value)).collect();
        assert_eq!(map.len(), count, "a signal came twice in one row");
        map
    }

    fn read_text(&mut self, second: i64, text: &str) -> BTreeMap<String, f64> {
        self.read(second, &page(text))
    }

    fn finish(&mut self) {
        apply(&mut self.normaliser, &mut self.dictionary, &mut self.into);
        self.dictionary.commit(&mut self.into);
        self.keys.truncate(self.into.declared_before as usize);
        self.keys.extend(self.into.declared.iter().map(|decl| decl.key.clone()));
    }

    /// Reads stamped samples `(metric, cohort, second, value)`; returns derived ones `(series, second, value)` in order.
    fn read_stamped(&mut self, samples: &[(&str, u32, i64, f64)]) -> Vec<(String, i64, f64)> {
        let latest = samples.iter().map(|s| s.2).max().unwrap_or(0);
        self.into.reset(Time(latest * 1000));
        self.dictionary.begin(&mut self.into);
        for (text, cohort, second, value) in samples {
            let key = page(&format!("{text} 0")).remove(0).0;
            let series = self.dictionary.declare(key, *cohort, &mut self.into).unwrap();
            self.into.stamped.push(StampedSample { series, at: Time(second * 1000), value: *value });
        }
        self.finish();
        let name = |s: &StampedSample| (self.keys[s.series as usize].to_string(), s.at.millis() / 1000, s.value);
        self.into.stamped[samples.len()..].iter().map(name).collect()
    }
}

fn assert_close(values: &BTreeMap<String, f64>, series: &str, expected: f64) {
    let value = values.get(series).unwrap_or_else(|| panic!("no {series} among {values:#?}"));
    assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{series} is {value}, expected {expected}");
}

#[test]
fn rules_name_only_signals_of_the_vocabulary_and_leave_none_out() {
    let vocabulary: BTreeSet<&str> = SIGNALS.iter().map(|signal| signal.name).collect();
    let ruled: BTreeSet<&str> = RULES.iter().copied().flatten().map(|rule| rule.signal).collect();
    assert_eq!(vocabulary.len(), SIGNALS.len(), "a signal is listed twice");
    assert_eq!(vocabulary, ruled);
    for rule in RULES.iter().copied().flatten() {
        let same = RULES.iter().copied().flatten().filter(|other| other.signal == rule.signal);
        let op_of = |shape: rules::Shape| shape == rules::Shape::Unit;
        assert!(same.clone().all(|other| other.op == rule.op || op_of(other.shape) || op_of(rule.shape) || is_expiry(rule.signal)));
    }
}

/// Signals whose sources differ in kind: a moment, or the time left.
fn is_expiry(signal: &str) -> bool {
    signal == "certificate_expiry_seconds"
}

#[test]
fn the_document_lists_the_vocabulary() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/signals.md")).unwrap();
    let mut listed = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_owned();
        assert!(listed.insert(name.clone(), (cells[1].to_owned(), cells[2].to_owned())).is_none(), "{name} is listed twice");
    }
    for signal in SIGNALS {
        let (unit, labels) = listed.remove(signal.name).unwrap_or_else(|| panic!("docs/signals.md lacks `{}`", signal.name));
        assert_eq!(unit, signal.unit, "unit of {}", signal.name);
        assert_eq!(labels, signal.labels.join(", "), "labels of {}", signal.name);
    }
    assert!(listed.is_empty(), "docs/signals.md lists what does not exist: {listed:?}");
}

const NODE_PAGE: &str = r#"
node_time_seconds 1000100
node_boot_time_seconds 1000000
node_load1 3
node_cpu_seconds_total{cpu="0",mode="idle"} 100
node_cpu_seconds_total{cpu="0",mode="iowait"} 10
node_cpu_seconds_total{cpu="0",mode="user"} 50
node_cpu_seconds_total{cpu="1",mode="idle"} 100
node_cpu_seconds_total{cpu="1",mode="user"} 60
node_memory_MemAvailable_bytes 4e9
node_memory_MemTotal_bytes 16e9
node_memory_SwapFree_bytes 0
node_memory_SwapTotal_bytes 0
node_pressure_io_waiting_seconds_total 5
node_filesystem_avail_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/"} 25
node_filesystem_size_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/"} 100
node_filesystem_avail_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 25
node_filesystem_size_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 100
node_filesystem_files_free{device="pool",fstype="btrfs",mountpoint="/b"} 0
node_filesystem_files{device="pool",fstype="btrfs",mountpoint="/b"} 0
node_hwmon_temp_celsius{chip="platform_coretemp_0",sensor="temp1"} 55
node_hwmon_temp_crit_celsius{chip="platform_coretemp_0",sensor="temp1"} 100
node_hwmon_temp_crit_celsius{chip="platform_coretemp_0",sensor="temp2"} 0
"#;

#[test]
fn a_node_exporter_page_becomes_signals() {
    let mut bench = Bench::new(Some("brain"));
    let first = bench.read_text(0, NODE_PAGE);
    assert_close(&first, r#"node_uptime_seconds{node="brain"}"#, 100.0);
    assert_close(&first, r#"node_load1_per_core_ratio{node="brain"}"#, 1.5);
    assert_close(&first, r#"node_memory_avail_ratio{node="brain"}"#, 0.25);
    assert_close(&first, r#"node_memory_avail_bytes{node="brain"}"#, 4e9);
    assert_close(&first, r#"filesystem_avail_ratio{device="/dev/sda1",fstype="ext4",mountpoint="/",node="brain"}"#, 0.25);
    assert_close(&first, r#"temperature_celsius{node="brain",sensor="platform_coretemp_0/temp1"}"#, 55.0);
    assert_close(&first, r#"temperature_critical_celsius{node="brain",sensor="platform_coretemp_0/temp1"}"#, 100.0);
    assert_eq!(first.len(), 9, "counters have no rate yet, and swap, inodes, tmpfs, a critical mark of 0 say nothing: {first:#?}");
    let later = NODE_PAGE
        .replace("mode=\"user\"} 50", "mode=\"user\"} 60")
        .replace("} 100\nnode_cpu_seconds_total{cpu=\"0\",mode=\"io", "} 105\nnode_cpu_seconds_total{cpu=\"0\",mode=\"io");
    let later =
        later.replace("mode=\"iowait\"} 10", "mode=\"iowait\"} 15").replace("io_waiting_seconds_total 5", "io_waiting_seconds_total 8");
    let second = bench.read_text(20, &later);
    assert_close(&second, r#"node_cpu_busy_ratio{node="brain"}"#, 0.5);
    assert_close(&second, r#"node_pressure_ratio{node="brain",resource="io"}"#, 0.15);
    assert!(bench.into.declared.is_empty(), "nothing is declared in steady state");
}

#[test]
fn a_counter_that_goes_back_and_a_long_gap_give_no_rate() {
    let mut bench = Bench::new(Some("n"));
    let name = r#"node_pressure_ratio{node="n",resource="cpu"}"#;
    let mut at =
        |second, value: f64| bench.read_text(second, &format!("node_pressure_cpu_waiting_seconds_total {value}")).get(name).copied();
    assert_eq!(at(0, 100.0), None);
    assert_eq!(at(10, 105.0), Some(0.5));
    assert_eq!(at(20, 1.0), None, "restarted");
    assert_eq!(at(30, 2.0), Some(0.1));
    assert_eq!(at(30 + 601, 400.0), None, "ten minutes are too long for a present rate");
    assert_eq!(at(30 + 611, f64::NAN), None);
    assert_eq!(at(30 + 621, 400.0), None, "the reading before was not a number");
    assert_eq!(at(30 + 631, 401.0), Some(0.1));
}

#[test]
fn not_a_number_and_a_missing_input_give_nothing() {
    let mut bench = Bench::new(Some("n"));
    assert!(bench.read_text(0, "node_memory_MemTotal_bytes 10").is_empty());
    assert!(bench.read_text(1, "node_memory_MemTotal_bytes NaN\nnode_memory_MemAvailable_bytes 5").keys().all(|k| !k.contains("ratio")));
    assert!(bench.read_text(2, "node_memory_MemTotal_bytes 0\nnode_memory_MemAvailable_bytes 5").keys().all(|k| !k.contains("ratio")));
    let whole = bench.read_text(3, "node_memory_MemTotal_bytes 10\nnode_memory_MemAvailable_bytes 5");
    assert_close(&whole, r#"node_memory_avail_ratio{node="n"}"#, 0.5);
    let half = bench.read_text(4, "node_memory_MemAvailable_bytes 5");
    assert_eq!(half.keys().collect::<Vec<_>>(), [r#"node_memory_avail_bytes{node="n"}"#], "the old total must not be used");
}

#[test]
fn both_generations_of_kepler_give_the_same_signals_for_the_same_machine() {
    let (mut old, mut new) = (Bench::new(None), Bench::new(None));
    old.read_text(0, &old_kepler(0.0));
    new.read_text(0, &new_kepler(0.0));
    let (old, new) = (old.read_text(5, &old_kepler(5.0)), new.read_text(5, &new_kepler(5.0)));
    for (series, value) in [
        (r#"node_power_watts{node="brain"}"#, 34.0),
        (r#"node_energy_joules_total{node="brain"}"#, 19_170.0),
        (r#"node_power_zone_watts{node="brain",zone="package"}"#, 30.0),
        (r#"node_power_zone_watts{node="brain",zone="core"}"#, 15.0),
        (r#"node_power_zone_watts{node="brain",zone="platform"}"#, 55.0),
        (r#"node_energy_zone_joules_total{node="brain",zone="dram"}"#, 2020.0),
    ] {
        assert_close(&old, series, value);
        assert_close(&new, series, value);
    }
    assert_close(&new, r#"pod_power_watts{namespace="ai",node="brain",pod="ollama-0"}"#, 8.0);
    assert_close(&old, r#"pod_power_watts{namespace="ai",pod="ollama-0"}"#, 8.0);
    assert_close(&old, r#"pod_energy_joules_total{namespace="ai",pod="ollama-0"}"#, 4040.0);
    assert_close(&new, r#"container_power_watts{container="ollama",namespace="ai",node="brain",pod="ollama-0"}"#, 8.0);
    assert_close(&old, r#"container_power_watts{container="ollama",namespace="ai",pod="ollama-0"}"#, 8.0);
    assert!(!new.keys().any(|key| key.contains("gone")), "terminated pods draw no power: {new:#?}");
}

#[test]
fn the_shipped_kepler_pages_are_read() {
    for (file, power) in [("kepler_new_0.10plus.prom", Some(31.8)), ("kepler_old_upto_0.9.prom", None)] {
        let Some(text) = corpus::read(&format!("sensing/handwritten/kepler/{file}")) else { return };
        let text = String::from_utf8(text).unwrap();
        let mut bench = Bench::new(None);
        let first = bench.read_text(0, &text);
        assert_eq!(first.get(r#"node_power_watts{node="brain"}"#).copied(), power, "{file}");
        assert!(first.keys().any(|key| key.starts_with("node_energy_joules_total")), "{file}: {first:#?}");
        let second = bench.read_text(5, &text);
        assert_close(&second, r#"node_power_watts{node="brain"}"#, power.unwrap_or(0.0));
    }
}

#[test]
fn a_better_source_wins_and_is_waited_for_before_a_worse_one_steps_in() {
    let mut bench = Bench::new(None);
    let supply = r#"kepler_platform_watts{node_name="n",source_type="PowerSupply",source_id="1"} 90"#;
    let supplies = format!("{supply}\n{}", supply.replace("\"1\"", "\"2\""));
    let psys = r#"kepler_node_cpu_watts{node_name="n",zone="psys"} 50"#;
    let power = |values: BTreeMap<String, f64>| values.get(r#"node_power_watts{node="n"}"#).copied();
    assert_eq!(power(bench.read_text(0, &supplies)), Some(180.0), "supplies are summed where nothing else is known");
    assert_eq!(power(bench.read_text(5, &format!("{supplies}\n{psys}"))), Some(50.0));
    assert_eq!(power(bench.read_text(10, &supplies)), None, "two meters must not take turns");
    assert_eq!(power(bench.read_text(10 + 301, &supplies)), Some(180.0));
    let dram = r#"kepler_node_cpu_watts{node_name="n",zone="dram"} 5"#;
    assert_eq!(power(bench.read_text(400, &format!("{psys}\n{dram}"))), Some(50.0), "dram alone is no source");
}

const DISK_PAGE: &str = r#"
smartctl_device_attribute{attribute_flags_long="prefailure,updated_online",attribute_id="197",attribute_value_type="raw",device="/dev/sda"} 3
smartctl_device_attribute{attribute_flags_long="prefailure,updated_online",attribute_id="197",attribute_value_type="value",device="/dev/sda"} 100
smartctl_device_attribute{attribute_id="5",attribute_value_type="raw",device="/dev/sda"} 4294967298
smartctl_device_smart_status{device="/dev/sda"} 1
smartctl_device_status{device="/dev/sda"} 1
smartctl_device_available_spare{device="/dev/sda"} 0
smartctl_device_available_spare{device="nvme0"} 90
smartctl_device_percentage_used{device="nvme0"} 161
smartctl_device_temperature{device="nvme0",temperature_type="current"} 37
smartctl_device_temperature{device="/dev/sda",temperature_type="current"} 0
smartctl_device{device="/dev/sda",interface="sat",model_name="M",serial_number="S1"} 1
"#;

#[test]
fn smartctl_exporter_pages_of_both_ages_become_disk_health() {
    let mut bench = Bench::new(Some("nas"));
    let values = bench.read_text(0, DISK_PAGE);
    assert_close(&values, r#"disk_pending_sectors{disk="sda",model="M",node="nas",serial="S1"}"#, 3.0);
    assert_close(&values, r#"disk_reallocated_sectors{disk="sda",model="M",node="nas",serial="S1"}"#, 2.0);
    assert_close(&values, r#"disk_health_passed{disk="sda",model="M",node="nas",serial="S1"}"#, 1.0);
    assert_close(&values, r#"disk_failure_risk{disk="sda",model="M",node="nas",serial="S1"}"#, 0.6824);
    assert_close(&values, r#"disk_used_ratio{disk="nvme0",node="nas"}"#, 1.61);
    assert_close(&values, r#"disk_spare_avail_ratio{disk="nvme0",node="nas"}"#, 0.9);
    assert_close(&values, r#"disk_failure_risk{disk="nvme0",node="nas"}"#, 0.20);
    let about_sda = values.keys().filter(|key| key.contains("sda")).count();
    assert_eq!(about_sda, 4, "an ATA disk has no spare, and 0 °C is not a temperature: {values:#?}");
    // The disk in the slot is replaced: its counters go on under the new serial number, not under the old one.
    let replaced = bench.read_text(60, &DISK_PAGE.replace("S1", "S2"));
    assert_close(&replaced, r#"disk_pending_sectors{disk="sda",model="M",node="nas",serial="S2"}"#, 3.0);
    assert!(!replaced.keys().any(|key| key.contains("S1")), "{replaced:#?}");
}

#[test]
fn a_target_with_a_boot_time_is_a_node_whatever_its_job_is_called() {
    let mut bench = Bench::new(None);
    let up = r#"up{instance="nas:9100",job="lab"} 1"#;
    assert_eq!(bench.read_text(0, up).into_keys().collect::<Vec<_>>(), [r#"service_up{node="nas",service="lab"}"#]);
    let both = bench.read_text(10, &format!("{up}\nnode_boot_time_seconds{{instance=\"nas:9100\",job=\"lab\"}} 5"));
    assert_eq!(both.into_keys().collect::<Vec<_>>(), [r#"node_up{node="nas"}"#]);
    assert_eq!(
        bench.read_text(20, &up.replace("} 1", "} 0")).into_iter().collect::<Vec<_>>(),
        [(r#"node_up{node="nas"}"#.to_owned(), 0.0)]
    );
}

#[test]
fn services_certificates_and_pods() {
    let mut bench = Bench::new(None);
    let page = r#"
up{instance="nas:9100",job="node-exporter"} 1
up{instance="10.0.0.9:9100",job="fleet"} 0
up{instance="nas:28282",job="kepler"} 1
up{instance="nas:28283",job="kepler"} 0
up{instance="https://git.lab/",job="blackbox"} 1
probe_success{instance="https://git.lab/",job="blackbox"} 0
probe_ssl_earliest_cert_expiry{instance="https://git.lab/",job="blackbox"} 2000
certmanager_certificate_expiration_timestamp_seconds{exported_namespace="web",name="wild",namespace="cert-manager"} 1500
certmanager_certificate_expiration_timestamp_seconds{name="notyet",namespace="web"} 0
kubelet_certificate_manager_client_ttl_seconds{instance="brain:10250"} 77
node_systemd_unit_state{instance="nas:9100",name="a.service",state="active"} 1
node_systemd_unit_state{instance="nas:9100",name="a.service",state="failed"} 0
node_systemd_unit_state{instance="nas:9100",name="b.service",state="active"} 0
node_systemd_unit_state{instance="nas:9100",name="b.service",state="failed"} 1
node_systemd_unit_state{instance="nas:9100",name="c.service",state="active"} 0
node_systemd_unit_state{instance="nas:9100",name="c.service",state="failed"} 0
kube_node_status_condition{condition="Ready",instance="ksm:8080",node="muscle",status="true"} 0
kube_pod_container_status_restarts_total{container="ksm",exported_container="app",exported_namespace="ai",exported_pod="p-0",namespace="monitoring",pod="ksm-0"} 7
kube_pod_container_status_waiting_reason{container="app",namespace="ai",pod="p-0",reason="CrashLoopBackOff"} 1
"#;
    let values = bench.read_text(1000, page);
    let expected = [
        (r#"certificate_expiry_seconds{certificate="https://git.lab/",node="git.lab",source="blackbox"}"#, 1000.0),
        (r#"certificate_expiry_seconds{certificate="kubelet-client",node="brain",source="kubelet"}"#, 77.0),
        (r#"certificate_expiry_seconds{certificate="web/wild",source="cert-manager"}"#, 500.0),
        (r#"node_up{node="10.0.0.9"}"#, 0.0),
        (r#"node_up{node="muscle"}"#, 0.0),
        (r#"node_up{node="nas"}"#, 1.0),
        (r#"pod_restarts_total{container="app",namespace="ai",pod="p-0"}"#, 7.0),
        (r#"pod_waiting{container="app",namespace="ai",pod="p-0",reason="CrashLoopBackOff"}"#, 1.0),
        (r#"service_up{node="git.lab",service="https://git.lab/"}"#, 0.0),
        (r#"service_up{node="nas",service="a.service"}"#, 1.0),
        (r#"service_up{node="nas",service="b.service"}"#, 0.0),
        (r#"service_up{node="nas",service="kepler"}"#, 0.0),
    ];
    assert_eq!(values, expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>());
}

#[test]
fn a_minimum_over_several_scrapes_remembers_its_members_for_five_minutes() {
    let mut bench = Bench::new(None);
    let (a, b) = (r#"up{instance="n:1",job="app"}"#, r#"up{instance="n:2",job="app"}"#);
    let derived = bench.read_stamped(&[(a, 1, 10, 1.0), (a, 1, 25, 1.0), (b, 2, 12, 0.0)]);
    let values: Vec<(i64, f64)> = derived.iter().map(|(_, second, value)| (*second, *value)).collect();
    assert_eq!(values, [(10, 1.0), (12, 0.0), (25, 0.0)], "in order of time");
    let later = bench.read_stamped(&[(a, 1, 12 + 301, 1.0)]);
    assert_eq!(later[0].2, 1.0, "the other has not been seen for five minutes");
}

#[test]
fn stamped_rows_of_two_scrapes_never_mix_and_backfill_derives_rates() {
    let mut bench = Bench::new(None);
    let (package, dram) = (r#"kepler_node_package_joules_total{instance="n"}"#, r#"kepler_node_dram_joules_total{instance="n"}"#);
    let again = r#"kepler_node_package_joules_total{instance="n",job="twice"}"#;
    let samples = [
        (package, 1, 0, 0.0),
        (package, 1, 10, 100.0),
        (package, 1, 20, 300.0),
        (dram, 1, 0, 0.0),
        (dram, 1, 10, 10.0),
        (dram, 1, 20, 20.0),
    ];
    let power = |rows: Vec<(String, i64, f64)>| {
        rows.into_iter().filter(|row| row.0.starts_with("node_power_watts")).map(|row| (row.1, row.2)).collect::<Vec<_>>()
    };
    assert_eq!(power(bench.read_stamped(&samples)), [(10, 11.0), (20, 21.0)]);
    bench.read_stamped(&[(again, 2, 25, 900.0)]);
    let both = power(bench.read_stamped(&[(package, 1, 30, 400.0), (dram, 1, 30, 30.0), (again, 2, 30, 950.0)]));
    assert_eq!(both, [(30, 11.0)], "the same stamp in another scrape is another row");
}

#[test]
fn what_vanishes_takes_its_signal_along() {
    let mut bench = Bench::new(None);
    bench.read_stamped(&[(r#"node_memory_MemAvailable_bytes{instance="n:1"}"#, 1, 10, 5.0)]);
    bench.into.reset(Time(20_000));
    bench.dictionary.begin(&mut bench.into);
    bench.into.vanished.push(0);
    bench.finish();
    let names: Vec<String> = bench.into.vanished.iter().map(|number| bench.keys[*number as usize].to_string()).collect();
    assert_eq!(names, [r#"node_memory_MemAvailable_bytes{instance="n:1"}"#, r#"node_memory_avail_bytes{node="n"}"#]);
    let back = bench.read_stamped(&[(r#"node_memory_MemAvailable_bytes{instance="n:1"}"#, 1, 30, 6.0)]);
    assert_eq!(back[0].2, 6.0, "it may come back");
}

#[test]
fn a_source_that_speaks_the_vocabulary_keeps_its_word() {
    let mut bench = Bench::new(Some("n"));
    let values = bench.read_text(0, "node_memory_avail_bytes{node=\"n\"} 7\nnode_memory_MemAvailable_bytes 9");
    assert!(values.is_empty(), "{values:?}");
}

#[test]
fn a_new_epoch_starts_from_nothing() {
    let mut bench = Bench::new(Some("brain"));
    bench.read_text(0, NODE_PAGE);
    bench.dictionary.renew();
    bench.keys.clear();
    let again = bench.read_text(10, NODE_PAGE);
    assert!(again.contains_key(r#"node_memory_avail_ratio{node="brain"}"#));
    assert!(!again.keys().any(|key| key.starts_with("node_cpu_busy")), "a counter's last reading belongs to the old numbers");
    assert_eq!(bench.into.health, Health::Ok);
}

#[test]
fn real_exporter_pages_yield_finite_signals_once_each() {
    let mut found = BTreeSet::new();
    for file in [
        "sensing/captured/expositions/node_exporter_1.5.0.prom",
        "sensing/smartctl_exporter/metrics_example.prom",
        "sensing/captured/blackbox/http_tls_ok.prom",
        "sensing/captured/blackbox/tcp_refused.prom",
        "sensing/kube_state_metrics/node.prom",
        "sensing/cert_manager/certificates.prom",
    ] {
        let Some(text) = corpus::read(file) else { return };
        let mut series = page(&String::from_utf8(text).unwrap());
        series.sort_by(|a, b| a.0.cmp(&b.0));
        series.dedup_by(|a, b| a.0 == b.0);
        let mut bench = Bench::new(Some("lab"));
        for second in [1_795_217_862, 1_795_217_877] {
            let values = bench.read(second, &series);
            assert!(!values.is_empty(), "{file}");
            assert!(values.values().all(|value| value.is_finite()), "{file}: {values:?}");
            found.extend(values.keys().map(|key| key.split('{').next().unwrap().to_owned()));
        }
    }
    for signal in ["disk_failure_risk", "disk_used_ratio", "certificate_expiry_seconds", "node_uptime_seconds", "service_up"] {
        assert!(found.contains(signal), "{signal} is not among {found:?}");
    }
    println!("signals seen in the corpus: {}", found.len());
}

proptest! {
    #[test]
    fn rates_equal_the_plain_computation(steps in proptest::collection::vec((1i64..700, 0f64..1e6, any::<bool>()), 2..40)) {
        let mut bench = Bench::new(Some("n"));
        let (mut second, mut counter, mut last): (i64, f64, Option<(i64, f64)>) = (0, 0.0, None);
        for (gap, step, restart) in steps {
            second += gap;
            counter = if restart { step / 2.0 } else { counter + step };
            let values = bench.read_text(second, &format!("node_rapl_package_joules_total{{index=\"0\",path=\"/sys/p\"}} {counter}"));
            let expected = last.filter(|(at, value)| counter >= *value && second - at <= 600).map(|(at, value)| (counter - value) / (second - at) as f64);
            prop_assert_eq!(values.get(r#"node_power_watts{node="n"}"#).copied(), expected);
            last = Some((second, counter));
        }
    }
}
