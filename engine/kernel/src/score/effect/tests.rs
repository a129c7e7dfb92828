//! The estimator against worlds whose truth is known, against a published series, and against its own symmetries.

mod worlds;

use super::*;

/// A question without siblings.
fn question(target: &[(f64, f64)]) -> Question<'_> {
    Question { target, controls: &[], from: 120.0, to: 1920.0, better: Better::Down, matters: 0.2, natural: None }
}
