//! The whole loop of scoring through the real kernel, where the truth is known: what is found, believed, earned and spent.

mod again;
mod budgets;
mod coverage;
mod drills;
mod earning;
mod lab;
mod loops;
