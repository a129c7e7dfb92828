//! The Model Context Protocol server: an agent connects, looks at what the loop sees and does, and may propose. Nothing else.
//!
//! Reading order: `house` (the closed list of what is ever asked of a daemon), `tools` (what an agent can call, and how a call becomes
//! one of those requests), `shown` (how answers are bounded, cleaned, and marked where others wrote them), `manual` (the embedded
//! documentation), `server` (the protocol), `mount` (HTTP; the daemon puts its own authentication before it).
//! Deliberately absent: any way to approve, deny, release, unlock, pause, resume or run anything (`house::Request` has no word for
//! it), resources, prompts, sampling, sessions, and the daemon itself: a [`House`] answers for it, in process or over its socket.
//! An editor breaks this by adding a request to `house` that changes more than the list of wishes, or by giving a tool a way around
//! `shown`: what workloads and alerts wrote would then reach an agent as if we had said it.

pub mod house;
pub mod manual;
pub mod mount;
pub mod server;
pub mod shown;
pub mod tools;

mod nearest;
#[cfg(test)]
mod tests;

pub use house::{Answer, Caller, Claimed, House, Proposing, Request, Told};
pub use mount::{Mount, mount};
pub use server::{Server, serve_stdio, serve_streams};
pub use tools::Tool;
