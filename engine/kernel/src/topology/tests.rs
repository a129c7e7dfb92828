use super::*;
use homeostat_model::{
    HealthRule, Link, LinkRule, Observation, Relation, Sample, SeriesDecl, SeriesKey, Span, StoreSettings, TopologySettings,
};

fn link(from: &str, edge: Edge, to: &str) -> Link {
    Link { from: from.into(), edge, to: to.into() }
}

fn store(at: Time, row: &[(SeriesKey, f64)]) -> Store {
    let mut store = Store::new(StoreSettings::default());
    append(&mut store, at, row, 0);
    store
}

fn append(store: &mut Store, at: Time, row: &[(SeriesKey, f64)], declared_before: u32) {
    let mut observation = Observation::new("lab".into(), at, Span::from_secs(15));
    observation.declared_before = declared_before;
    for (number, (key, value)) in row.iter().enumerate() {
        if number as u32 >= declared_before {
            observation.declared.push(SeriesDecl { key: key.clone(), cohort: 0 });
        }
        if !value.is_nan() {
            observation.samples.push(Sample { series: number as u32, value: *value });
        }
    }
    store.append(&observation, &mut |_| {});
}

fn graph(settings: TopologySettings, store: &Store, now: Time) -> Arc<Topology> {
    Source::new(settings).topology(store, now, 1)
}

fn targets(names: &[&str]) -> BTreeSet<Target> {
    names.iter().map(|name| Target::from(*name)).collect()
}

fn pod(name: &str, node: &str) -> Vec<(SeriesKey, f64)> {
    vec![
        (SeriesKey::new("kube_pod_info", [("namespace", "web"), ("pod", name), ("node", node)]), 1.0),
        (
            SeriesKey::new("kube_pod_owner", [("namespace", "web"), ("pod", name), ("owner_kind", "ReplicaSet"), ("owner_name", "shop-1")]),
            1.0,
        ),
    ]
}

fn cluster() -> Vec<(SeriesKey, f64)> {
    let owner = |set: &str| {
        let labels = [("namespace", "web"), ("replicaset", set), ("owner_kind", "Deployment"), ("owner_name", "shop")];
        (SeriesKey::new("kube_replicaset_owner", labels), 1.0)
    };
    let replica = |volume: &str, node: &str, state: &str| {
        let name = format!("{volume}-{node}");
        let labels = [("volume", volume), ("node", node), ("replica", name.as_str()), ("state", state)];
        (SeriesKey::new("longhorn_replica_state", labels), 1.0)
    };
    let mut row: Vec<_> = [pod("shop-a", "a"), pod("shop-b", "b")].concat();
    row.extend([owner("shop-1"), owner("shop-0-old")]);
    row.extend([
        replica("db", "a", "running"),
        replica("db", "b", "running"),
        replica("logs", "a", "running"),
        replica("logs", "b", "error"),
    ]);
    row.extend(["a", "b"].map(|node| (SeriesKey::new("node_up", [("node", node)]), 1.0)));
    row
}

#[test]
fn a_cluster_is_read_out_of_what_its_exporters_say() {
    let now = Time(1_000_000);
    let topology = graph(TopologySettings::shipped(), &store(now, &cluster()), now);
    assert!(topology.doubt().is_none() && topology.cycles().is_empty());
    let below: Vec<String> = topology.below(&"node/a".into()).iter().map(ToString::to_string).collect();
    assert_eq!(below, ["deployment/web/shop", "pod/web/shop-a", "replicaset/web/shop-1", "volume/db", "volume/logs"]);
    assert!(topology.above(&"deployment/web/shop".into()).contains(&Target::from("node/b")));
    assert_eq!(topology.health(&"node/a".into()), Health::Healthy);
    assert_eq!(topology.health(&"node/zoo".into()), Health::Unknown);
    // The old replica set has no pods: it carries nothing.
    let carried = topology.links().filter(|(from, _, _)| from.as_str() == "deployment/web/shop").count();
    assert_eq!(carried, 1);
}

#[test]
fn one_replica_of_two_is_a_loss_and_the_last_one_is_a_fall() {
    let now = Time(1_000_000);
    let topology = graph(TopologySettings::shipped(), &store(now, &cluster()), now);
    let fall = topology.fall(&BTreeSet::new(), &targets(&["node/a"]));
    assert_eq!(fall.down, targets(&["node/a", "pod/web/shop-a", "volume/logs"]), "a replica in error is no copy");
    assert_eq!(fall.reduced[&Target::from("volume/db")], Left { edge: Edge::StoresOn, before: 2, after: 1 });
    assert_eq!(fall.reduced[&Target::from("volume/logs")], Left { edge: Edge::StoresOn, before: 1, after: 0 });
    let both = topology.fall(&targets(&["node/b"]), &targets(&["node/a"]));
    assert!(both.down.contains(&Target::from("deployment/web/shop")), "{both:?}");
    assert!(!both.down.contains(&Target::from("node/b")), "it was down before");
}

#[test]
fn what_is_known_to_be_down_carries_nothing() {
    let now = Time(1_000_000);
    let mut row = cluster();
    row.iter_mut().filter(|(key, _)| &*key.metric == "node_up" && key.labels.get("node") == Some("b")).for_each(|(_, value)| *value = 0.0);
    let topology = graph(TopologySettings::shipped(), &store(now, &row), now);
    assert_eq!(topology.health(&"node/b".into()), Health::Unhealthy);
    let fall = topology.fall(&BTreeSet::new(), &targets(&["node/a"]));
    assert!(fall.down.contains(&Target::from("volume/db")), "its other copy is on a dead node: {fall:?}");
}

/// Lesson 9: missing data is not "healthy", and it is not "nothing hangs on it" either.
#[test]
fn lesson_09_a_stale_link_still_holds_and_stale_health_is_unknown_but_what_ended_is_gone() {
    let now = Time(1_000_000);
    let row = cluster();
    let mut store = store(now, &row);
    let later = now + Span::from_mins(5);
    let topology = graph(TopologySettings::shipped(), &store, later);
    assert_eq!(topology.below(&"node/a".into()).len(), 5);
    assert!(topology.stale() > 0);
    assert_eq!(topology.health(&"node/a".into()), Health::Unknown);
    // A complete row without the pod's series: it has ended.
    let rest: Vec<_> =
        row.iter().map(|(key, value)| (key.clone(), if key.labels.get("pod") == Some("shop-a") { f64::NAN } else { *value })).collect();
    append(&mut store, later, &rest, row.len() as u32);
    let topology = graph(TopologySettings::shipped(), &store, later);
    assert!(!topology.contains(&"pod/web/shop-a".into()));
}

#[test]
fn needs_are_all_of_depends_on_and_one_of_each_other_kind() {
    let settings = TopologySettings {
        links: vec![
            link("service/photos", Edge::DependsOn, "service/db"),
            link("service/photos", Edge::DependsOn, "service/cache"),
            link("node/nas", Edge::PoweredBy, "plug/1"),
            link("node/nas", Edge::PoweredBy, "ups/1"),
            link("service/db", Edge::RunsOn, "node/nas"),
        ],
        quorums: vec![Quorum { name: "etcd".into(), members: ["node/nas", "node/x", "node/y"].map(Target::from).to_vec(), need: None }],
        ..TopologySettings::default()
    };
    let topology = graph(settings, &store(Time(0), &[]), Time(0));
    let one = topology.fall(&BTreeSet::new(), &targets(&["plug/1"]));
    assert_eq!(one.down, targets(&["plug/1"]));
    assert_eq!(one.reduced[&Target::from("node/nas")].after, 1);
    let both = topology.fall(&BTreeSet::new(), &targets(&["plug/1", "ups/1"]));
    assert_eq!(both.down, targets(&["plug/1", "ups/1", "node/nas", "service/db", "service/photos"]));
    assert!(both.quorums_lost.is_empty(), "two of three are left");
    let lost = topology.fall(&targets(&["node/x"]), &targets(&["node/nas"]));
    assert_eq!(lost.quorums_lost, [("etcd".to_owned(), 1, 2)]);
}

#[test]
fn rings_are_allowed_and_named() {
    let ring = vec![link("a/1", Edge::DependsOn, "b/1"), link("b/1", Edge::DependsOn, "a/1"), link("c/1", Edge::RunsOn, "a/1")];
    let topology = graph(TopologySettings { links: ring, ..TopologySettings::default() }, &store(Time(0), &[]), Time(0));
    assert_eq!(topology.cycles().len(), 1);
    assert_eq!(topology.fall(&BTreeSet::new(), &targets(&["b/1"])).down.len(), 3);
    assert_eq!(topology.below(&"a/1".into()), targets(&["b/1", "c/1"]));
}

#[test]
fn limits_and_broken_rules_raise_doubt() {
    let now = Time(1_000_000);
    let store = store(now, &cluster());
    let few = TopologySettings { targets_max: 3, ..TopologySettings::shipped() };
    assert!(graph(few, &store, now).doubt().is_some_and(|doubt| doubt.contains("left out")));
    let few = TopologySettings { links_max: 2, ..TopologySettings::shipped() };
    assert!(graph(few, &store, now).doubt().is_some());
    let mut broken = TopologySettings::default();
    broken.rules.push(LinkRule { series: "up{".into(), from: "a/{x".into(), edge: Edge::RunsOn, to: "b".into(), if_supported: false });
    broken.healthy.push(HealthRule { series: "up{".into(), target: "a".into(), relation: Relation::Above, threshold: 0.0 });
    let source = Source::new(broken);
    assert_eq!(source.problems().len(), 2, "{:?}", source.problems());
    assert!(source.topology(&store, now, 1).doubt().is_some());
    assert!(Source::new(TopologySettings::shipped()).problems().is_empty());
}

#[test]
fn rulings_of_one_event_share_a_graph_and_the_next_event_gets_a_new_one() {
    let now = Time(1_000_000);
    let store = store(now, &cluster());
    let source = Source::new(TopologySettings::shipped());
    for _ in 0..3 {
        World::new(&source, &store, now, 7).topology();
    }
    assert_eq!(source.built(), 1);
    World::new(&source, &store, now, 8).topology();
    assert_eq!(source.built(), 2);
    // Nobody asks: nothing is built.
    drop(World::new(&source, &store, now, 9));
    assert_eq!(source.built(), 2);
}

/// The slow and plain meaning of a fall: again and again, until nothing more goes down.
fn naive(links: &[(usize, Edge, usize)], start: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut down = start.clone();
    loop {
        let falls = |node: &usize| {
            let of = |kind: Edge| links.iter().filter(move |(from, edge, _)| from == node && *edge == kind).map(|(_, _, to)| *to);
            let has = |kind: Edge| of(kind).next().is_some();
            of(Edge::DependsOn).any(|to| down.contains(&to))
                || [Edge::RunsOn, Edge::StoresOn, Edge::PoweredBy]
                    .into_iter()
                    .any(|kind| has(kind) && of(kind).all(|to| down.contains(&to)))
        };
        let more: Vec<usize> = (0..8).filter(|node| !down.contains(node)).filter(falls).collect();
        if more.is_empty() {
            return down;
        }
        down.extend(more);
    }
}

proptest::proptest! {
    #[test]
    fn a_fall_equals_the_naive_one(
        links in proptest::collection::vec((0usize..8, 0usize..4, 0usize..8), 0..24),
        start in proptest::collection::btree_set(0usize..8, 0..4),
    ) {
        let links: Vec<(usize, Edge, usize)> = links.into_iter().map(|(from, edge, to)| (from, Edge::ALL[edge], to)).collect();
        let name = |node: usize| format!("t/{node}");
        let settings = TopologySettings {
            links: links.iter().map(|(from, edge, to)| link(&name(*from), *edge, &name(*to))).collect(),
            ..TopologySettings::default()
        };
        let topology = graph(settings, &store(Time(0), &[]), Time(0));
        let start_targets: BTreeSet<Target> = start.iter().map(|node| name(*node).into()).collect();
        let expected: BTreeSet<Target> = naive(&links, &start).into_iter().map(|node| name(node).into()).collect();
        proptest::prop_assert_eq!(topology.fall(&BTreeSet::new(), &start_targets).down, expected);
    }
}
