//! A hundred exporters in one child process, over loopback, with kept connections.

use crate::parse::page;
use crate::process::{Owned, own_path};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Rounds of values; after the last one counters begin anew.
const PAGES: usize = 32;
/// A request's head in bytes.
const HEAD_BYTES_MAX: usize = 8192;

/// Starts them; they end with the guard.
pub fn start() -> (Owned, SocketAddr) {
    let mut command = Command::new(own_path());
    command.arg("exporters").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Owned(command.spawn().expect("this program can be started again"));
    let mut line = String::new();
    let out = child.0.stdout.as_mut().expect("the output is a pipe");
    BufReader::new(out).read_line(&mut line).expect("the exporters say where they are");
    (child, line.trim().parse().expect("an address"))
}

/// The child: serves until its input ends.
pub fn serve() {
    let answers: Vec<Vec<u8>> = (0..PAGES).map(answer).collect();
    let answers: Arc<[Vec<u8>]> = answers.into();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("{}", listener.local_addr().expect("it has an address"));
        std::io::stdout().flush().expect("somebody reads");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&answers)));
        }
    });
}

fn answer(round: usize) -> Vec<u8> {
    let page = page(round, 3);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n", page.len());
    [head.into_bytes(), page].concat()
}

/// Answers every request on a connection with the next round's page.
async fn connection(mut stream: TcpStream, answers: Arc<[Vec<u8>]>) {
    let (mut head, mut round) = (Vec::new(), 0);
    let mut buffer = [0; 1024];
    while let Ok(count) = stream.read(&mut buffer).await {
        head.extend_from_slice(&buffer[..count]);
        if count == 0 || head.len() > HEAD_BYTES_MAX {
            return;
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(&answers[round % answers.len()]).await.is_err() {
                return;
            }
            round += 1;
        }
    }
}
