//! The command line's way to a running daemon: HTTP over the Unix socket in its data directory.
//!
//! One connection per question; answers are bounded in size and time. Deliberately absent: TCP and tokens (other machines use any HTTP
//! client), and retries. An editor breaks this by taking "no daemon" and "the daemon says no" for the same thing: scripts tell them apart.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// An answer's bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {socket}: {detail}; start one with `homeostat run`, or name its data directory with `--data`", socket = .socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// Somebody listens, but we may not ask.
    #[error("{socket} may not be used by this user: run as the daemon's user or as root", socket = .socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon says no.
    #[error("{error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        error: String,
    },
    /// The answer did not come or cannot be read.
    #[error("ask {path}: {detail}")]
    Broken {
        /// What was asked.
        path: String,
        /// What happened.
        detail: String,
    },
}

/// A way to a daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon that listens on this socket. Connects at each question.
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        Client { socket: socket.into() }
    }

    /// Asks.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask("GET", path, String::new()).await
    }

    /// Orders.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        self.ask("POST", path, body.to_string()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: String) -> Result<T, ClientError> {
        let broken = |detail: String| ClientError::Broken { path: path.into(), detail };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket: self.socket.clone() },
            _ => ClientError::NotRunning { socket: self.socket.clone(), detail: error.to_string() },
        })?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, exchange(stream, method, path, body)).await;
        let (status, bytes) = answer.map_err(|_| broken(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))?.map_err(broken)?;
        if !(200..300).contains(&status) {
            let said = serde_json::from_slice::<Value>(&bytes).ok();
            let error =
                said.as_ref().and_then(|value| value.get("error")?.as_str()).map_or_else(|| format!("HTTP status {status}"), str::to_owned);
            return Err(ClientError::Refused { status, error });
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| broken(format!("the answer cannot be read: {error}; is the daemon of the same version?")))
    }
}

async fn exchange(stream: UnixStream, method: &str, path: &str, body: String) -> Result<(u16, Bytes), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driving = tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    driving.abort();
    Ok((status, body.to_bytes()))
}

/// Writes a text as one part of a path or a query value (RFC 3986: what is not unreserved is escaped).
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(byte.into())
        } else {
            path += &format!("%{byte:02X}")
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_daemon_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path().join("homeostat.sock"));
        let error = client.get::<Value>("/").await.unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
        assert!(error.to_string().contains("homeostat run"), "{error}");
    }

    #[test]
    fn names_become_one_part_of_a_path() {
        assert_eq!(escaped("a-b.c/ü?{}"), "a-b.c%2F%C3%BC%3F%7B%7D");
    }
}
