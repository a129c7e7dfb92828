//! The plant: a homelab that fits in one process, to try the loop on before it touches a real one; and the virtual-time driver that
//! runs kernel and plant together, as fast as they go.
//!
//! Pure: no sockets, no clocks, no files, no threads. The network faces are another crate (`sim/faces`), the daemon never links this
//! into a decision.

pub mod chance;
pub mod checkers;
pub mod expect;
pub mod figures;
pub mod lab;
pub mod numbers;
pub mod plant;
pub mod run;
pub mod scenario;
pub mod shipped;
pub mod swarm;
pub mod truth;
