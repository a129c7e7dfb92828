//! Our own sensors read every page without a fault, and see what the plant's sight sees in virtual time.

use crate::lab::{House, get, until};
use crate::reads::Reader;
use homeostat_faces::KeplerAge;
use homeostat_model::{Health, SeriesKey, Span};
use homeostat_sim::plant::{Exporter, Fault};
use tokio::net::TcpStream;

#[track_caller]
fn close(what: &SeriesKey, seen: f64, is: f64) {
    assert!((seen - is).abs() <= 0.01 * is.abs() + 1e-6, "{what:?}: the sensor has {seen}, the plant {is}");
}

/// Sight's metrics that a node's pages show, under the same labels as far as sight has them.
fn is_shown(metric: &str) -> bool {
    // The risk is each side's own table; the temperature's sensor has another name; data on disks stands on the house's page.
    !matches!(metric, "disk_failure_risk" | "temperature_celsius" | "disk_data_bytes" | "node_energy_joules_total")
}

/// All of a node's pages, read twice.
async fn node_readers(house: &House, name: &str) -> Vec<Reader> {
    let base = format!("http://{}", house.node(name));
    let mut readers = vec![
        Reader::page("node", &format!("{base}/metrics"), Some(name), None),
        Reader::kepler(&format!("{base}/kepler")),
        Reader::page("smart", &format!("{base}/smart"), Some(name), None),
    ];
    for span in [Span::ZERO, Span::from_secs(20)] {
        let now = house.pass(span);
        for reader in &mut readers {
            reader.read_well(now).await;
        }
    }
    readers
}

#[track_caller]
fn agree(house: &House, sensor: usize, readers: &[Reader]) -> usize {
    let mut compared = 0;
    for (key, value) in house.sight(sensor).into_iter().filter(|(key, _)| is_shown(&key.metric)) {
        let labels: Vec<(&str, &str)> = key.labels.iter().collect();
        let found: Vec<_> = readers.iter().flat_map(|reader| reader.values(&key.metric, &labels)).collect();
        assert_eq!(found.len(), 1, "{key:?}: {found:?}");
        close(&key, found[0].1, value);
        compared += 1;
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_is_sensed_as_it_is() {
    let house = House::start().await;
    house.begin(Fault::DiskFails { node: "nas".into(), disk: "sdb".into(), within: Span::from_hours(4) });
    house.pass(Span::from_hours(3));
    for (index, name) in ["brain", "nano", "nas"].into_iter().enumerate() {
        let readers = node_readers(&house, name).await;
        let compared = agree(&house, index + 1, &readers);
        assert!(compared >= 6, "{name}: {compared}");
        let hot = readers[0].value("temperature_celsius", &[("sensor", "platform_coretemp_0/temp1")]);
        let (celsius, joules) = house.faces.world().with(|plant| plant.node(name).map(|node| (node.celsius, node.joules)).unwrap());
        close(&SeriesKey::new("temperature_celsius", [("node", name)]), hot, celsius);
        // All the time up: the counter since the start is the plant's.
        close(&SeriesKey::new("joules", [("node", name)]), readers[1].value("node_energy_joules_total", &[("node", name)]), joules);
        assert_eq!(readers[0].value("node_up", &[]), 1.0);
    }
    let nas = node_readers(&house, "nas").await;
    assert!(nas[2].value("disk_pending_sectors", &[("disk", "sdb")]) > 10.0);
    assert!(nas[2].value("disk_failure_risk", &[("disk", "sdb")]) > 0.5);
    assert!(nas[2].value("disk_failure_risk", &[("disk", "sda")]) < 0.1);
    assert_eq!(nas[2].value("disk_health_passed", &[("disk", "sdb")]), 0.0);
    assert_eq!(nas[2].value("disk_reallocated_sectors", &[("disk", "sdb")]), 9.0);
    assert!(nas[2].value("disk_temperature_celsius", &[("disk", "sda")]) > 30.0, "not the packed raw value");
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_generations_of_kepler_give_the_plants_watts() {
    for age in [KeplerAge::Old, KeplerAge::New] {
        let house = House::with(|settings| {
            settings.kepler.insert("nano".into(), age);
        })
        .await;
        assert_eq!(house.faces.kepler()["nano"], age);
        house.pass(Span::from_mins(10));
        let readers = node_readers(&house, "nano").await;
        let watts = house.faces.world().with(|plant| plant.node("nano").unwrap().watts);
        assert!(watts > 10.0, "{watts}");
        close(&SeriesKey::new("node_power_watts", [("age", format!("{age:?}"))]), readers[1].value("node_power_watts", &[]), watts);
        let text = get(house.node("nano"), "/kepler").await.1;
        assert_eq!(text.contains("kepler_node_cpu_watts"), age == KeplerAge::New);
        if age == KeplerAge::New {
            let pods: f64 = readers[1].values("pod_power_watts", &[]).iter().map(|(_, watts)| watts).sum();
            assert!(pods > 1.0 && pods < watts, "{pods} of {watts}");
        }
        house.faces.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_never_go_back_and_modes_add_up_to_the_time_up() {
    let house = House::start().await;
    let mut reader = Reader::page("node", &format!("http://{}/metrics", house.node("nano")), Some("nano"), None);
    let mut before: Vec<(SeriesKey, f64)> = Vec::new();
    for _ in 0..20 {
        let now = house.pass(Span::from_secs(97));
        reader.read_well(now).await;
        let counters = ["node_cpu_seconds_total", "node_network_receive_bytes_total", "node_pressure_io_waiting_seconds_total"];
        let after: Vec<_> = counters.iter().flat_map(|metric| reader.values(metric, &[])).collect();
        assert!(before.iter().zip(&after).all(|(a, b)| a.0 == b.0 && a.1 <= b.1), "{before:?} {after:?}");
        before = after;
        let sum: f64 = reader.values("node_cpu_seconds_total", &[("cpu", "3")]).iter().map(|(_, seconds)| seconds).sum();
        let up = reader.value("node_uptime_seconds", &[]);
        assert!((sum - up).abs() < 1e-3 * up + 1e-3, "{sum} {up}");
    }
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_house_is_sensed_as_it_is() {
    let house = House::start().await;
    house.begin(Fault::CrashLoop { service: "web".into(), image: false });
    house.pass(Span::from_mins(30));
    let base = format!("http://{}", house.faces.house());
    let mut readers = vec![
        Reader::page("kube-state-metrics", &format!("{base}/kube-state-metrics/metrics"), None, None),
        Reader::page("lab", &format!("{base}/lab/metrics"), None, None),
    ];
    for target in ["web", "files", "api"] {
        readers.push(Reader::page("blackbox", &format!("{base}/probe?target={target}&module=http_2xx"), None, Some(target)));
    }
    readers.push(Reader::page("blackbox", &format!("{base}/probe?target=home.lab&module=tcp_tls"), None, Some("home.lab")));
    // Between two restarts the container waits.
    for _ in 0..600 {
        let now = house.pass(Span::from_secs(1));
        if house.faces.world().with(|plant| plant.services[0].replicas[0].is_waiting(now)) {
            break;
        }
    }
    let now = house.now();
    for reader in &mut readers {
        reader.read_well(now).await;
    }
    let mut compared = 0;
    for (key, value) in house.sight(0) {
        let labels: Vec<(&str, &str)> = key.labels.iter().collect();
        let found: Vec<_> = readers
            .iter()
            .flat_map(|reader| reader.values(&key.metric, &labels))
            // The services' jobs and targets beside what is looked for; what keeps its raw name has no other series.
            .filter(|(found, _)| found.metric.starts_with("kube_") || found.labels.get("job") != Some("kube-state-metrics"))
            .collect();
        if &*key.metric == "pod_waiting" && value == 0.0 {
            assert_eq!(found.len(), 0, "a reason is there only while it is set: {key:?}");
            continue;
        }
        assert_eq!(found.len(), 1, "{key:?}: {found:?}");
        close(&key, found[0].1, value);
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
    assert!(readers[0].value("pod_restarts_total", &[("pod", "web-0")]) > 3.0);
    assert_eq!(readers[0].value("pod_waiting", &[("pod", "web-0"), ("reason", "CrashLoopBackOff")]), 1.0);
    assert_eq!(readers[0].value("node_up", &[("node", "muscle")]), 0.0);
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_off_refuses_and_what_hangs_does_not_answer() {
    let house = House::start().await;
    let (nano, muscle) = (house.node("nano"), house.node("muscle"));
    let refused = |address| async move { TcpStream::connect(address).await.is_err() };
    until("the sleeping node refuses", || refused(muscle)).await;
    until("the running node answers", || async { TcpStream::connect(nano).await.is_ok() }).await;
    let mut reader = Reader::page("node", &format!("http://{nano}/metrics"), Some("nano"), None);
    reader.read_well(house.pass(Span::from_secs(15))).await;

    house.begin(Fault::Crash { node: "nano".into() });
    let now = house.pass(Span::from_secs(15));
    // The sensor's connection stands still; it must be cut, not answered.
    assert_eq!(reader.read(now).await.health, Health::Blind);
    assert_eq!(reader.value("node_up", &[("node", "nano")]), 0.0);
    until("the crashed node refuses", || refused(nano)).await;

    house.begin(Fault::Hang { node: "brain".into() });
    house.pass(Span::from_secs(15));
    let brain = house.node("brain");
    // Neither made nor refused: nothing happens at all.
    until("the hung node is silent", || async {
        tokio::time::timeout(std::time::Duration::from_millis(300), TcpStream::connect(brain)).await.is_err()
    })
    .await;
    assert!(!house.faces.world().with(|plant| plant.node("brain").unwrap().answers()));
    house.faces.world().with(|plant| {
        let hang = plant.active.iter().position(|active| matches!(active.fault, Fault::Hang { .. })).unwrap();
        plant.active[hang].until = Some(plant.now());
    });
    house.pass(Span::from_secs(15));
    until("it answers again", || async { TcpStream::connect(brain).await.is_ok() }).await;
    assert_eq!(get(brain, "/metrics").await.0, 200);
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exporters_that_fail_freeze_and_lie() {
    let house = House::start().await;
    let nano = house.node("nano");
    house.pass(Span::from_mins(5));
    house.begin(Fault::ExporterFrozen { node: "nano".into() });
    let first = get(nano, "/metrics").await.1;
    house.pass(Span::from_mins(5));
    assert_eq!(get(nano, "/metrics").await.1, first, "it shows what was");
    house.faces.world().with(|plant| plant.nodes[1].exporter = Exporter::Honest);
    assert_ne!(get(nano, "/metrics").await.1, first);

    house.begin(Fault::ExporterLies { node: "nano".into(), factor: 2.0 });
    let readers = node_readers(&house, "nano").await;
    let compared = agree(&house, 2, &readers);
    assert!(compared >= 6, "{compared}");
    let avail = readers[0].value("filesystem_avail_ratio", &[]);
    assert!((avail - 0.16).abs() < 0.01, "42 % used, shown twice: {avail}");

    house.begin(Fault::ExporterDown { node: "nano".into() });
    assert!(crate::lab::request(nano, "GET", "/metrics", "").await.is_err());
    assert!(TcpStream::connect(nano).await.is_ok(), "the node itself answers");
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blindness_of_the_house_and_of_the_engine() {
    let house = House::start().await;
    let address = house.faces.house();
    assert_eq!(get(address, "/lab/metrics").await.0, 200);
    house.begin(Fault::HouseBlind);
    for path in ["/lab/metrics", "/kube-state-metrics/metrics", "/probe?target=web"] {
        assert!(crate::lab::request(address, "GET", path, "").await.is_err(), "{path}");
    }
    assert_eq!(get(address, "/plugs/nano").await.0, 200, "the plugs are no part of that");
    house.begin(Fault::EngineCutOff);
    assert!(crate::lab::request(address, "GET", "/plugs/nano", "").await.is_err());
    assert!(crate::lab::request(address, "GET", "/agents/nano", "").await.is_err());
    until("other nodes are gone", || async { TcpStream::connect(house.node("nano")).await.is_err() }).await;
    assert_eq!(get(house.node("brain"), "/metrics").await.0, 200, "its own node is there");
    let (status, plant) = crate::lab::json(address, "GET", "/plant", "").await;
    assert_eq!((status, plant["faults"][1]["fault"].as_str()), (200, Some("engine-cut-off")), "the screen sees everything");
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_answers_as_blackbox_does() {
    let house = House::start().await;
    let address = house.faces.house();
    assert_eq!(get(address, "/probe?target=web&module=nope").await, (400, "Unknown module \"nope\"\n".into()));
    assert_eq!(get(address, "/probe").await, (400, "Target parameter is missing\n".into()));
    let (status, page) = get(address, "/probe?target=nobody.lab").await;
    assert!(status == 200 && page.contains("probe_success 0\n") && !page.contains("probe_ssl"), "{page}");
    let (_, page) = get(address, "/probe?target=https%3A%2F%2Fhome.lab%2F&module=http_2xx").await;
    assert!(page.contains("probe_success 1\n") && page.contains("probe_ssl_earliest_cert_expiry 1.8"), "{page}");
    house.pass(Span::from_hours(24 * 76));
    let (status, page) = get(address, "/probe?target=home.lab&module=tcp_tls").await;
    assert!(status == 200 && page.contains("probe_success 0\n") && !page.contains("probe_ssl_earliest"), "expired: {page}");
    let (_, page) = get(address, "/probe?target=muscle&module=icmp").await;
    assert!(page.contains("probe_icmp_duration_seconds") && page.contains("probe_success 0\n"), "{page}");
    house.faces.stop().await;
}
