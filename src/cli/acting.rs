//! A person's own wishes from the command line: `do`, `plan`, `runs`, `release`, `playbooks`.
//!
//! Deliberately absent: doing anything here; the daemon rules on a wish, whoever makes it. An editor breaks this by printing less of a
//! plan than the daemon said.

use super::place::Place;
use super::show::{clean, json as print_json, table};
use super::{Ended, Exit};
use crate::client::{Client, escaped};
use serde_json::{Map, Value, json};

fn client(place: &Place) -> Client {
    Client::new(&place.socket)
}

/// `KEY=VALUE` pairs as an order takes them: texts, which the daemon reads by the verb's schema.
fn args(pairs: &[String]) -> anyhow::Result<Value> {
    let read = |pair: &String| {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), Value::String(value.to_owned())))
    };
    let mut map = Map::new();
    for pair in pairs {
        let (name, value) = read(pair).ok_or_else(|| anyhow::anyhow!("`{}` is no argument: expected NAME=VALUE", clean(pair)))?;
        map.insert(name, value);
    }
    Ok(Value::Object(map))
}

pub(super) fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

/// A wish as it is typed.
#[derive(Copy, Clone)]
pub(super) struct Wish<'a> {
    pub verb: &'a str,
    pub target: &'a str,
    pub pairs: &'a [String],
    pub because: &'a str,
    /// The plan that it must still be.
    pub plan: Option<&'a str>,
}

/// `homeostat ask`
pub(super) async fn ask(place: &Place, words: &[String], as_json: bool) -> Ended {
    let answer: Value = client(place).post("/api/v1/ask", &json!({ "text": words.join(" ") })).await?;
    if as_json {
        print_json(&answer)?;
    } else {
        print_answer(&answer);
    }
    let understood = answer["understood"]["understood"].as_str().unwrap_or_default();
    Ok(if matches!(understood, "ask_back" | "unknown") { Exit::Failed } else { Exit::Ok })
}

fn print_answer(whole: &Value) {
    let answer = &whole["answer"];
    if let Some(said) = answer["said"].as_str().filter(|said| !said.is_empty()) {
        println!("({})", clean(said));
    }
    answer["lines"].as_array().into_iter().flatten().for_each(|line| println!("{}", text(line)));
    for choice in answer["choices"].as_array().into_iter().flatten() {
        println!("  {}    homeostat ask '{}'", text(&choice["text"]), text(&choice["as_request"]).replace('\'', ""));
    }
    let citations: Vec<String> = answer["citations"].as_array().into_iter().flatten().map(cited).collect();
    if !citations.is_empty() {
        println!("\nfrom: {}", citations.join("; "));
    }
    if !whole["planned"].is_null() {
        println!();
        print_plan(&whole["planned"]);
    }
    if let Some(next) = answer["next"].as_str() {
        println!("\nTo do it: {}", clean(next));
    }
}

fn cited(citation: &Value) -> String {
    match citation["kind"].as_str() {
        Some("reading") => format!("{} = {}", text(&citation["series"]), text(&citation["value"])),
        Some("action") => format!("homeostat explain {}", text(&citation["id"])),
        _ => format!("policy {}", text(&citation["name"])),
    }
}

/// `homeostat do`
pub(super) async fn wish(place: &Place, wish: &Wish<'_>, as_json: bool) -> Ended {
    let Wish { verb, target, pairs, because, plan } = *wish;
    let body = json!({ "verb": verb, "target": target, "args": args(pairs)?, "because": because, "plan": plan });
    let answer: Value = client(place).post("/api/v1/wishes", &body).await?;
    if as_json {
        print_json(&answer)?;
    } else {
        let action = &answer["action"];
        let decided = action["decided_by"].as_str().map_or_else(String::new, |why| format!(" ({})", clean(why)));
        println!(
            "{}: {} on {} is {}{decided}",
            text(&action["id"]),
            text(&action["verb"]),
            text(&action["target"]),
            text(&action["phase"])
        );
    }
    let denied = answer["action"]["verdict"].as_str().is_some_and(|verdict| !matches!(verdict, "admitted" | "awaiting_approval"));
    Ok(if denied { Exit::Failed } else { Exit::Ok })
}

/// `homeostat plan`: by an action's number, or by a wish.
pub(super) async fn plan(place: &Place, what: &str, target: Option<&str>, pairs: &[String], as_json: bool) -> Ended {
    let body = match target {
        Some(target) => json!({ "verb": what, "target": target, "args": args(pairs)? }),
        None => json!({ "action": what }),
    };
    let answer: Value = client(place).post("/api/v1/plan", &body).await?;
    if as_json {
        print_json(&answer)?;
    } else {
        print_plan(&answer);
    }
    let denied = answer["plan"]["verdict"].as_str() == Some("denied");
    Ok(if denied { Exit::Failed } else { Exit::Ok })
}

fn print_plan(answer: &Value) {
    let plan = &answer["plan"];
    println!("{} on {}: it would be {}; nothing was sent.", text(&plan["verb"]), text(&plan["target"]), text(&plan["verdict"]));
    for line in plan["blast"].as_array().into_iter().flatten() {
        println!("  {}", text(line));
    }
    println!();
    for step in answer["steps"].as_array().into_iter().flatten() {
        let name = step["step"].as_str().filter(|name| !name.is_empty()).map_or_else(String::new, |name| format!("{} ", clean(name)));
        let when = step["when"].as_str().filter(|when| !when.is_empty()).map_or_else(String::new, |when| format!("  [{}]", clean(when)));
        let action = &step["action"];
        match action["verb"].as_str() {
            Some(verb) => println!("{name}{} on {}{when}", clean(verb), text(&action["target"])),
            None => println!("{name}{when}"),
        }
        for sent in step["sends"].as_array().into_iter().flatten() {
            let mark = if sent["writes"].as_bool() == Some(true) { "WRITE" } else { "read " };
            println!("    {mark} {}", text(&sent["call"]));
            for line in sent["body"].as_str().into_iter().flat_map(str::lines) {
                println!("          {}", clean(line));
            }
        }
        if let Some(why) = step["refused"].as_str() {
            println!("    cannot be done: {}", clean(why));
        }
    }
    println!();
    let rows = plan["reasons"].as_array().into_iter().flatten().map(|reason| {
        let stance = match &reason["stance"] {
            Value::String(stance) => clean(stance),
            Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        vec![text(&reason["guard"]), stance, text(&reason["text"])]
    });
    println!("{}", table(&["guard", "says", "why"], rows));
}

/// `homeostat runs`
pub(super) async fn runs(place: &Place, as_json: bool) -> Ended {
    let answer: Value = client(place).get("/api/v1/runs").await?;
    if as_json {
        print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let runs = answer["runs"].as_array().cloned().unwrap_or_default();
    if runs.is_empty() {
        println!("no playbook has run since memory reaches");
        return Ok(Exit::Ok);
    }
    let stuck = |run: &Value| run["state"].as_str() == Some("stuck") && run["released"].as_bool() != Some(true);
    let rows = runs.iter().map(|run| {
        let steps = run["steps"].as_array().into_iter().flatten().map(|step| format!("{} {}", text(&step[0]), text(&step[1])));
        vec![
            text(&run["id"]),
            text(&run["playbook"]),
            text(&run["target"]),
            if stuck(run) { "STUCK".into() } else { text(&run["state"]) },
            steps.collect::<Vec<_>>().join(", "),
            text(&run["why"]),
        ]
    });
    println!("{}", table(&["run", "playbook", "target", "state", "steps", "why"], rows));
    Ok(if runs.iter().any(stuck) { Exit::Unhealthy } else { Exit::Ok })
}

/// `homeostat release`
pub(super) async fn release(place: &Place, run: &str, as_json: bool) -> Ended {
    let answer: Value = client(place).post(&format!("/api/v1/runs/{}/release", escaped(run)), &json!({})).await?;
    if as_json {
        print_json(&answer)?;
    } else {
        println!("{} is released: its targets are free again.", text(&answer["released"]));
    }
    Ok(Exit::Ok)
}

/// `homeostat playbooks`
pub(super) async fn playbooks(place: &Place, as_json: bool) -> Ended {
    let answer: Value = client(place).get("/api/v1/playbooks").await?;
    if as_json {
        print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let rows = answer["playbooks"].as_array().into_iter().flatten().map(|playbook| {
        let spec = &playbook["spec"];
        let args = spec["args"].as_array().into_iter().flatten().map(|arg| text(&arg["name"]));
        let kinds = spec["target_kinds"].as_array().into_iter().flatten().map(text);
        vec![
            text(&spec["verb"]),
            text(&spec["class"]),
            kinds.collect::<Vec<_>>().join(" "),
            args.collect::<Vec<_>>().join(" "),
            text(&spec["doc"]),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        println!("no playbook is loaded: shipped ones need actuators with their verbs, your own stand in `playbooks.dir`");
    } else {
        println!("{}", table(&["verb", "class", "on", "arguments", "what it does"], rows));
    }
    Ok(Exit::Ok)
}

/// `homeostat chaos abort --all`: straight to the API server, whatever the daemon does.
pub(super) async fn abort_experiments(place: Place, within: std::time::Duration, as_json: bool) -> Ended {
    let config = place.config?;
    let kubernetes = config.actuators.kubernetes.as_ref();
    let kubernetes = kubernetes.ok_or_else(|| anyhow::anyhow!("`actuators.kubernetes` is not configured: there is no cluster to ask"))?;
    let client = homeostat_actuators::kube::KubeClient::new(kubernetes, "by-hand", homeostat_actuators::Pace::default());
    let client = client.map_err(|faults| anyhow::anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let within = homeostat_model::Span::from_millis(i64::try_from(within.as_millis()).unwrap_or(i64::MAX));
    let report = homeostat_actuators::kube::abort_all(&client, within).await;
    if as_json {
        print_json(&json!({ "recovered": report.recovered, "stuck": report.stuck, "failed": report.failed }))?;
    } else {
        println!("{}", clean(&report.to_string()));
    }
    Ok(if report.is_clean() { Exit::Ok } else { Exit::Failed })
}
