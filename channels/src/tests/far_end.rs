//! The other side, for tests: services on loopback that keep what they are sent and answer as the real ones do.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

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
}

/// A scripted answer: status, headers, body.
pub(crate) type Scripted = (u16, Vec<(&'static str, &'static str)>, String);

/// A server that answers by script; stopped when dropped.
pub(crate) struct FarEnd {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FarEnd {
    /// Answers these in turn, the last for ever: status, headers, body.
    pub(crate) async fn script(answers: Vec<Scripted>) -> FarEnd {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = seen.clone();
        let app = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (kept, answers) = (kept.clone(), answers.clone());
            async move {
                let mut kept = kept.lock().unwrap();
                kept.push(Seen { method, uri, headers, body: String::from_utf8(body.to_vec()).unwrap() });
                let (status, headers, body) = answers[(kept.len() - 1).min(answers.len() - 1)].clone();
                let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
                headers.iter().for_each(|(name, value)| drop(response.headers_mut().insert(*name, value.parse().unwrap())));
                response
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        FarEnd { url, seen, task }
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

/// What the bot's token is.
pub(crate) const BOT: &str = "4242:a-token_of-a-Bot";

/// Telegram's bot API for one bot: messages with numbers, updates that stay until an offset passes them, one poller.
#[derive(Default)]
pub(crate) struct TelegramState {
    pub calls: Vec<(String, Value)>,
    updates: Vec<Value>,
    messages: i64,
    next_update: i64,
    /// Statuses and bodies that the next calls of a method get instead.
    pub troubles: Vec<(&'static str, u16, Value)>,
}

#[derive(Clone, Default)]
pub(crate) struct TelegramApi(pub Arc<Mutex<TelegramState>>, Arc<Notify>);

pub(crate) struct TelegramServer {
    pub url: String,
    pub api: TelegramApi,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TelegramServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fault(status: u16, description: &str) -> Response {
    let body = json!({ "ok": false, "error_code": status, "description": description });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

impl TelegramApi {
    /// A press: `from` presses the button that carries `data`, under a message in `chat`.
    pub(crate) fn press(&self, from: i64, chat: i64, data: &str) -> String {
        let mut state = self.0.lock().unwrap();
        state.next_update += 1;
        let (update, query) = (90_000 + state.next_update, format!("query-{}", state.next_update));
        state.updates.push(json!({ "update_id": update, "callback_query": {
            "id": query, "from": { "id": from, "is_bot": false, "first_name": "Ada", "username": "ada" },
            "message": { "message_id": 1, "chat": { "id": chat, "type": "supergroup" }, "date": 1, "text": "..." },
            "chat_instance": "-3", "data": data } }));
        drop(state);
        self.1.notify_waiters();
        query
    }

    /// An update as it is.
    pub(crate) fn push(&self, update: Value) {
        self.0.lock().unwrap().updates.push(update);
        self.1.notify_waiters();
    }

    pub(crate) fn calls_of(&self, method: &str) -> Vec<Value> {
        self.0.lock().unwrap().calls.iter().filter(|(name, _)| name == method).map(|(_, body)| body.clone()).collect()
    }

    async fn get_updates(&self, body: &Value) -> Response {
        loop {
            let changed = self.1.notified();
            tokio::pin!(changed);
            // From here on a press is not missed.
            changed.as_mut().enable();
            let found: Vec<Value> = {
                let mut state = self.0.lock().unwrap();
                if let Some(offset) = body["offset"].as_i64() {
                    state.updates.retain(|update| update["update_id"].as_i64() >= Some(offset));
                }
                state.updates.clone()
            };
            if !found.is_empty() {
                return axum::Json(json!({ "ok": true, "result": found })).into_response();
            }
            changed.await;
        }
    }

    async fn call(&self, uri: &Uri, body: &[u8]) -> Response {
        let Some(method) = uri.path().strip_prefix(&format!("/bot{BOT}/")).map(str::to_owned) else { return fault(404, "Not Found") };
        let body: Value = serde_json::from_slice(body).unwrap();
        {
            let mut state = self.0.lock().unwrap();
            state.calls.push((method.clone(), body.clone()));
            if let Some(at) = state.troubles.iter().position(|(name, ..)| *name == method) {
                let (_, status, body) = state.troubles.remove(at);
                return (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
            }
        }
        match method.as_str() {
            "getUpdates" => self.get_updates(&body).await,
            "sendMessage" => {
                let markup = body["reply_markup"]["inline_keyboard"].as_array();
                let too_long = |button: &Value| !(1..=64).contains(&button["callback_data"].as_str().unwrap().len());
                if markup.into_iter().flatten().flat_map(|row| row.as_array().unwrap()).any(too_long) {
                    return fault(400, "Bad Request: BUTTON_DATA_INVALID");
                }
                if body["text"].as_str().unwrap().encode_utf16().count() > 4096 {
                    return fault(400, "Bad Request: message is too long");
                }
                let mut state = self.0.lock().unwrap();
                state.messages += 1;
                let message =
                    json!({ "message_id": 776 + state.messages, "chat": { "id": body["chat_id"] }, "date": 1, "text": body["text"] });
                axum::Json(json!({ "ok": true, "result": message })).into_response()
            }
            "answerCallbackQuery" | "editMessageText" => axum::Json(json!({ "ok": true, "result": true })).into_response(),
            _ => fault(404, "Not Found: method not found"),
        }
    }
}

impl TelegramServer {
    pub(crate) async fn start() -> TelegramServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = TelegramApi::default();
        let handler = |State(api): State<TelegramApi>, uri: Uri, body: Bytes| async move { api.call(&uri, &body).await };
        let app = axum::Router::new().fallback(handler).with_state(api.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        TelegramServer { url, api, task }
    }
}
