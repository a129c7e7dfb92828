//! What the daemon promises, in one binary: one kernel under several drivers, crashes, real servers.

mod scenario;
mod drivers;
mod policies;
mod daemon;
mod killed;
mod real_servers;
