//! The page's structure: what is drawn is what was found.

use super::*;
use crate::backtest::tests::{low_disk, question, run_rows};

fn count(page: &str, part: &str) -> usize {
    page.matches(part).count()
}

#[test]
fn a_plot_has_a_mark_per_firing_and_a_line_per_threshold() {
    let found = run_rows(question(low_disk(0.1)), &[0.5, 0.05, 0.05, 0.5, 0.5, 0.04, 0.5, 0.5]);
    assert_eq!(found.firings.len(), 2, "{:?}", found.firings);
    let page = html(&found, None, &|at| at.millis().to_string());
    assert_eq!(count(&page, "<g data-firing="), 2);
    assert_eq!(count(&page, "data-threshold=\"&lt; 0.1\""), 1);
    assert_eq!(count(&page, "<svg"), 1);
    assert!(page.contains("data-firings=\"2\""));
    for forbidden in ["<script", "http://", "https://", "url("] {
        assert!(!page.contains(forbidden), "nothing is loaded: {forbidden}");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("counterfactual"));
}

#[test]
fn the_diff_names_what_only_one_version_has() {
    let values = [0.5, 0.05, 0.5, 0.5, 0.15, 0.5, 0.5];
    let (before, after) = (run_rows(question(low_disk(0.1)), &values), run_rows(question(low_disk(0.2)), &values));
    let differs = crate::backtest::diff(&before, &after, Span::from_mins(1));
    let page = html(&after, Some((&before, &differs)), &|at| at.millis().to_string());
    assert_eq!((count(&page, "data-diff=\"only-a\""), count(&page, "data-diff=\"only-b\"")), (0, 1));
}

#[test]
fn labels_from_outside_are_text() {
    assert_eq!(escape("<b a='\"'>&\u{7}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp; ");
    assert_eq!(rough(Span::from_secs(93_784)), "1d2h");
    assert_eq!(rough(Span::from_millis(5)), "0s");
}
