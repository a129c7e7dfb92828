//! Doors: whether whoever knocks is let in, refused, or left standing; and connections that can be cut without a word.
//!
//! A node's port is held by a socket that never listens, so that nobody else gets it and connections are refused while the node is
//! off. While it hangs, a full queue of one lets the handshake itself go unanswered. Deliberately absent: who decides (the world).
//! An editor breaks this by accepting a connection for a node that is off: that a connection stands proves to others that it is up.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Connections of one listener at a time; more are cut at once.
const CONNECTIONS_MAX: usize = 256;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;
/// Between two tries to open a port; how long a connection to ourselves may take.
const RETRY: Duration = Duration::from_millis(100);

/// How a machine meets a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// It answers.
    Open,
    /// It refuses.
    Shut,
    /// It does not answer.
    Silent,
}

/// A port that is ours, whether anybody listens on it or not.
pub(crate) struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// Takes a port; 0 is any free one.
    pub(crate) fn hold(address: SocketAddr) -> io::Result<Port> {
        let held = socket(address)?;
        Ok(Port { address: held.local_addr()?, _held: held })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A listener that does as the door says; it does so already when this returns.
    pub(crate) async fn gate(self, door: watch::Receiver<Door>) -> Gate {
        let mut gate = Gate { port: self, door, state: State::Shut, open: Arc::default() };
        gate.turn().await;
        gate
    }

    fn listen(&self, backlog: u32) -> io::Result<TcpListener> {
        socket(self.address)?.listen(backlog)
    }

    /// Makes whoever knocks wait: connections are neither made nor refused until the result is dropped.
    async fn hang(&self) -> io::Result<State> {
        // Linux lets one connection more than the backlog into the queue, and drops every later SYN.
        let listener = self.listen(0)?;
        // Where somebody else was first, the queue is full as well, and this one is left waiting.
        let first = match tokio::time::timeout(RETRY, TcpStream::connect(self.address)).await {
            Ok(first) => Some(first?),
            Err(_) => None,
        };
        Ok(State::Silent { _listener: listener, _first: first })
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

enum State {
    Open(TcpListener),
    Shut,
    Silent { _listener: TcpListener, _first: Option<TcpStream> },
}

/// A listener that opens, refuses and hangs as its door says, and whose connections can be cut.
pub(crate) struct Gate {
    port: Port,
    door: watch::Receiver<Door>,
    state: State,
    open: Arc<AtomicUsize>,
}

impl Gate {
    /// Brings the socket to what the door says now.
    async fn turn(&mut self) {
        let door = *self.door.borrow_and_update();
        let fits =
            matches!((&self.state, door), (State::Open(_), Door::Open) | (State::Shut, Door::Shut) | (State::Silent { .. }, Door::Silent));
        if fits {
            return;
        }
        // First of all nobody listens any more: two listeners on one port would share what comes.
        self.state = State::Shut;
        let turned = match door {
            Door::Open => self.port.listen(BACKLOG).map(State::Open),
            Door::Shut => Ok(State::Shut),
            Door::Silent => self.port.hang().await,
        };
        match turned {
            Ok(state) => self.state = state,
            Err(error) => {
                tracing::warn!("the port {} cannot be {door:?}: {error}; tried again", self.port.address);
                self.door.mark_changed();
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Listener for Gate {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            self.turn().await;
            let knock = async {
                match &mut self.state {
                    State::Open(listener) => Listener::accept(listener).await,
                    _ => std::future::pending().await,
                }
            };
            let (stream, address) = tokio::select! {
                // The door first: nobody is let in who knocks after it was shut.
                biased;
                changed = self.door.changed() => {
                    if changed.is_err() {
                        // The world is gone; the server is about to be told.
                        std::future::pending::<()>().await;
                    }
                    continue;
                }
                knock = knock => knock,
            };
            if self.open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
                tracing::warn!("a connection from {address} was cut: {CONNECTIONS_MAX} are open");
                continue;
            }
            self.open.fetch_add(1, Ordering::Relaxed);
            return (Line { stream, cut: Cut::default(), open: Arc::clone(&self.open) }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.port.address)
    }
}

/// Cuts one connection: whatever is written from then on is an error, so that not a byte more leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Connected<IncomingStream<'_, Gate>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Cut {
        stream.io().cut.clone()
    }
}

/// A connection.
pub(crate) struct Line {
    stream: TcpStream,
    cut: Cut,
    open: Arc<AtomicUsize>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.cut.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.cut.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
