//! From an idea to a policy that is trusted: what is wrong with it (`diagnose`), what it does (`suite`), what it would have done
//! (`backtest`), what it does to the others (`graph`), how it can be broken (`fuzz`), and how a candidate does beside the live one (`twin`).
//!
//! Deliberately absent: a second way to evaluate, rule or judge; everything here feeds the production kernel and looks at what it
//! says. No network and no daemon either: those stand in the daemon's package, which hands in what it fetched. An editor breaks
//! this by letting anything here act, or by answering a question that only the kernel can.

pub mod backtest;
#[cfg(test)]
mod cookbook;
pub mod diagnose;
pub mod draft;
pub mod fuzz;
pub mod graph;
#[cfg(test)]
mod schemas;
pub mod starter;
pub mod suite;
pub mod twin;
pub mod vocabulary;
