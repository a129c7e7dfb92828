//! The daemon's parts as a library: what stands around the kernel and touches the world.
//!
//! Deliberately absent: decisions. Nothing here proposes, rules or scores; the kernel does. An editor breaks this crate by handing
//! the kernel something that is not in the journal, or by sending an effect before it is durable.

pub mod config;
pub mod journal;
pub mod samples;
pub mod clock;
pub mod boot;
pub mod driver;
pub mod dispatch;
pub mod sensing;
pub mod live;
pub mod replay;
pub mod virtual_time;
pub mod own_base;
pub mod rules;
pub mod daemon;
pub mod http;
pub mod client;
pub mod policy_test;
pub mod cli;
pub mod doctor;
