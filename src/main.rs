//! The program: reads the command line, sets up logging and TLS, and hands over to the library.

use clap::Parser;
use homeostat::cli::args::LogFormat;
use homeostat::cli::{self, Cli, Exit};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    end_quietly_with_the_reader();
    log(cli.global.log_format, default_level(&cli));
    // Fails only if a provider is there already; then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("homeostat: {error:#}");
            Exit::Failed.into()
        }
    }
}

/// `homeostat status | head` closes our output early. Rust makes that a panic; for a command line it is a plain end.
fn end_quietly_with_the_reader() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(0);
        }
        default(panic);
    }));
}

/// A daemon tells what it does, other commands only what goes wrong, and nothing is written over the demo's screen.
fn default_level(cli: &Cli) -> &'static str {
    match &cli.command {
        cli::args::Command::Run { .. } => "info",
        cli::args::Command::Demo(demo) if !demo.headless && !cli.global.json => "off",
        _ => "error",
    }
}

/// To stderr, as `RUST_LOG` says; else what matters.
fn log(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}
