//! Who may order something: named bearer tokens over TCP, the daemon's own user or root over the Unix socket. An agent's token may ask
//! and propose, and orders nothing.
//!
//! Tokens are kept and compared as SHA-256 digests, every one of them at every comparison, so that time tells nothing. Deliberately
//! absent: sessions, cookies (a page in somebody's browser could use them), and rights finer than these two. An editor breaks this
//! by comparing with `==`, by letting loopback stand for a person, by putting a token into a message, or by asking [`asker`] where
//! something is ordered.

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;
use subtle::ConstantTimeEq;

/// Tokens that may be configured.
const TOKENS_MAX: usize = 64;
/// The fewest characters of a token: shorter ones can be guessed.
pub const TOKEN_CHARS_MIN: usize = 16;

/// The other end of a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over the Unix socket, with the user that the operating system vouches for.
    Unix(u32),
}

/// What a token is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A person's: it may order.
    Operator,
    /// An agent's: it may ask and propose.
    Agent,
}

/// Named tokens. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(String, [u8; 32], Role)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, ..)| name)).finish()
    }
}

impl Tokens {
    /// People's tokens by name. Names say in the journal who ordered what.
    ///
    /// # Errors
    /// A name or token is empty or given twice, a token is shorter than [`TOKEN_CHARS_MIN`], or there are too many. The text names
    /// the token's name, never the token.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tokens, String> {
        Tokens::default().with(Role::Operator, pairs)
    }

    /// The same tokens and these. No name and no token may stand for two.
    ///
    /// # Errors
    /// As [`Tokens::new`].
    pub fn with(self, role: Role, pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tokens, String> {
        let mut tokens = self;
        for (name, token) in pairs {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                let shown: String = name.chars().take(64).collect();
                return Err(format!("the token's name `{shown}` is not one: expected 1 to 64 letters, digits, `-`, `_` or `.`"));
            }
            if token.chars().count() < TOKEN_CHARS_MIN {
                return Err(format!(
                    "the token `{name}` is too short: expected at least {TOKEN_CHARS_MIN} characters, such as `openssl rand -hex 32` makes"
                ));
            }
            let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
            if tokens.0.iter().any(|(known, same, _)| *known == name || *same == digest) {
                return Err(format!("the token `{name}` is given twice, by name or by value: each person or device needs its own"));
            }
            if tokens.0.len() == TOKENS_MAX {
                return Err(format!("there are more than {TOKENS_MAX} tokens"));
            }
            tokens.0.push((name, digest, role));
        }
        Ok(tokens)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a token, and what it is for.
    pub fn who(&self, given: &str) -> Option<(&str, Role)> {
        let digest: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        let mut found = None;
        for (name, known, role) in &self.0 {
            if bool::from(known.ct_eq(&digest)) {
                found = Some((name.as_str(), *role));
            }
        }
        found
    }
}

/// Why an order was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRight {
    /// No token is configured.
    NoTokens,
    /// The request has no bearer token.
    Missing,
    /// The token is not a configured one.
    Wrong,
    /// The token is an agent's.
    Agent(String),
    /// The socket's other end is another user.
    User(u32),
}

impl NoRight {
    /// The HTTP status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            NoRight::Missing | NoRight::Wrong => StatusCode::UNAUTHORIZED,
            NoRight::NoTokens | NoRight::Agent(_) | NoRight::User(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for NoRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRight::NoTokens => f.write_str(
                "no API token is configured, so nothing can be ordered over TCP: run `homeostat` on this machine, which uses the Unix socket in the \
                 data directory, or configure a token under `tokens` and send it as `Authorization: Bearer …`",
            ),
            NoRight::Missing => f.write_str("an order needs `Authorization: Bearer …` with a configured token"),
            NoRight::Wrong => f.write_str("the bearer token is not a configured one"),
            NoRight::Agent(name) => write!(
                f,
                "the token `{name}` is an agent's: it may look, ask and propose (`POST /api/v1/propose`), and a person orders with a token of \
                 `tokens`"
            ),
            NoRight::User(uid) => write!(f, "user {uid} may not order anything: expected the daemon's own user or root"),
        }
    }
}

impl std::error::Error for NoRight {}

/// Who orders: `unix:<uid>` or `token:<name>`. `own_uid` is the daemon's user.
///
/// # Errors
/// See [`NoRight`].
pub fn operator(peer: Peer, own_uid: u32, headers: &HeaderMap, tokens: &Tokens) -> Result<String, NoRight> {
    match known(peer, own_uid, headers, tokens)? {
        (by, Role::Operator) => Ok(by),
        (by, Role::Agent) => Err(NoRight::Agent(by.trim_start_matches("token:").into())),
    }
}

/// Who asks or proposes, as [`operator`] names them: whoever may order, and agents.
///
/// # Errors
/// See [`NoRight`].
pub fn asker(peer: Peer, own_uid: u32, headers: &HeaderMap, tokens: &Tokens) -> Result<String, NoRight> {
    known(peer, own_uid, headers, tokens).map(|(by, _)| by)
}

fn known(peer: Peer, own_uid: u32, headers: &HeaderMap, tokens: &Tokens) -> Result<(String, Role), NoRight> {
    match peer {
        Peer::Unix(uid) if uid == own_uid || uid == 0 => Ok((format!("unix:{uid}"), Role::Operator)),
        Peer::Unix(uid) => Err(NoRight::User(uid)),
        Peer::Tcp(_) if tokens.is_empty() => Err(NoRight::NoTokens),
        Peer::Tcp(_) => {
            let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(NoRight::Missing)?;
            let (scheme, token) = given.split_once(' ').ok_or(NoRight::Missing)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(NoRight::Missing);
            }
            tokens.who(token.trim()).map(|(name, role)| (format!("token:{name}"), role)).ok_or(NoRight::Wrong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Peer {
        Peer::Tcp("127.0.0.1:5".parse().unwrap())
    }

    fn bearer(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, text.parse().unwrap())])
    }

    #[test]
    fn tcp_needs_a_configured_token_and_says_whose() {
        let tokens = Tokens::new([("phone".into(), "0123456789abcdef".into()), ("desk".into(), "fedcba9876543210".into())]).unwrap();
        assert_eq!(operator(tcp(), 7, &bearer("Bearer fedcba9876543210"), &tokens), Ok("token:desk".into()));
        assert_eq!(operator(tcp(), 7, &bearer("bearer  0123456789abcdef "), &tokens), Ok("token:phone".into()));
        assert_eq!(operator(tcp(), 7, &bearer("Bearer 0123456789abcde"), &tokens), Err(NoRight::Wrong));
        assert_eq!(operator(tcp(), 7, &bearer("Basic 0123456789abcdef"), &tokens), Err(NoRight::Missing));
        assert_eq!(operator(tcp(), 7, &HeaderMap::new(), &tokens), Err(NoRight::Missing));
        assert_eq!(operator(tcp(), 7, &bearer("Bearer 0123456789abcdef"), &Tokens::default()), Err(NoRight::NoTokens));
        assert!(!format!("{tokens:?}").contains("0123"), "{tokens:?}");
    }

    #[test]
    fn an_agents_token_asks_and_orders_nothing() {
        let pair = |name: &str, token: &str| (name.to_owned(), token.to_owned());
        let people = Tokens::new([pair("phone", "0123456789abcdef")]).unwrap();
        let tokens = people.clone().with(Role::Agent, [pair("helper", "fedcba9876543210")]).unwrap();
        let agent = bearer("Bearer fedcba9876543210");
        assert_eq!(asker(tcp(), 7, &agent, &tokens), Ok("token:helper".into()));
        assert_eq!(operator(tcp(), 7, &agent, &tokens), Err(NoRight::Agent("helper".into())));
        assert_eq!(NoRight::Agent("helper".into()).status(), StatusCode::FORBIDDEN);
        assert_eq!(asker(tcp(), 7, &bearer("Bearer 0123456789abcdef"), &tokens), Ok("token:phone".into()));
        for twice in [pair("phone", "another token here"), pair("other", "0123456789abcdef")] {
            let error = people.clone().with(Role::Agent, [twice]).unwrap_err();
            assert!(error.contains("given twice") && !error.contains("0123"), "{error}");
        }
    }

    #[test]
    fn the_socket_serves_its_own_user_and_root() {
        let none = Tokens::default();
        assert_eq!(operator(Peer::Unix(7), 7, &HeaderMap::new(), &none), Ok("unix:7".into()));
        assert_eq!(operator(Peer::Unix(0), 7, &HeaderMap::new(), &none), Ok("unix:0".into()));
        assert_eq!(operator(Peer::Unix(8), 7, &HeaderMap::new(), &none), Err(NoRight::User(8)));
        assert_eq!(operator(Peer::Unix(8), 0, &HeaderMap::new(), &none), Err(NoRight::User(8)));
    }

    #[test]
    fn weak_or_double_tokens_are_refused_without_being_shown() {
        let pair = |name: &str, token: &str| (name.to_owned(), token.to_owned());
        let good = "0123456789abcdef";
        for bad in [vec![pair("", good)], vec![pair("a b", good)], vec![pair("a", "hunter2")], vec![pair("a", good), pair("b", good)]] {
            let error = Tokens::new(bad).unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains(good), "{error}");
        }
    }
}
