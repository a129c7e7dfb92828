//! The terminal while the demo has it: raw, on the alternate screen; given back when the guard is dropped and when the thread that
//! draws panics.
//!
//! Deliberately absent: signals (raw mode makes Ctrl-C a key; other signals end the demo in good order and drop the guard). An editor
//! breaks this by leaving through `process::exit` while the guard lives.

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the reader of keys looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Keys that may wait; more are dropped, oldest kept.
const KEYS_MAX: usize = 64;

/// The terminal and its keys.
pub struct Guard {
    /// Where to draw.
    pub terminal: DefaultTerminal,
    /// Keys and changes of the size.
    pub events: mpsc::Receiver<Event>,
    stop: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Guard {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Input or output is no terminal, or it cannot be switched.
    pub fn take() -> anyhow::Result<Guard> {
        anyhow::ensure!(
            std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
            "this is no terminal; `homeostat demo --headless` prints lines instead"
        );
        // Also gives the terminal back before a panic's message is printed.
        let terminal = ratatui::try_init().context("switch the terminal to the demo's screen")?;
        let (send, events) = mpsc::channel(KEYS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let reader = std::thread::Builder::new().name("keys".into()).spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                match event::poll(LOOK_EVERY) {
                    Ok(true) => match event::read() {
                        Ok(event) => drop(send.try_send(event)),
                        Err(_) => return,
                    },
                    Ok(false) => {}
                    Err(_) => return,
                }
            }
        });
        match reader {
            Ok(reader) => Ok(Guard { terminal, events, stop, reader: Some(reader) }),
            Err(error) => {
                ratatui::restore();
                Err(error).context("start reading keys")
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        ratatui::restore();
    }
}
