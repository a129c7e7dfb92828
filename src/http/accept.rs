//! Connections: where they come in, how many there may be, how long one may last, and how all end.
//!
//! The Unix socket has places of its own, so that a flood over TCP cannot lock its operator out. Deliberately absent: anything that
//! looks at a request. An editor breaks this by waiting for a place before `accept` (idle strangers would then hold the door).

use super::{App, Peer, ServeOptions, router};
use crate::live::Handle;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at once over the Unix socket.
const UNIX_CONNECTIONS_MAX: usize = 32;
/// A request's head must be there within this time; also how long a kept connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// A connection is asked to end after this time …
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// … and cut after this much more; also the patience when the daemon stops.
const END_GRACE: Duration = Duration::from_secs(35);
/// How long the end of the daemon waits for requests under way.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The wait after `accept` failed (no file handles left).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Open listeners, not yet served.
pub struct Server {
    options: ServeOptions,
    app: Arc<App>,
    tcp: TcpListener,
    unix: UnixListener,
}

/// Serves until `stop` turns true; ends connections in good order, and removes the socket.
///
/// # Errors
/// A listener cannot be opened (the address is taken or not allowed, the socket's folder cannot be written), or a secret cannot be had.
pub async fn serve(handle: Handle, options: ServeOptions, stop: watch::Receiver<bool>) -> io::Result<()> {
    Server::bind(handle, options).await?.run(stop).await;
    Ok(())
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

impl Server {
    /// Fetches the secrets and opens the listeners, so that what is missing or taken is known before anything is served.
    ///
    /// # Errors
    /// As [`serve`].
    pub async fn bind(handle: Handle, options: ServeOptions) -> io::Result<Server> {
        let tcp = TcpListener::bind(options.listen).await.map_err(|error| named(&format!("listen on {}", options.listen), &error))?;
        let unix = bind_socket(&options.socket).await.map_err(|error| named(&format!("listen on {}", options.socket.display()), &error))?;
        // What we made belongs to us: this tells our own user without a system call of our own.
        let own_uid = std::fs::metadata(&options.socket)?.uid();
        let app = App::new(handle, &options, own_uid).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        Ok(Server { options, app: Arc::new(app), tcp, unix })
    }

    /// The TCP address, with the port that was given by the system if 0 was asked for.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let app = self.app;
        let router = router(Arc::clone(&app), self.options.agent_hosts());
        let places = Arc::new(Semaphore::new(self.options.connections_max.max(1)));
        let unix_places = Arc::new(Semaphore::new(UNIX_CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, from)) => match Arc::clone(&places).try_acquire_owned() {
                        Ok(place) => {
                            let _ = stream.set_nodelay(true);
                            connections.spawn(connection(stream, router.clone(), Peer::Tcp(from), stop.clone(), place));
                        }
                        Err(_) => drop(app.connections_refused.fetch_add(1, Ordering::Relaxed)),
                    },
                    Err(error) => accept_failed(&error).await,
                },
                accepted = self.unix.accept() => match accepted {
                    Ok((stream, _)) => match (stream.peer_cred(), Arc::clone(&unix_places).try_acquire_owned()) {
                        (Ok(peer), Ok(place)) => {
                            connections.spawn(connection(stream, router.clone(), Peer::Unix(peer.uid()), stop.clone(), place));
                        }
                        _ => drop(app.connections_refused.fetch_add(1, Ordering::Relaxed)),
                    },
                    Err(error) => accept_failed(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(self.unix);
        let _ = std::fs::remove_file(&self.options.socket);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, all).await.is_err() {
            tracing::warn!("Requests were still under way when the daemon stopped; they were cut.");
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone can no longer say stop: that is one too.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(error = %error, "A connection cannot be accepted.");
    tokio::time::sleep(ACCEPT_AGAIN).await;
}

/// Binds the socket, for its owner alone. What a dead daemon left behind is replaced; a live one's is not.
async fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path).await {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) if std::fs::symlink_metadata(path)?.file_type().is_socket() => std::fs::remove_file(path)?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there and is no socket", path.display()))),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves one connection until it ends, is too old, or the daemon stops.
async fn connection<S>(stream: S, router: Router, peer: Peer, mut stop: watch::Receiver<bool>, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => {}
        () = stopped(&mut stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(END_GRACE, serving).await;
    drop(place);
}
