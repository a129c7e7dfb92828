//! Starts the real binary, asks it over HTTP and the command line, and stops what it started, by pid.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_homeostat");

/// A free loopback port. It may be taken before it is used; tests that start servers try again then.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A child process that ends with the test.
pub struct Server {
    pub child: Child,
    name: String,
    log: PathBuf,
}

impl Server {
    /// Starts a program; its output goes to a file beside `dir`.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> Server {
        let log = dir.join(format!("{name}.log"));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Server { child, name: name.into(), log }
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the end of {}'s output ---\n{}", self.name, tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        self.kill();
    }
}

/// Asks again and again until it is so; panics with what it saw last when `limit` has passed.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match ask() {
            Ok(value) => return value,
            Err(seen) if Instant::now() > end => panic!("waited {limit:?} for: {what}; last seen: {seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A bare HTTP/1.1 request; status and body.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, String), String> {
    let fail = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(fail)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(fail)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).map_err(fail)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(fail)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| format!("no status: {head}"))?;
    Ok((status, body.to_owned()))
}

/// A daemon of its own directory.
pub struct Daemon {
    pub server: Server,
    pub address: SocketAddr,
    pub data: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it answers.
    pub fn start(dir: &Path, config: Option<&Path>) -> Daemon {
        let daemon = Daemon::spawn(dir, config, free_port());
        daemon.wait();
        daemon
    }

    /// Starts it.
    pub fn spawn(dir: &Path, config: Option<&Path>, port: u16) -> Daemon {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let data = dir.join("data");
        let mut command = Command::new(BINARY);
        command.args(["run", "--listen", &address.to_string()]).arg("--data").arg(&data);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let server = Server::start("homeostat", dir, &mut command);
        Daemon { server, address, data }
    }

    /// Waits until it answers.
    pub fn wait(&self) {
        until("the daemon answers /healthz", Duration::from_secs(20), || match request(self.address, "GET", "/healthz", &[], "") {
            Ok((200, _)) => Ok(()),
            Ok((status, body)) => Err(format!("{status} {body}")),
            Err(error) => Err(error),
        });
    }

    /// Runs the command line on its data.
    pub fn cli(&self, args: &[&str]) -> Output {
        Command::new(BINARY).args(args).arg("--data").arg(&self.data).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the command line with `--json`; panics unless it succeeds.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.cli(&[args, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "homeostat {args:?} failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("homeostat {args:?} printed no JSON: {error}\n{text}"))
    }
}
