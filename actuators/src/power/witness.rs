//! Who sees that a node is awake: a TCP connection, a page, the neighbour table, the plug's watts, the kubelet's Lease.
//!
//! A look is taken now, so a connection or a page that stands is newer than whatever was sent before. A level (a table's entry, watts) and a
//! Lease may be leftovers: they count only after they were seen to change. Watts tell that there is power, not that the node answers: a node
//! that boots, or hangs in its firmware, draws them too. Deliberately absent: believing one who cannot see; who is blind says neither "awake"
//! nor "silent". An editor breaks this by taking "no answer from the witness" for "no answer from the node".

use super::config::{NodeConfig, WitnessConfig};
use super::reading::Reading;
use super::wire::{Asked, Login, Wire};
use crate::redact::Redactor;
use homeostat_model::Arg;
use reqwest::Method;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

/// Nothing listens there (RFC 863); a datagram to it makes the kernel ask for the neighbour.
const DISCARD_PORT: u16 = 9;
/// In the neighbour table's flags: the address is known.
const ATF_COM: u32 = 0x2;
/// The same: it was set by hand.
const ATF_PERM: u32 = 0x4;
/// What a level's memory holds once it was seen low.
const LOW: &str = "low";

/// One witness.
#[derive(Debug)]
pub(super) enum Witness {
    Tcp(Door),
    Page { door: Door, wire: Wire },
    Arp(Ipv4Addr),
    Watts { reading: Reading, idle_watts: f64 },
    Lease { wire: Wire, path: String },
}

/// A `host:port`, with the addresses it last had: a sleeping node's name may not be known any more.
#[derive(Debug)]
pub(super) struct Door {
    pub address: String,
    last: Mutex<Vec<SocketAddr>>,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sight {
    /// It is awake. The flag: and that is surely newer than the first look.
    Awake(bool),
    /// It does not answer.
    Silent,
    /// The witness cannot tell; why.
    Blind(String),
}

/// What one witness says, before its memory is asked.
enum Word {
    Sight(Sight),
    Watts(f64, bool),
    High,
    Low,
    Stamp(String),
}

impl Witness {
    /// All witnesses of a node, the configuration's order.
    pub(super) fn all(config: &NodeConfig) -> Result<Vec<Witness>, Vec<String>> {
        let mut witnesses = Vec::new();
        let mut problems = Vec::new();
        let mut add = |witness: Result<Witness, String>| match witness {
            Ok(witness) => witnesses.push(witness),
            Err(problem) => problems.push(problem),
        };
        if let Some(probe) = &config.probe {
            add(Ok(Witness::Tcp(Door::new(&probe.tcp))));
        }
        for witness in &config.witnesses {
            add(Witness::new(witness));
        }
        if let (Some(watts), Some(idle_watts)) = (&config.watts, config.idle_watts) {
            let reading = Reading::new(watts, config).map_err(|problem| format!("`watts`: {problem}"));
            add(reading.map(|reading| Witness::Watts { reading, idle_watts }));
        }
        if problems.is_empty() { Ok(witnesses) } else { Err(problems) }
    }

    fn new(config: &WitnessConfig) -> Result<Witness, String> {
        match config {
            WitnessConfig::Tcp { address } => Ok(Witness::Tcp(Door::new(address))),
            WitnessConfig::Arp { address } => Ok(Witness::Arp(*address)),
            WitnessConfig::Page { url, headers } => {
                let wire = Wire::new(url, Login::Headers(headers.clone()), None)?;
                let url = wire.url("");
                let port = url.port_or_known_default().unwrap_or(80);
                Ok(Witness::Page { door: Door::new(&format!("{}:{port}", url.host_str().unwrap_or_default())), wire })
            }
            WitnessConfig::Lease { url, node, token, certificate } => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
                if node.is_empty() || !node.chars().all(plain) {
                    return Err(format!("`{node}` is not a node's name in Kubernetes"));
                }
                let wire = Wire::new(url, Login::Token("Bearer ", token.clone()), certificate.as_deref())?;
                let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}");
                Ok(Witness::Lease { wire, path })
            }
        }
    }

    /// Its name, for people: `tcp nas.lan:22`.
    pub(super) fn name(&self) -> String {
        match self {
            Witness::Tcp(door) => format!("tcp {}", door.address),
            Witness::Page { wire, .. } => format!("page {}", wire.url("")),
            Witness::Arp(address) => format!("arp {address}"),
            Witness::Watts { .. } => "watts".into(),
            Witness::Lease { path, .. } => format!("lease {}", path.rsplit('/').next().unwrap_or_default()),
        }
    }

    /// Whether what it sees is the present by itself.
    fn sees_the_present(&self) -> bool {
        matches!(self, Witness::Tcp(_) | Witness::Page { .. })
    }

    /// Whether it sees no more than that there is power.
    fn sees_power_only(&self) -> bool {
        matches!(self, Witness::Watts { .. })
    }

    /// Whether it must be looked at twice before it says anything.
    fn needs_two_looks(&self) -> bool {
        matches!(self, Witness::Lease { .. })
    }

    /// The hosts that it names, to find the engine's own among them.
    pub(super) fn host(&self) -> Option<String> {
        match self {
            Witness::Tcp(door) | Witness::Page { door, .. } => {
                let host = door.address.rsplit_once(':').map_or(door.address.as_str(), |(host, _)| host);
                Some(host.trim_matches(['[', ']']).to_owned())
            }
            Witness::Arp(address) => Some(address.to_string()),
            Witness::Watts { .. } | Witness::Lease { .. } => None,
        }
    }

    async fn word(&self, within: Duration, neighbours: &Path) -> Word {
        match self {
            Witness::Tcp(door) => Word::Sight(door.knock(within).await),
            Witness::Page { door, wire } => match door.knock(within).await {
                Sight::Awake(_) => Word::Sight(page(wire).await),
                sight => Word::Sight(sight),
            },
            Witness::Arp(address) => {
                nudge(*address).await;
                match neighbour(neighbours, *address) {
                    Ok(true) => Word::High,
                    Ok(false) => Word::Low,
                    Err(why) => Word::Sight(Sight::Blind(why)),
                }
            }
            Witness::Watts { reading, idle_watts } => match reading.number().await {
                Ok(watts) => Word::Watts(watts, watts > *idle_watts),
                Err((_, why)) => Word::Sight(Sight::Blind(why)),
            },
            Witness::Lease { wire, path } => match wire.get_json(path, &[], &mut Redactor::default()).await {
                Ok(lease) => match lease.pointer("/spec/renewTime").and_then(|time| time.as_str()) {
                    Some(time) => Word::Stamp(time.to_owned()),
                    None => Word::Sight(Sight::Blind("the Lease has no `spec.renewTime`".into())),
                },
                Err((_, why)) => Word::Sight(Sight::Blind(why)),
            },
        }
    }
}

impl Door {
    pub(super) fn new(address: &str) -> Door {
        Door { address: address.to_owned(), last: Mutex::default() }
    }

    /// Whether a TCP connection stands.
    async fn knock(&self, within: Duration) -> Sight {
        let known = || self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = timeout(within, lookup_host(&self.address)).await;
        let addresses: Vec<SocketAddr> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(_)) | Err(_) => known(),
        };
        if addresses.is_empty() {
            return Sight::Blind(format!("the name in `{}` is not known here", self.address));
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&addresses);
        match timeout(within, TcpStream::connect(&addresses[..])).await {
            Ok(Ok(_)) => Sight::Awake(true),
            Ok(Err(error)) => match error.kind() {
                // This machine refuses for whatever is not there; another one's refusal is a sign of life, of it or of a router.
                ErrorKind::ConnectionRefused if addresses.iter().all(|address| address.ip().is_loopback()) => Sight::Silent,
                ErrorKind::ConnectionRefused => Sight::Blind("refused: something still answers there".into()),
                ErrorKind::HostUnreachable | ErrorKind::TimedOut | ErrorKind::ConnectionReset => Sight::Silent,
                _ => Sight::Blind(format!("this machine cannot reach it: {error}")),
            },
            Err(_) => Sight::Silent,
        }
    }
}

async fn page(wire: &Wire) -> Sight {
    match wire.ask(Method::GET, "", None, &[], &mut Redactor::default()).await {
        Asked::Answered(answer, _) if answer.status == 200 => Sight::Awake(true),
        Asked::Answered(answer, _) => Sight::Blind(format!("HTTP {}, expected 200", answer.status)),
        Asked::NotSent(_, why) | Asked::Lost(_, why) => Sight::Blind(why),
    }
}

/// Makes the kernel ask whose address this is; without traffic an entry grows old and stays.
async fn nudge(address: Ipv4Addr) {
    if let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await {
        let _ = socket.send_to(&[], (address, DISCARD_PORT)).await;
    }
}

/// Whether the address has a complete entry in a table such as `/proc/net/arp`: address, type, flags, hardware address, mask, device.
fn neighbour(table: &Path, address: Ipv4Addr) -> Result<bool, String> {
    let text = std::fs::read_to_string(table).map_err(|error| format!("{} cannot be read: {error}", table.display()))?;
    let flags = text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()?.parse::<Ipv4Addr>().ok()? == address).then(|| fields.nth(1))?
    });
    let Some(flags) = flags else { return Ok(false) };
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).map_err(|_| format!("`{flags}` are not flags"))?;
    if flags & ATF_PERM != 0 { Err("its entry was set by hand and tells nothing".into()) } else { Ok(flags & ATF_COM != 0) }
}

/// Whether those who have seen the node awake, by their places among `all`, are enough: `min` of them, and watts alone only where nobody else
/// is there to be asked.
pub(super) fn suffice(all: &[Witness], seen: impl Iterator<Item = usize> + Clone, min: usize) -> bool {
    let answers = seen.clone().any(|index| !all[index].sees_power_only());
    seen.count() >= min && (answers || all.iter().all(Witness::sees_power_only))
}

/// One flow's looks at a node: the witnesses, and what each has shown before.
#[derive(Debug)]
pub(super) struct Eye<'a> {
    witnesses: &'a [Witness],
    before: Vec<Option<String>>,
    within: Duration,
    neighbours: &'a Path,
    /// What it drew at the last look, if that could be read.
    pub watts: Option<f64>,
}

impl<'a> Eye<'a> {
    pub(super) fn new(witnesses: &'a [Witness], within: Duration, neighbours: &'a Path) -> Eye<'a> {
        Eye { witnesses, before: vec![None; witnesses.len()], within, neighbours, watts: None }
    }

    /// What was seen before, for the ledger.
    pub(super) fn memory(&self) -> Arg {
        Arg::List(self.before.iter().map(|text| Arg::Text(text.clone().unwrap_or_default())).collect())
    }

    /// Takes up what [`Eye::memory`] gave, if it is of the same witnesses.
    pub(super) fn remember(&mut self, memory: Option<&Arg>) {
        if let Some(Arg::List(items)) = memory
            && items.len() == self.before.len()
        {
            let text = |item: &Arg| item.as_text().filter(|text| !text.is_empty()).map(str::to_owned);
            self.before = items.iter().map(text).collect();
        }
    }

    /// All witnesses at once.
    pub(super) async fn look(&mut self) -> Vec<Sight> {
        let words = all(self.witnesses.iter().map(|witness| witness.word(self.within, self.neighbours))).await;
        self.watts = words.iter().find_map(|word| if let Word::Watts(watts, _) = word { Some(*watts) } else { None });
        let told = |(word, before): (Word, &mut Option<String>)| match word {
            Word::Sight(sight) => sight,
            Word::High | Word::Watts(_, true) => Sight::Awake(before.as_deref() == Some(LOW)),
            Word::Low | Word::Watts(_, false) => {
                *before = Some(LOW.into());
                Sight::Silent
            }
            Word::Stamp(stamp) => match before.replace(stamp.clone()) {
                Some(old) if old != stamp => Sight::Awake(true),
                Some(_) => Sight::Silent,
                None => Sight::Blind("one look at a Lease tells nothing".into()),
            },
        };
        words.into_iter().zip(&mut self.before).map(told).collect()
    }

    /// Whether it is awake right now, by those who see the present and by the watts: at least as many of all as `min`. Where nobody sees the
    /// present, a table's entry or a Lease counts as well, if there is power now: alone either may be a leftover. The names of those who say so.
    pub(super) fn awake_now(&self, sights: &[Sight], min: usize) -> Option<Vec<String>> {
        let awake = |index: &usize| matches!(sights[*index], Sight::Awake(_));
        let has_present = self.witnesses.iter().any(Witness::sees_the_present);
        let has_power = self.draws_power(sights);
        let counts = |witness: &Witness| witness.sees_the_present() || witness.sees_power_only() || !has_present && has_power;
        let seen: Vec<usize> = (0..sights.len()).filter(awake).filter(|index| counts(&self.witnesses[*index])).collect();
        let enough = suffice(self.witnesses, seen.iter().copied(), min);
        (enough && (!has_present || seen.iter().any(|index| self.witnesses[*index].sees_the_present())))
            .then(|| seen.into_iter().map(|index| self.witnesses[index].name()).collect())
    }

    /// Whether one look could not tell: there is power, and a witness who says nothing at the first look is all that could tell the rest.
    pub(super) fn is_in_doubt(&self, sights: &[Sight]) -> bool {
        let has_present = self.witnesses.iter().any(Witness::sees_the_present);
        !has_present && self.draws_power(sights) && self.witnesses.iter().any(Witness::needs_two_looks)
    }

    fn draws_power(&self, sights: &[Sight]) -> bool {
        self.witnesses.iter().zip(sights).any(|(witness, sight)| witness.sees_power_only() && matches!(sight, Sight::Awake(_)))
    }

    /// Who is not silent, and why; empty: all are.
    pub(super) fn loud(&self, sights: &[Sight]) -> Vec<String> {
        let word = |(witness, sight): (&Witness, &Sight)| match sight {
            Sight::Silent => None,
            Sight::Awake(_) if matches!(witness, Witness::Watts { .. }) => Some("it draws more than `idle_watts`".into()),
            Sight::Awake(_) => Some(format!("{} answers", witness.name())),
            Sight::Blind(why) => Some(format!("{} cannot tell: {why}", witness.name())),
        };
        self.witnesses.iter().zip(sights).filter_map(word).collect()
    }

    /// Whether any witness says that it is awake.
    pub(super) fn any_awake(sights: &[Sight]) -> bool {
        sights.iter().any(|sight| matches!(sight, Sight::Awake(_)))
    }

    /// The witnesses' names.
    pub(super) fn names(&self) -> String {
        self.witnesses.iter().map(Witness::name).collect::<Vec<_>>().join(", ")
    }
}

/// Waits for all of them at once, keeping the order.
async fn all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    type Slot<F, T> = (Pin<Box<F>>, Option<T>);
    let mut slots: Vec<Slot<_, T>> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, done) in slots.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if slots.iter().all(|(_, done)| done.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    slots.into_iter().filter_map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{ClosedPort, Server, answer};
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_neighbour_table_is_read_by_its_flags() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("arp");
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
                    192.168.1.5      0x1         0x2         00:11:22:33:44:55     *        eth0\n\
                    192.168.1.6      0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                    192.168.1.7      0x1         0x6         00:11:22:33:44:56     *        eth0\n";
        std::fs::write(&table, text).unwrap();
        let at = |last: u8| neighbour(&table, Ipv4Addr::new(192, 168, 1, last));
        assert_eq!((at(5), at(6), at(8)), (Ok(true), Ok(false), Ok(false)));
        assert!(at(7).unwrap_err().contains("by hand"));
        assert!(neighbour(&dir.path().join("none"), Ipv4Addr::LOCALHOST).is_err());
    }

    #[tokio::test]
    async fn a_level_counts_only_after_it_was_seen_low() {
        let watts = Arc::new(AtomicUsize::new(40));
        let shown = watts.clone();
        let plug = Server::start(move |_, _| answer(200, json!({ "watts": shown.load(Ordering::SeqCst) }))).await;
        let config: NodeConfig = serde_json::from_value(json!({
            "watts": { "via": "http", "url": plug.url, "json_pointer": "/watts" }, "idle_watts": 10.0 }))
        .unwrap();
        let witnesses = Witness::all(&config).unwrap();
        let mut eye = Eye::new(&witnesses, SECOND, Path::new("/none"));
        assert_eq!(eye.look().await, [Sight::Awake(false)], "it drew that before the send too");
        watts.store(3, Ordering::SeqCst);
        assert_eq!(eye.look().await, [Sight::Silent]);
        watts.store(40, Ordering::SeqCst);
        // A new eye that took up the old one's memory knows as much.
        let mut later = Eye::new(&witnesses, SECOND, Path::new("/none"));
        later.remember(Some(&eye.memory()));
        assert_eq!((eye.look().await, later.look().await), (vec![Sight::Awake(true)], vec![Sight::Awake(true)]));
    }

    #[test]
    fn watts_alone_prove_nothing_where_anybody_else_could_be_asked() {
        let node = |more: serde_json::Value| {
            let mut node = json!({ "watts": { "via": "http", "url": "http://plug" }, "idle_watts": 10.0 });
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Witness::all(&serde_json::from_value::<NodeConfig>(node).unwrap()).unwrap()
        };
        let alone = node(json!({}));
        assert!(suffice(&alone, [0].into_iter(), 1));
        let address = json!([{ "kind": "arp", "address": "192.0.2.7" }]);
        let lease = json!([{ "kind": "lease", "url": "http://kube", "node": "nas", "token": "t" }]);
        for more in [json!({ "probe": { "tcp": "nas:22" } }), json!({ "witnesses": address }), json!({ "witnesses": lease })] {
            let both = node(more);
            assert!(!suffice(&both, [1].into_iter(), 1), "power is there, an answer is not: {both:?}");
            assert!(suffice(&both, [0].into_iter(), 1) && suffice(&both, [0, 1].into_iter(), 2) && !suffice(&both, [0].into_iter(), 2));
            let eye = Eye::new(&both, SECOND, Path::new("/none"));
            let (awake, blind) = (Sight::Awake(false), Sight::Blind("?".into()));
            assert_eq!(eye.awake_now(&[Sight::Silent, awake.clone()], 1), None, "it boots");
            assert_eq!(eye.awake_now(&[blind, awake.clone()], 1), None, "nobody knows");
            assert_eq!(eye.awake_now(&[awake.clone(), awake.clone()], 2).map(|names| names.len()), Some(2));
            let leftover = !both[0].sees_the_present();
            assert_eq!(eye.awake_now(&[awake.clone(), Sight::Silent], 1).is_none(), leftover, "without power it is a leftover");
            let doubt = eye.is_in_doubt(&[Sight::Blind("one look".into()), awake]);
            assert_eq!(doubt, both[0].needs_two_looks());
        }
    }

    #[tokio::test]
    async fn a_lease_counts_when_it_was_renewed_and_a_page_when_it_answers_200() {
        let cluster = Server::start(|number, seen| {
            assert_eq!(seen.header("authorization"), "Bearer kube-token");
            answer(
                200,
                json!({ "spec": { "renewTime": if number < 2 { "2026-11-21T09:00:00.000000Z" } else { "2026-11-21T09:00:10.000000Z" } } }),
            )
        })
        .await;
        let exporter = Server::start(|number, _| answer(if number == 0 { 503 } else { 200 }, json!({}))).await;
        let config: NodeConfig = serde_json::from_value(json!({ "witnesses": [
            { "kind": "lease", "url": cluster.url, "node": "nas", "token": "kube-token" },
            { "kind": "page", "url": format!("{}/metrics", exporter.url) } ] }))
        .unwrap();
        let witnesses = Witness::all(&config).unwrap();
        let mut eye = Eye::new(&witnesses, SECOND, Path::new("/none"));
        let first = eye.look().await;
        assert!(matches!(&first[..], [Sight::Blind(_), Sight::Blind(why)] if why.contains("503")), "{first:?}");
        assert_eq!(eye.look().await, [Sight::Silent, Sight::Awake(true)]);
        assert_eq!(eye.look().await, [Sight::Awake(true), Sight::Awake(true)]);
        assert_eq!(cluster.seen()[0].uri.path(), "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/nas");
    }

    #[tokio::test]
    async fn nobody_who_cannot_see_says_that_it_is_silent() {
        let closed = ClosedPort::new();
        assert_eq!(Door::new(&closed.address().to_string()).knock(SECOND).await, Sight::Silent, "this machine's own refusal");
        assert!(matches!(Door::new("no-such-host.invalid:22").knock(SECOND).await, Sight::Blind(_)));
        let refusing = Server::start(|_, _| answer(401, json!({}))).await;
        let config: NodeConfig = serde_json::from_value(json!({
            "watts": { "via": "home-assistant", "entity": "sensor.nas_watts" }, "idle_watts": 10.0,
            "home_assistant": { "url": refusing.url, "token": "ha-token" } }))
        .unwrap();
        let witnesses = Witness::all(&config).unwrap();
        let mut eye = Eye::new(&witnesses, SECOND, Path::new("/none"));
        let sights = eye.look().await;
        assert!(matches!(&sights[..], [Sight::Blind(why)] if why.contains("401")), "{sights:?}");
        assert_eq!(eye.loud(&sights).len(), 1);
    }
}
