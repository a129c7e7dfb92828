mod machine;
mod refusing;
mod resting;
mod starting;
mod ways;

use super::*;
use crate::conformance::{ClosedPort, action, ledger};
pub(crate) use machine::way_subjects;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::UdpSocket;

/// A node that opens its TCP port when the third right packet has come; stopped when dropped.
pub(crate) struct SleepingNode {
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub packets: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl SleepingNode {
    pub(crate) async fn start() -> SleepingNode {
        SleepingNode::start_as(false).await
    }

    async fn start_as(up: bool) -> SleepingNode {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = ClosedPort::new();
        let (udp, tcp) = (socket.local_addr().unwrap(), closed.address());
        let packets = Arc::new(AtomicUsize::new(0));
        let counted = packets.clone();
        let (mut asleep, mut _awake) = if up { (None, Some(closed.open())) } else { (Some(closed), None) };
        let task = tokio::spawn(async move {
            let right = magic::packet("00:11:22:33:44:55".parse().unwrap(), &[0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
            let mut buffer = [0; 200];
            loop {
                let length = socket.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer[..length], right);
                // It needs all three to wake, so that a count after "Done" is exact.
                if counted.fetch_add(1, Ordering::SeqCst) == 2 {
                    _awake = asleep.take().map(ClosedPort::open);
                }
            }
        });
        SleepingNode { udp, tcp, packets, task }
    }

    pub(crate) fn config(&self, secure_on: &str) -> serde_json::Value {
        json!({ "poll": "10ms", "packet_gap": "1ms", "nodes": { "muscle": {
            "mac": "00:11:22:33:44:55", "broadcast": self.udp.to_string(), "interface_address": "127.0.0.1",
            "secure_on": secure_on, "probe": { "tcp": self.tcp.to_string() } } } })
    }
}

impl Drop for SleepingNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn power(config: serde_json::Value) -> (tempfile::TempDir, Power) {
    let (dir, ledger) = ledger();
    (dir, Power::new(&serde_json::from_value(config).unwrap(), ledger).unwrap_or_else(|faults| panic!("{faults:?}")))
}

#[tokio::test]
async fn a_node_that_is_up_gets_no_packet() {
    let node = SleepingNode::start_as(true).await;
    let (_dir, power) = power(node.config("a1:b2:c3:d4:e5:f6"));
    let Outcome::Done(receipt) = power.apply(Time(0), &action(1, "power.wake", "node/muscle")).await else { panic!() };
    assert_eq!(receipt.observed, format!("was already up: tcp {} answered", node.tcp));
    assert_eq!(node.packets.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn silence_is_unknown_until_the_deadline_and_then_not_done_unless_it_answers() {
    // A socket that nobody reads: the packets leave, nothing wakes.
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let closed = ClosedPort::new();
    let tcp = closed.address();
    let (_dir, power) = power(json!({ "poll": "5ms", "packet_gap": "1ms", "resend_at": ["0s", "10ms", "20ms"], "nodes": { "muscle": {
        "mac": "00:11:22:33:44:55", "broadcast": deaf.local_addr().unwrap(), "probe": { "tcp": tcp }, "boot_timeout": "300ms" } } }));
    let action = action(1, "power.wake", "node/muscle");
    let Outcome::Unknown(fault) = power.apply(Time(1000), &action).await else { panic!() };
    assert_eq!(fault.code, FaultCode::TimedOut);
    let mut buffer = [0; 200];
    let mut packets = 0;
    while let Ok(length) = deaf.try_recv(&mut buffer) {
        assert_eq!(length, 102);
        packets += 1;
    }
    assert_eq!(packets, 9, "three bursts of three");
    let Outcome::Unknown(_) = power.probe(Time(1100), &action).await else { panic!("it may still boot") };
    let Outcome::NotDone(fault) = power.probe(Time(1301), &action).await else { panic!("its time is over") };
    assert_eq!(fault.code, FaultCode::TimedOut);
    let _up = closed.open();
    let Outcome::Done(_) = power.probe(Time(9000), &action).await else { panic!("it answers") };
}

#[tokio::test]
async fn in_faster_time_the_whole_boot_is_waited_for_in_the_daemons_seconds() {
    // Ten minutes of the daemon's time at 10,000 × pass in 60 ms; the words speak of the daemon's time.
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let closed = ClosedPort::new();
    let (_dir, power) = power(json!({ "nodes": { "muscle": {
        "mac": "00:11:22:33:44:55", "broadcast": deaf.local_addr().unwrap(), "probe": { "tcp": closed.address() }, "boot_timeout": "10m" } } }));
    let power = power.paced(crate::Pace::new(10_000.0));
    let action = Action { timeout: Span::from_mins(10), ..action(1, "power.wake", "node/muscle") };
    let Outcome::Unknown(fault) = power.apply(Time(1000), &action).await else { panic!() };
    assert!(fault.detail.ends_with("within 600 s"), "{fault}");
    let mut buffer = [0; 200];
    let mut packets = 0;
    while deaf.try_recv(&mut buffer).is_ok() {
        packets += 1;
    }
    assert_eq!(packets, 9, "three bursts of three, although the last is due after 90 s");
}

#[tokio::test]
async fn a_crash_before_the_first_packet_never_started() {
    let node = SleepingNode::start().await;
    let (_dir, power) = power(node.config("a1:b2:c3:d4:e5:f6"));
    let action = action(1, "power.wake", "node/muscle");
    power.ledger.begin(Mark::Apply(action.id), Time(0), 1).unwrap();
    let Outcome::Unknown(_) = power.probe(Time(1), &action).await else { panic!("it may be running") };
    let Outcome::NotDone(fault) = power.probe(Time(300_001), &action).await else { panic!() };
    assert_eq!(fault.code, FaultCode::NeverStarted);
    assert!(matches!(power.apply(Time(2), &action).await, Outcome::Unknown(_)));
    assert_eq!(node.packets.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_done() {
    let node = SleepingNode::start().await;
    let mut config = node.config("${env:HOMEOSTAT_TEST_NOT_SET}");
    let (_dir, without_password) = power(config.clone());
    let Outcome::NotDone(fault) = without_password.apply(Time(0), &action(1, "power.wake", "node/muscle")).await else { panic!() };
    assert_eq!(fault.code, FaultCode::NeverStarted);
    config["nodes"]["muscle"]["interface_address"] = json!("192.0.2.1"); // nobody's (RFC 5737)
    config["nodes"]["muscle"].as_object_mut().unwrap().remove("secure_on");
    let (_dir, elsewhere) = power(config);
    let Outcome::NotDone(fault) = elsewhere.apply(Time(0), &action(1, "power.wake", "node/muscle")).await else { panic!() };
    assert_eq!(fault.code, FaultCode::NeverStarted);
    assert_eq!(node.packets.load(Ordering::SeqCst), 0);
}

#[test]
fn the_spec_names_its_nodes_and_its_opposite_and_wrong_nodes_are_refused() {
    let node = |mac: &str, tcp: &str| json!({ "mac": mac, "probe": { "tcp": tcp } });
    let (_dir, power) =
        power(json!({ "nodes": { "nas": node("00:11:22:33:44:55", "nas:22"), "brain": node("00:11:22:33:44:56", "brain:22") } }));
    let spec = &power.spec().verbs[0];
    assert_eq!(spec.targets, Some(vec!["node/brain".into(), "node/nas".into()]));
    assert_eq!((spec.class, spec.opposite.clone(), spec.timeout), (Class::Restore, Some("power.sleep".into()), Span::from_secs(302)));
    assert_eq!(power.check(&action(1, "power.wake", "node/muscle")).unwrap_err().code, FaultCode::NotFound);
    assert_eq!(power.nodes[&Target::from("node/nas")].config.broadcast.to_string(), "255.255.255.255:9");
    let (_dir, ledger) = ledger();
    let wrong = json!({ "poll": "0s", "resend_at": ["1s", "0s"], "nodes": {
        "a/b": node("00:11:22:33:44:55", "nas"), "c": { "mac": "x", "probe": { "tcp": ":1" }, "interface_address": "::1", "boot_timeout": "0s", "secure_on": "passphrase" } } });
    let faults = Power::new(&serde_json::from_value(wrong).unwrap(), ledger).unwrap_err();
    assert_eq!(faults.len(), 9, "{faults:#?}");
    assert!(!format!("{faults:?}").contains("passphrase"));
}
