//! Wake-on-LAN: listens for magic packets as a network card does, and wakes the node whose address is in one.
//!
//! A packet counts wherever six FF and sixteen times one address stand in it; whatever follows (a SecureOn password) is passed over, as by
//! cards without one. Deliberately absent: answers, there are none. An editor breaks this by waking for an address that stands there
//! fewer than sixteen times.

use crate::world::World;
use homeostat_model::{Span, Target, Time};
use homeostat_sim::plant::{Fault, Lie, Op, OpKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;

/// Packets to one node within this time of the plant's are one wake: senders send bursts.
const BURST: Span = Span::from_secs(60);
/// The longest datagram that is looked at, in bytes.
const DATAGRAM_MAX: usize = 2048;

/// How many datagrams came, and what they were.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct WakeCounts {
    /// Magic packets for a node of the lab.
    pub known: u64,
    /// Magic packets for nobody here.
    pub unknown: u64,
    /// Datagrams without a magic packet.
    pub malformed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    known: AtomicU64,
    unknown: AtomicU64,
    malformed: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> WakeCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WakeCounts { known: count(&self.known), unknown: count(&self.unknown), malformed: count(&self.malformed) }
    }
}

/// The address in a magic packet; `None` if it is none.
pub(crate) fn address(packet: &[u8]) -> Option<[u8; 6]> {
    packet.windows(102).find_map(|window| {
        let (head, body) = window.split_at(6);
        let mac: [u8; 6] = body[..6].try_into().ok()?;
        (head == [0xff; 6] && body.chunks(6).all(|chunk| chunk == mac)).then_some(mac)
    })
}

/// `02:00:00:00:00:30`, also with `-`.
fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text.split([':', '-']).map(|part| u8::from_str_radix(part, 16).ok()).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

/// Listens until the faces close.
pub(crate) async fn listen(socket: UdpSocket, world: Arc<World>, counters: Arc<Counters>) {
    let nodes: BTreeMap<[u8; 6], String> =
        world.with(|plant| plant.nodes.iter().filter_map(|node| Some((mac(&node.mac)?, node.name.clone()))).collect());
    let mut last: BTreeMap<String, Time> = BTreeMap::new();
    let mut closing = world.closing();
    let mut packet = [0; DATAGRAM_MAX];
    loop {
        let came = tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            came = socket.recv_from(&mut packet) => came,
        };
        let length = match came {
            Ok((length, _)) => length,
            Err(error) => {
                tracing::warn!("a datagram could not be received: {error}");
                continue;
            }
        };
        let Some(mac) = address(&packet[..length]) else {
            counters.malformed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        match nodes.get(&mac) {
            Some(node) => {
                wake(&world, node, &mut last);
                // Counted when it is done: whoever sees the number sees what it did.
                counters.known.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                counters.unknown.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn wake(world: &World, node: &str, last: &mut BTreeMap<String, Time>) {
    if world.with(|plant| plant.suffers(|fault| matches!(fault, Fault::EngineCutOff))) {
        return;
    }
    let op = Op { does: OpKind::Wake, target: Target::new(format!("node/{node}")), replicas: None };
    let now = world.with(|plant| plant.now());
    let again = last.get(node).is_some_and(|before| now.since(*before) < BURST);
    if !again {
        last.insert(node.to_owned(), now);
    }
    match world.lie("wake", &op) {
        Some(Lie::NothingSaysDone | Lie::NothingNoAnswer | Lie::Refuses) if again => {}
        Some(Lie::NothingSaysDone | Lie::NothingNoAnswer | Lie::Refuses) => world.not_done(&op),
        _ if again => world.act_again(&op),
        _ => {
            world.act(&op);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_packet_is_found_with_and_without_what_stands_around_it() {
        let mac = [0x02, 0, 0, 0, 0, 0x30];
        let mut packet = vec![0xff; 6];
        (0..16).for_each(|_| packet.extend(mac));
        assert_eq!(address(&packet), Some(mac));
        let secure = [packet.as_slice(), &[192, 168, 1, 10]].concat();
        assert_eq!(address(&secure), Some(mac));
        let inside = [&[1, 2, 0xff], packet.as_slice(), &[9; 6]].concat();
        assert_eq!(address(&inside), Some(mac));
        assert_eq!(address(&packet[..101]), None, "fifteen times and a bit");
        packet[60] ^= 1;
        assert_eq!(address(&packet), None);
    }

    #[test]
    fn addresses_are_read_as_lab_files_spell_them() {
        assert_eq!(mac("02:00:00:00:00:30"), Some([2, 0, 0, 0, 0, 0x30]));
        assert_eq!(mac("02-00-00-00-00-30"), mac("02:00:00:00:00:30"));
        assert_eq!(mac(""), None);
        assert_eq!(mac("02:00:00:00:00:30:11"), None);
    }
}
