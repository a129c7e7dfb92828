//! Somebody else steers this field: an autoscaler would undo what is done, every fifteen seconds, for ever (lesson 22). A person's
//! order is no exception, because it would be undone as well.

use super::{Case, Opinion};
use crate::topology::matches;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let touches = case.touches();
    if touches.is_empty() {
        return Opinion::pass("telling changes no field");
    }
    let topology = case.world.topology();
    for touch in &touches {
        let steers = |owner: &&crate::topology::Owner| {
            matches(&owner.target, touch.target.as_str()) && owner.verbs.iter().any(|verb| matches(verb, touch.verb.as_str()))
        };
        if let Some(owner) = topology.owners().iter().find(steers) {
            let text = format!("`{}` of `{}` belongs to {}: {}", owner.field, touch.target, owner.owner, owner.instead);
            return Opinion::deny(text);
        }
    }
    Opinion::pass("nobody else is known to steer it")
}
