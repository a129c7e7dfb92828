//! Guards that look further than one target, in the whole loop: series make the topology, policies wish, the arbiter rules. What a
//! guard says in all its cases stands in `arbiter/tests.rs`.

use super::lab::{Lab, at, easy, remedy, rules};
use homeostat_model::guards::{CalendarWindow, DayTime, WindowRule};
use homeostat_model::{ArbiterSettings, Class, Cost, Edge, Event, Floor, Link, RuleSet, Span, TopologySettings};

fn lab(set: RuleSet) -> Lab {
    let mut lab = Lab::empty();
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    let said = lab.event(0, Event::Loaded(Box::new(set)));
    assert!(!said.iter().any(|text| text.contains("refused")), "{said:#?}");
    lab
}

/// A policy that does `verb` to the target of the series `sick`, a text of its own.
fn for_sick(verb: &str, target: &str) -> String {
    remedy(verb, "every: \"15s\"").replace("series(\"bad\")", "series(\"sick\")").replace("\"node/\" + s.node", &format!("\"{target}\""))
}

fn with(settings: ArbiterSettings, policies: &[(&str, &str)], topology: TopologySettings) -> RuleSet {
    RuleSet { topology, ..rules(settings, policies) }
}

fn pods() -> TopologySettings {
    TopologySettings::shipped()
}

const POD: &str = "kube_pod_info{namespace='web',pod='shop-0',node='a'}";
const OWNER: &str = "kube_pod_owner{namespace='web',pod='shop-0',owner_kind='StatefulSet',owner_name='shop'}";

#[test]
fn lesson_20_a_node_on_its_way_down_takes_what_runs_on_it_out_of_reach() {
    let reboot = remedy("exec.reboot", "every: \"15s\"");
    let fix = for_sick("exec.restart", "statefulset/web/shop");
    let other = for_sick("exec.restart", "statefulset/web/other").replace("\"sick\"", "\"other\"");
    let set = with(easy(), &[("fix", &fix), ("other", &other), ("reboot", &reboot)], pods());
    let mut lab = lab(set);
    let said = lab.observe(15, &[(POD, 1.0), (OWNER, 1.0), ("bad{node='a'}", 1.0)]);
    assert_eq!(said, ["a1 admitted", "a1 act exec.reboot on node/a #1"]);
    let row = [(POD, 1.0), (OWNER, 1.0), ("bad{node='a'}", 1.0), ("sick{node='x'}", 1.0), ("other{node='x'}", 1.0)];
    let said = lab.observe(30, &row);
    assert!(said.contains(&"a3 deferred by lock".to_owned()) || said.contains(&"a2 deferred by lock".to_owned()), "{said:?}");
    assert!(said.iter().any(|text| text.contains("act exec.restart on statefulset/web/other")), "{said:?}");
    assert!(!said.iter().any(|text| text.contains("act exec.restart on statefulset/web/shop")), "{said:?}");
    // When the reboot is over, the wish that waited is done.
    let mut said = lab.done(31, 1);
    said.extend(lab.observe_all(45..=120, &row));
    assert!(said.iter().any(|text| text.contains("act exec.restart on statefulset/web/shop")), "{said:?}");
}

#[test]
fn lesson_22_a_field_with_an_owner_is_denied_and_given_back_when_the_owner_goes() {
    let mut topology = pods();
    topology.owners[0].verbs.push("exec.restart".into());
    let fix = for_sick("exec.restart", "deployment/web/shop");
    let mut lab = lab(with(easy(), &[("fix", &fix)], topology));
    const HPA: &str = "kube_horizontalpodautoscaler_info{namespace='web',horizontalpodautoscaler='h',scaletargetref_kind='Deployment',scaletargetref_name='shop'}";
    assert_eq!(lab.observe(15, &[(HPA, 1.0), ("sick{node='x'}", 1.0)]), ["a1 denied by foreign_owner"]);
    assert!(lab.guard(1, "foreign_owner").contains("the autoscaler web/h"), "{}", lab.guard(1, "foreign_owner"));
    let said = lab.observe_all(30..=60, &[("sick{node='x'}", 1.0)]);
    assert!(said.iter().any(|text| text.contains("act exec.restart")), "its series has ended: {said:?}");
}

#[test]
fn lesson_18_a_floor_holds_the_second_reboot_until_the_first_is_back() {
    let settings = ArbiterSettings { floors: vec![Floor { targets: vec!["node/*".into()], min_healthy: 2 }], ..easy() };
    let reboot = remedy("exec.reboot", "every: \"15s\", cooldown: \"10h\"");
    let mut lab = lab(with(settings, &[("reboot", &reboot)], pods()));
    const UP: [(&str, f64); 3] = [("node_up{node='a'}", 1.0), ("node_up{node='b'}", 1.0), ("node_up{node='c'}", 1.0)];
    let row = |bad: &[&'static str]| [UP.to_vec(), bad.iter().map(|name| (*name, 1.0)).collect()].concat();
    let said = lab.observe(15, &row(&["bad{node='a'}", "bad{node='b'}"]));
    assert_eq!(said, ["a1 admitted", "a1 act exec.reboot on node/a #1", "a2 deferred by floors"]);
    // A silent node is not a healthy one.
    let said = lab.observe(30, &[("node_up{node='a'}", 0.0), ("node_up{node='b'}", 1.0), ("bad{node='b'}", 1.0)]);
    assert!(said.contains(&"a2 denied by floors".to_owned()), "{said:?}");
    lab.done(31, 1);
    let said = lab.observe_all(45..=60, &row(&["bad{node='b'}"]));
    assert!(said.iter().any(|text| text.contains("act exec.reboot on node/b")), "{said:?}");
}

#[test]
fn lesson_16_the_last_copy_is_not_taken_even_with_a_yes() {
    let mut settings = easy();
    settings.autonomy.insert(Class::Disruptive, homeostat_model::Autonomy::Suggest);
    let mut topology = pods();
    topology.links.push(Link { from: "volume/db".into(), edge: Edge::StoresOn, to: "node/a".into() });
    topology.links.push(Link { from: "volume/db".into(), edge: Edge::StoresOn, to: "node/b".into() });
    let reboot = remedy("exec.reboot", "every: \"15s\"");
    let mut lab = lab(with(settings, &[("reboot", &reboot)], topology));
    let bad = ("bad{node='a'}", 1.0);
    let said = lab.observe(15, &[("node_up{node='b'}", 1.0), bad]);
    assert_eq!(said[0], "a1 awaiting_approval by autonomy");
    assert!(lab.guard(1, "blast_radius").contains("1 volume down to one replica (db)"), "{}", lab.guard(1, "blast_radius"));
    // The other copy's node dies while the question is open: the yes comes too late.
    lab.observe(30, &[("node_up{node='b'}", 0.0), bad]);
    let said = lab.order(31, homeostat_model::Command::Approve { action: homeostat_model::ActionId(1), plan: None });
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    assert!(lab.guard(1, "blast_radius").contains("`volume/db` would be left without a copy"), "{}", lab.guard(1, "blast_radius"));
}

#[test]
fn lesson_04_an_engine_that_lost_its_gateway_takes_nothing_down_but_wakes() {
    let mut settings = easy();
    settings.witnesses.gateway = vec!["probe_success{to='gateway'}".into()];
    let (reboot, wake) = (remedy("exec.reboot", "every: \"15s\""), for_sick("power.wake", "node/b"));
    let mut lab = lab(with(settings, &[("reboot", &reboot), ("wake", &wake)], pods()));
    let row = |gateway: f64| [("probe_success{to='gateway'}", gateway), ("bad{node='a'}", 1.0), ("sick{node='b'}", 1.0)];
    let said = lab.observe(15, &row(0.0));
    assert!(said.iter().any(|text| text.ends_with("denied by witnesses")), "{said:?}");
    assert!(said.iter().any(|text| text.contains("act power.wake on node/b")), "{said:?}");
    let said = lab.observe(30, &row(1.0));
    assert!(said.iter().any(|text| text.contains("act exec.reboot on node/a")), "{said:?}");
}

#[test]
fn lesson_18_what_comes_back_after_an_outage_comes_one_by_one() {
    let mut settings = easy();
    (settings.storm.restores_max, settings.storm.ramp) = (2, Span::from_secs(60));
    let wake = remedy("power.wake", "every: \"15s\", cooldown: \"10h\"");
    let mut lab = lab(with(settings, &[("wake", &wake)], TopologySettings::default()));
    let names: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| format!("bad{{node='{name}'}}")).collect();
    let row: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    let mut sent = Vec::new();
    for second in (15..=200).step_by(15) {
        for text in lab.observe(second, &row).into_iter().filter(|text| text.contains(" act ")) {
            let id = text.split(' ').next().and_then(|id| id.trim_start_matches('a').parse().ok()).expect("an action's number");
            sent.push(second);
            lab.done(second + 1, id);
        }
    }
    assert_eq!(sent, [15, 15, 75, 135], "two at once are no storm yet; then one a minute");
}

#[test]
fn lesson_17_the_day_is_spent() {
    let mut set = with(easy(), &[("reboot", &remedy("exec.reboot", "every: \"15s\", cooldown: \"1m\""))], TopologySettings::default());
    let spec = set.actuators.iter_mut().flat_map(|spec| &mut spec.verbs).find(|spec| spec.verb.as_str() == "exec.reboot").expect("it");
    spec.cost = Cost { disruption: Span::from_mins(5), energy_joules: 1000.0, ..Cost::default() };
    set.arbiter.day.disruption_max = Some(Span::from_mins(9));
    let mut lab = lab(set);
    let bad = [("bad{node='a'}", 1.0)];
    assert_eq!(lab.observe(15, &bad).len(), 2);
    lab.done(16, 1);
    let said = lab.observe_all(30..=300, &bad);
    assert!(said.contains(&"a2 deferred by budget".to_owned()), "{said:?}");
    assert!(lab.guard(2, "budget").contains("10.00 minutes of interruption"), "{}", lab.guard(2, "budget"));
}

#[test]
fn quiet_hours_hold_until_they_end() {
    // The lab begins at 22:13:20 UTC.
    let mut settings = easy();
    let time = |text: &str| DayTime::parse(text).expect("a time");
    settings.calendar.windows.push(CalendarWindow {
        name: "evening".into(),
        rule: WindowRule::Deny,
        classes: vec![Class::Disruptive],
        weekdays: Vec::new(),
        from: time("22:00"),
        to: time("22:20"),
    });
    let mut lab = lab(with(settings, &[("reboot", &remedy("exec.reboot", "every: \"15s\""))], TopologySettings::default()));
    let bad = [("bad{node='a'}", 1.0)];
    assert_eq!(lab.observe(15, &bad), ["a1 deferred by calendar"]);
    let ends = at(400);
    assert!(lab.guard(1, "calendar").contains(&format!("{ends:?}")), "{}", lab.guard(1, "calendar"));
    let said = lab.observe_all(30..=390, &bad);
    assert!(said.is_empty(), "{said:?}");
    let said = lab.observe_all(405..=405, &bad);
    assert!(said.iter().any(|text| text.contains("act exec.reboot")), "{said:?}");
}

/// The same events give the same rulings, with the same words, whatever looked in between.
#[test]
fn the_topology_is_replayed_bit_for_bit() {
    let play = |look: bool| {
        let reboot = remedy("exec.reboot", "every: \"15s\"");
        let mut lab = lab(with(easy(), &[("reboot", &reboot)], pods()));
        let mut said = Vec::new();
        for second in (15..=150).step_by(15) {
            let up = if second > 60 { 0.0 } else { 1.0 };
            said.extend(lab.observe(second, &[(POD, 1.0), (OWNER, 1.0), ("node_up{node='a'}", up), ("bad{node='a'}", 1.0)]));
            if look {
                let _ = lab.kernel.held(homeostat_model::ActionId(1), "ann");
            }
        }
        let rulings: Vec<_> = lab.kernel.ledger().actions().map(|state| state.ruling.clone()).collect();
        (said, rulings)
    };
    assert_eq!(play(false), play(true));
}
