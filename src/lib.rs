//! The daemon's parts as a library: what stands around the kernel and touches the world.
//!
//! Deliberately absent: decisions. Nothing here proposes, rules or scores; the kernel does. An editor breaks this crate by handing
//! the kernel something that is not in the journal, or by sending an effect before it is durable.

pub mod answers;
pub mod approvals;
pub mod ask;
pub mod boot;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod digest;
pub mod dispatch;
pub mod doctor;
pub mod driver;
pub mod http;
pub mod incidents;
pub mod journal;
pub mod live;
pub mod own_base;
pub mod people;
pub mod playbooks;
pub mod policy;
pub mod readiness;
pub mod reasoning;
pub mod replay;
pub mod rules;
pub mod samples;
pub mod scores;
pub mod sensing;
pub mod simulate;
pub mod virtual_time;
