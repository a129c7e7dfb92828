//! What is done over the network is done to the plant, and lies are told where the plant says so.

use crate::lab::{House, json, request, until};
use homeostat_faces::WakeCounts;
use homeostat_model::Span;
use homeostat_sim::plant::{Fault, Lie, Power, Worth};
use tokio::net::{TcpStream, UdpSocket};

const MUSCLE: [u8; 6] = [2, 0, 0, 0, 0, 0x30];

/// Six FF, sixteen times the address, the password: Magic Packet Technology, as wiki.wireshark.org/WakeOnLAN has it.
fn magic(mac: [u8; 6], password: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    (0..16).for_each(|_| packet.extend(mac));
    packet.extend(password);
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magic_packet_wakes_the_node_and_nothing_else_does() {
    let house = House::start().await;
    let (wake, muscle) = (house.faces.wake()[0], house.node("muscle"));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.set_broadcast(true).unwrap();
    let power = || house.faces.world().with(|plant| plant.node("muscle").unwrap().power);
    socket.send_to(&magic([2, 0, 0, 0, 0, 0x31], &[]), wake).await.unwrap();
    socket.send_to(&magic(MUSCLE, &[])[..100], wake).await.unwrap();
    until("both have come", || async { house.faces.wake_counts() == WakeCounts { known: 0, unknown: 1, malformed: 1 } }).await;
    assert_eq!(power(), Power::Asleep);
    assert!(TcpStream::connect(muscle).await.is_err());

    for password in [&[0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6][..], &[], &[]] {
        socket.send_to(&magic(MUSCLE, password), wake).await.unwrap();
    }
    until("the burst has come", || async { house.faces.wake_counts().known == 3 }).await;
    assert!(matches!(power(), Power::Starting { .. }), "{:?}", power());
    house.pass(Span::from_secs(30));
    until("it answers", || async { TcpStream::connect(muscle).await.is_ok() }).await;
    assert_eq!(house.faces.world().did().len(), 1, "a burst is one wake");
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_and_dead_cards_wake_nobody() {
    let house = House::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asleep = || house.faces.world().with(|plant| plant.node("muscle").unwrap().power == Power::Asleep);
    house.begin(Fault::LostPackets { node: "muscle".into(), count: 1 });
    socket.send_to(&magic(MUSCLE, &[]), house.faces.wake()[0]).await.unwrap();
    until("it has come", || async { house.faces.wake_counts().known == 1 }).await;
    assert!(asleep());
    house.begin(Fault::Actuator { verb: "power.wake".into(), how: Lie::NothingSaysDone });
    socket.send_to(&magic(MUSCLE, &[]), house.faces.wake()[0]).await.unwrap();
    until("it has come", || async { house.faces.wake_counts().known == 2 }).await;
    assert!(asleep());
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_do_what_they_say() {
    let house = House::start().await;
    let at = house.faces.house();
    let world = house.faces.world();
    house.pass(Span::from_mins(1));

    let (status, told) = json(at, "POST", "/agents/nas/clean", r#"{"mountpoint": "/srv"}"#).await;
    assert_eq!((status, told["taken"].as_bool()), (200, Some(true)), "{told}");
    let (_, fs) = json(at, "GET", "/agents/nas/filesystem?mountpoint=/srv", "").await;
    assert!(fs["avail_ratio"].as_f64().unwrap() > 0.3, "{fs}");

    let (status, _) = json(at, "POST", "/agents/nas/disks/sdb/evacuate", "").await;
    assert_eq!(status, 200);
    house.pass(Span::from_hours(1));
    let (_, disk) = json(at, "GET", "/agents/nas/disks/sdb", "").await;
    assert_eq!((disk["data_bytes"].as_f64(), disk["evacuating"].as_bool()), (Some(0.0), Some(false)), "150 GB at 80 MB/s");

    let (status, _) = json(at, "PUT", "/services/web/replicas", r#"{"replicas": 4}"#).await;
    assert_eq!((status, world.with(|plant| plant.services[0].replicas.len())), (200, 4));
    let (_, service) = json(at, "GET", "/services/web", "").await;
    assert_eq!(service["replicas"], 4, "{service}");
    let (status, _) = json(at, "POST", "/services/web/restart", "").await;
    assert_eq!(status, 200);

    house.begin(Fault::CrashLoop { service: "files".into(), image: false });
    house.pass(Span::from_mins(10));
    let (_, pod) = json(at, "GET", "/pods/home/files-0", "").await;
    assert!(pod["restarts"].as_u64().unwrap() > 2, "{pod}");
    assert_eq!(json(at, "DELETE", "/pods/home/files-0", "").await.0, 200);
    house.pass(Span::from_mins(1));
    assert_eq!(json(at, "GET", "/pods/home/files-0", "").await.1["ready"], true);

    house.pass(Span::from_hours(24 * 50));
    assert_eq!(json(at, "POST", "/certificates/home.lab/renew", "").await.0, 200);
    assert!(json(at, "GET", "/certificates/home.lab", "").await.1["days_left"].as_f64().unwrap() > 89.0);

    let useful = world.did().into_iter().filter_map(|did| did.applied).filter(|applied| applied.judged.worth == Worth::Useful).count();
    assert!(useful >= 3, "the oracle's word is kept for the screen: {useful}");
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleep_and_plugs_and_dead_nodes() {
    let house = House::start().await;
    let at = house.faces.house();
    let power = |name: &str| house.faces.world().with(|plant| plant.node(name).unwrap().power);
    let (_, plug) = json(at, "GET", "/plugs/muscle", "").await;
    assert_eq!((plug["on"].as_bool(), plug["watts"].as_f64()), (Some(true), Some(4.0)), "asleep");
    assert!(request(at, "POST", "/agents/muscle/sleep", "").await.is_err(), "a sleeping node's agent is gone");
    assert_eq!(json(at, "POST", "/agents/nano/sleep", "").await.0, 200);
    house.pass(Span::from_mins(1));
    assert_eq!(power("nano"), Power::Asleep);
    house.begin(Fault::Hang { node: "brain".into() });
    let (status, told) = json(at, "POST", "/plugs/brain/cycle", "").await;
    assert_eq!(status, 200, "{told}");
    house.pass(Span::from_mins(2));
    assert_eq!(power("brain"), Power::On);
    assert_eq!(json(at, "POST", "/plugs/brain/off", "").await.0, 200);
    assert_eq!((power("brain"), json(at, "GET", "/plugs/brain", "").await.1["on"].as_bool()), (Power::Off, Some(false)));
    house.begin(Fault::FeedDown { feed: "wall".into() });
    assert!(request(at, "GET", "/plugs/nas", "").await.is_err(), "no feed, no plug");
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_are_told_what_is_right() {
    let house = House::start().await;
    let at = house.faces.house();
    for (method, path, body, status, word) in [
        ("POST", "/agents/nobody/sleep", "", 404, "nobody"),
        ("POST", "/agents/nas/clean", "", 400, "mountpoint"),
        ("POST", "/agents/nas/clean", r#"{"mountpoint": "/nope"}"#, 404, "nas:/nope"),
        ("POST", "/agents/nas/disks/sdz/evacuate", "", 404, "sdz"),
        ("POST", "/plugs/nas/explode", "", 404, "explode"),
        ("PUT", "/services/web/replicas", r#"{"replicas": 1000}"#, 400, "at most 100"),
        ("PUT", "/services/web/replicas", "{}", 400, "replicas"),
        ("GET", "/services/none", "", 404, "none"),
        ("DELETE", "/pods/other/web-0", "", 404, "other/web-0"),
        ("POST", "/certificates/none/renew", "", 404, "none"),
    ] {
        let (got, answer) = json(at, method, path, body).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "{method} {path}: {answer}");
    }
    assert!(house.faces.world().did().is_empty());
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actuators_lie_as_the_plant_says() {
    let house = House::start().await;
    let at = house.faces.house();
    let replicas = || house.faces.world().with(|plant| plant.services[0].replicas.len());
    let lie = |verb: &str, how| {
        house.faces.world().with(|plant| plant.active.clear());
        house.begin(Fault::Actuator { verb: verb.into(), how });
    };
    let scale = |to: u32| async move { request(at, "PUT", "/services/web/replicas", &format!("{{\"replicas\": {to}}}")).await };
    lie("http.replicas", Lie::DoneSaysError);
    assert_eq!((scale(3).await.unwrap().0, replicas()), (409, 3));
    lie("http.replicas", Lie::NothingSaysDone);
    assert_eq!((scale(4).await.unwrap().0, replicas()), (200, 3));
    lie("*", Lie::Refuses);
    assert_eq!((scale(4).await.unwrap().0, replicas()), (403, 3));
    // By the lab file's verbs: one of them is meant by its direction.
    lie("http.scale-up", Lie::Refuses);
    assert_eq!((scale(4).await.unwrap().0, scale(2).await.unwrap().0, replicas()), (403, 200, 2));
    lie("http.replicas", Lie::DoneNoAnswer);
    let waiting = tokio::spawn(scale(5));
    until("it is done", || async { replicas() == 5 }).await;
    assert!(!waiting.is_finished(), "and nobody says so");
    lie("http.replicas", Lie::NothingNoAnswer);
    let other = tokio::spawn(scale(6));
    until("it was asked", || async { house.faces.world().did().last().is_some_and(|did| did.op.replicas == Some(6)) }).await;
    // Whoever still waits at the end is let go.
    let world = house.faces.stop().await;
    assert!(waiting.await.unwrap().is_err() && other.await.unwrap().is_err());
    assert_eq!(world.with(|plant| plant.services[0].replicas.len()), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_leaves_nothing_behind_and_only_loopback_is_served() {
    let house = House::start().await;
    let (house_address, nano, wake) = (house.faces.house(), house.node("nano"), house.faces.wake()[0]);
    until("it answers", || async { TcpStream::connect(nano).await.is_ok() }).await;
    house.faces.stop().await;
    assert!(TcpStream::connect(house_address).await.is_err());
    assert!(TcpStream::connect(nano).await.is_err());
    assert!(UdpSocket::bind(wake).await.is_ok());

    let lab = std::sync::Arc::new(homeostat_sim::lab::Lab::parse(crate::lab::LAB).unwrap());
    let now = homeostat_model::Time(0);
    let plant = homeostat_sim::plant::Plant::new(lab, 1, now);
    let mut settings = homeostat_faces::FacesSettings::new(std::sync::Arc::new(move || now));
    settings.host = std::net::IpAddr::from([0, 0, 0, 0]);
    let error = homeostat_faces::Faces::start(plant.clone(), settings.clone()).await.err().unwrap();
    assert!(error.to_string().contains("loopback"), "{error}");
    settings.host = std::net::IpAddr::from([127, 0, 0, 1]);
    settings.node_ports.insert("nobody".into(), 0);
    let error = homeostat_faces::Faces::start(plant, settings).await.err().unwrap();
    assert!(error.to_string().contains("`nobody`"), "{error}");
}
