//! The kinds of findings, for people and tools; `docs/policy-check.md` is written from this list.

use std::fmt::Write as _;

/// Every code with what it means.
pub const CODES: &[(&str, &str)] = &[
    ("syntax", "The text cannot be read as a policy."),
    ("no-policy", "There is no `fn policy()`."),
    ("nothing-runs", "No function is there that the kernel calls, or nothing says what for."),
    ("policy-map", "`policy()` gives no map, or fails."),
    ("unknown-key", "A key that means nothing, in `policy()` or in a test file."),
    ("unknown-autonomy", "No such autonomy."),
    ("unknown-function", "No such function."),
    ("unknown-variable", "No such variable."),
    ("unknown-param", "No such parameter, in the script or in the configuration."),
    ("unknown-metric", "A metric that nobody delivers, or nearly the name of one that somebody does."),
    ("not-delivered", "A signal of the vocabulary that no sensor of this lab delivers now."),
    ("unknown-label", "A label that the signal does not have, or a field that alerts do not have."),
    ("unused-param", "A parameter that nothing asks for."),
    ("unused-variable", "A variable that nothing reads."),
    ("wrong-selector", "A selector that cannot be read."),
    ("wrong-span", "A span of time that is none."),
    ("wrong-type", "A text where a number is expected, a reading where a claim is, and the like."),
    ("wrong-arguments", "Too few or too many values in a call."),
    ("wrong-unit", "A number that the unit of the metric does not allow: 90 for a ratio, 0.1 for bytes, 14 for seconds."),
    ("counter-as-gauge", "The value of a counter is compared, not what came within a time."),
    ("unreachable", "Code after a `return`."),
    ("constant-condition", "A condition that is always true or always false."),
    ("contradiction", "Comparisons of one series that cannot hold together."),
    ("unknown-verb", "Nobody can do this: no configured actuator has the verb."),
    ("wrong-target", "A target that the verb does not act on, or that is none."),
    ("unknown-argument", "An argument that the verb does not have."),
    ("missing-argument", "An argument that the verb needs."),
    ("wrong-argument", "An argument of the wrong kind, or out of its range."),
    ("missing-because", "A wish without a reason: the arbiter refuses it."),
    ("missing-claim", "A wish without a claim: the arbiter refuses it."),
    ("missing-within", "A claim without an end."),
    ("claim-too-late", "A claim that is due later than the arbiter allows."),
    ("claim-cannot-come-true", "A claim beyond what the metric can be, or that cannot be seen in time."),
    ("claim-already-true", "A claim that holds already when it is wished."),
    ("claim-wrong-way", "A claim that it gets worse."),
    ("no-hysteresis", "It fires and recovers at one level, or one sample is enough to act."),
    ("short-cooldown", "The cooldown ends before the next evaluation, or before the claim is due."),
    ("cannot-recover", "The condition looks back further than the cooldown: it fires again although the action helped."),
    ("window-too-long", "A window longer than samples are kept."),
    ("test-file", "A test file that cannot be read, or says nothing that can be judged."),
    ("missing-key", "A key that a test file needs."),
    ("duplicate-key", "A key that a test file has twice."),
];

/// The page about them.
pub fn reference() -> String {
    let mut page = String::from(
        "# What `homeostat policy check` finds\n\n\
         Generated from `authoring/src/diagnose/codes.rs`; do not edit. Each finding has a code, a place, what is wrong, what was\n\
         expected, and what to do. Errors end with status 1; warnings do with `--deny warnings`; notes never. `--json` gives the same\n\
         as data. Examples, with what is said, stand in `tests/diagnostics`.\n\n| code | meaning |\n|---|---|\n",
    );
    for (code, meaning) in CODES {
        let _ = writeln!(page, "| `{code}` | {meaning} |");
    }
    page
}
