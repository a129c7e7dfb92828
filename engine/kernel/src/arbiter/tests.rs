//! Guards one by one at a desk: a ledger, a few series, a wish and what it would touch. What only the whole loop shows stands in
//! `kernel/tests/around.rs`.

use super::*;
use crate::topology::World;
use homeostat_model::guards::{CalendarWindow, DayTime, Rung, Weekday, WindowRule, WitnessRule};
use homeostat_model::playbook::APPROVE;
use homeostat_model::{
    Args, Autonomy, Claim, ClaimSubject, Cost, Edge, Fault, FaultCode, Judgement, Link, Observation, Origin, Outcome, Quorum, Receipt,
    Record, Relation, Sample, SeriesDecl, SeriesKey, StoreSettings, Target,
};

const NOW: Time = Time(1_700_000_000_000);

struct Desk {
    ledger: Ledger,
    store: Store,
    arbiter: Arbiter,
    next: u64,
}

fn verb(name: &str, class: Class, opposite: Option<&str>) -> VerbSpec {
    VerbSpec {
        verb: name.into(),
        class,
        args: Vec::new(),
        target_kinds: Vec::new(),
        targets: None,
        opposite: opposite.map(Verb::from),
        settle: Span::from_mins(1),
        timeout: Span::from_mins(1),
        revertible: false,
        cost: Cost { disruption: Span::from_mins(10), energy_joules: 3_600_000.0, ..Cost::default() },
        doc: String::new(),
    }
}

impl Desk {
    fn new(settings: ArbiterSettings, topology: TopologySettings) -> Desk {
        let verbs = [
            verb("notify.send", Class::Notify, None),
            verb("power.wake", Class::Restore, Some("power.sleep")),
            verb("power.sleep", Class::Reversible, Some("power.wake")),
            verb("power.off", Class::Disruptive, Some("power.wake")),
            verb("node.cordon", Class::Reversible, Some("node.uncordon")),
            verb("node.uncordon", Class::Restore, Some("node.cordon")),
            verb("restart.rollout", Class::Reversible, None),
            verb("scale.to", Class::Reversible, None),
            verb("playbook.calm", Class::Disruptive, None),
            verb(APPROVE, Class::Notify, None),
        ];
        let arbiter = Arbiter::default().renewed(verbs, settings, topology);
        Desk { ledger: Ledger::default(), store: Store::new(StoreSettings::default()), arbiter, next: 1 }
    }

    fn observe(&mut self, at: Time, row: &[(&str, &str, &str, f64)]) {
        let mut observation = Observation::new("desk".into(), at, Span::from_secs(15));
        for (number, (metric, label, name, value)) in row.iter().enumerate() {
            observation.declared.push(SeriesDecl { key: SeriesKey::new(*metric, [(*label, *name)]), cohort: 0 });
            observation.samples.push(Sample { series: number as u32, value: *value });
        }
        self.store.append(&observation, &mut |_| {});
    }

    fn proposal(&self, verb: &str, target: &str) -> Proposal {
        Proposal {
            origin: Origin::Policy("test".into()),
            symptom: "s".into(),
            verb: verb.into(),
            target: target.into(),
            args: Args::new(),
            because: "x".into(),
            evidence: Vec::new(),
            claim: Some(Claim { subject: ClaimSubject::Delivered, within: Span::from_mins(5) }),
            cooldown: Span::ZERO,
            settle: Some(Span::from_mins(1)),
            autonomy: Autonomy::Auto,
            alternatives: Vec::new(),
        }
    }

    fn touch(&self, verb: &str, target: &str) -> Touch {
        let class = self.arbiter.verb(&verb.into()).map_or(Class::Irreversible, |spec| spec.class);
        Touch { verb: verb.into(), target: target.into(), args: Args::new(), class }
    }

    /// Sends something, so that it is under way.
    fn send(&mut self, at: Time, proposal: Proposal) -> ActionId {
        let id = ActionId(self.next);
        self.next += 1;
        let class = self.touch(proposal.verb.as_str(), "x/y").class;
        let action = Action {
            id,
            verb: proposal.verb.clone(),
            target: proposal.target.clone(),
            args: Args::new(),
            class,
            timeout: Span::from_mins(1),
            lease: Lease { generation: 1, expires: at },
            because: String::new(),
        };
        let ruling = Ruling { verdict: Verdict::Admitted, reasons: Vec::new() };
        self.ledger.apply_record(at, &Record::Ruled { action: id, proposal: Box::new(proposal), ruling, plan: String::new() });
        self.ledger.apply_record(at, &Record::Act { action, attempt: 1 });
        id
    }

    fn end(&mut self, at: Time, id: ActionId, done: bool) {
        let fault = Fault::new(FaultCode::Failed, "x", "y");
        let outcome = if done { Outcome::Done(Receipt::default()) } else { Outcome::NotDone(fault) };
        self.ledger.apply_event(at, &homeostat_model::Event::Settled(id, outcome));
    }

    fn ask(&self, guard: &str, wish: &Wish<'_>) -> Opinion {
        let world = World::new(&self.arbiter.topology, &self.store, wish.now, 1);
        let case = self.case(wish, &world);
        let guard = guards::GUARDS.iter().find(|other| other.name == guard).expect("there is such a guard");
        (guard.rule)(&case)
    }

    fn case<'a>(&'a self, wish: &'a Wish<'a>, world: &'a World<'a>) -> Case<'a> {
        static NONE: BTreeMap<String, Time> = BTreeMap::new();
        Case {
            now: wish.now,
            proposal: &wish.proposal,
            spec: self.arbiter.verb(&wish.proposal.verb),
            settings: &self.arbiter.settings,
            ledger: &self.ledger,
            observer_faults: &NONE,
            wished_at: wish.now,
            every: Span::from_mins(1),
            consent: wish.consent.clone(),
            run: wish.run,
            touches: &wish.touches,
            verbs: self.arbiter.specs(),
            world,
            earned: None,
        }
    }

    fn wish(&self, verb: &str, target: &str) -> Wish<'static> {
        Wish {
            now: NOW,
            proposal: self.proposal(verb, target),
            touches: vec![self.touch(verb, target)],
            run: None,
            consent: None,
            _life: Default::default(),
        }
    }
}

struct Wish<'a> {
    now: Time,
    proposal: Proposal,
    touches: Vec<Touch>,
    run: Option<ActionId>,
    consent: Option<Consent>,
    _life: std::marker::PhantomData<&'a ()>,
}

impl Wish<'_> {
    fn at(mut self, now: Time) -> Self {
        self.now = now;
        self
    }
    fn step_of(mut self, run: ActionId) -> Self {
        self.proposal.origin = Origin::Playbook { run, step: "s".into(), instance: 0, undo: false };
        self.run = Some(run);
        self
    }
    fn approved(mut self) -> Self {
        self.consent = Some(Consent::Approved { by: "ann".into() });
        self
    }
}

fn link(from: &str, edge: Edge, to: &str) -> Link {
    Link { from: from.into(), edge, to: to.into() }
}

/// Three nodes; a database with two copies, a log with one, a shop on node a.
fn house() -> TopologySettings {
    TopologySettings {
        links: vec![
            link("volume/db", Edge::StoresOn, "node/a"),
            link("volume/db", Edge::StoresOn, "node/b"),
            link("volume/log", Edge::StoresOn, "node/c"),
            link("deployment/web/shop", Edge::RunsOn, "node/a"),
        ],
        quorums: vec![Quorum { name: "etcd".into(), members: ["node/a", "node/b"].map(Target::from).to_vec(), need: Some(1) }],
        ..TopologySettings::shipped()
    }
}

fn stance(opinion: &Opinion) -> &'static str {
    match opinion.stance {
        Stance::Pass => "pass",
        Stance::Hold { .. } => "hold",
        Stance::Ask { .. } => "ask",
        Stance::Shadow => "shadow",
        Stance::Deny => "deny",
    }
}

#[track_caller]
fn says(opinion: &Opinion, expected: &str, words: &str) {
    assert_eq!(stance(opinion), expected, "{}", opinion.text);
    assert!(opinion.text.contains(words), "{} lacks `{words}`", opinion.text);
}

#[test]
fn every_guard_has_a_name_of_its_own_and_rough_things_fail_closed() {
    let names: BTreeSet<&str> = guards::GUARDS.iter().map(|guard| guard.name).collect();
    assert_eq!(names.len(), guards::GUARDS.len());
    let open: Vec<&str> = guards::GUARDS.iter().filter(|guard| guard.doubt == Doubt::FailOpen).map(|guard| guard.name).collect();
    assert_eq!(open, ["storm"]);
}

#[test]
fn what_goes_down_is_what_interrupts_or_sends_a_node_away() {
    let desk = Desk::new(ArbiterSettings::default(), house());
    let down = |verb: &str, target: &str| desk.touch(verb, target).takes_down(desk.arbiter.specs());
    assert!(down("power.off", "node/a") && down("power.sleep", "node/a") && down("exec.unknown", "node/a"));
    assert!(!down("power.wake", "node/a") && !down("node.cordon", "node/a") && !down("restart.rollout", "deployment/web/shop"));
    let mut none = desk.touch("scale.to", "deployment/web/shop");
    assert!(!none.takes_down(desk.arbiter.specs()));
    none.args.insert("replicas".into(), homeostat_model::Arg::Int(0));
    assert!(none.takes_down(desk.arbiter.specs()));
}

#[test]
fn lesson_20_what_hangs_on_a_target_is_locked_with_it() {
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    desk.send(NOW, desk.proposal("power.off", "node/a"));
    says(&desk.ask("lock", &desk.wish("restart.rollout", "deployment/web/shop")), "hold", "on which `deployment/web/shop` hangs");
    says(&desk.ask("lock", &desk.wish("power.wake", "node/a")), "hold", "is under way on `node/a`");
    says(&desk.ask("lock", &desk.wish("power.sleep", "node/c")), "pass", "");
    says(&desk.ask("lock", &desk.wish("notify.send", "node/a")), "pass", "");
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    desk.send(NOW, desk.proposal("restart.rollout", "deployment/web/shop"));
    says(&desk.ask("lock", &desk.wish("power.off", "node/a")), "hold", "which hangs on `node/a`");
    // Waking takes nothing down.
    says(&desk.ask("lock", &desk.wish("power.wake", "node/a")), "pass", "");
}

#[test]
fn lesson_20_a_run_does_not_lock_itself_out_but_everybody_else() {
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    let run = desk.send(NOW, desk.proposal("playbook.calm", "node/a"));
    says(&desk.ask("lock", &desk.wish("power.off", "node/a").step_of(run)), "pass", "");
    says(&desk.ask("lock", &desk.wish("power.off", "node/a").step_of(ActionId(99))), "hold", "under way");
    // A playbook's steps are asked one and all.
    let mut wish = desk.wish("playbook.calm", "node/c");
    wish.touches.push(desk.touch("restart.rollout", "deployment/web/shop"));
    says(&desk.ask("lock", &wish), "hold", "hangs");
}

#[test]
fn lesson_36_the_safest_wins() {
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    let wake = desk.proposal("power.wake", "node/a");
    let ruling = Ruling { verdict: Verdict::Deferred { until: NOW + Span::from_mins(1) }, reasons: Vec::new() };
    desk.ledger.apply_record(NOW, &Record::Ruled { action: ActionId(1), proposal: Box::new(wake), ruling, plan: "p".into() });
    says(&desk.ask("lock", &desk.wish("power.sleep", "node/a")), "hold", "the safest wins");
    says(&desk.ask("lock", &desk.wish("power.sleep", "node/b")), "pass", "");
}

#[test]
fn lesson_22_an_autoscalers_field_is_left_to_it() {
    let mut desk = Desk::new(ArbiterSettings::default(), TopologySettings::shipped());
    let labels = [
        ("namespace", "web"),
        ("horizontalpodautoscaler", "shop-hpa"),
        ("scaletargetref_kind", "Deployment"),
        ("scaletargetref_name", "shop"),
    ];
    let mut observation = Observation::new("ksm".into(), NOW, Span::from_secs(15));
    observation.declared.push(SeriesDecl { key: SeriesKey::new("kube_horizontalpodautoscaler_info", labels), cohort: 0 });
    observation.samples.push(Sample { series: 0, value: 1.0 });
    desk.store.append(&observation, &mut |_| {});
    let scale = desk.wish("scale.to", "deployment/web/shop");
    says(&desk.ask("foreign_owner", &scale), "deny", "belongs to the autoscaler web/shop-hpa: change its minReplicas");
    says(&desk.ask("foreign_owner", &desk.wish("scale.to", "deployment/web/shop").approved()), "deny", "replicas");
    says(&desk.ask("foreign_owner", &desk.wish("restart.rollout", "deployment/web/shop")), "pass", "");
    says(&desk.ask("foreign_owner", &desk.wish("scale.to", "deployment/web/other")), "pass", "");
    // Its exporter has been silent for a while: it owns the field still.
    says(&desk.ask("foreign_owner", &desk.wish("scale.to", "deployment/web/shop").at(NOW + Span::from_mins(9))), "deny", "");
}

fn floor() -> ArbiterSettings {
    ArbiterSettings {
        floors: vec![homeostat_model::Floor { targets: vec!["node/*".into()], min_healthy: 2 }],
        ..ArbiterSettings::default()
    }
}

#[test]
fn lesson_18_so_many_stay_healthy() {
    let mut desk = Desk::new(floor(), house());
    let up = |name| ("node_up", "node", name, 1.0);
    desk.observe(NOW, &[up("a"), up("b"), up("c")]);
    says(&desk.ask("floors", &desk.wish("power.off", "node/a")), "pass", "");
    says(&desk.ask("floors", &desk.wish("power.wake", "node/a")), "pass", "");
    desk.send(NOW, desk.proposal("power.sleep", "node/b"));
    says(&desk.ask("floors", &desk.wish("power.off", "node/a")), "hold", "what is under way included");
    // Silent nodes are not healthy ones.
    let later = desk.wish("power.off", "node/a").at(NOW + Span::from_mins(5));
    says(&desk.ask("floors", &later), "deny", "0 of node/* would be healthy");
}

#[test]
fn lesson_01_when_few_are_left_even_a_repair_waits() {
    let mut desk = Desk::new(floor(), house());
    desk.observe(NOW, &[("node_up", "node", "a", 0.0), ("node_up", "node", "b", 0.0), ("node_up", "node", "c", 1.0)]);
    says(&desk.ask("floors", &desk.wish("power.off", "node/a")), "deny", "1 of node/* would be healthy");
}

#[test]
fn lesson_16_the_last_copy_and_the_last_vote_are_never_taken() {
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    says(&desk.ask("blast_radius", &desk.wish("power.off", "node/c").approved()), "deny", "`volume/log` would be left without a copy");
    let fine = desk.ask("blast_radius", &desk.wish("power.off", "node/a"));
    says(&fine, "pass", "taking down a: 1 deployment goes down (web/shop), 1 volume down to one replica (db)");
    // The other copy's node is on its way down.
    desk.send(NOW, desk.proposal("power.sleep", "node/b"));
    says(&desk.ask("blast_radius", &desk.wish("power.off", "node/a")), "deny", "`volume/db` would be left without a copy");
    let mut topology = house();
    topology.links.clear();
    let mut desk = Desk::new(ArbiterSettings::default(), topology);
    desk.send(NOW, desk.proposal("power.sleep", "node/b"));
    says(&desk.ask("blast_radius", &desk.wish("power.off", "node/a")), "deny", "the quorum etcd would be lost");
}

#[test]
fn lesson_16_a_wish_for_everything_is_a_selector_gone_wrong() {
    let desk = Desk::new(ArbiterSettings::default(), house());
    let mut wish = desk.wish("playbook.calm", "policy/x");
    wish.touches.extend(["node/a", "node/b"].map(|node| desk.touch("power.off", node)));
    says(&desk.ask("blast_radius", &wish.approved()), "deny", "2 nodes of 3 known would be taken down by one wish, at most 1 may be");
}

#[test]
fn lesson_16_many_dependants_need_a_person_and_a_broken_topology_lets_nothing_down() {
    let mut topology = TopologySettings::default();
    topology.links.extend((0..8).map(|n| link(&format!("service/{n}"), Edge::DependsOn, "node/nas")));
    let desk = Desk::new(ArbiterSettings::default(), topology.clone());
    says(&desk.ask("blast_radius", &desk.wish("power.off", "node/nas")), "ask", "8 of 9 go down with it, more than 4");
    says(
        &desk.ask("blast_radius", &desk.wish("power.off", "node/nas").approved()),
        "pass",
        "8 services go down (0, 1, 2, 3, 4 and 3 more)",
    );
    says(&desk.ask("blast_radius", &desk.wish("power.off", "node/other")), "pass", "nothing is known");
    topology.targets_max = 3;
    let desk = Desk::new(ArbiterSettings::default(), topology);
    says(&desk.ask("blast_radius", &desk.wish("power.off", "node/other")), "deny", "left out");
    says(&desk.ask("blast_radius", &desk.wish("power.wake", "node/other")), "pass", "");
}

#[test]
fn the_preview_is_what_people_read_before_they_say_yes() {
    let desk = Desk::new(ArbiterSettings::default(), house());
    let wish = desk.wish("power.off", "node/a");
    let world = World::new(&desk.arbiter.topology, &desk.store, NOW, 1);
    let lines = blast_preview(&desk.case(&wish, &world));
    assert_eq!(lines, ["taking down a: 1 deployment goes down (web/shop), 1 volume down to one replica (db)"]);
    let wish = desk.wish("power.wake", "node/a");
    assert!(blast_preview(&desk.case(&wish, &world)).is_empty());
}

#[test]
fn lesson_25_what_the_engine_stands_on_stands_on_something() {
    let mut settings = ArbiterSettings::default();
    settings.own_base.push(homeostat_model::rules::OwnBase { target: "deployment/web/shop".into(), why: "its Prometheus".into() });
    let desk = Desk::new(settings, house());
    says(
        &desk.ask("own_base", &desk.wish("power.sleep", "node/a")),
        "deny",
        "`deployment/web/shop`, which hangs on `node/a`, is its Prometheus",
    );
    says(&desk.ask("own_base", &desk.wish("power.sleep", "node/b")), "pass", "");
    // A step of a playbook is asked with the playbook.
    let mut wish = desk.wish("playbook.calm", "policy/x");
    wish.touches.push(desk.touch("power.sleep", "node/a"));
    says(&desk.ask("own_base", &wish), "deny", "its Prometheus");
}

#[test]
fn lesson_17_a_day_has_so_many_minutes_joules_and_euros() {
    let day = |change: fn(&mut homeostat_model::DayBudget)| {
        let mut settings = ArbiterSettings::default();
        settings.per_hour_max.insert(Class::Disruptive, 100);
        change(&mut settings.day);
        let mut desk = Desk::new(settings, house());
        for _ in 0..2 {
            let id = desk.send(NOW - Span::from_hours(3), desk.proposal("power.off", "node/a"));
            desk.end(NOW, id, true);
        }
        desk.ask("budget", &desk.wish("power.off", "node/a"))
    };
    says(&day(|_| {}), "pass", "");
    says(&day(|day| day.disruption_max = Some(Span::from_mins(30))), "pass", "");
    says(&day(|day| day.disruption_max = Some(Span::from_mins(29))), "hold", "30.00 minutes of interruption would be spent within a day");
    says(&day(|day| day.energy_max_joules = Some(1e7)), "hold", "joules");
    // Three kilowatt hours at 30 cents.
    says(&day(|day| day.spend_max_euros = Some(0.91)), "pass", "");
    says(&day(|day| day.spend_max_euros = Some(0.89)), "hold", "0.90 euros");
    // What is shown is what was sent, without the wish: two of them, at the price that is set.
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    desk.arbiter.settings.tariff.euros_per_kwh = 0.25;
    for (hours, is_under_way) in [(25, false), (3, false), (2, true), (1, false)] {
        let id = desk.send(NOW - Span::from_hours(hours), desk.proposal("power.off", "node/a"));
        if !is_under_way {
            desk.end(NOW, id, true);
        }
    }
    let spent = desk.arbiter.spent_day(&desk.ledger, NOW);
    assert_eq!(
        (spent.energy_joules, spent.euros, spent.complete),
        (3.0 * 3.6e6, 0.75, true),
        "what is under way counts, what is older does not"
    );
}

#[test]
fn lesson_17_a_run_holds_one_place_and_its_steps_keep_the_limit_among_themselves() {
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    let run = desk.send(NOW, desk.proposal("playbook.calm", "node/a"));
    let step = |desk: &Desk, target: &str| desk.wish("power.off", target).step_of(run);
    says(&desk.ask("budget", &step(&desk, "node/a")), "pass", "part of run a1");
    says(&desk.ask("budget", &desk.wish("power.off", "node/b")), "hold", "1 disruptive actions are under way");
    let first = step(&desk, "node/a").proposal;
    desk.send(NOW, first);
    says(&desk.ask("budget", &step(&desk, "node/b")), "hold", "1 disruptive");
    says(&desk.ask("budget", &desk.wish("power.off", "node/c")), "hold", "1 disruptive actions are under way");
}

fn window(rule: WindowRule, days: &[Weekday], from: &str, to: &str) -> CalendarWindow {
    CalendarWindow {
        name: "w".into(),
        rule,
        classes: vec![Class::Disruptive, Class::Irreversible],
        weekdays: days.to_vec(),
        from: DayTime::parse(from).expect("a time"),
        to: DayTime::parse(to).expect("a time"),
    }
}

/// `NOW` is Tuesday, the 14th of November 2023, 22:13:20 UTC.
#[test]
fn quiet_hours_hold_and_maintenance_windows_allow() {
    let ask = |offset: i32, windows: Vec<CalendarWindow>| {
        let mut settings = ArbiterSettings::default();
        settings.calendar.utc_offset_minutes = offset;
        settings.calendar.windows = windows;
        let desk = Desk::new(settings, house());
        desk.ask("calendar", &desk.wish("power.off", "node/a"))
    };
    let until = |opinion: &Opinion| match opinion.stance {
        Stance::Hold { until } => until.since(NOW).millis(),
        _ => panic!("{}", opinion.text),
    };
    let minutes = |minutes: i64| minutes * 60_000 - 20_000;
    use Weekday::*;
    use WindowRule::*;
    // 22:14 is the next minute; from 22:13:20 it is 107 minutes to midnight, less twenty seconds.
    assert_eq!(until(&ask(0, vec![window(Deny, &[], "22:00", "24:00")])), minutes(107));
    assert_eq!(until(&ask(0, vec![window(Deny, &[Tue], "22:00", "06:00")])), minutes(107 + 360));
    says(&ask(0, vec![window(Deny, &[Mon, Wed], "22:00", "06:00")]), "pass", "");
    // Local time is an hour ahead: 23:13.
    says(&ask(60, vec![window(Deny, &[], "22:00", "23:00")]), "pass", "");
    says(&ask(0, vec![window(Allow, &[Tue], "22:00", "23:00")]), "pass", "");
    assert_eq!(until(&ask(0, vec![window(Allow, &[Wed], "01:00", "02:00")])), minutes(107 + 60));
    assert_eq!(until(&ask(0, vec![window(Allow, &[Tue], "21:00", "22:00")])), minutes(107 + 6 * 1440 + 21 * 60));
    says(&ask(0, vec![window(Allow, &[], "00:00", "24:00"), window(Deny, &[], "00:00", "24:00")]), "hold", "no window opens");
}

#[test]
fn the_calendar_does_not_stop_a_person_or_a_run_that_has_begun() {
    let mut settings = ArbiterSettings::default();
    settings.calendar.windows = vec![window(WindowRule::Deny, &[], "00:00", "24:00")];
    let desk = Desk::new(settings, house());
    says(&desk.ask("calendar", &desk.wish("power.off", "node/a").approved()), "pass", "ann wants it now");
    says(&desk.ask("calendar", &desk.wish("power.off", "node/a").step_of(ActionId(7))), "pass", "part of run a7");
    says(&desk.ask("calendar", &desk.wish("power.wake", "node/a")), "pass", "");
    // A playbook is as rough as its roughest step.
    let mut wish = desk.wish("restart.rollout", "node/a");
    wish.proposal.verb = "playbook.calm".into();
    wish.touches.push(desk.touch("power.off", "node/b"));
    says(&desk.ask("calendar", &wish), "hold", "nothing disruptive");
}

#[test]
fn lesson_04_an_engine_that_is_cut_off_takes_nothing_down() {
    let mut settings = ArbiterSettings::default();
    settings.witnesses.gateway = vec!["probe_success{to='gateway'}".into()];
    settings.witnesses.reach = vec!["node_up".into()];
    type Row<'a> = &'a [(&'a str, &'a str, &'a str, f64)];
    let ask = |rows: &[(Time, Row<'_>)], verb: &str| {
        let mut desk = Desk::new(settings.clone(), house());
        rows.iter().for_each(|(at, row)| desk.observe(*at, row));
        desk.ask("witnesses", &desk.wish(verb, "node/a"))
    };
    let gateway = |value| ("probe_success", "to", "gateway", value);
    let (up, down) = (|name| ("node_up", "node", name, 1.0), |name| ("node_up", "node", name, 0.0));
    says(&ask(&[(NOW, &[gateway(1.0), up("a"), up("b"), down("c")])], "power.off"), "pass", "");
    says(&ask(&[(NOW, &[gateway(0.0), up("a"), up("b"), up("c")])], "power.off"), "deny", "does not show the gateway");
    says(&ask(&[(NOW, &[gateway(1.0), up("a"), down("b"), down("c")])], "power.off"), "deny", "1 of 3 neighbours");
    says(&ask(&[(NOW - Span::from_mins(2), &[gateway(1.0), up("a"), up("b")])], "power.sleep"), "deny", "cut off");
    says(&ask(&[], "power.off"), "deny", "cut off");
    // The safe direction is always open.
    says(&ask(&[], "power.wake"), "pass", "");
    says(&ask(&[], "restart.rollout"), "pass", "");
}

#[test]
fn lesson_03_two_domains_see_the_node_before_it_is_taken_down() {
    let rule = |domain: &str, series: &str| WitnessRule {
        domain: domain.into(),
        series: series.into(),
        target: "node/{node}".into(),
        relation: Some(Relation::Below),
        threshold: 5.0,
    };
    let mut settings = ArbiterSettings::default();
    settings.witnesses.rules = vec![rule("exporter", "load"), rule("exporter", "load5"), rule("plug", "watts")];
    let ask = |row: &[(&str, &str, &str, f64)], late: i64| {
        let mut desk = Desk::new(settings.clone(), house());
        desk.observe(NOW, row);
        desk.ask("witnesses", &desk.wish("power.sleep", "node/a").at(NOW + Span::from_mins(late)))
    };
    let idle = |metric: &'static str| (metric, "node", "a", 1.0);
    says(&ask(&[idle("load"), idle("watts")], 0), "pass", "witnesses agree");
    says(&ask(&[idle("load"), idle("load5")], 0), "deny", "speaks exporter, at least 2 domains must");
    says(&ask(&[idle("load"), ("watts", "node", "a", 60.0)], 0), "deny", "the witness `plug` says otherwise");
    says(&ask(&[idle("load"), ("watts", "node", "b", 1.0)], 0), "deny", "at least 2 domains");
    says(&ask(&[idle("load"), idle("watts")], 5), "deny", "speaks nobody");
}

#[test]
fn lesson_18_after_a_storm_things_come_back_one_by_one() {
    let mut desk = Desk::new(ArbiterSettings::default(), house());
    for n in 0..6 {
        let id = desk.send(NOW - Span::from_secs(90), desk.proposal("power.wake", &format!("node/{n}")));
        desk.end(NOW - Span::from_secs(80), id, true);
    }
    says(&desk.ask("storm", &desk.wish("power.wake", "node/x")), "pass", "this one's turn");
    says(&desk.ask("storm", &desk.wish("power.sleep", "node/x")), "hold", "6 things were brought back");
    says(&desk.ask("storm", &desk.wish("power.sleep", "node/x").approved()), "pass", "ann wants it");
    says(&desk.ask("storm", &desk.wish("power.sleep", "node/x").step_of(ActionId(50))), "pass", "part of run a50");
    says(&desk.ask("storm", &desk.wish("notify.send", "node/x")), "pass", "");
    let id = desk.send(NOW, desk.proposal("power.wake", "node/y"));
    says(&desk.ask("storm", &desk.wish("power.wake", "node/x")), "hold", "one by one, and a7 is under way");
    desk.end(NOW, id, true);
    says(&desk.ask("storm", &desk.wish("power.wake", "node/x").at(NOW + Span::from_secs(59))), "hold", "every 1m");
    says(&desk.ask("storm", &desk.wish("power.wake", "node/x").at(NOW + Span::from_secs(60))), "pass", "");
    says(&desk.ask("storm", &desk.wish("power.sleep", "node/x").at(NOW + Span::from_mins(11))), "pass", "no storm");
}

#[test]
fn the_milder_rung_comes_first() {
    let rung = Rung { verb: "power.off".into(), after: "restart.rollout".into(), attempts: 2, within: Span::from_hours(1) };
    let settings = ArbiterSettings { ladder: vec![rung], ..ArbiterSettings::default() };
    let mut desk = Desk::new(settings, house());
    let try_it = |desk: &mut Desk, minutes: i64, held: Option<bool>| {
        let at = NOW - Span::from_mins(minutes);
        let id = desk.send(at, desk.proposal("restart.rollout", "node/a"));
        desk.end(at, id, true);
        let judgement = Judgement { held, evidence: Vec::new(), text: String::new() };
        desk.ledger.apply_record(at, &Record::Judged { action: id, judgement });
    };
    try_it(&mut desk, 90, Some(false));
    try_it(&mut desk, 30, Some(false));
    try_it(&mut desk, 20, Some(true));
    says(&desk.ask("ladder", &desk.wish("power.off", "node/a")), "hold", "tried in vain 1 of 2 times within 1h");
    says(&desk.ask("ladder", &desk.wish("power.off", "node/a").approved()), "pass", "");
    try_it(&mut desk, 10, None);
    says(&desk.ask("ladder", &desk.wish("power.off", "node/a")), "pass", "was tried 2 times and did not help");
    says(&desk.ask("ladder", &desk.wish("power.off", "node/b")), "hold", "0 of 2");
    says(&desk.ask("ladder", &desk.wish("power.sleep", "node/a")), "pass", "");
}

/// What was asked of the run is not asked of its steps; what protects machines is.
#[test]
fn a_step_passes_what_its_run_was_asked() {
    let mut settings = ArbiterSettings { futility_attempts_max: 0, ..ArbiterSettings::default() };
    settings.autonomy.insert(Class::Disruptive, Autonomy::Suggest);
    let mut desk = Desk::new(settings, house());
    let run = desk.send(NOW, desk.proposal("playbook.calm", "node/a"));
    let wake = desk.wish("power.wake", "node/a").step_of(run).proposal;
    let id = desk.send(NOW, wake);
    desk.end(NOW, id, true);
    for guard in ["cooldown", "futility", "settling", "opposite", "budget", "autonomy", "ladder"] {
        let step = desk.wish("power.off", "node/a").step_of(run);
        let opinion = desk.ask(guard, &step);
        assert_eq!(stance(&opinion), "pass", "{guard}: {}", opinion.text);
    }
    for guard in ["settling", "opposite", "futility", "autonomy"] {
        let opinion = desk.ask(guard, &desk.wish("power.off", "node/a"));
        assert_ne!(stance(&opinion), "pass", "{guard}: {}", opinion.text);
    }
    // A step needs no claim of its own.
    let mut step = desk.wish("power.off", "node/a").step_of(run);
    step.proposal.claim = None;
    says(&desk.ask("lint", &step), "pass", "");
    step.run = None;
    says(&desk.ask("lint", &step), "deny", "no claim");
}

#[test]
fn a_playbooks_own_question_is_always_asked() {
    let desk = Desk::new(ArbiterSettings::default(), house());
    says(&desk.ask("autonomy", &desk.wish(APPROVE, "node/a").step_of(ActionId(3))), "ask", "the playbook asks a person");
    says(&desk.ask("autonomy", &desk.wish(APPROVE, "node/a").step_of(ActionId(3)).approved()), "pass", "approved by ann");
    let mut silent = desk.wish(APPROVE, "node/a").step_of(ActionId(3));
    silent.consent = Some(Consent::NotVetoed);
    says(&desk.ask("autonomy", &silent), "ask", "");
    says(&desk.ask("lint", &desk.wish(APPROVE, "node/a")), "deny", "a step of playbooks and nothing else");
}
