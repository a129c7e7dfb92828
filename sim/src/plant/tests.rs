//! The plant against closed forms, plain bookkeeping and itself: what it does, what it must never do, and what it must not let
//! depend on actions.

use super::service::Crash;
use super::*;
use crate::lab::{FilesystemSpec, NodeKind, NodeSpec, Shape};
use crate::numbers::{JITTER, MUSCLE, ROOM_CELSIUS, SMALL};
use crate::scenario::Scenario;
use crate::shipped;
use crate::swarm::random_faults;
use proptest::prelude::*;

/// 2026-01-05T00:00:00Z, a Monday.
const BEGIN: Time = Time(1_767_571_200_000);

const LAB: &str = r#"
name: small
engine: c
scrape: 1s
nodes:
  - { name: a, kind: small, feed: left, switch: rack }
  - { name: b, kind: small, feed: left, switch: rack }
  - { name: c, kind: small, feed: right, switch: core }
  - name: nas
    kind: nas
    feed: right
    switch: core
    disks: [{ name: sda, size_bytes: 8e12, data_bytes: 400e9 }, { name: sdb, size_bytes: 8e12, data_bytes: 400e9 }]
    filesystems:
      - { mountpoint: /srv, size_bytes: 1e12, used_ratio: 0.9, cleanable: 0.3 }
      - { mountpoint: /tight, size_bytes: 1e12, used_ratio: 0.9, cleanable: 0.01 }
      - { mountpoint: /roomy, size_bytes: 1e12, used_ratio: 0.5, cleanable: 0.5 }
  - { name: muscle, kind: muscle, feed: right, switch: core, sleeps: true }
services:
  - { name: web, nodes: [a, b, c], replicas: 2, peak_rps: 20, replica_rps: 20, shape: steady }
  - { name: files, nodes: [nas], replicas: 1, peak_rps: 4, replica_rps: 20, shape: steady, pinned: true }
  - { name: auto, nodes: [c], replicas: 2, peak_rps: 20, replica_rps: 20, shape: steady, owner: !autoscaler { min: 1, max: 6, target: 0.5 } }
  - { name: git, nodes: [c], replicas: 2, peak_rps: 4, replica_rps: 20, shape: steady, owner: gitops }
queues:
  - { name: work, node: muscle, jobs_per_day: 0, job_seconds: 240, wait_seconds_max: 900 }
volumes:
  - { name: documents, nodes: [nas, a] }
quorum: [a, b, c]
certificates:
  - { name: tls, days: 90, days_left: 31, renews: true }
"#;

fn small() -> Plant {
    plant(LAB, 1)
}

/// The same in steps of half a minute.
fn coarse(seed: u64) -> Plant {
    plant(&LAB.replace("scrape: 1s", "scrape: 30s"), seed)
}

fn plant(lab: &str, seed: u64) -> Plant {
    Plant::new(Arc::new(Lab::parse(lab).unwrap_or_else(|error| panic!("{error}"))), seed, BEGIN)
}

fn wait(plant: &mut Plant, seconds: i64) {
    plant.advance(plant.now() + Span::from_secs(seconds));
}

fn begin(plant: &mut Plant, fault: Fault, lasts: Option<Span>) {
    plant.begin(fault, lasts).unwrap_or_else(|error| panic!("{error}"));
}

fn op(does: OpKind, target: &str) -> Op {
    Op { does, target: target.into(), replicas: None }
}

fn scale(target: &str, replicas: u32) -> Op {
    Op { replicas: Some(replicas), ..op(OpKind::Scale, target) }
}

fn worth(plant: &Plant, does: OpKind, target: &str) -> Worth {
    plant.judge(&op(does, target)).worth
}

fn service<'a>(plant: &'a mut Plant, name: &str) -> &'a mut Service {
    let index = plant.service_index(name).expect("the service is there");
    &mut plant.services[index]
}

fn outside(plant: &Plant, aim: &str) -> f64 {
    plant.meter.outside_seconds().find(|(known, _)| known.0 == aim).map_or(0.0, |(_, seconds)| seconds)
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1.0)
}

fn bare(name: &str, kind: NodeKind, sleeps: bool) -> NodeSpec {
    let text = String::new;
    NodeSpec { name: name.into(), kind, mac: text(), feed: text(), switch: text(), sleeps, disks: Vec::new(), filesystems: Vec::new() }
}

// Nodes.

proptest! {
    /// However the time is cut up, heat is the first-order lag's closed form and energy is power times time.
    #[test]
    fn energy_and_heat_follow_the_closed_form(busy in 0.0..=1.0f64, steps in prop::collection::vec(0.1..600.0f64, 1..40)) {
        let mut node = Node::new(&bare("a", NodeKind::Small, false), 1);
        let (first, mut passed, mut joules) = (node.celsius, 0.0, 0.0);
        node.busy = busy;
        for seconds in steps {
            passed += seconds;
            node.step(BEGIN + Span::from_millis((passed * 1000.0) as i64), seconds);
            prop_assert!(node.joules > joules, "energy only grows");
            joules = node.joules;
        }
        let watts = SMALL.idle_watts + (SMALL.load_watts - SMALL.idle_watts) * busy.powf(0.8);
        let last = ROOM_CELSIUS + watts * SMALL.kelvin_per_watt;
        let celsius = last + (first - last) * (-passed / SMALL.warm_seconds).exp();
        prop_assert!(near(node.watts, watts) && near(node.joules, watts * passed), "{} W, {} J", node.watts, node.joules);
        prop_assert!((node.celsius - celsius).abs() < 1e-6, "{} °C, expected {celsius}", node.celsius);
    }
}

#[test]
fn every_state_draws_its_power() {
    let mut plant = small();
    wait(&mut plant, 1);
    let watts = |plant: &Plant, name: &str| plant.node(name).map_or(f64::NAN, |node| node.watts);
    assert_eq!(watts(&plant, "muscle"), MUSCLE.asleep_watts);
    plant.act(&op(OpKind::Wake, "node/muscle"));
    wait(&mut plant, 1);
    assert_eq!(watts(&plant, "muscle"), (MUSCLE.idle_watts + MUSCLE.load_watts) / 2.0, "between idle and load while it starts");
    plant.act(&op(OpKind::PowerOff, "node/a"));
    wait(&mut plant, 30);
    assert_eq!(watts(&plant, "a"), SMALL.off_watts);
    assert!(watts(&plant, "muscle") > MUSCLE.idle_watts && watts(&plant, "muscle") < 0.5 * MUSCLE.load_watts);
    begin(&mut plant, Fault::FeedDown { feed: "right".into() }, None);
    wait(&mut plant, 1);
    assert_eq!(watts(&plant, "muscle"), 0.0);
}

#[test]
fn boot_suspend_and_resume_spread_within_their_bounds() {
    let mut shares = Vec::new();
    for seed in 0..200 {
        let mut node = Node::new(&bare("m", NodeKind::Muscle, false), seed);
        let mut took = |node: &Node, nominal: f64| {
            let (Power::Starting { until } | Power::Suspending { until }) = node.power else { panic!("{:?}", node.power) };
            shares.push(until.since(BEGIN).seconds() / nominal);
            until
        };
        assert!(node.suspend(BEGIN) && !node.suspend(BEGIN), "it falls asleep once");
        let asleep = took(&node, MUSCLE.suspend_seconds);
        node.step(asleep + Span(-1), 1.0);
        assert!(matches!(node.power, Power::Suspending { .. }));
        node.step(asleep, 1.0);
        assert!(node.power == Power::Asleep && node.start(BEGIN));
        let awake = took(&node, MUSCLE.resume_seconds);
        node.step(awake + Span(-1), 1.0);
        assert!(!node.answers());
        node.step(awake, 1.0);
        assert!(node.answers() && node.switch_off() && node.start(BEGIN));
        took(&node, MUSCLE.boot_seconds);
        node.power = Power::Off;
        node.slow_start = 10.0;
        node.start(BEGIN);
        took(&node, 10.0 * MUSCLE.boot_seconds);
    }
    let (low, high) = shares.iter().fold((f64::MAX, 0.0f64), |(low, high), share| (low.min(*share), high.max(*share)));
    assert!(low >= 1.0 - JITTER - 0.001 && high <= 1.0 + JITTER + 0.001, "{low} to {high}");
    assert!(low < 0.80 && high > 1.20, "it spreads: {low} to {high}");
}

#[test]
fn lost_magic_packets_wake_nobody_and_look_sent() {
    let mut plant = small();
    begin(&mut plant, Fault::LostPackets { node: "muscle".into(), count: 2 }, None);
    for _ in 0..2 {
        let applied = plant.act(&op(OpKind::Wake, "node/muscle"));
        assert!(applied.taken && applied.observed == "the packet was sent");
        wait(&mut plant, 60);
        assert_eq!(plant.node("muscle").map(|node| node.power), Some(Power::Asleep));
    }
    plant.act(&op(OpKind::Wake, "node/muscle"));
    assert!(!plant.is_so(&op(OpKind::Wake, "node/muscle")), "not yet");
    wait(&mut plant, 16);
    assert!(plant.is_so(&op(OpKind::Wake, "node/muscle")));
}

#[test]
fn a_hung_node_is_cured_by_its_power_alone() {
    let mut plant = small();
    begin(&mut plant, Fault::Hang { node: "a".into() }, None);
    wait(&mut plant, 600);
    assert!(!plant.node("a").is_some_and(Node::answers));
    assert!(!plant.act(&op(OpKind::PowerOff, "node/a")).taken, "it does not hear that");
    plant.act(&op(OpKind::Wake, "node/a"));
    wait(&mut plant, 60);
    assert!(!plant.node("a").is_some_and(Node::answers), "it is on already");
    assert!(plant.act(&op(OpKind::PowerCycle, "node/a")).taken);
    wait(&mut plant, 51);
    assert!(plant.node("a").is_some_and(Node::answers));
}

#[test]
fn feeds_take_down_what_hangs_on_them_and_give_it_back() {
    let mut plant = small();
    begin(&mut plant, Fault::FeedDown { feed: "right".into() }, Some(Span::from_mins(5)));
    wait(&mut plant, 60);
    let power = |plant: &Plant| plant.nodes.iter().map(|node| node.power.name()).collect::<Vec<_>>();
    assert_eq!(power(&plant), ["on", "on", "unpowered", "unpowered", "unpowered"]);
    plant.act(&op(OpKind::Wake, "node/muscle"));
    assert!(!plant.act(&op(OpKind::PowerCycle, "node/nas")).taken);
    assert_eq!(power(&plant)[3..], ["unpowered", "unpowered"], "nothing starts without power");
    wait(&mut plant, 245);
    assert_eq!(power(&plant), ["on", "on", "starting", "starting", "off"], "what sleeps stays off");
    wait(&mut plant, 200);
    assert_eq!(power(&plant), ["on", "on", "on", "on", "off"]);
}

#[test]
fn a_dead_switch_cuts_off_what_runs_on() {
    let mut plant = small();
    begin(&mut plant, Fault::SwitchDown { switch: "rack".into() }, Some(Span::from_mins(1)));
    wait(&mut plant, 30);
    let answers = |plant: &Plant| plant.nodes.iter().filter(|node| node.answers()).map(|node| node.name.clone()).collect::<Vec<_>>();
    assert_eq!(answers(&plant), ["c", "nas"]);
    assert!(plant.node("a").is_some_and(|node| node.works() && node.watts >= SMALL.idle_watts), "it runs on");
    assert!(!plant.act(&op(OpKind::Sleep, "node/a")).taken);
    wait(&mut plant, 31);
    assert_eq!(answers(&plant), ["a", "b", "c", "nas"]);
}

// Disks and filesystems.

#[test]
fn a_failing_disk_shows_signs_first_and_dies_with_its_data() {
    let mut plant = coarse(1);
    begin(&mut plant, Fault::DiskFails { node: "nas".into(), disk: "sdb".into(), within: Span::from_hours(10) }, None);
    let disk = |plant: &Plant| plant.disk("nas:sdb").expect("the disk is there").clone();
    let mut pending = 0.0;
    for hour in 1..10 {
        wait(&mut plant, 3600);
        let disk = disk(&plant);
        assert!(disk.pending >= pending && disk.pending >= 2.0 && !disk.dead, "hour {hour}: {disk:?}");
        assert_eq!(disk.passed, hour < 7, "its own verdict comes late");
        pending = disk.pending;
    }
    assert!(plant.meter.losses.is_empty() && outside(&plant, "disk/nas:sdb") >= 9.0 * 3600.0);
    wait(&mut plant, 3600);
    assert!(disk(&plant).dead);
    wait(&mut plant, 3600);
    assert_eq!(plant.meter.losses.len(), 1, "lost once");
    assert!(plant.meter.losses[0].1.contains("nas:sdb"));
    assert_eq!(plant.disk("nas:sda").map(|disk| (disk.pending, disk.passed)), Some((0.0, true)), "the other is well");
}

#[test]
fn an_evacuation_in_time_saves_the_data() {
    let mut plant = coarse(1);
    begin(&mut plant, Fault::DiskFails { node: "nas".into(), disk: "sdb".into(), within: Span::from_hours(3) }, None);
    plant.act(&op(OpKind::Evacuate, "disk/nas:sdb"));
    let data = |plant: &Plant| plant.disk("nas:sdb").map_or(f64::NAN, |disk| disk.data_bytes);
    wait(&mut plant, 3000);
    assert!(near(data(&plant), 400e9 - 3000.0 * 80e6), "{}", data(&plant));
    wait(&mut plant, 2100);
    assert_eq!(data(&plant), 0.0);
    wait(&mut plant, 4 * 3600);
    assert!(plant.disk("nas:sdb").is_some_and(|disk| disk.dead) && plant.meter.losses.is_empty());
}

#[test]
fn a_clean_up_frees_what_was_rubbish_and_no_more() {
    let mut plant = small();
    let applied = plant.act(&op(OpKind::Clean, "filesystem/nas:/srv"));
    assert_eq!(applied.observed, "270000000000 bytes freed");
    assert_eq!(plant.act(&op(OpKind::Clean, "filesystem/nas:/srv")).observed, "0 bytes freed");
    assert!(near(plant.filesystem("nas:/srv").map_or(0.0, Filesystem::avail_ratio), 0.37));
}

/// A log that meets the brim writes no further: what lay there before is not rubbish.
#[test]
fn a_full_filesystem_keeps_what_is_not_rubbish() {
    let spec = FilesystemSpec { mountpoint: "/".into(), size_bytes: 1e12, used_ratio: 0.9, grows_per_day: 0.0, cleanable: 0.0 };
    let mut fs = Filesystem::new(&spec);
    fs.runaway_per_day = 2.0;
    (0..2880).for_each(|_| fs.step(30.0));
    assert_eq!(fs.avail_ratio(), 0.0);
    let freed = fs.clean();
    assert!((freed - 0.1e12).abs() < 1.0, "{freed:.0} bytes freed, the log had room for 1e11");
}

proptest! {
    #[test]
    fn a_filesystem_is_never_negative_nor_too_full(
        used_ratio in 0.0..=1.0f64,
        cleanable in 0.0..=1.0f64,
        steps in prop::collection::vec((0.0..5.0f64, 0.0..3.0f64, 1.0..40_000.0f64, any::<bool>()), 1..60),
    ) {
        let spec = FilesystemSpec { mountpoint: "/".into(), size_bytes: 1e12, used_ratio, grows_per_day: 0.0, cleanable };
        let mut fs = Filesystem::new(&spec);
        let mut kept = fs.used_bytes - fs.cleanable_bytes;
        for (runaway, grows, seconds, cleans) in steps {
            (fs.runaway_per_day, fs.grows_per_day) = (runaway, grows);
            fs.step(seconds);
            prop_assert!(fs.used_bytes >= 0.0 && fs.used_bytes <= fs.size_bytes, "{fs:?}");
            prop_assert!(fs.cleanable_bytes >= 0.0 && fs.cleanable_bytes <= fs.used_bytes, "{fs:?}");
            let keeps = fs.used_bytes - fs.cleanable_bytes;
            prop_assert!(keeps >= kept - 1.0, "what is not rubbish only grows: {kept} to {keeps}");
            kept = keeps;
            if cleans {
                let (before, freed) = (fs.used_bytes, fs.clean());
                prop_assert!(freed >= 0.0 && near(before - freed, fs.used_bytes) && (fs.used_bytes - kept).abs() < 1.0);
            }
        }
    }
}

// Services.

#[test]
fn replicas_leave_a_silent_node_after_five_minutes() {
    let mut plant = small();
    wait(&mut plant, 60);
    plant.act(&op(OpKind::PowerOff, "node/a"));
    plant.act(&op(OpKind::PowerOff, "node/nas"));
    wait(&mut plant, 300);
    let places = |plant: &mut Plant| service(plant, "web").replicas.iter().map(|replica| replica.node).collect::<Vec<_>>();
    assert_eq!(places(&mut plant), [0, 1], "not yet");
    wait(&mut plant, 1);
    assert_eq!(places(&mut plant), [2, 1], "to the node with the fewest");
    let (nodes, web) = (plant.nodes.clone(), service(&mut plant, "web").clone());
    assert_eq!((web.ready(&nodes, plant.now()), web.ready(&nodes, plant.now() + Span::from_secs(12))), (1, 2), "it starts there");
    wait(&mut plant, 3600);
    assert!(service(&mut plant, "files").replicas[0].node == 3 && !service(&mut plant, "files").up, "what is pinned waits");
    assert!(plant.act(&op(OpKind::Wake, "node/nas")).taken);
    wait(&mut plant, 170);
    assert!(service(&mut plant, "files").up);
}

#[test]
fn a_short_silence_moves_nothing() {
    let mut plant = small();
    begin(&mut plant, Fault::DeadNic { node: "a".into() }, Some(Span::from_mins(4)));
    wait(&mut plant, 250);
    assert_eq!(service(&mut plant, "web").replicas.iter().map(|replica| replica.node).collect::<Vec<_>>(), [0, 1]);
    wait(&mut plant, 30);
    let nodes = plant.nodes.clone();
    let now = plant.now();
    assert_eq!(service(&mut plant, "web").ready(&nodes, now), 2);
}

#[test]
fn nothing_is_placed_on_a_marked_node() {
    let mut plant = small();
    plant.act(&op(OpKind::Cordon, "node/c"));
    plant.act(&scale("service/web", 6));
    assert!(service(&mut plant, "web").replicas.iter().all(|replica| replica.node != 2));
    plant.act(&op(OpKind::Uncordon, "node/c"));
    plant.act(&scale("service/web", 7));
    assert_eq!(service(&mut plant, "web").replicas[6].node, 2);
}

#[test]
fn a_leak_slows_and_ends_in_a_restart_without_cure() {
    let mut plant = small();
    let room = {
        let spec = &service(&mut plant, "web").spec;
        spec.memory_limit_bytes - spec.memory_bytes
    };
    begin(&mut plant, Fault::Leak { service: "web".into(), bytes_per_second: room / 1000.0 }, None);
    wait(&mut plant, 500);
    assert!(near(service(&mut plant, "web").replicas[0].leaked_bytes, room / 2.0));
    let fast = service(&mut plant, "web").latency_seconds;
    wait(&mut plant, 200);
    assert!(service(&mut plant, "web").latency_seconds > 2.5 * fast, "it swaps");
    assert_eq!(worth(&plant, OpKind::Restart, "service/web"), Worth::Useful);
    wait(&mut plant, 302);
    let web = service(&mut plant, "web").clone();
    assert!(web.replicas.iter().all(|replica| replica.restarts == 1), "{:?}", web.replicas);
    assert!(!web.up, "both at once, for a moment");
    wait(&mut plant, 15);
    assert!(service(&mut plant, "web").up);
    wait(&mut plant, 1020);
    assert_eq!(service(&mut plant, "web").replicas[0].restarts, 2, "and again");
}

#[test]
fn crashes_back_off_from_ten_seconds_to_five_minutes() {
    let mut plant = small();
    begin(&mut plant, Fault::CrashLoop { service: "web".into(), image: false }, None);
    let (mut seen, mut moments) = (0, Vec::new());
    for second in 0..1500 {
        wait(&mut plant, 1);
        let restarts = service(&mut plant, "web").replicas[0].restarts;
        if restarts > seen {
            (seen, _) = (restarts, moments.push(second));
        }
    }
    let gaps: Vec<i64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..7], [10, 20, 40, 80, 160, 300, 300]);
    let now = plant.now();
    assert!(service(&mut plant, "web").replicas[0].is_waiting(now) && service(&mut plant, "web").up, "the other serves");
    plant.act(&op(OpKind::DeletePod, "pod/home/web-0"));
    wait(&mut plant, 15);
    let (nodes, now) = (plant.nodes.clone(), plant.now());
    assert_eq!(service(&mut plant, "web").ready(&nodes, now), 2, "a new pod is well");
    assert_eq!(service(&mut plant, "web").replicas[0].restarts, 0);
}

#[test]
fn no_new_pod_cures_a_bad_image() {
    let mut plant = small();
    begin(&mut plant, Fault::CrashLoop { service: "web".into(), image: true }, Some(Span::from_hours(1)));
    wait(&mut plant, 30);
    assert_eq!(worth(&plant, OpKind::DeletePod, "pod/home/web-0"), Worth::Useless);
    plant.act(&op(OpKind::DeletePod, "pod/home/web-0"));
    plant.act(&op(OpKind::Restart, "service/web"));
    plant.act(&scale("service/web", 4));
    wait(&mut plant, 600);
    let web = service(&mut plant, "web").clone();
    assert!(!web.up && web.replicas.iter().all(|replica| replica.crash == Some(Crash::Image) && replica.restarts > 0));
    wait(&mut plant, 3600);
    assert!(service(&mut plant, "web").up, "the fault has ended");
}

#[test]
fn latency_is_that_of_one_server_with_a_queue() {
    let mut plant = small();
    for factor in [0.1, 0.5, 1.0, 1.5] {
        begin(&mut plant, Fault::Surge { service: "web".into(), factor }, None);
        wait(&mut plant, 60);
        let web = service(&mut plant, "web");
        assert!((18.4..=21.6).contains(&(web.load_rps / factor)), "the peak and its noise: {}", web.load_rps);
        let used = web.load_rps / 40.0;
        assert!(near(web.used, used) && near(web.latency_seconds, 0.05 / (1.0 - used)), "{} at {used}", web.latency_seconds);
    }
    begin(&mut plant, Fault::Surge { service: "web".into(), factor: 5.0 }, None);
    wait(&mut plant, 1);
    assert_eq!(service(&mut plant, "web").latency_seconds, 10.0, "a client's patience");
    begin(&mut plant, Fault::Misconfigured { service: "files".into() }, None);
    wait(&mut plant, 1);
    assert!(service(&mut plant, "files").latency_seconds > 1.0);
    assert_eq!(worth(&plant, OpKind::Restart, "service/files"), Worth::Useless);
}

#[test]
fn the_autoscaler_fights_back() {
    let mut plant = small();
    let count = |plant: &mut Plant| service(plant, "auto").replicas.len();
    wait(&mut plant, 600);
    assert_eq!(count(&mut plant), 2, "within its tolerance");
    plant.act(&scale("service/auto", 1));
    wait(&mut plant, 61);
    assert_eq!(count(&mut plant), 2, "up at once");
    plant.act(&scale("service/auto", 5));
    wait(&mut plant, 240);
    assert_eq!(count(&mut plant), 5, "down after a while");
    wait(&mut plant, 240);
    assert_eq!(count(&mut plant), 2);
    begin(&mut plant, Fault::Surge { service: "auto".into(), factor: 9.0 }, None);
    wait(&mut plant, 120);
    assert_eq!(count(&mut plant), 6, "its most");
}

#[test]
fn gitops_fights_back() {
    let mut plant = small();
    for wish in [1, 5] {
        plant.act(&scale("service/git", wish));
        assert_eq!(service(&mut plant, "git").replicas.len(), wish as usize);
        wait(&mut plant, 181);
        assert_eq!(service(&mut plant, "git").replicas.len(), 2);
    }
}

#[test]
fn a_quorum_needs_most_of_its_members() {
    let mut plant = small();
    plant.act(&op(OpKind::PowerOff, "node/a"));
    wait(&mut plant, 60);
    assert!(plant.has_quorum() && outside(&plant, "quorum/lab") == 0.0);
    plant.act(&op(OpKind::PowerOff, "node/b"));
    wait(&mut plant, 60);
    assert!(!plant.has_quorum());
    assert_eq!(outside(&plant, "quorum/lab"), 60.0);
}

#[test]
fn certificates_renew_at_a_third_unless_stuck() {
    let mut plant = coarse(1);
    let left = |plant: &Plant| plant.certificates[0].days_left(plant.now());
    wait(&mut plant, 2 * 86_400);
    assert!(left(&plant) > 85.0, "{}", left(&plant));
    begin(&mut plant, Fault::RenewalStuck { certificate: "tls".into() }, None);
    plant.certificates[0].expires = plant.now() + Span::from_hours(2);
    wait(&mut plant, 3 * 3600);
    assert!(left(&plant) < 0.0 && near(outside(&plant, "certificate/tls"), 3630.0), "{}", outside(&plant, "certificate/tls"));
    plant.act(&op(OpKind::RenewCertificate, "certificate/tls"));
    assert!(near(left(&plant), 90.0));
}

#[test]
fn the_muscle_works_off_its_queue_when_it_is_awake() {
    let mut plant = small();
    let at = plant.now();
    plant.queues[0].waiting.extend([at; 3]);
    wait(&mut plant, 1000);
    assert_eq!((plant.queues[0].len(), plant.queues[0].done), (3, 0));
    assert_eq!(outside(&plant, "queue/work"), 100.0, "nine hundred seconds are fine");
    plant.act(&op(OpKind::Wake, "node/muscle"));
    wait(&mut plant, 20);
    assert!(plant.node("muscle").is_some_and(|node| node.busy > 0.8));
    wait(&mut plant, 720);
    assert_eq!((plant.queues[0].len(), plant.queues[0].done), (0, 3), "240 s each");
}

// The oracle.

#[test]
fn the_oracle_judges_power() {
    use OpKind::*;
    let mut plant = small();
    wait(&mut plant, 60);
    let (muscle, a) = ("node/muscle", "node/a");
    assert_eq!(worth(&plant, Wake, muscle), Worth::Useless, "nobody needs it");
    assert_eq!(worth(&plant, Sleep, muscle), Worth::Useless, "it sleeps");
    assert_eq!(worth(&plant, PowerCycle, muscle), Worth::Useless);
    let at = plant.now();
    plant.queues[0].waiting.push_back(at);
    assert_eq!(worth(&plant, Wake, muscle), Worth::Useful);
    plant.act(&op(Wake, muscle));
    assert_eq!(worth(&plant, Wake, muscle), Worth::Useless, "it starts");
    assert_eq!(worth(&plant, PowerCycle, muscle), Worth::Harmful, "it starts");
    wait(&mut plant, 20);
    assert_eq!([Sleep, PowerOff, PowerCycle].map(|does| worth(&plant, does, muscle)), [Worth::Harmful; 3], "it works");
    wait(&mut plant, 300);
    assert_eq!([Sleep, PowerOff].map(|does| worth(&plant, does, muscle)), [Worth::Useful; 2], "it is done");
    assert_eq!([Sleep, PowerOff, PowerCycle].map(|does| worth(&plant, does, a)), [Worth::Harmful; 3], "it is meant to run");
    begin(&mut plant, Fault::Hang { node: "a".into() }, None);
    assert_eq!(worth(&plant, PowerCycle, a), Worth::Useful);
    assert_eq!(worth(&plant, PowerOff, a), Worth::Useless);
    begin(&mut plant, Fault::DeadNic { node: "b".into() }, None);
    assert_eq!(worth(&plant, PowerCycle, "node/b"), Worth::Useless, "no restart cures its network");
    begin(&mut plant, Fault::FeedDown { feed: "right".into() }, None);
    assert_eq!([Wake, PowerCycle].map(|does| worth(&plant, does, "node/nas")), [Worth::Useless; 2], "its feed is dead");
    assert_eq!([Cordon, Uncordon].map(|does| worth(&plant, does, a)), [Worth::Neutral; 2]);
    assert_eq!(worth(&plant, Tell, a), Worth::Neutral);
    assert_eq!(worth(&plant, Wake, "node/nowhere"), Worth::Useless);
}

/// A sleeper that holds the last copy of something must not sleep.
#[test]
fn the_oracle_knows_the_last_of_something() {
    let lab = LAB.replace("nodes: [nas, a]", "nodes: [nas, muscle]");
    let mut plant = plant(&lab, 1);
    plant.act(&op(OpKind::Wake, "node/muscle"));
    wait(&mut plant, 30);
    assert_eq!(worth(&plant, OpKind::Sleep, "node/muscle"), Worth::Useful);
    begin(&mut plant, Fault::DeadNic { node: "nas".into() }, None);
    assert_eq!(worth(&plant, OpKind::Sleep, "node/muscle"), Worth::Harmful);
    assert!(plant.is_last_anywhere(4) && !plant.is_last_anywhere(0));
}

#[test]
fn the_oracle_judges_storage_and_certificates() {
    use OpKind::*;
    let mut plant = small();
    let clean = |plant: &Plant, mountpoint: &str| worth(plant, Clean, &format!("filesystem/nas:{mountpoint}"));
    assert_eq!(clean(&plant, "/srv"), Worth::Useful);
    assert_eq!(clean(&plant, "/tight"), Worth::Useless, "next to nothing to clean");
    assert_eq!(clean(&plant, "/roomy"), Worth::Useless, "room enough");
    assert_eq!(clean(&plant, "/nowhere"), Worth::Useless);
    assert_eq!(plant.act(&op(Clean, "filesystem/nas:/srv")).judged.worth, Worth::Useful, "judged before it is done");
    assert_eq!(clean(&plant, "/srv"), Worth::Useless);
    assert_eq!(worth(&plant, Evacuate, "disk/nas:sdb"), Worth::Useless, "it is well");
    begin(&mut plant, Fault::DiskFails { node: "nas".into(), disk: "sdb".into(), within: Span::from_hours(9) }, None);
    assert_eq!(plant.act(&op(Evacuate, "disk/nas:sdb")).judged.worth, Worth::Useful);
    assert_eq!(worth(&plant, Evacuate, "disk/nas:sdb"), Worth::Useless, "under way");
    assert_eq!(worth(&plant, RenewCertificate, "certificate/tls"), Worth::Useless, "a third is left");
    plant.certificates[0].expires = plant.now() + Span::from_hours(24);
    assert_eq!(worth(&plant, RenewCertificate, "certificate/tls"), Worth::Useful);
}

#[test]
fn the_oracle_judges_services() {
    use OpKind::*;
    let mut plant = small();
    wait(&mut plant, 60);
    assert_eq!(worth(&plant, DeletePod, "pod/home/web-0"), Worth::Useless, "it works, and so does the other");
    assert_eq!(worth(&plant, Restart, "service/web"), Worth::Harmful, "nothing serves meanwhile");
    assert_eq!(worth(&plant, DeletePod, "pod/home/files-0"), Worth::Harmful, "it is the only one");
    let judge = |plant: &Plant, wish: u32| plant.judge(&scale("service/web", wish)).worth;
    assert_eq!([1, 2, 3].map(|wish| judge(&plant, wish)), [Worth::Harmful, Worth::Useless, Worth::Useless]);
    assert_eq!([1, 9].map(|wish| plant.judge(&scale("service/auto", wish)).worth), [Worth::Harmful; 2], "another owns them");
    begin(&mut plant, Fault::Surge { service: "web".into(), factor: 3.0 }, None);
    wait(&mut plant, 1);
    assert_eq!(judge(&plant, 4), Worth::Useful);
    begin(&mut plant, Fault::Surge { service: "web".into(), factor: 0.2 }, None);
    wait(&mut plant, 1);
    assert_eq!(judge(&plant, 1), Worth::Useful, "the load needs fewer");
    begin(&mut plant, Fault::CrashLoop { service: "web".into(), image: false }, None);
    assert_eq!(worth(&plant, DeletePod, "pod/home/web-0"), Worth::Useful);
    assert_eq!(worth(&plant, DeletePod, "pod/home/web-1"), Worth::Harmful, "it alone serves");
    assert_eq!(worth(&plant, DeletePod, "pod/home/web-7"), Worth::Useless, "there is none");
}

// The meter.

#[test]
fn the_meter_counts_what_was_outside_and_when() {
    let mut plant = small();
    wait(&mut plant, 100);
    let broken: Vec<&str> = plant.meter.breached().map(|aim| aim.0.as_str()).collect();
    assert!(broken.is_empty() || broken.iter().all(|aim| aim.starts_with("filesystem/")), "{broken:?}");
    let before = plant.meter.breaches.len();
    let joules = plant.meter.joules;
    begin(&mut plant, Fault::Hang { node: "nas".into() }, Some(Span::from_secs(50)));
    wait(&mut plant, 100);
    assert_eq!((outside(&plant, "node/nas"), plant.meter.seconds), (50.0 - 1.0, 200.0), "it ends as the fiftieth second begins");
    let of = |aim: &str| plant.meter.breaches[before..].iter().find(|breach| breach.aim.0 == aim).expect("it was breached");
    assert_eq!((of("node/nas").from, of("node/nas").to), (BEGIN + Span::from_secs(101), Some(BEGIN + Span::from_secs(150))));
    // The container starts anew where the node is back.
    assert_eq!(plant.meter.disrupted_seconds, outside(&plant, "service/files"));
    assert!((60.0..=63.0).contains(&outside(&plant, "service/files")), "{}", outside(&plant, "service/files"));
    assert!(plant.meter.joules > joules);
    assert!(near(plant.meter.outside_total_seconds(), plant.meter.outside_seconds().map(|(_, seconds)| seconds).sum()));
}

#[test]
fn sleep_saves_the_idle_power() {
    let mut plant = coarse(1);
    wait(&mut plant, 3600);
    let saved = |plant: &Plant| plant.meter.joules_always_on - plant.meter.joules;
    assert!(near(saved(&plant), (MUSCLE.idle_watts - MUSCLE.asleep_watts) * 3600.0), "{}", saved(&plant));
    plant.act(&op(OpKind::Wake, "node/muscle"));
    wait(&mut plant, 60);
    let before = saved(&plant);
    wait(&mut plant, 3000);
    assert!(near(saved(&plant), before), "awake it saves nothing");
    assert_eq!(outside(&plant, "power/muscle"), 0.0);
    wait(&mut plant, 3600);
    assert!((2900.0..=3100.0).contains(&outside(&plant, "power/muscle")), "idle for more than an hour is waste");
}

#[test]
fn overshoot_is_capacity_beyond_the_need() {
    let mut plant = small();
    wait(&mut plant, 60);
    assert_eq!(plant.meter.overshoot, 0.0);
    plant.act(&scale("service/web", 6));
    plant.act(&scale("service/auto", 6));
    wait(&mut plant, 30);
    assert_eq!(service(&mut plant, "web").needed(), 2);
    assert_eq!(plant.meter.overshoot, 2.0, "six where two are needed; what another owns does not count");
}

// Chance.

/// Everything that the plant is made of, as one number.
fn digest(plant: &Plant) -> u64 {
    let all = (&plant.nodes, &plant.services, &plant.queues, &plant.volumes, &plant.certificates, &plant.active, &plant.meter);
    crate::chance::hash(&format!("{all:?} {:?}", plant.log))
}

#[test]
fn the_same_seed_is_the_same_plant_after_a_week() {
    let week = Span::from_hours(7 * 24);
    let lived = |seed: u64, cut: i64| {
        let lab = Arc::new(shipped::classic().expect("the shipped lab fits together"));
        let mut plant = Plant::new(Arc::clone(&lab), seed, BEGIN);
        plant.plan(random_faults(&lab, seed, week, 10.0));
        (1..=cut).for_each(|part| plant.advance(BEGIN + Span(week.millis() / cut * part)));
        assert!(plant.log().count() > 30, "something happened");
        digest(&plant)
    };
    let one = lived(5, 1);
    assert_eq!(one, lived(5, 1));
    assert_eq!(one, lived(5, 7), "in how many pieces it is asked for does not matter");
    assert_ne!(one, lived(6, 1));
}

/// Whatever is done, the same people come and the same jobs arrive.
#[test]
fn actions_do_not_change_the_weather() {
    let lab = Arc::new(shipped::classic().expect("the shipped lab fits together"));
    let faults = random_faults(&lab, 3, Span::from_hours(48), 20.0);
    let new = || {
        let mut plant = Plant::new(Arc::clone(&lab), 3, BEGIN);
        plant.plan(faults.clone());
        plant
    };
    let (mut still, mut busy) = (new(), new());
    let mut differs = false;
    for step in 0..48 * 12 {
        let to = BEGIN + Span::from_mins(5 * (step + 1));
        for (number, op) in [
            op(OpKind::Wake, "node/muscle"),
            op(OpKind::Restart, "service/web"),
            scale("service/photos", (step % 7) as u32),
            op(OpKind::Sleep, "node/muscle"),
            op(OpKind::PowerCycle, "node/nano-2"),
            op(OpKind::Clean, "filesystem/nas:/srv"),
        ]
        .iter()
        .enumerate()
        {
            if step % 6 == number as i64 {
                busy.act(op);
            }
        }
        still.advance(to);
        busy.advance(to);
        let loads = |plant: &Plant| plant.services.iter().map(|service| service.load_rps).collect::<Vec<_>>();
        let jobs = |plant: &Plant| plant.queues.iter().map(|queue| queue.done + queue.len() as u64).collect::<Vec<_>>();
        assert_eq!(loads(&still), loads(&busy), "step {step}");
        assert_eq!(jobs(&still), jobs(&busy), "step {step}");
        differs |= digest(&still) != digest(&busy);
    }
    assert!(differs && still.queues[0].done < busy.queues[0].done, "the actions did something");
}

fn any_op() -> impl Strategy<Value = Op> {
    use OpKind::*;
    let kinds = [Tell, Wake, Sleep, PowerOff, PowerCycle, Cordon, Uncordon, Clean, Evacuate, DeletePod, Restart, Scale, RenewCertificate];
    let targets = [
        "node/a",
        "node/nas",
        "node/muscle",
        "filesystem/nas:/srv",
        "filesystem/nas:/tight",
        "disk/nas:sda",
        "service/web",
        "service/files",
        "service/auto",
        "pod/home/web-0",
        "certificate/tls",
        "node/nowhere",
        "pod/web-",
        "disk/nas",
        "x",
    ];
    (prop::sample::select(kinds.to_vec()), prop::sample::select(targets.to_vec()), prop::option::of(0..12u32))
        .prop_map(|(does, target, replicas)| Op { does, target: target.into(), replicas })
}

fn any_fault() -> impl Strategy<Value = Fault> {
    (any::<u64>(), 0..40usize).prop_filter_map("a fault", |(seed, number)| {
        let lab = Lab::parse(LAB).ok()?;
        random_faults(&lab, seed, Span::from_hours(96), 24.0).into_iter().nth(number).map(|planned| planned.fault)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever happens in whatever order, the books stay sound.
    #[test]
    fn the_books_stay_sound(
        seed in 0..1000u64,
        steps in prop::collection::vec((any_op(), prop::option::of((any_fault(), 1..200i64)), 1..100i64), 1..25),
    ) {
        let mut plant = coarse(seed);
        let mut joules = 0.0;
        for (op, fault, minutes) in steps {
            if let Some((fault, lasts)) = fault {
                prop_assert!(plant.begin(fault.clone(), Some(Span::from_mins(lasts))).is_ok(), "{fault:?}");
            }
            let verdict = plant.judge(&op);
            prop_assert_eq!(plant.act(&op).judged, verdict);
            plant.advance(plant.now() + Span::from_mins(minutes));
            let meter = &plant.meter;
            prop_assert!(meter.joules > joules, "energy only grows");
            joules = meter.joules;
            prop_assert!(meter.outside_total_seconds() <= meter.seconds * meter.aims() as f64 + 1e-6);
            prop_assert!(near(meter.seconds, plant.now().since(BEGIN).seconds()));
            prop_assert!(meter.breaches.iter().all(|breach| breach.to.is_none_or(|to| to > breach.from)));
            for node in &plant.nodes {
                prop_assert!((0.0..=1.0).contains(&node.busy) && node.watts >= 0.0 && node.celsius >= ROOM_CELSIUS - 1e-6, "{node:?}");
                prop_assert!(node.memory_used_bytes <= node.machine.memory_bytes);
                prop_assert!(node.filesystems.iter().all(|fs| (0.0..=fs.size_bytes).contains(&fs.used_bytes)), "{node:?}");
                prop_assert!(node.disks.iter().all(|disk| disk.data_bytes >= 0.0 && disk.pending >= 0.0), "{node:?}");
            }
            for service in &plant.services {
                prop_assert!(service.latency_seconds > 0.0 && service.latency_seconds <= 10.0);
prop_assert!(service.replicas.iter().all(|replica| service.spec.nodes.contains(&plant.nodes[replica.node].name)), "{service:?}");
            }
        }
    }
}

// A real profile, and files that are wrong.

/// The corpus, if it is there; else says loudly that it is not.
#[expect(clippy::disallowed_methods, reason = "this is a test, not the engine: it has files")]
fn corpus(path: &str) -> Option<String> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures").into();
    let root = std::env::var_os("HOMEOSTAT_CORPUS").map_or_else(beside, std::path::PathBuf::from);
    if !root.is_dir() {
        eprintln!("SKIPPED: no corpus at {}", root.display());
        return None;
    }
    let file = root.join(path);
    Some(std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("the corpus has no {}: {error}", file.display())))
}

/// A node's power as Kepler measured it over a quarter of an hour, replayed as a service's load.
#[test]
fn a_measured_profile_is_replayed_point_by_point() {
    let small = vec![(0, 52.0), (3, 126.0), (6, 63.0)];
    let measured = corpus("sensing/kepler/old_node_package_watts_query_range.json").map(|text| {
        let answer: serde_json::Value = serde_json::from_str(&text).expect("the fixture is JSON");
        let values = answer["data"]["result"][0]["values"].as_array().expect("a range of values").clone();
        let point = |pair: &serde_json::Value| {
            let watts = pair[1].as_str().and_then(|text| text.parse::<f64>().ok()).expect("watts are a number");
            (pair[0].as_f64().expect("a time") as i64, watts)
        };
        let points: Vec<(i64, f64)> = values.iter().map(point).collect();
        assert_eq!(points.len(), 337);
        points
    });
    for points in [Some(small), measured].into_iter().flatten() {
        let first = points[0].0;
        let peak = points.iter().map(|(_, watts)| *watts).fold(0.0, f64::max);
        assert!(points.iter().all(|(_, watts)| (52.0..=126.0).contains(watts)));
        let shape = Shape::Profile { step: Span::from_secs(3), points: points.iter().map(|(_, watts)| *watts).collect() };
        let mut lab = Lab::parse(LAB).unwrap_or_else(|error| panic!("{error}"));
        lab.services[0].shape = shape.clone();
        let lasts = 3 * points.len() as i64;
        // Whole turns of the profile from the beginning of time.
        let begin = Time(lasts * 1000 * 1000);
        let mut plant = Plant::new(Arc::new(lab), 1, begin);
        for (at, watts) in &points {
            let at = begin + Span::from_secs(at - first);
            assert!(near(share(&shape, at), watts / peak), "{} at {}", share(&shape, at), at.since(begin));
            plant.advance(at);
            let load = service(&mut plant, "web").load_rps;
            // The first moment has not been lived through yet.
            assert!(at == begin || (load / (20.0 * watts / peak) - 1.0).abs() <= 0.08 + 1e-9, "{load}");
        }
        assert!(near(share(&shape, begin + Span::from_secs(lasts)), points[0].1 / peak), "it repeats");
    }
}

#[test]
fn a_lab_file_that_is_wrong_says_what_and_where() {
    let error = |from: &str, to: &str| {
        assert!(LAB.contains(from), "{from}");
        Lab::parse(&LAB.replacen(from, to, 1)).err().unwrap_or_else(|| panic!("accepted: {to}"))
    };
    for (from, to, says) in [
        ("engine: c", "engin: c", "engin"),
        ("sleeps: true", "sleepy: true", "sleepy"),
        ("kind: muscle", "kind: muscles", "muscles"),
        ("engine: c", "engine: nowhere", "`engine` names the node `nowhere`, which is not there (there are: a, b, c"),
        ("nodes: [nas, a]", "nodes: [nas, x]", "the volume `documents` names the node `x`"),
        ("node: muscle, jobs", "node: mussel, jobs", "the queue `work` names the node `mussel`"),
        ("quorum: [a, b, c]", "quorum: [a, b, d]", "`quorum` names the node `d`"),
        ("nodes: [nas], replicas", "nodes: [nos], replicas", "the service `files` names the node `nos`"),
        ("name: b, kind", "name: a, kind", "the node `a` stands there twice"),
        ("scrape: 1s", "scrape: 1h", "`scrape` is 1h, expected 1s to 10m"),
        ("used_ratio: 0.9", "used_ratio: 1.9", "nas:/srv needs a size above 0 and a used ratio of 0 to 1"),
        ("replica_rps: 20", "replica_rps: 0", "the service `web` needs nodes"),
        ("replicas: 2", "replicas: 101", "at most 100 replicas"),
        ("shape: steady", "shape: !profile { step: 0s, points: [1] }", "the profile of `web` needs a step above 0"),
        ("shape: steady", "shape: !profile { step: 1s, points: [] }", "points of 0 or more"),
    ] {
        let text = error(from, to);
        assert!(text.contains(says), "{to}: expected `{says}` in `{text}`");
    }
    let both = error("engine: c", "engine: nowhere\nquorum: [a]").replace('\n', " ");
    assert!(both.contains("quorum"), "one key twice: {both}");
    assert!(Lab::parse("name: empty\nengine: a\nnodes: []\n").is_err_and(|text| text.contains("0 nodes")));
}

#[test]
fn a_scenario_file_that_is_wrong_says_what() {
    let parse = |text: &str| Scenario::parse(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
    for (text, says) in [
        ("name: x\nfor: 0s\n", "the scenario `x` lasts 0s, expected more than 0s"),
        ("name: x\nfor: 400d\n", "at most"),
        ("name: x\n", "for"),
        ("name: x\nfor: 1h\nfault: []\n", "fault"),
        ("name: x\nfor: 1h\nfaults: [{ at: 1m, fault: { explode: { node: a } } }]\n", "explode"),
        ("name: x\nfor: 1h\nfaults: [{ at: 1m, fault: { hang: { nodes: a } } }]\n", "nodes"),
        ("name: x\nfor: 1h\nfaults: [{ at: soon, fault: house-blind }]\n", "soon"),
        ("name: x\nfor: 1h\nexpect: [{ acts: { minimum: 1 } }]\n", "minimum"),
        ("name: x\nfor: 1h\nperson: { after: 1m, says: perhaps }\n", "perhaps"),
    ] {
        let error = parse(text);
        assert!(error.contains(says), "{text}: expected `{says}` in `{error}`");
    }
}

#[test]
fn a_fault_about_nothing_is_refused_and_changes_nothing() {
    let mut plant = small();
    let before = digest(&plant);
    for fault in [
        Fault::Crash { node: "nowhere".into() },
        Fault::DiskFails { node: "nas".into(), disk: "sdz".into(), within: Span::from_hours(1) },
        Fault::RunawayLog { node: "nas".into(), mountpoint: "/nowhere".into(), per_day: 1.0 },
        Fault::Leak { service: "nowhere".into(), bytes_per_second: 1.0 },
        Fault::RenewalStuck { certificate: "nowhere".into() },
        Fault::FeedDown { feed: "nowhere".into() },
        Fault::SwitchDown { switch: "nowhere".into() },
    ] {
        let error = plant.begin(fault.clone(), None).expect_err("it names nothing");
        assert!(error.contains(&fault.name()) && error.contains("not in the lab"), "{error}");
    }
    assert_eq!(digest(&plant), before);
}
