//! What the survey tells of small scripts, and of every policy that is shipped or simulated.
use super::*;
use homeostat_model::{PolicyOverride, PolicySource};
use std::path::{Path, PathBuf};

fn of(text: &str) -> Survey {
    survey("t.rhai", text, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads the shipped policies; the engine itself has no files")]
fn every_shipped_policy_is_understood() {
    let mut policies = 0;
    for folder in ["policies", "labs/classic/policies", "labs/classic/demo"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rhai") {
                continue;
            }
            policies += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.display().to_string();
            let survey = of(&text);
            assert!(survey.for_each.is_some() || survey.on_alert.is_some(), "{name}");
            assert!(!survey.wishes.is_empty(), "{name}");
            for wish in &survey.wishes {
                assert!(wish.verb.is_some() && wish.because, "{name}: {wish:?}");
                assert!(wish.claim.is_some() || wish.verb.as_deref() == Some("notify.send"), "{name}: {wish:?}");
                if let Some(claim) = &wish.claim {
                    assert!(claim.within.is_some() && claim.threshold.is_some() && claim.metric.is_some(), "{name}: {claim:?}");
                }
            }
            for read in &survey.reads {
                assert!(read.metric.is_some() && read.place.line > 0, "{name}: {read:?}");
                assert!(read.operation == "last" || read.window.is_some(), "{name}: {read:?}");
            }
            assert!(survey.params.iter().all(|param| param.used), "{name}: {:?}", survey.params);
            assert!(survey.variables.iter().all(|variable| variable.used), "{name}: {:?}", survey.variables);
            assert!(survey.unreachable.is_empty() && survey.branches.iter().all(|branch| branch.always.is_none()), "{name}");
        }
    }
    assert!(policies >= 27, "{policies} policies");
}

#[test]
fn the_disk_policy_is_told_in_full() {
    let survey = of(include_str!("../../../../../policies/disk-full.rhai"));
    let shown: Vec<String> = survey
        .comparisons
        .iter()
        .map(|c| {
            let metric = c.metric.as_deref().unwrap_or("?");
            let threshold = c.threshold.map_or("?".into(), |t| t.to_string());
            format!("{} {metric} {} {threshold}{}", c.operation, c.relation.sign(), c.held.map_or(String::new(), |h| format!(" for {h}")))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "last filesystem_readonly == 1",
            "held_below filesystem_avail_ratio < 0.1 for 5m",
            "last filesystem_avail_ratio < 0.4",
            "coverage filesystem_avail_ratio > 0.5",
            "seconds_until filesystem_avail_ratio < 86400",
        ]
    );
    let readonly = survey.reads.iter().find(|read| read.metric.as_deref() == Some("filesystem_readonly")).unwrap();
    assert_eq!(readonly.selector.as_deref(), Some("filesystem_readonly{node='${fs.node}',mountpoint='${fs.mountpoint}'}"));
    // Both wishes know what holds where they stand; the second that the first did not.
    let when: Vec<Vec<(usize, bool)>> =
        survey.wishes.iter().map(|wish| wish.when.iter().map(|fact| (fact.comparison, fact.holds)).collect()).collect();
    assert_eq!(when, [vec![(1, true)], vec![(1, false), (2, true), (3, true), (4, true)]]);
    let held = survey.comparisons[1].place;
    assert_eq!((held.line, held.column, held.len), (17, 11, 10));
}

#[test]
fn thresholds_are_told_on_either_side_and_through_arithmetic() {
    let survey = of("fn policy() { #{ for_each: series(\"t_celsius\"), params: #{ warm: 40.0 } } }\n\
         fn evaluate(t) {\n let hot = param(\"warm\") + 5;\n if hot < t.last() * 2 - 10 { }\n if 90 > -t.over(\"1h\").max() { }\n\
         let odd = t.last().or(0) >= hot; if odd && false { return; 1; }\n if helper(t) { } }\n\
         fn helper(x) { x.held_above(3, \"2m\") || x.over(\"1m\").avg() != 7 }");
    let told: Vec<(SurveyedRelation, Option<f64>, usize)> =
        survey.comparisons.iter().map(|c| (c.relation, c.threshold, c.place.line)).collect();
    use SurveyedRelation::{Greater, GreaterOrEqual, NotEqual};
    assert_eq!(
        told,
        [
            (Greater, Some(27.5), 4),
            (Greater, Some(-90.0), 5),
            (GreaterOrEqual, Some(45.0), 6),
            (Greater, Some(3.0), 8),
            (NotEqual, Some(7.0), 8)
        ]
    );
    assert!(survey.comparisons.iter().all(|c| c.metric.as_deref() == Some("t_celsius") && c.is_target));
    let never: Vec<Option<bool>> = survey.branches.iter().map(|branch| branch.always).collect();
    assert_eq!(never, [None, None, Some(false), None]);
    assert_eq!(survey.unreachable.len(), 1);
    assert_eq!(survey.comparisons[3].held, Some(Span::from_mins(2)));
}

#[test]
fn every_function_of_the_reference_is_understood() {
    for entry in crate::policy::manual::ENTRIES {
        let names = entry.call.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '(')).filter_map(|word| {
            let (name, _) = word.split_once('(')?;
            (!name.is_empty() && name.starts_with(|c: char| c.is_ascii_lowercase())).then_some(name)
        });
        for name in names {
            assert!(RETURNS.iter().any(|(known, _)| *known == name), "`{name}` of {}", entry.call);
        }
    }
}

#[test]
fn a_compiled_policy_is_surveyed_with_the_configured_parameters() {
    let host = crate::policy::Host::new(crate::store::Store::new(homeostat_model::StoreSettings::default()));
    let overrides = PolicyOverride { params: [("low".to_owned(), Arg::Float(0.25))].into(), ..PolicyOverride::default() };
    let text = include_str!("../../../../../policies/disk-full.rhai").to_owned();
    let source = PolicySource { id: "disk-full".into(), path: "disk-full.rhai".into(), text, overrides };
    let policy = host.compile(&source).unwrap();
    assert_eq!(policy.survey().comparisons[1].threshold, Some(0.25));
}
