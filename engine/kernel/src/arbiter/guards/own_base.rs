//! The engine never interrupts what it stands on: its own host, its Prometheus, DNS, gateway, storage path (lesson 25).

use super::{Case, Opinion};
use homeostat_model::Class;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if case.class() < Class::Disruptive {
        return Opinion::pass("does not interrupt anything");
    }
    let target = &case.proposal.target;
    for base in &case.settings.own_base {
        let same_node =
            target.kind() != "node" && base.target.kind() == "node" && target.name().split([':', '/']).next() == Some(base.target.name());
        if &base.target == target || same_node {
            return Opinion::deny(format!("`{target}` is {}", base.why));
        }
    }
    Opinion::pass("the engine does not stand on it")
}
