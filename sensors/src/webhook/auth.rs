//! Whether a sender may deliver: nothing, a bearer token, a name and password, or Grafana's signature over the body.
//!
//! Comparisons take constant time. The signature is checked over the raw bytes, before anything parses them. Deliberately
//! absent: TLS client certificates (the listener's), and secrets in any message or `Debug` output. An editor breaks this by
//! comparing with `==`, or by remembering signatures that were not verified (strangers could then fill the memory).

use base64::Engine;
use hmac::{Hmac, Mac};
use homeostat_model::{Secret, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use subtle::ConstantTimeEq;

/// The header that Grafana signs into unless told otherwise.
pub const GRAFANA_SIGNATURE_HEADER: &str = "X-Grafana-Alerting-Signature";

/// How senders prove themselves, as written in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookAuthConfig {
    /// Not at all: only for a listener that nobody else can reach.
    #[default]
    None,
    /// `Authorization: Bearer …`: `${env:NAME}`, `${file:/path}` or text.
    Bearer(#[schemars(with = "String")] Secret),
    /// `Authorization: Basic …`.
    Basic(WebhookBasicConfig),
    /// Grafana's HMAC signature (`hmacConfig` of the contact point, Grafana 12).
    GrafanaHmac(GrafanaHmacConfig),
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookBasicConfig {
    /// The name.
    pub username: String,
    /// The password: `${env:NAME}`, `${file:/path}` or text.
    #[schemars(with = "String")]
    pub password: Secret,
}

/// How Grafana signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrafanaHmacConfig {
    /// The shared secret: `${env:NAME}`, `${file:/path}` or text.
    #[schemars(with = "String")]
    pub secret: Secret,
    /// The header that carries the signature.
    #[serde(default = "default_header")]
    pub header: String,
    /// The header that carries the time of signing, as it was named in the contact point. Without it a recorded delivery can be
    /// played again at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// How far the sender's clock may be from ours.
    #[serde(default = "default_tolerance")]
    #[schemars(with = "String")]
    pub tolerance: Span,
}

fn default_header() -> String {
    GRAFANA_SIGNATURE_HEADER.to_owned()
}

fn default_tolerance() -> Span {
    Span::from_secs(300)
}

impl WebhookAuthConfig {
    /// Fetches the secrets. `env` and `read` are the caller's, as in [`Secret::resolve`]. Fails on a secret that cannot be had or
    /// is empty (an empty one would let everybody in); the error names the reference, never a value.
    pub fn resolve(
        &self,
        env: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<WebhookAuth, String> {
        let fetch = |secret: &Secret| match secret.resolve(&env, &read) {
            Ok(text) if text.is_empty() => Err(format!("the webhook's secret {secret} is empty: expected at least one character")),
            other => other,
        };
        Ok(match self {
            WebhookAuthConfig::None => WebhookAuth::None,
            WebhookAuthConfig::Bearer(secret) => WebhookAuth::Bearer { token: fetch(secret)? },
            WebhookAuthConfig::Basic(basic) => WebhookAuth::Basic { username: basic.username.clone(), password: fetch(&basic.password)? },
            WebhookAuthConfig::GrafanaHmac(hmac) => WebhookAuth::GrafanaHmac {
                secret: fetch(&hmac.secret)?,
                header: hmac.header.clone(),
                timestamp_header: hmac.timestamp_header.clone(),
                tolerance: hmac.tolerance,
            },
        })
    }
}

/// How senders prove themselves, with the secrets at hand. `Debug` shows none.
#[derive(Clone)]
pub enum WebhookAuth {
    /// Everybody may.
    None,
    /// Who has this token may.
    Bearer {
        /// The token.
        token: String,
    },
    /// Who has this name and password may.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// Who can sign with this secret may.
    GrafanaHmac {
        /// The secret.
        secret: String,
        /// The header with the signature: 64 hex digits.
        header: String,
        /// The header with the time of signing in Unix seconds, if the sender is told to sign it.
        timestamp_header: Option<String>,
        /// How far that time may be from now.
        tolerance: Span,
    },
}

impl fmt::Debug for WebhookAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WebhookAuth::None => "None",
            WebhookAuth::Bearer { .. } => "Bearer(<secret>)",
            WebhookAuth::Basic { .. } => "Basic(<secret>)",
            WebhookAuth::GrafanaHmac { .. } => "GrafanaHmac(<secret>)",
        })
    }
}

/// Why a sender was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// A header is missing; its name and what it should hold.
    Missing(String),
    /// The credentials or the signature are not right, or not readable.
    Wrong(&'static str),
    /// The time of signing is too far from now; the distance in seconds.
    Stale(i64),
    /// This very delivery came before.
    Replayed,
    /// More deliveries are remembered than allowed; try again later.
    Crowded,
}

impl AuthError {
    /// The HTTP status to answer with: 401, or 429 for [`AuthError::Crowded`].
    pub fn status(&self) -> u16 {
        if *self == AuthError::Crowded { 429 } else { 401 }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::Missing(what) => write!(f, "the request has no {what}"),
            AuthError::Wrong(what) => f.write_str(what),
            AuthError::Stale(seconds) => write!(f, "the request was signed {seconds} s away from this machine's time: compare both clocks"),
            AuthError::Replayed => f.write_str("this signed request was delivered before"),
            AuthError::Crowded => f.write_str("too many signed requests within the tolerance: send fewer, or lower `tolerance`"),
        }
    }
}

impl std::error::Error for AuthError {}

impl WebhookAuth {
    /// Checks one request. `header` gives a header's value by its name, whatever the case; `body` is the body as it came.
    pub fn verify<'h>(
        &self,
        now: Time,
        header: &dyn Fn(&str) -> Option<&'h str>,
        body: &[u8],
        replay: &mut ReplayGuard,
    ) -> Result<(), AuthError> {
        match self {
            WebhookAuth::None => Ok(()),
            WebhookAuth::Bearer { token } => {
                let given = authorization(header, "Bearer")?;
                right(same(given.as_bytes(), token.as_bytes()), "the bearer token is not the configured one")
            }
            WebhookAuth::Basic { username, password } => {
                const WRONG: &str = "the name or the password is not the configured one";
                let coded = authorization(header, "Basic")?;
                let plain = base64::engine::general_purpose::STANDARD.decode(coded).map_err(|_| AuthError::Wrong(WRONG))?;
                let colon = plain.iter().position(|b| *b == b':').ok_or(AuthError::Wrong(WRONG))?;
                // Both are always compared: the time must not tell which one was wrong.
                let name = same(&plain[..colon], username.as_bytes());
                let word = same(&plain[colon + 1..], password.as_bytes());
                right(name & word, WRONG)
            }
            WebhookAuth::GrafanaHmac { secret, header: name, timestamp_header, tolerance } => {
                let signature = signature(header, name)?;
                let stamp = match timestamp_header {
                    None => None,
                    Some(name) => Some(header(name).ok_or_else(|| AuthError::Missing(format!("header `{name}` with Unix seconds")))?),
                };
                check_signature(secret, stamp, body, &signature)?;
                match stamp {
                    None => Ok(()),
                    Some(stamp) => replay.admit(now, seconds(stamp)?, signature, *tolerance),
                }
            }
        }
    }
}

fn authorization<'h>(header: &dyn Fn(&str) -> Option<&'h str>, scheme: &str) -> Result<&'h str, AuthError> {
    let missing = || AuthError::Missing(format!("`Authorization: {scheme} …`"));
    let (given, rest) = header("Authorization").ok_or_else(missing)?.split_once(' ').ok_or_else(missing)?;
    if given.eq_ignore_ascii_case(scheme) { Ok(rest.trim()) } else { Err(missing()) }
}

fn signature<'h>(header: &dyn Fn(&str) -> Option<&'h str>, name: &str) -> Result<[u8; 32], AuthError> {
    let text = header(name).ok_or_else(|| AuthError::Missing(format!("header `{name}` with a signature")))?;
    let wrong = AuthError::Wrong("the signature is not 64 hex digits");
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return Err(wrong);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(wrong) };
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

/// HMAC-SHA256 over the body, or over `<stamp>:` and the body (grafana/alerting `http/hmac.go`). The stamp is signed as it was written.
fn check_signature(secret: &str, stamp: Option<&str>, body: &[u8], signature: &[u8; 32]) -> Result<(), AuthError> {
    const WRONG: AuthError = AuthError::Wrong("the signature does not fit the body: compare the secret on both sides");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| WRONG)?;
    if let Some(stamp) = stamp {
        mac.update(stamp.as_bytes());
        mac.update(b":");
    }
    mac.update(body);
    mac.verify_slice(signature).map_err(|_| WRONG)
}

fn seconds(stamp: &str) -> Result<i64, AuthError> {
    let digits = stamp.bytes().all(|b| b.is_ascii_digit());
    stamp.parse().ok().filter(|_| digits).ok_or(AuthError::Wrong("the time of signing is not a number of Unix seconds"))
}

/// Constant time whatever the lengths: digests are compared.
fn same(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

fn right(is: bool, what: &'static str) -> Result<(), AuthError> {
    if is { Ok(()) } else { Err(AuthError::Wrong(what)) }
}

/// Remembers verified (time of signing, signature) pairs for as long as they would be accepted again.
#[derive(Clone, Debug)]
pub struct ReplayGuard {
    seen: BTreeSet<(i64, [u8; 32])>,
    seen_max: usize,
    /// What was signed before this has been forgotten, so it is refused even if our clock goes back.
    forgotten_before: i64,
}

impl Default for ReplayGuard {
    fn default() -> ReplayGuard {
        ReplayGuard::new(4096)
    }
}

impl ReplayGuard {
    /// Remembers at most `seen_max` deliveries; when full, more are refused rather than old ones forgotten.
    pub fn new(seen_max: usize) -> ReplayGuard {
        ReplayGuard { seen: BTreeSet::new(), seen_max, forgotten_before: i64::MIN }
    }

    /// How many deliveries are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn admit(&mut self, now: Time, signed: i64, signature: [u8; 32], tolerance: Span) -> Result<(), AuthError> {
        let (now, tolerance) = (now.millis().div_euclid(1000), tolerance.millis().max(0) / 1000);
        let distance = now.saturating_sub(signed);
        if distance.saturating_abs() > tolerance || signed < self.forgotten_before {
            return Err(AuthError::Stale(distance));
        }
        let floor = now - tolerance;
        if floor > self.forgotten_before {
            self.forgotten_before = floor;
            self.seen = self.seen.split_off(&(floor, [0; 32]));
        }
        if self.seen.contains(&(signed, signature)) {
            return Err(AuthError::Replayed);
        }
        if self.seen.len() >= self.seen_max {
            return Err(AuthError::Crowded);
        }
        self.seen.insert((signed, signature));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
