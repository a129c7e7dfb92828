//! A Kubernetes API server in memory, with the controllers that the loop can see: good enough for a real client.
//!
//! It serves a plant, tests and the demo; nothing that decides may depend on it. The caller hands in the listener and drives time
//! ([`KubeServer::tick`]); nothing here reads a clock but the real-time waits of watches and injected timeouts. Deliberately absent: admission
//! webhooks, CEL, conversion, exec, attach and port-forward, protobuf, TLS, and schemas of built-in kinds. Broken when a client needs a special case.

mod api;
mod control;
mod defaults;
mod delete;
mod discovery;
mod event;
mod evict;
mod fault;
mod hooks;
mod http;
mod meta;
mod patch;
mod read;
mod resource;
mod review;
mod route;
mod scale;
mod schema;
mod selector;
mod server;
mod settings;
mod stamp;
mod status;
mod table;
mod watch;
mod world;
mod write;

pub use control::kratix::Workflow;
pub use fault::{FaultKind, KubeFault, MAX_FAULTS};
pub use server::{KubeServer, ObjectChange};
pub use settings::{AccessRule, Limits, Settings, Token};
pub use status::ApiError;
pub use world::Counters;

/// The user that every client of this server is, in access rules and reviews.
pub const CLIENT_USER: &str = "system:serviceaccount:homeostat:homeostat";
