//! `homeostat consult` and `homeostat questions`: what language models are asked, and what came of it.
//!
//! Deliberately absent: answering for them, and approving (that is `homeostat approve`).

use super::acting::text;
use super::asking::client;
use super::place::Place;
use super::show::{clean, json as print_json, table};
use super::{Ended, Exit};
use serde_json::{Value, json};

/// `homeostat consult node/nas`
pub(super) async fn consult(place: &Place, target: &str, as_json: bool) -> Ended {
    let answer: Value = client(place).post("/api/v1/questions", &json!({ "target": target })).await?;
    if as_json {
        print_json(&answer)?;
    } else {
        let question = clean(&text(&answer["question"]));
        println!("{question} is asked. `homeostat questions` shows what comes of it; what is proposed waits under `homeostat status`.");
    }
    Ok(Exit::Ok)
}

/// `homeostat questions`
pub(super) async fn questions(place: &Place, as_json: bool) -> Ended {
    let answer: Value = client(place).get("/api/v1/questions").await?;
    if as_json {
        print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = answer["questions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let end = text(&line["end"]);
            let end = if end.is_empty() { "open".to_owned() } else { end };
            let words = |name: &str| text(&line[name]);
            let actions = line["actions"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
            vec![words("question"), words("about"), words("target"), words("by"), words("tokens"), actions, end]
        })
        .collect();
    if rows.is_empty() {
        println!("No language model was asked anything of late.");
    } else {
        println!("{}", table(&["question", "about", "target", "answered by", "tokens", "actions", "end"], rows));
    }
    Ok(Exit::Ok)
}
