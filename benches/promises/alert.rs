//! From an alert's POST to the actuator's call with the journal durable: one by one, then as many as go.
//!
//! The sender of the flood is another process; the daemon with its HTTP face is this one, so that its memory is its own.

use crate::process::{Owned, own_path};
use crate::report::{Line, quantile, show};
use crate::{lab, process};
use homeostat::config::{Config, WebhooksConfig};
use homeostat::http::{ServeOptions, Server};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const ONE_BY_ONE: usize = 1000;
const CONNECTIONS: usize = 32;
const FLOOD: Duration = Duration::from_secs(3);
/// The kernel remembers some thousand alerts; a sender that goes on reports new episodes of the same ones.
const FINGERPRINTS: usize = 4_000;

const TELL: &str = r#"fn policy() { #{ on_alert: alerts("{severity='critical'}"), every: "24h", cooldown: "1ms", autonomy: "auto" } }
fn on_alert(alert) {
    propose(notify(alert.label("number"))).because(alert.annotation("summary"));
}"#;

/// The request that tells of episode `number`.
fn request(address: SocketAddr, number: usize) -> Vec<u8> {
    let (which, episode) = (number % FINGERPRINTS, number / FINGERPRINTS);
    let body = format!(
        "{{\"version\":\"4\",\"groupKey\":\"{{}}:{{alertname=\\\"DiskFull\\\"}}\",\"truncatedAlerts\":0,\"status\":\"firing\",\"receiver\":\"homeostat\",\
         \"groupLabels\":{{\"alertname\":\"DiskFull\"}},\"commonLabels\":{{}},\"commonAnnotations\":{{}},\"externalURL\":\"http://alertmanager:9093\",\
         \"alerts\":[{{\"status\":\"firing\",\"labels\":{{\"alertname\":\"DiskFull\",\"instance\":\"node-{which}:9100\",\"mountpoint\":\"/srv\",\
         \"number\":\"{number}\",\"severity\":\"critical\"}},\"annotations\":{{\"summary\":\"The disk is nearly full.\"}},\
         \"startsAt\":\"2026-01-01T{:02}:{:02}:{:02}Z\",\"endsAt\":\"0001-01-01T00:00:00Z\",\"generatorURL\":\"\",\"fingerprint\":\"{which:016x}\"}}]}}",
        episode / 3600 % 24,
        episode / 60 % 60,
        episode % 60
    );
    let length = body.len();
    let head = format!(
        "POST /webhooks/alertmanager HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head, body].concat().into_bytes()
}

/// Reads one answer; whether it was 200.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length: usize =
            text.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        if buffer.len() >= head + 4 + length {
            return Ok(buffer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

/// The child: floods from many connections and prints how many were answered with 200, and how many otherwise.
pub fn send(args: &[String]) {
    let address: SocketAddr = args.first().and_then(|text| text.parse().ok()).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (taken, refused) = runtime.block_on(async {
        let until = Instant::now() + FLOOD;
        let senders: Vec<_> = (0..CONNECTIONS).map(|first| tokio::spawn(flood(address, ONE_BY_ONE + first, until))).collect();
        let (mut taken, mut refused) = (0u64, 0u64);
        for sender in senders {
            let counts = sender.await.expect("a sender ends by itself").expect("the connection holds");
            taken += counts.0;
            refused += counts.1;
        }
        (taken, refused)
    });
    println!("{taken} {refused}");
}

async fn flood(address: SocketAddr, first: usize, until: Instant) -> std::io::Result<(u64, u64)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut taken, mut refused, mut buffer, mut number) = (0, 0, Vec::new(), first);
    while Instant::now() < until {
        stream.write_all(&request(address, number)).await?;
        match answer(&mut stream, &mut buffer).await? {
            true => taken += 1,
            false => refused += 1,
        }
        number += CONNECTIONS;
    }
    Ok((taken, refused))
}

fn options(data: &Path) -> ServeOptions {
    ServeOptions {
        socket: data.join("homeostat.sock"),
        webhooks: WebhooksConfig { per_second_max: 1e9, burst_max: u32::MAX, ..WebhooksConfig::default() },
        connections_max: 256,
        ..ServeOptions::new(&Config::default(), data, Some(SocketAddr::from(([127, 0, 0, 1], 0))))
    }
}

/// Milliseconds from the first byte of the POST until both the effect is sent and the answer (so the journal's commit) is there.
async fn one_by_one(address: SocketAddr, arrivals: &mut tokio::sync::mpsc::UnboundedReceiver<lab::Arrived>) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).await.expect("the daemon listens");
    stream.set_nodelay(true).expect("it is a TCP connection");
    let (mut times, mut buffer) = (Vec::new(), Vec::new());
    for number in 0..ONE_BY_ONE {
        let request = request(address, number);
        let began = Instant::now();
        stream.write_all(&request).await.expect("the daemon reads");
        assert!(answer(&mut stream, &mut buffer).await.expect("the daemon answers"), "{}", String::from_utf8_lossy(&buffer));
        let durable = Instant::now();
        let (title, sent) = arrivals.recv().await.expect("the actuator lives");
        assert_eq!(title, number.to_string());
        times.push(durable.max(sent).duration_since(began).as_secs_f64() * 1e3);
    }
    times
}

/// Measures and reports.
pub fn run() {
    let folder = process::folder();
    lab::runtime().block_on(async {
        let (daemon, mut arrivals) = lab::start(folder.path(), Vec::new(), lab::rules(&[("tell".into(), TELL.into())]));
        let handle = daemon.handle();
        let server = Server::bind(handle.clone(), options(folder.path())).await.expect("the listeners open");
        let address = server.local_addr().expect("it has an address");
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(server.run(stopping));
        let mut times = one_by_one(address, &mut arrivals).await;
        let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
        println!("{ONE_BY_ONE} alerts one by one: p50 {} ms, p99 {} ms", show(p50), show(p99));
        // Counted as they come: what waits here would be weighed as the daemon's.
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let counting = tokio::spawn(async move {
            while arrivals.recv().await.is_some() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let before = process::cpu_seconds();
        let (taken, refused) = tokio::task::spawn_blocking(move || flooded(address)).await.expect("the senders end by themselves");
        let cpu = process::cpu_seconds() - before;
        let rss = process::rss_mib(std::process::id()).unwrap_or(f64::NAN);
        counting.abort();
        let sent = sent.load(Ordering::Relaxed);
        let rate = taken as f64 / FLOOD.as_secs_f64();
        println!(
            "{CONNECTIONS} connections: {taken} taken, {refused} refused, {sent} effects sent, {} us CPU per event",
            show(cpu / taken as f64 * 1e6)
        );
        Line::at_most("alert POST -> effect sent, durable, p50", "quoted from ansible-rulebook: 4.3 ms", p50, 1.0, "ms", Some(4.3 / p50))
            .say();
        Line::at_least("alerts sustained, 32 connections", "quoted from ansible-rulebook: 380/s", rate, 5000.0, "/s", Some(rate / 380.0))
            .say();
        Line::at_most(
            "memory after the alerts, RSS",
            "quoted from ansible-rulebook: 125 MB",
            rss * 1.048576,
            40.0,
            "MB",
            Some(125.0 / (rss * 1.048576)),
        )
        .say();
        let _ = stop.send(true);
        let _ = serving.await;
        daemon.stop(Duration::from_secs(1)).await;
    });
}

fn flooded(address: SocketAddr) -> (u64, u64) {
    let mut command = Command::new(own_path());
    command.args(["senders", &address.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Owned(command.spawn().expect("this program can be started again"));
    let mut text = String::new();
    std::io::Read::read_to_string(child.0.stdout.as_mut().expect("the output is a pipe"), &mut text).expect("the senders report");
    let mut counts = text.split_whitespace().filter_map(|count| count.parse().ok());
    (counts.next().expect("what was taken"), counts.next().expect("what was refused"))
}
