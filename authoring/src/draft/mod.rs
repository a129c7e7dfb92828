//! From what was done several times to a policy for review: at which value of which series people (or policies) acted, and what then came.
//!
//! Reading order: this file (what goes in and what comes out), `relate` (which series speak of a target), `threshold` (the value that
//! tells the moments of acting from all others), `write` (the policy and its test), `patch` (as `git apply` takes it). Everything is
//! figured out from the record, without a model. Where the record does not tell, there is no draft and the reason is said. Deliberately
//! absent: loading; a person merges the patch. An editor breaks this by a number in a draft that the record does not carry, or by
//! putting a text of others into a script other than as a checked literal.

mod patch;
mod relate;
mod threshold;
mod write;

#[cfg(test)]
mod tests;

pub use patch::{NewFile, patch};
pub use relate::relates;
pub use threshold::{Basis, Found, Side};

use homeostat_model::{ActionId, Args, Claim, Evidence, Finding, SeriesKey, Span, Target, Time, Verb};
use std::collections::BTreeMap;

/// Fewer occasions than this say nothing, whatever is asked for.
pub const OCCASIONS_MIN: usize = 2;
/// How many are wanted where nothing is said.
pub const OCCASIONS_USUAL: usize = 3;

/// One time that it was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Occasion {
    /// The action.
    pub action: ActionId,
    /// The journal entry of its sending.
    pub entry: u64,
    /// When it was sent.
    pub at: Time,
    /// Who wished it, as the journal names them.
    pub by: String,
    /// How.
    pub args: Args,
    /// What was read for it.
    pub evidence: Vec<Evidence>,
    /// What was claimed.
    pub claim: Option<Claim>,
    /// What it really did, where it was scored.
    pub finding: Option<Finding>,
}

/// A recorded series.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Which.
    pub key: SeriesKey,
    /// Its sensor's rhythm.
    pub interval: Span,
    /// Values in order of time, finite.
    pub samples: Vec<(Time, f64)>,
}

/// Times that fit the plant, as the kernel learned them for a verb and a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// How long symptoms mean nothing after the action.
    pub settle: Span,
    /// How long the wish stays quiet after it.
    pub cooldown: Span,
    /// What they rest on.
    pub text: String,
}

/// What a draft is made from.
#[derive(Clone, Debug)]
pub struct Material {
    /// The policy's name; `None`: made from verb and target.
    pub name: Option<String>,
    /// What was done.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// Each time, in order.
    pub occasions: Vec<Occasion>,
    /// How many occasions are needed.
    pub at_least: usize,
    /// The recorded series that may be looked at.
    pub curves: Vec<Curve>,
    /// Learned times by metric.
    pub paces: BTreeMap<String, Pace>,
}

/// A policy for review.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// `<name>.rhai`.
    pub policy: String,
    /// `<name>.test.yaml`.
    pub test: String,
    /// What each number rests on, one line each.
    pub why: Vec<String>,
    /// What was found.
    pub found: Found,
}

/// Drafts a policy.
///
/// # Errors
/// Why the record does not give one.
pub fn draft(material: &Material) -> Result<Draft, String> {
    let Material { verb, target, occasions, .. } = material;
    let wanted = material.at_least.max(OCCASIONS_MIN);
    if occasions.len() < wanted {
        return Err(format!(
            "`{verb}` on `{target}` was sent {} times in the record, and {wanted} are needed: from fewer no threshold can be told",
            occasions.len()
        ));
    }
    if occasions.iter().any(|occasion| occasion.finding == Some(Finding::Harmed)) {
        let harmed: Vec<String> =
            occasions.iter().filter(|o| o.finding == Some(Finding::Harmed)).map(|occasion| occasion.action.to_string()).collect();
        return Err(format!("`{verb}` on `{target}` did harm by its scores ({}): that is nothing to be done by itself", harmed.join(", ")));
    }
    let found = threshold::find(material)?;
    write::write(material, found)
}
