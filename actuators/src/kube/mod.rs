//! Powers on a Kubernetes cluster: one client, one frame, one file per power.
//!
//! Reading order: [`call`] (a request as data), [`refusal`] (what a "no" means), [`client`] (sending, repeating), [`rights`] (what
//! may be done), [`frame`] (what all powers do alike), then the powers. Deliberately absent: watching a cluster (sensors do that),
//! and powers that were not configured. An editor breaks this by writing before reading, or by counting the lack of an error as
//! success.

pub mod call;
pub mod chaos;
pub mod client;
pub mod config;
pub mod frame;
pub mod refusal;
pub mod rights;

pub use call::{Call, Kind};
pub use client::KubeClient;
pub use config::{ConnectConfig, KubernetesConfig};
pub use frame::{Deed, Framed, Run, Step};
pub use refusal::{Meaning, Refusal};
pub use rights::{Needs, Rule};
