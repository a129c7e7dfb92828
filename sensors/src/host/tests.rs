use super::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A small machine: two processors, a disk with a partition, swap, two chips, a zone, a package with memory.
fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "proc/stat", "cpu  100 0 0 900 0 0 0 0\ncpu0 1\ncpu1 1\nintr 1\n");
    put(root, "proc/loadavg", "3.00 2.00 1.00 1/100 1\n");
    put(root, "proc/uptime", "3036.47 4198.23\n");
    put(root, "proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 100 kB\nSwapFree: 75 kB\n");
    put(root, "proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
    put(root, "proc/diskstats", "8 0 sda 1 1 1 1 1 1 1 1 0 1000 1\n8 1 sda1 1 1 1 1 1 1 1 1 0 1000 1\n");
    put(root, "sys/block/sda/device/model", "X");
    put(root, "sys/devices/platform/coretemp.0/hwmon/hwmon3/name", "coretemp");
    put(root, "sys/devices/platform/coretemp.0/hwmon/hwmon3/temp1_input", "55000\n");
    put(root, "sys/devices/platform/coretemp.0/hwmon/hwmon3/temp1_crit", "100000\n");
    put(root, "sys/devices/platform/coretemp.0/hwmon/hwmon3/temp2_input", "");
    put(root, "sys/devices/platform/coretemp.0/hwmon/hwmon3/fan1_input", "900\n");
    std::fs::create_dir_all(root.join("sys/class/hwmon")).unwrap();
    std::os::unix::fs::symlink("../../devices/platform/coretemp.0/hwmon/hwmon3", root.join("sys/class/hwmon/hwmon3")).unwrap();
    std::os::unix::fs::symlink("../..", root.join("sys/devices/platform/coretemp.0/hwmon/hwmon3/device")).unwrap();
    put(root, "sys/class/thermal/thermal_zone0/type", "acpitz\n");
    put(root, "sys/class/thermal/thermal_zone0/temp", "42500\n");
    for (zone, name, energy) in
        [("intel-rapl:0", "package-0", 10_000_000), ("intel-rapl:0:0", "core", 4_000_000), ("intel-rapl:0:1", "dram", 1_000_000)]
    {
        put(root, &format!("sys/class/powercap/{zone}/name"), name);
        put(root, &format!("sys/class/powercap/{zone}/energy_uj"), &energy.to_string());
        put(root, &format!("sys/class/powercap/{zone}/max_energy_range_uj"), "262143328850");
    }
    put(root, "sys/class/powercap/intel-rapl-mmio:0/name", "package-0");
    put(root, "sys/class/powercap/intel-rapl-mmio:0/energy_uj", "7");
    put(root, "sys/class/powercap/intel-rapl-mmio:0/max_energy_range_uj", "262143328850");
    folder
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn machine(root: &Path) -> Box<Machine> {
    HostSensor::new(&HostConfig { node: Some("brain".into()), root: root.to_owned(), ..HostConfig::default() }).build()
}

/// The row by series, labels without `node`; declarations are remembered over reads.
fn values(row: &Observation, names: &mut Vec<String>) -> BTreeMap<String, f64> {
    names.truncate(row.declared_before as usize);
    names.extend(row.declared.iter().map(|decl| {
        assert!(decl.key.labels.get("node").is_some(), "{}", decl.key);
        let rest: Vec<&str> = decl.key.labels.iter().filter(|(name, _)| *name != "node").map(|(_, value)| value).collect();
        format!("{} {}", decl.key.metric, rest.join(" ")).trim().to_owned()
    }));
    row.samples.iter().map(|sample| (names[sample.series as usize].clone(), sample.value)).collect()
}

#[test]
fn a_machine_is_read_and_rates_begin_with_the_second_read() {
    let folder = tree();
    let (root, mut machine, mut names) = (folder.path(), machine(folder.path()), Vec::new());
    let start = Instant::now();
    machine.read(Time(0), start, &[]);
    let first = values(&machine.row, &mut names);
    let expected = BTreeMap::from(
        [
            ("node_up", 1.0),
            ("node_uptime_seconds", 3036.47),
            ("node_load1", 3.0),
            ("node_load5", 2.0),
            ("node_load15", 1.0),
            ("node_load1_per_core_ratio", 1.5),
            ("node_memory_avail_ratio", 0.25),
            ("node_memory_avail_bytes", 256_000.0),
            ("node_swap_used_ratio", 0.25),
            ("temperature_celsius platform_coretemp_0/temp1", 55.0),
            ("temperature_critical_celsius platform_coretemp_0/temp1", 100.0),
            ("temperature_celsius acpitz/0", 42.5),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    assert_eq!(first, expected);
    put(root, "proc/stat", "cpu  150 0 0 950 0 0 0 0\ncpu0 1\ncpu1 1\n");
    put(root, "proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n");
    put(root, "proc/diskstats", "8 0 sda 1 1 1 1 1 1 1 1 0 3500 1\n8 1 sda1 1 1 1 1 1 1 1 1 0 3500 1\n");
    for (zone, energy) in [("intel-rapl:0", 260_000_000), ("intel-rapl:0:0", 104_000_000), ("intel-rapl:0:1", 51_000_000)] {
        put(root, &format!("sys/class/powercap/{zone}/energy_uj"), &energy.to_string());
    }
    machine.read(Time(5000), start + Duration::from_secs(5), &[]);
    let second = values(&machine.row, &mut names);
    for (name, value) in [
        ("node_cpu_busy_ratio", 0.5),
        ("node_pressure_ratio cpu", 0.4),
        ("disk_io_busy_ratio sda", 0.5),
        ("node_power_zone_watts package-0", 50.0),
        ("node_power_zone_watts core-0", 20.0),
        ("node_power_zone_watts dram-0", 10.0),
        ("node_power_watts", 60.0),
        ("node_energy_joules_total", 300.0),
        ("node_energy_zone_joules_total core-0", 100.0),
    ] {
        assert_eq!(second.get(name).copied(), Some(value), "{name}");
    }
    assert_eq!(second.len(), expected.len() + 11, "no partition, no mmio zone, no second package: {second:?}");
    put(root, "proc/stat", "cpu  160 0 0 990 0 0 0 0\ncpu0 1\ncpu1 1\n");
    machine.read(Time(10_000), start + Duration::from_secs(10), &[]);
    assert_eq!((machine.row.declared.len(), machine.row.samples.len(), machine.row.faults.len()), (0, second.len(), 0));
}

#[test]
fn what_is_missing_is_said_once_and_the_rest_goes_on() {
    let folder = tree();
    std::fs::remove_dir_all(folder.path().join("sys")).unwrap();
    std::fs::remove_dir_all(folder.path().join("proc/pressure")).unwrap();
    let mut machine = machine(folder.path());
    machine.read(Time(0), Instant::now(), &[]);
    let said: Vec<String> = machine.row.faults.iter().map(|fault| format!("{}: {}", fault.code.name(), fault.while_doing)).collect();
    assert_eq!(said, ["not_found: read /proc/pressure", "not_found: read /sys/class/hwmon", "not_found: read /sys/class/powercap"]);
    assert_eq!((machine.row.health, machine.row.samples.len()), (Health::Degraded, 9));
    machine.read(Time(1), Instant::now(), &[]);
    assert_eq!((machine.row.health, machine.row.faults.len()), (Health::Ok, 0));
}

#[test]
fn an_energy_counter_that_may_not_be_read_is_no_zero() {
    let folder = tree();
    let zone = folder.path().join("sys/class/powercap/intel-rapl:0:1/energy_uj");
    let (mut machine, mut names) = (machine(folder.path()), Vec::new());
    let start = Instant::now();
    for second in 0..3 {
        if second == 1 {
            std::fs::remove_file(&zone).unwrap();
            std::fs::create_dir(&zone).unwrap();
        }
        machine.read(Time(0), start + Duration::from_secs(second), &[]);
        let read = values(&machine.row, &mut names);
        assert!(!read.contains_key("node_power_watts") && !read.contains_key("node_energy_joules_total"), "half a sum is wrong: {read:?}");
        assert_eq!(read.contains_key("node_power_zone_watts package-0"), second > 0);
        let said = machine.row.faults.iter().filter(|fault| fault.detail.contains("CAP_DAC_READ_SEARCH")).count();
        assert_eq!(said, usize::from(second == 1));
    }
    let mut row = Observation::new(SensorId::from("x"), Time(0), Span::ZERO);
    Once::default().missing("x", &std::io::ErrorKind::PermissionDenied.into(), "run as root", &mut row);
    assert_eq!(row.faults[0].code, FaultCode::Denied);
}

#[test]
fn a_chip_that_vanishes_and_another_that_gets_its_number_are_two() {
    let folder = tree();
    let (mut machine, mut names) = (machine(folder.path()), Vec::new());
    let chips = folder.path().join("sys/class/hwmon");
    machine.read(Time(0), Instant::now(), &[]);
    std::fs::remove_file(chips.join("hwmon3")).unwrap();
    put(folder.path(), "sys/class/hwmon/hwmon3/name", "k10temp");
    put(folder.path(), "sys/class/hwmon/hwmon3/temp9_input", "30000");
    for round in 1..3 {
        values(&machine.row, &mut names);
        machine.read(Time(round), Instant::now(), &[]);
    }
    let read = values(&machine.row, &mut names);
    assert!(read.contains_key("temperature_celsius k10temp/temp9") && !read.contains_key("temperature_celsius platform_coretemp_0/temp1"));
    let row = &machine.row;
    assert_eq!(row.declared.iter().map(|decl| decl.key.labels.get("sensor").unwrap_or("")).collect::<Vec<_>>(), ["k10temp/temp9"]);
}

#[test]
fn an_empty_root_is_blind() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = machine(folder.path());
    machine.read(Time(0), Instant::now(), &[]);
    assert_eq!((machine.row.health, machine.row.samples.len()), (Health::Blind, 0));
}

#[tokio::test]
async fn a_dropped_read_costs_nothing_but_itself() {
    let folder = tree();
    put(folder.path(), "proc/1/mounts", "");
    let config = HostConfig { node: Some("brain".into()), root: folder.path().to_owned(), ..HostConfig::default() };
    let mut sensor = HostSensor::new(&config);
    let mut names: Vec<String> = Vec::new();
    let mut epochs = std::collections::BTreeSet::new();
    let mut into = Observation::new(SensorId::from("host"), Time(0), config.interval);
    for round in 0..30 {
        into.reset(Time(round));
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            () = sensor.read(Time(round), &mut into) => {
                values(&into, &mut names);
            }
        }
        into.reset(Time(round));
        sensor.read(Time(round), &mut into).await;
        epochs.insert(into.epoch);
        assert!(into.declared_before as usize <= names.len());
        let read = values(&into, &mut names);
        assert_eq!((read["node_up"], read["temperature_celsius acpitz/0"], into.at), (1.0, 42.5, Time(round)));
    }
    assert!(!epochs.is_empty());
}

#[tokio::test]
async fn this_very_machine_is_read_without_set_up() {
    let config: HostConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(config, HostConfig::default());
    let (mut sensor, mut names) = (HostSensor::new(&config), Vec::new());
    let mut into = Observation::new(SensorId::from("host"), Time(0), config.interval);
    let mut first = 0;
    for round in 0..3 {
        into.reset(Time(round));
        sensor.read(Time(round), &mut into).await;
        let read = values(&into, &mut names);
        assert!(into.health < Health::Blind && read["node_up"] == 1.0, "{:?}", into.faults);
        assert!((0.0..=1.0).contains(&read["node_memory_avail_ratio"]), "{read:?}");
        assert!(
            read.iter().all(|(name, value)| !name.contains("_ratio") || name.contains("load") || (0.0..=1.0).contains(value)),
            "{read:?}"
        );
        if round == 0 {
            first = into.faults.len();
            println!("{} series; said once: {:#?}", read.len(), into.faults.iter().map(|fault| fault.to_string()).collect::<Vec<_>>());
        } else {
            assert!(into.faults.len() <= first, "{:?}", into.faults);
        }
    }
}

#[test]
fn real_trees_are_read() {
    let Some(corpus) = crate::corpus::root() else { return };
    let (mut machine, mut names) = (machine(&corpus.join("sensing/node_exporter/sysfs")), Vec::new());
    let start = Instant::now();
    machine.read(Time(0), start, &[]);
    machine.read(Time(5000), start + Duration::from_secs(5), &[]);
    machine.dictionary.renew();
    machine.read(Time(10_000), start + Duration::from_secs(10), &[]);
    let read = values(&machine.row, &mut names);
    assert_eq!((read["node_power_watts"], read["node_power_zone_watts package-0"]), (0.0, 0.0), "the files do not change");
    println!("a real tree has {} series: {:?}", read.len(), read.keys());
}

#[tokio::test]
async fn a_reading_thread_that_panics_costs_one_read_and_no_epoch_twice() {
    let folder = tree();
    put(folder.path(), "proc/1/mounts", "");
    let config = HostConfig { node: Some("brain".into()), root: folder.path().to_owned(), ..HostConfig::default() };
    let mut sensor = HostSensor::new(&config);
    let mut into = Observation::new(SensorId::from("host"), Time(0), config.interval);
    sensor.read(Time(0), &mut into).await;
    let before = (into.epoch, into.declared.len());
    sensor.work = Work::Busy(tokio::spawn(async { panic!("expected by this test") }));
    into.reset(Time(1));
    sensor.read(Time(1), &mut into).await;
    assert_eq!((into.epoch, into.declared_before, into.declared.len()), (before.0 + 1, 0, before.1));
}
