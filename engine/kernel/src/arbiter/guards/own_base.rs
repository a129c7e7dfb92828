//! The engine never interrupts what it stands on: its own host, its Prometheus, DNS, gateway, storage path (lesson 25).

use super::{Case, Opinion};
use homeostat_model::Target;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    // A node that was sent to sleep cannot wake itself: that counts as well.
    let down = case.takes_down();
    if down.is_empty() {
        return Opinion::pass("does not interrupt anything");
    }
    match down.iter().find_map(|target| problem(case, target)) {
        Some(text) => Opinion::deny(text),
        None => Opinion::pass("the engine does not stand on it"),
    }
}

fn problem(case: &Case<'_>, target: &Target) -> Option<String> {
    // `filesystem/nas:/`, `disk/nas:sda`: what is on a node is part of it.
    let host = target.name().split([':', '/']).next().unwrap_or_default();
    for base in &case.settings.own_base {
        let on_a_node = matches!(target.kind(), "node" | "filesystem" | "disk");
        if &base.target == target || (on_a_node && base.target.kind() == "node" && same_host(base.target.name(), host)) {
            return Some(format!("`{target}` is {}", base.why));
        }
        // What it stands on stands on something else.
        if case.world.topology().below(target).contains(&base.target) {
            return Some(format!("`{}`, which hangs on `{target}`, is {}", base.target, base.why));
        }
    }
    None
}

/// `NAS`, `nas` and `nas.lan` are one host; addresses are compared whole.
fn same_host(a: &str, b: &str) -> bool {
    let is_address = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    !b.is_empty() && (a.eq_ignore_ascii_case(b) || (!is_address(a) && !is_address(b) && short(a) == short(b)))
}
