//! `homeostat policy repl`: asks the running daemon's windows, an expression at a time, and draws series.
//!
//! Each line is evaluated by the daemon's own kernel, with the limits of an evaluation and without a trace; what a line wishes is told
//! and dropped. Names given with `let`, `const` and `fn` are kept here and sent along. Deliberately absent: orders, and any evaluation
//! of its own. An editor breaks this by keeping something in the daemon between two lines.

mod chart;

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, show};
use crate::client::{Client, ClientError};
use homeostat_kernel::kernel::evidence_line;
use homeostat_kernel::policy::ask::{Answered, PLOTS_MAX, POINTS_MAX, Question};
use homeostat_model::Span;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::json;
use std::io::{BufRead, IsTerminal};

/// Longer lines are cut off by the daemon anyway.
const NAMES_MAX: usize = 50;
/// The width of a chart where nobody says how wide the screen is.
const COLUMNS: usize = 80;
const ROWS: usize = 8;

const HELP: &str = "\
Every line is an expression as in `evaluate`; it is answered by what the daemon sees now, and nothing is done.
  series(\"node_load1{node='nas'}\").over(\"5m\").avg()     a reading
  series(\"node_load1{node='nas'}\").last() > 4           a comparison, with its margin
  all(\"node_up\")                                        every series of a selector
  plot(all(\"node_load1\"), \"6h\")                         drawn over the last six hours
  let s = series(\"node_load1{node='nas'}\")              a name for the lines after it
  .help   .names   .forget   .quit
All functions: `homeostat policy doc`.";

/// `homeostat policy repl`
pub(super) async fn repl(place: Place, json: bool) -> Ended {
    let mut session = Session { client: Client::new(&place.socket), names: Vec::new(), json };
    if !std::io::stdin().is_terminal() {
        let mut ended = Exit::Ok;
        for line in std::io::stdin().lock().lines() {
            match session.line(&line?).await? {
                Said::Wrong => ended = Exit::Failed,
                Said::Quit => break,
                Said::Well => {}
            }
        }
        return Ok(ended);
    }
    // Whether somebody answers is told before the first question.
    session.ask("1", None).await?.map_err(anyhow::Error::msg)?;
    println!("Ask the daemon's windows; `.help` shows how.");
    let mut editor = DefaultEditor::new()?;
    loop {
        // Reading a line blocks this thread; nothing else runs on it meanwhile.
        let (back, read) = tokio::task::spawn_blocking(move || {
            let read = editor.readline("> ");
            (editor, read)
        })
        .await?;
        editor = back;
        match read {
            Ok(line) => {
                editor.add_history_entry(line.as_str())?;
                if matches!(session.line(&line).await?, Said::Quit) {
                    return Ok(Exit::Ok);
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(Exit::Ok),
            Err(error) => return Err(error.into()),
        }
    }
}

enum Said {
    Well,
    Wrong,
    Quit,
}

struct Session {
    client: Client,
    /// Lines that gave names, in their order.
    names: Vec<String>,
    json: bool,
}

impl Session {
    /// Takes one line.
    async fn line(&mut self, line: &str) -> anyhow::Result<Said> {
        let line = line.trim();
        match line {
            "" => return Ok(Said::Well),
            ".quit" | ".exit" => return Ok(Said::Quit),
            ".help" => println!("{HELP}"),
            ".names" => println!("{}", self.names.join("\n")),
            ".forget" => self.names.clear(),
            _ if line.starts_with('.') => {
                eprintln!("there is no `{}`; there are: .help, .names, .forget, .quit", show::clean(line));
                return Ok(Said::Wrong);
            }
            _ => return self.question(line).await,
        }
        Ok(Said::Well)
    }

    async fn question(&mut self, line: &str) -> anyhow::Result<Said> {
        let plot = match as_plot(line) {
            None => None,
            Some(Ok(plot)) => Some(plot),
            Some(Err(why)) => return Ok(self.wrong(&why)),
        };
        let (text, span) = plot.map_or((line, None), |(text, span)| (text, Some(span)));
        let answered = match self.ask(text, span).await? {
            Ok(answered) => answered,
            Err(why) => return Ok(self.wrong(&why)),
        };
        if names_something(line) {
            if self.names.len() >= NAMES_MAX {
                return Ok(self.wrong(&format!("there are {NAMES_MAX} names already; `.forget` drops them")));
            }
            self.names.push(if line.ends_with([';', '}']) { line.to_owned() } else { format!("{line};") });
        }
        if self.json {
            println!("{}", serde_json::to_string(&answered)?);
        } else {
            print_answer(&answered);
        }
        Ok(Said::Well)
    }

    fn wrong(&self, why: &str) -> Said {
        if self.json {
            println!("{}", json!({ "error": why }));
        } else {
            eprintln!("{why}");
        }
        Said::Wrong
    }

    /// The answer, or why there is none; the outer error is that nobody answers.
    async fn ask(&self, text: &str, plot: Option<Span>) -> anyhow::Result<Result<Answered, String>> {
        let names: String = self.names.iter().map(|name| format!("{name}\n")).collect();
        let question = Question { text: format!("{names}{text}"), plot, points: (2 * chart::width(columns())).min(POINTS_MAX) };
        match self.client.post("/api/v1/evaluate", &serde_json::to_value(&question)?).await {
            Ok(answered) => Ok(Ok(answered)),
            Err(ClientError::Refused { error, .. }) => Ok(Err(error)),
            Err(error) => Err(error.into()),
        }
    }
}

fn columns() -> usize {
    ratatui::crossterm::terminal::size().map_or(COLUMNS, |(columns, _)| usize::from(columns)).clamp(30, 240)
}

fn print_answer(answered: &Answered) {
    for line in &answered.prints {
        println!("{}", show::clean(line));
    }
    if answered.plots.is_empty() {
        for line in answered.text.lines() {
            println!("{}", show::clean(line));
        }
    }
    for plot in answered.plots.iter().take(PLOTS_MAX) {
        println!("{}", chart::chart(plot, columns(), ROWS));
    }
    for evidence in answered.evidence.iter().filter(|evidence| !evidence.margins.is_empty()) {
        println!("  {}", show::clean(&evidence_line(evidence)));
    }
}

/// Whether a line gives names that later lines may use.
fn names_something(line: &str) -> bool {
    ["let ", "const ", "fn "].iter().any(|word| line.starts_with(word))
}

/// `plot(what, "6h")` as what and the span; a span that cannot be read is an error.
fn as_plot(line: &str) -> Option<Result<(&str, Span), String>> {
    let inner = line.strip_prefix("plot(")?.trim_end_matches(';').strip_suffix(')')?;
    let Some((what, span)) = inner.rsplit_once(',').map(|(what, span)| (what.trim(), span.trim())) else {
        return Some(Ok((inner, Span::from_hours(1))));
    };
    let Some(span) = span.strip_prefix('"').and_then(|span| span.strip_suffix('"')) else {
        return Some(Ok((inner, Span::from_hours(1))));
    };
    Some(match span.parse::<Span>() {
        Ok(span) if span > Span::ZERO => Ok((what, span)),
        Ok(_) => Err("a plot shows more than `0s`".into()),
        // A selector may end with a quote after a comma.
        Err(_) if span.contains(['{', '}', '(']) => Ok((inner, Span::from_hours(1))),
        Err(error) => Err(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_span_or_an_hour() {
        let plot = |line| as_plot(line).map(|plot| plot.map(|(what, span)| (what.to_owned(), span.to_string())));
        let is = |what: &str, span: &str| Some(Ok((what.to_owned(), span.to_owned())));
        assert_eq!(plot("plot(series(\"a\"), \"6h\")"), is("series(\"a\")", "6h"));
        assert_eq!(plot("plot(all(\"a{b='c',d='e'}\"));"), is("all(\"a{b='c',d='e'}\")", "1h"));
        assert_eq!(plot("plot(s)"), is("s", "1h"));
        assert!(matches!(plot("plot(s, \"soon\")"), Some(Err(why)) if why.contains("`soon`")));
        assert_eq!(plot("series(\"a\")"), None);
        assert!(names_something("let x = 1") && names_something("fn f(x) { x }") && !names_something("letter(1)"));
    }
}
