//! The server over HTTP (Streamable HTTP), as a service that a router mounts.
//!
//! No sessions: every request stands for itself in both generations of the protocol, so that nothing piles up and a token that is
//! withdrawn counts at once. Answers are plain JSON. Deliberately absent: authentication; whoever mounts this puts it before. An editor
//! breaks this by turning sessions on: their table has no limit.

use crate::server::Server;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::sync::Arc;

/// A request's bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// The service.
pub type Mounted = StreamableHttpService<Server, NeverSessionManager>;

/// Where it is mounted.
#[derive(Clone, Debug, Default)]
pub struct Mount {
    /// Names and addresses by which it may be asked, besides `localhost`, `127.0.0.1` and `[::1]`.
    pub hosts: Vec<String>,
}

/// The service. A foreign `Host` or `Origin` is answered 403, a longer body than [`BODY_BYTES_MAX`] 413.
pub fn mount(server: Server, mount: &Mount) -> Mounted {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    hosts.extend(mount.hosts.iter().cloned());
    let origin = |host: &String| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        [format!("http://{host}:*"), format!("https://{host}:*")]
    };
    let config = StreamableHttpServerConfig::default()
        .with_allowed_origins(hosts.iter().flat_map(origin))
        .enforce_origin_validation()
        .with_allowed_hosts(hosts)
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(BODY_BYTES_MAX);
    StreamableHttpService::new(move || Ok(server.clone()), Arc::new(NeverSessionManager::default()), config)
}
