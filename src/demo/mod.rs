//! `homeostat demo`: the plant, its network faces, and the real daemon against them, in faster time, with a story to watch.
//!
//! Reading order: `story` (what goes wrong, and what proves a chapter), `house` (the daemon's configuration for the plant), `stage` (plant
//! and daemon together), `screen` (what is shown, as data), `view` (drawn), `lines` (printed), `keys` (what people do), `terminal` and
//! `folder` (what must be given back). Deliberately absent: any rule of its own; the daemon is the one that `homeostat run` starts. An editor breaks this by
//! letting the daemon see the plant past its sensors.

pub mod folder;
pub mod house;
pub mod keys;
pub mod lines;
pub mod screen;
pub mod stage;
pub mod story;
pub mod terminal;
pub mod view;

use homeostat_model::{ActionId, Command};
use keys::{Ui, Wish};
use lines::Summary;
use ratatui::crossterm::event::Event;
use screen::Screen;
use stage::Stage;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use terminal::Guard;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The classic lab.
pub const CLASSIC_LAB: &str = include_str!("../../labs/classic/lab.yaml");
/// Its story.
pub const CLASSIC_STORY: &str = include_str!("../../labs/classic/demo.yaml");
/// Its policies, by name.
pub const CLASSIC_POLICIES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/classic.rs"));

/// The policies of the story: those of the lab that act here by the actuators that a real house has.
pub const CLASSIC_STORY_POLICIES: &[(&str, &str)] = &[
    ("crash-loop", include_str!("../../labs/classic/demo/crash-loop.rhai")),
    ("muscle-sleep", include_str!("../../labs/classic/demo/muscle-sleep.rhai")),
    ("muscle-wake", include_str!("../../labs/classic/demo/muscle-wake.rhai")),
    ("node-power-cycle", include_str!("../../labs/classic/demo/node-power-cycle.rhai")),
    ("service-restart", include_str!("../../labs/classic/demo/service-restart.rhai")),
    ("service-scale", include_str!("../../labs/classic/demo/service-scale.rhai")),
    ("worker-request", include_str!("../../labs/classic/demo/worker-request.rhai")),
    ("worker-return", include_str!("../../labs/classic/demo/worker-return.rhai")),
];

/// How often what is going on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seconds of the plant's time per real second.
    pub speed: f64,
    /// How long it runs at most, in real time; `None`: until somebody ends it.
    pub lasts: Option<Duration>,
    /// Lines instead of a screen.
    pub headless: bool,
    /// Lines of JSON instead of a screen.
    pub json: bool,
    /// For everything that happens by chance in the plant.
    pub seed: u64,
    /// A lab file with its story and policies beside it; `None`: the classic lab.
    pub lab: Option<PathBuf>,
    /// Where the daemon's pages are; any free port if not given.
    pub listen: Option<SocketAddr>,
}

/// How long it runs without a screen where nothing else is said.
pub const HEADLESS_LASTS: Duration = Duration::from_secs(180);

/// Plays the story. Gives whether every chapter was seen.
///
/// # Errors
/// It cannot be started, or the daemon ended before its time.
pub async fn run(mut options: Options) -> anyhow::Result<bool> {
    options.headless |= options.json;
    if options.headless {
        options.lasts.get_or_insert(HEADLESS_LASTS);
    }
    // From here on a signal is heard and not obeyed at once, so that everything is given back.
    let mut stops = Stops::listen()?;
    // The terminal is asked first: without one, nothing is started.
    let guard = if options.headless { None } else { Some(Guard::take()?) };
    let mut stage = Stage::open(&options).await?;
    let played = match guard {
        Some(guard) => play_on_screen(guard, &mut stage, &mut stops).await,
        None => play_in_lines(&mut stage, &mut stops, options.json).await,
    };
    stage.close().await;
    let last = played?;
    let summary = Summary::of(&last);
    let told = if options.json { serde_json::to_string(&summary)? } else { summary.text() };
    print(&told)?;
    Ok(summary.all_seen)
}

/// One line to the standard output; `false` where nobody reads any more.
fn print(line: &str) -> std::io::Result<bool> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// What asks the demo to end: Ctrl-C where it is no key, `kill`, a terminal that is closed.
struct Stops([Signal; 3]);

impl Stops {
    fn listen() -> std::io::Result<Stops> {
        Ok(Stops([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

async fn play_in_lines(stage: &mut Stage, stops: &mut Stops, json: bool) -> anyhow::Result<Screen> {
    let mut before = stage.look().await?;
    let (address, folder, cluster) = (stage.address(), stage.folder().display().to_string(), stage.cluster());
    stage.say(format!("the daemon's pages are at {address}, its files in {folder}; the house's cluster: kubectl --server {cluster}"));
    loop {
        let now = stage.look().await?;
        for change in lines::changes(&before, &now) {
            if !print(&if json { serde_json::to_string(&change)? } else { change.text() })? {
                return Ok(now);
            }
        }
        if stage.is_over() || stage.all_seen() {
            return Ok(now);
        }
        stage.answer_by_itself(&now).await;
        before = now;
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stops.asked() => return Ok(before),
            error = stage.ended() => return Err(error),
        }
    }
}

async fn play_on_screen(mut guard: Guard, stage: &mut Stage, stops: &mut Stops) -> anyhow::Result<Screen> {
    let mut ui = Ui::default();
    let mut screen = stage.look().await?;
    loop {
        guard.terminal.draw(|frame| view::draw(frame, &screen, &ui))?;
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            event = guard.events.recv() => match event {
                Some(Event::Key(key)) => {
                    if !carry_out(ui.key(key, &screen), &mut ui, stage).await {
                        return Ok(screen);
                    }
                }
                Some(_) => {}
                None => anyhow::bail!("the terminal gives no keys any more"),
            },
            () = stops.asked() => return Ok(screen),
            error = stage.ended() => return Err(error),
        }
        let told = stage.all_seen();
        screen = stage.look().await?;
        if stage.all_seen() && !told {
            stage.say("the story is told; the house goes on until you press q");
        }
        if stage.is_over() {
            return Ok(screen);
        }
    }
}

/// Does what a key asked for; `false` at the end.
async fn carry_out(wish: Wish, ui: &mut Ui, stage: &mut Stage) -> bool {
    let order = |action: &str| action.parse::<ActionId>().map_err(|_| format!("`{action}` is no action"));
    let (said, ordered) = match wish {
        Wish::Nothing => return true,
        Wish::Quit => return false,
        Wish::Say(text) => (text, Ok(())),
        Wish::Explain { action } => {
            match stage.explain(&action).await {
                Ok(text) => (ui.popup, ui.scroll) = (Some(text), 0),
                Err(why) => stage.say(why),
            }
            return true;
        }
        Wish::Approve { action, plan } => {
            let command = order(&action).map(|id| Command::Approve { action: id, plan: Some(plan) });
            (format!("you approved {action}"), ordered(stage, command).await)
        }
        Wish::Deny { action } => {
            (format!("you denied {action}"), ordered(stage, order(&action).map(|id| Command::Deny { action: id })).await)
        }
        Wish::Pause => {
            let command = Command::Pause { reason: "paused at the demo's screen".into() };
            ("hands-off: sensing goes on, nothing is sent".into(), ordered(stage, Ok(command)).await)
        }
        Wish::Resume => ("hands-off is over".into(), ordered(stage, Ok(Command::Resume)).await),
    };
    stage.say(ordered.map_or_else(|why| format!("refused: {why}"), |()| said));
    true
}

async fn ordered(stage: &Stage, command: Result<Command, String>) -> Result<(), String> {
    stage.order(command?).await
}
