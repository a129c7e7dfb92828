//! The loop: events in, effects out. Synchronous, deterministic, infallible.
//!
//! [`kernel::Kernel`] is the whole of it; the modules before it are listed in the order in which data flows. Deliberately absent:
//! IO, clocks, threads, random order (see `engine/clippy.toml`). Call it from a thread with a stack of at least
//! [`STACK_BYTES_MIN`]: policies run on the caller's thread and a script may nest as deep as its limits allow.
//! An editor breaks this crate by letting an answer depend on anything but the events, or by letting state that must survive a
//! restart live outside [`ledger::Ledger`], which is derived from the journal by one function.

pub mod about;
pub mod arbiter;
pub mod effect;
pub mod kernel;
pub mod ledger;
pub mod playbook;
pub mod policy;
pub mod reason;
pub mod score;
pub mod store;
pub mod topology;
pub mod units;

pub use effect::{Admitted, Effect, Reverting};
pub use kernel::{Kernel, Stats};
pub use ledger::Ledger;

/// The least stack of a thread that runs the kernel, in bytes.
pub const STACK_BYTES_MIN: usize = 8 << 20;
