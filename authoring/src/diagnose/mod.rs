//! What is wrong with a policy or its test, said before it runs.
//!
//! `finding` is one thing that is wrong, with its place; `render` shows it. Deliberately absent: a rule that the kernel does not
//! have; a check here only says earlier and better what an evaluation, the arbiter or the scoring would show later. An editor
//! breaks this by a check that finds fault with what works.

mod finding;
mod render;

pub use finding::{Finding, Label, Severity};
pub use render::render;
