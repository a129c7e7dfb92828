//! What verbs do to what is measured: declared, because nobody can see it in a policy.
//!
//! Three sources, the first that knows wins metric by metric: what the configuration declares (for the house's own commands), the
//! table below (for shipped verbs, in the normalised vocabulary), and the policies' own claims: `claim(fs.above(0.2))` on a verb says
//! that it raises that metric. `docs/effects.md` is generated from the table. An editor breaks this by declaring a wish: what stands
//! here must be what the verb does when it works.

use homeostat_model::Playbook;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Which way a verb moves a metric.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Up.
    Raises,
    /// Down.
    Lowers,
    /// It depends.
    Either,
}

impl Sign {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Sign::Raises => "raises",
            Sign::Lowers => "lowers",
            Sign::Either => "moves",
        }
    }

    /// Whether the two push in opposite directions.
    pub fn is_against(self, other: Sign) -> bool {
        matches!((self, other), (Sign::Raises, Sign::Lowers) | (Sign::Lowers, Sign::Raises))
    }

    fn joined(self, other: Sign) -> Sign {
        if self == other { self } else { Sign::Either }
    }
}

/// Who says so.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The configuration.
    Configured,
    /// The table of shipped verbs.
    Shipped,
    /// The claim of a policy.
    Claimed,
}

/// The metrics that a verb moves.
pub type Moves = BTreeMap<String, Sign>;

/// What is declared beside the table: metrics and signs by verb.
pub type Declared = BTreeMap<String, Moves>;

type Row = (&'static str, &'static [(&'static str, Sign)]);

use Sign::{Either, Lowers, Raises};

/// The shipped verbs. One without metrics moves nothing that is measured.
const SHIPPED: &[Row] = &[
    ("notify.send", &[]),
    ("alertmanager.silence", &[]),
    ("grafana.annotate", &[]),
    ("argo.refresh", &[]),
    ("power.wake", ON),
    ("power.on", ON),
    ("power.sleep", OFF),
    ("power.off", OFF),
    (
        "power.reboot",
        &[
            ("node_up", Either),
            ("service_up", Either),
            ("node_uptime_seconds", Lowers),
            ("node_memory_avail_ratio", Raises),
            ("node_memory_avail_bytes", Raises),
            ("node_swap_used_ratio", Lowers),
            ("node_power_watts", Either),
            ("disk_power_cycles", Raises),
        ],
    ),
    (
        "node.drain",
        &[
            ("node_cpu_busy_ratio", Lowers),
            ("node_load1_per_core_ratio", Lowers),
            ("node_pressure_ratio", Lowers),
            ("node_memory_avail_ratio", Raises),
            ("node_memory_avail_bytes", Raises),
            ("node_power_watts", Lowers),
            ("temperature_celsius", Lowers),
            ("service_up", Either),
        ],
    ),
    ("node.cordon", &[("node_cpu_busy_ratio", Either), ("node_load1_per_core_ratio", Either), ("pod_waiting", Either)]),
    ("node.uncordon", &[("node_cpu_busy_ratio", Either), ("node_load1_per_core_ratio", Either), ("pod_waiting", Either)]),
    (
        "scale.up",
        &[
            ("service_up", Raises),
            ("node_memory_avail_ratio", Lowers),
            ("node_memory_avail_bytes", Lowers),
            ("node_power_watts", Raises),
            ("node_cpu_busy_ratio", Either),
        ],
    ),
    (
        "scale.down",
        &[
            ("service_up", Lowers),
            ("node_memory_avail_ratio", Raises),
            ("node_memory_avail_bytes", Raises),
            ("node_power_watts", Lowers),
            ("node_cpu_busy_ratio", Either),
        ],
    ),
    ("restart.rollout", RESTART),
    ("pod.delete", RESTART),
    ("docker.restart", RESTART),
    ("argo.sync", RESTART),
    ("argo.rollback", RESTART),
    ("resources.set", &[("pod_restarts_total", Either), ("pod_waiting", Either), ("node_memory_avail_ratio", Either)]),
    ("proxmox.start", ON),
    ("proxmox.shutdown", OFF),
    ("proxmox.stop", OFF),
    ("proxmox.migrate", &[("node_cpu_busy_ratio", Either), ("node_memory_avail_ratio", Either), ("service_up", Either)]),
    ("restic.backup", &[("filesystem_avail_ratio", Lowers), ("filesystem_avail_bytes", Lowers)]),
    ("restic.check", &[]),
    ("velero.backup", &[]),
    ("chaos.run", &[("service_up", Lowers), ("pod_restarts_total", Raises), ("pod_waiting", Either)]),
    ("chaos.abort", &[("service_up", Raises)]),
];

const ON: &[(&str, Sign)] = &[("node_up", Raises), ("service_up", Raises), ("node_power_watts", Raises), ("temperature_celsius", Raises)];
const OFF: &[(&str, Sign)] = &[("node_up", Lowers), ("service_up", Lowers), ("node_power_watts", Lowers), ("temperature_celsius", Lowers)];
/// New processes: their counters begin at nothing, and whether they come up is what the claim is for.
const RESTART: &[(&str, Sign)] = &[
    ("service_up", Either),
    ("pod_restarts_total", Either),
    ("pod_waiting", Either),
    ("node_memory_avail_ratio", Either),
    ("node_memory_avail_bytes", Either),
];

/// What a verb moves by configuration and table; `None`: nothing is declared for it.
pub fn declared(verb: &str, configured: &Declared, playbooks: &[Playbook]) -> Option<BTreeMap<String, (Sign, Source)>> {
    let table = SHIPPED.iter().find(|(name, _)| *name == verb);
    let own = configured.get(verb);
    let mut moves: BTreeMap<String, (Sign, Source)> = BTreeMap::new();
    let mut known = table.is_some() || own.is_some();
    if let Some(playbook) = verb.strip_prefix("playbook.").and_then(|id| playbooks.iter().find(|playbook| playbook.id == id)) {
        // All that its steps move; where they differ it depends. A step that nobody has declared leaves the whole open.
        let verbs: Vec<&str> = playbook.steps.iter().filter_map(|step| step.verb.as_ref()).map(|verb| verb.as_str()).collect();
        let each: Vec<Option<BTreeMap<String, (Sign, Source)>>> = verbs.iter().map(|verb| declared(verb, configured, &[])).collect();
        known |= each.iter().all(Option::is_some) && !each.is_empty();
        for (metric, (sign, source)) in each.into_iter().flatten().flatten() {
            moves.entry(metric).and_modify(|(known, _)| *known = known.joined(sign)).or_insert((sign, source));
        }
    }
    moves.extend(table.into_iter().flat_map(|(_, row)| *row).map(|(metric, sign)| ((*metric).to_owned(), (*sign, Source::Shipped))));
    moves.extend(own.into_iter().flatten().map(|(metric, sign)| (metric.clone(), (*sign, Source::Configured))));
    (known || !moves.is_empty()).then_some(moves)
}

/// The reference page, generated.
pub fn reference() -> String {
    let mut page = String::from(
        "# Effects: what verbs do to what is measured\n\n\
         Generated from the table in `authoring/src/graph/effects.rs`; do not edit. `homeostat policy lint` finds loops with it: metric → policy →\n\
         verb → metric. A verb moves what stands here when it works; \"moves\" means that the direction depends. What is not in the table is told by the\n\
         policies' claims (`claim(fs.above(0.2))`: the verb raises that metric), or by a file given with `--effects`:\n\n\
         ```yaml\n# Up or down, or `either`, by verb and metric.\nhttp.clean: { filesystem_avail_ratio: raises }\nexec.fan: { temperature_celsius: lowers }\n```\n\n\
         | verb | effect |\n|---|---|\n",
    );
    for (verb, row) in SHIPPED {
        let effects: Vec<String> = row.iter().map(|(metric, sign)| format!("{} `{metric}`", sign.name())).collect();
        let _ = writeln!(
            page,
            "| `{verb}` | {} |",
            if effects.is_empty() { "moves nothing that is measured".into() } else { effects.join(", ") }
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::signals;

    #[test]
    fn the_table_speaks_the_vocabulary_and_stands_in_the_manual() {
        for (verb, row) in SHIPPED {
            for (metric, _) in *row {
                assert!(signals().contains_key(metric), "{verb}: `{metric}` is no signal of docs/signals.md");
            }
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/effects.md");
        if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(page, reference(), "docs/effects.md is old; run this test with HOMEOSTAT_BLESS=1");
    }

    #[test]
    fn what_the_house_declares_wins_metric_by_metric() {
        let own = Declared::from([("power.wake".to_owned(), Moves::from([("node_power_watts".to_owned(), Either)]))]);
        let moves = declared("power.wake", &own, &[]).unwrap();
        assert_eq!(moves["node_power_watts"], (Either, Source::Configured));
        assert_eq!(moves["node_up"], (Raises, Source::Shipped));
        assert!(declared("http.x", &own, &[]).is_none());
        assert_eq!(declared("notify.send", &own, &[]), Some(BTreeMap::new()));
    }
}
