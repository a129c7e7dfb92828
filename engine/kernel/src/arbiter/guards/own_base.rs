//! The engine never interrupts what it stands on: its own host, its Prometheus, DNS, gateway, storage path (lesson 25).

use super::{Case, Opinion};
use homeostat_model::Class;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let target = &case.proposal.target;
    // What has an opposite takes a node away until that is done: a node that was sent to sleep cannot wake itself.
    let takes_it_away = target.kind() == "node" && case.spec.is_some_and(|spec| spec.opposite.is_some());
    let least = if takes_it_away { Class::Reversible } else { Class::Disruptive };
    if case.class() < least {
        return Opinion::pass("does not interrupt anything");
    }
    // `filesystem/nas:/`, `disk/nas:sda`: what is on a node is part of it.
    let host = target.name().split([':', '/']).next().unwrap_or_default();
    for base in &case.settings.own_base {
        let on_a_node = matches!(target.kind(), "node" | "filesystem" | "disk");
        if &base.target == target || (on_a_node && base.target.kind() == "node" && same_host(base.target.name(), host)) {
            return Opinion::deny(format!("`{target}` is {}", base.why));
        }
    }
    Opinion::pass("the engine does not stand on it")
}

/// `NAS`, `nas` and `nas.lan` are one host; addresses are compared whole.
fn same_host(a: &str, b: &str) -> bool {
    let is_address = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    !b.is_empty() && (a.eq_ignore_ascii_case(b) || (!is_address(a) && !is_address(b) && short(a) == short(b)))
}
