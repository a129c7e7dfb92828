//! What an action really did, how sure that is, and what a policy has earned by it. Pure functions over numbers.
//!
//! Deliberately absent: series, actions and records; `kernel/scoring.rs` fetches the numbers and writes down what comes out. Time is
//! seconds around the sending, chance is a seed that the caller gives. An editor breaks this by letting what is missing count as zero,
//! or by judging an action by its actuator's own word.

pub mod belief;
pub mod books;
pub mod cycle;
pub mod dead_time;
pub mod effect;
pub mod ladder;
pub mod order;
pub mod recovery;
