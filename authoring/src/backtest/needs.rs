//! What history a policy needs: the metrics that its text names, and how far back it looks.
//!
//! Told from the text alone (`homeostat_kernel::policy::survey`). Deliberately absent: how a source gets at them. An editor breaks
//! this by leaving out a metric that only a claim names: the claim could then never be judged.

use homeostat_kernel::policy::{ForEach, Policy};
use homeostat_model::Span;
use std::collections::BTreeSet;

/// The metrics and the look-back of some policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Metrics by the names that the policies use: normalised signals or raw ones.
    pub metrics: BTreeSet<String>,
    /// The longest window.
    pub window: Span,
    /// Reads whose metric only an evaluation could tell: policy, line.
    pub untold: Vec<(String, usize)>,
}

impl Needs {
    /// What these policies need.
    pub fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Needs {
        let mut needs = Needs::default();
        for policy in policies {
            if let ForEach::Series(_, text) = &policy.for_each {
                needs.metrics.extend(metric_of(text));
            }
            let survey = policy.survey();
            for read in &survey.reads {
                match &read.metric {
                    Some(metric) => drop(needs.metrics.insert(metric.clone())),
                    None if !read.is_target => needs.untold.push((policy.id.to_string(), read.place.line)),
                    None => {}
                }
                needs.window = needs.window.max(read.window.unwrap_or_default());
            }
            for comparison in &survey.comparisons {
                needs.metrics.extend(comparison.metric.clone());
                needs.window = needs.window.max(comparison.window.unwrap_or_default()).max(comparison.held.unwrap_or_default());
            }
            for claim in survey.wishes.iter().filter_map(|wish| wish.claim.as_ref()) {
                needs.metrics.extend(claim.metric.clone());
            }
        }
        needs
    }
}

/// The metric of a selector that names one.
fn metric_of(selector: &str) -> Option<String> {
    let name = selector.split('{').next().unwrap_or_default().trim();
    (!name.is_empty()).then(|| name.to_owned())
}
