//! `homeostat mcp`: the Model Context Protocol on stdin and stdout, for an agent that is started on this machine.
//!
//! Every call goes to the running daemon over its Unix socket; none runs: every call says so, and works as soon as one does.
//! Deliberately absent: rights of its own and any word to stdout that is not the protocol's. An editor breaks this by printing.

use super::place::Place;
use super::{Ended, Exit};
use crate::client::{Client, ClientError};
use homeostat_mcp::{Answer, Caller, House, Request, Server, Told};
use std::sync::Arc;

/// The daemon behind a socket.
#[derive(Clone, Debug)]
pub struct OverSocket(Client);

impl OverSocket {
    /// The daemon that this client reaches.
    pub fn new(client: Client) -> OverSocket {
        OverSocket(client)
    }
}

impl House for OverSocket {
    fn answer<'a>(&'a self, _caller: &'a Caller, request: &'a Request) -> Answer<'a> {
        Box::pin(async move {
            let answer = match request.body() {
                Some(body) => self.0.post(&request.path(), &body).await,
                None => self.0.get(&request.path()).await,
            };
            answer.map_err(|error| match error {
                ClientError::Refused { status, error } => Told::Refused { status, error },
                other => Told::Unreachable(other.to_string()),
            })
        })
    }
}

/// `homeostat mcp`
pub(super) async fn mcp(place: &Place) -> Ended {
    let server = Server::new(Arc::new(OverSocket::new(Client::new(&place.socket))));
    homeostat_mcp::serve_stdio(server).await.map_err(anyhow::Error::msg)?;
    Ok(Exit::Ok)
}
