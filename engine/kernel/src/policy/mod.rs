//! The Rhai host: policies propose, and can do nothing else.
//!
//! `session` holds the windows and what an evaluation has read and wished so far; `reading` the values that scripts handle;
//! `api` every function a script may call, and `manual` what each does (`docs/policy-api.md`); `ask` answers one question of a person; `load` compiles a policy and
//! reads its `policy()` map; `host` runs it inside its limits, and `retrace` saves it
//! from being run where it would end as quietly as before. `survey` tells from the text alone what a policy asks and wishes. Absent on purpose: clock, files, network, `import`, `eval`, `sleep`,
//! state between evaluations. An editor breaks this by registering a function that answers differently for the same windows.

mod api;
pub mod ask;
mod branches;
mod diagnose;
mod distance;
mod expression;
mod host;
mod load;
pub mod manual;
mod quantity;
mod reading;
mod retrace;
mod session;
pub mod survey;
mod words;

#[cfg(test)]
mod tests;

pub use branches::{Branch, BranchKind};
pub use diagnose::PolicyError;
pub use diagnose::did_you_mean;
pub use distance::{Distance, Turn};
pub use expression::{Around, Expression, TEXTS_MAX};
pub use host::{Evaluated, Evaluation, Host, Subject, Traits};
pub use load::{Drill, ForEach, Policy, digest};
pub use manual::{ApiEntry, reference};
pub use quantity::quantity;
pub use session::{Op, Seen, Trail};
