//! Sending magic packets: the socket, the bursts, and when they go.
//!
//! A magic packet has no acknowledgement: "sent" means that one left, and nothing more. Deliberately absent: raw Ethernet frames. An editor
//! breaks this by forgetting `set_broadcast`, without which the kernel refuses.

use super::config::NodeConfig;
use super::magic::{self, Mac, parse_secure_on};
use crate::pace::Pace;
use crate::redact::resolve;
use homeostat_model::{Planned, Span};
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until};

/// One burst's packets: three, because nobody acknowledges any.
const PACKETS_PER_BURST: u32 = 3;

/// When packets go.
#[derive(Clone, Debug)]
pub(super) struct Bursts {
    pub resend_at: Vec<Span>,
    pub packet_gap: Span,
    pub pace: Pace,
}

/// A packet ready to go.
#[derive(Debug)]
pub(super) struct Packets {
    socket: UdpSocket,
    packet: Vec<u8>,
    to: SocketAddr,
}

impl Packets {
    /// Builds the packet and opens the socket; sends nothing. The error is in words.
    pub(super) async fn prepare(mac: Mac, config: &NodeConfig) -> Result<Packets, String> {
        let packet = magic::packet(mac, &password(config)?);
        let socket = socket(config).await.map_err(|error| format!("no socket for the packet: {error}"))?;
        Ok(Packets { socket, packet, to: config.broadcast })
    }

    /// The first burst; an error only if no packet left.
    pub(super) async fn first(&self, bursts: &Bursts) -> Result<String, String> {
        let sent = self.burst(bursts).await;
        sent.map(|()| "the packet was sent".into()).map_err(|error| format!("the packet cannot be sent to {}: {error}", self.to))
    }

    /// The other bursts, each at its time after `start`; never ends. The first one left: a later one that fails takes nothing back.
    pub(super) async fn again(&self, bursts: &Bursts, start: Instant) {
        for at in bursts.resend_at.iter().skip(1) {
            sleep_until(start + bursts.pace.real(*at)).await;
            let _ = self.burst(bursts).await;
        }
        std::future::pending::<()>().await;
    }

    async fn burst(&self, bursts: &Bursts) -> std::io::Result<()> {
        let mut result = Err(std::io::ErrorKind::NotConnected.into());
        for i in 0..PACKETS_PER_BURST {
            if i > 0 {
                sleep(bursts.pace.real(bursts.packet_gap)).await;
            }
            let sent = self.socket.send_to(&self.packet, self.to).await.map(drop);
            if result.is_err() {
                result = sent;
            }
        }
        result
    }
}

fn password(config: &NodeConfig) -> Result<Vec<u8>, String> {
    match &config.secure_on {
        Some(secret) => parse_secure_on(&resolve(secret)?),
        None => Ok(Vec::new()),
    }
}

/// What keeps packets from being sent, as far as it can be seen without a socket.
pub(super) fn problem(config: &NodeConfig) -> Option<String> {
    password(config).err()
}

async fn socket(config: &NodeConfig) -> std::io::Result<UdpSocket> {
    let local = match (config.interface_address, config.broadcast) {
        (Some(address), _) => SocketAddr::new(address, 0),
        (None, SocketAddr::V4(_)) => SocketAddr::from(([0, 0, 0, 0], 0)),
        (None, SocketAddr::V6(_)) => SocketAddr::from(([0_u16; 8], 0)),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.set_broadcast(true)?; // without it: EACCES
    Ok(socket)
}

/// What would be sent.
pub(super) fn planned(bursts: &Bursts, mac: &str, config: &NodeConfig) -> Planned {
    let times: Vec<String> = bursts.resend_at.iter().map(Span::to_string).collect();
    let secret = if config.secure_on.is_some() { " with its SecureOn password" } else { "" };
    let call = format!("udp {}: {PACKETS_PER_BURST} magic packets for {mac}{secret} at {}", config.broadcast, times.join(", "));
    Planned { call, body: None, writes: true }
}
