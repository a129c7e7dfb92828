//! The other side, for tests: a server on loopback that keeps what it is sent, byte by byte, and answers by script.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use homeostat_model::{Question, QuestionPurpose, Span};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A scripted answer: status, headers, body.
pub(crate) type Scripted = (u16, Vec<(&'static str, String)>, String);

/// A server that answers by script; stopped when dropped.
pub(crate) struct FarEnd {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FarEnd {
    /// `answer` gets the number of the request, from 0.
    pub(crate) async fn start(answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static) -> FarEnd {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let app = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (kept, answer) = (kept.clone(), answer.clone());
            async move {
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Seen { method, uri, headers, body: String::from_utf8(body.to_vec()).unwrap() });
                    kept.len() - 1
                };
                answer(number)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        FarEnd { url, seen, task }
    }

    /// Answers these in turn, the last for ever.
    pub(crate) async fn script(answers: Vec<Scripted>) -> FarEnd {
        FarEnd::start(move |number| {
            let (status, headers, body) = answers[number.min(answers.len() - 1)].clone();
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        })
        .await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A listener that reads a request, writes `head`, then `drip` again and again, a byte's time apart, or hangs up if that is empty.
pub(crate) struct Drip {
    pub url: String,
    count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drip {
    pub(crate) async fn start(head: &'static str, drip: &'static str) -> Drip {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = counted.clone();
                tokio::spawn(async move {
                    if !stream.read(&mut [0; 65536]).await.is_ok_and(|read| read > 0) {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    if stream.write_all(head.as_bytes()).await.is_err() || drip.is_empty() {
                        return;
                    }
                    // Ends when the other side has hung up.
                    while stream.write_all(drip.as_bytes()).await.is_ok() {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                });
            }
        });
        Drip { url, count, task }
    }
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for Drip {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A folder of the corpus, if it is there; else says loudly that it is not.
pub(crate) fn corpus(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let dir = std::env::var_os("HOMEOSTAT_CORPUS").map_or_else(beside, PathBuf::from).join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: no corpus at {}", dir.display());
    None
}

/// A schema of a small answer.
pub(crate) fn schema() -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": ["action", "target"],
        "properties": { "action": { "enum": ["none", "wake"] }, "target": { "type": "integer" } } })
}

/// A small question.
pub(crate) fn question() -> Question {
    Question {
        purpose: QuestionPurpose::Ask,
        system: "Choose.".into(),
        input: r#"{"load":0.9}"#.into(),
        schema: schema().to_string(),
        tokens_max: 300,
        timeout: Span::from_secs(20),
    }
}
