//! What the daemon promises, in one binary: one kernel under several drivers, crashes, real servers.

mod acting;
mod approvals;
mod backtest;
mod checking;
mod daemon;
mod demo;
mod deploy;
mod drivers;
mod killed;
mod llama;
mod policies;
mod real_servers;
mod scenario;
mod scenarios;
mod tutorial;
mod writing;
