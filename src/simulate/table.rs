//! The figures as a table: one column per control, the four of control theory first.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use homeostat_sim::figures::Figures;

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".into(), |seconds| homeostat_model::Span::from_secs(seconds.round() as i64).to_string())
}

/// The table.
pub fn of(figures: &[Figures]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(std::iter::once(String::new()).chain(figures.iter().map(|f| f.control.to_owned())));
    let mut row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        table.add_row(std::iter::once(name.to_owned()).chain(figures.iter().map(cell)));
    };
    row("Stability: action cycles", &|f| f.action_cycles.to_string());
    row("Accuracy: time outside aims", &|f| format!("{} ({:.3} %)", time(Some(f.outside_seconds)), f.outside_ratio * 100.0));
    row("Settling time, mean", &|f| time(f.settling_seconds));
    row("Overshoot, capacity beyond need", &|f| format!("{:.0} %", f.overshoot_ratio * 100.0));
    row("Time to detect, mean", &|f| {
        if f.detected == 0 { "-".into() } else { format!("{} ({} of {})", time(f.detect_seconds), f.detected, f.faults) }
    });
    row("Time to recover, mean", &|f| time(f.recover_seconds));
    row("Breaches of aims", &|f| f.breaches.to_string());
    row("Service disruption", &|f| format!("{:.0} min", f.disruption_minutes));
    row("Energy used", &|f| format!("{:.1} kWh", f.joules / 3.6e6));
    row("Energy saved by sleep", &|f| format!("{:.1} kWh", f.joules_saved / 3.6e6));
    row("Actions: notify, restore", &|f| format!("{}, {}", count(f, "notify"), count(f, "restore")));
    row("Actions: reversible, disruptive", &|f| format!("{}, {}", count(f, "reversible"), count(f, "disruptive")));
    row("Useful, useless, harmful", &|f| format!("{}, {}, {}", f.useful, f.useless, f.harmful));
    row("Claims held, failed, unseen", &|f| format!("{}, {}, {}", claims(f, "held"), claims(f, "failed"), claims(f, "undetermined")));
    row("Lost for good", &|f| f.losses.len().to_string());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn count(figures: &Figures, class: &str) -> usize {
    figures.actions.get(class).copied().unwrap_or(0)
}

fn claims(figures: &Figures, result: &str) -> usize {
    figures.claims.get(result).copied().unwrap_or(0)
}
