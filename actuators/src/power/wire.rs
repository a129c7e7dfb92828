//! One HTTP service of a node: where it is, how it lets us in, and which certificate it must show.
//!
//! Requests are built from fixed configuration only. Deliberately absent: repeating a request (the flows decide), and following anything
//! to another host: a password went with it. An editor breaks this by building the client so that a certificate that is not the pinned one
//! is taken, or by showing an answer without the redactor.

use crate::client::{self, Answer, Exchange, Request, put_header};
use crate::redact::Redactor;
use base64::Engine;
use homeostat_model::{FaultCode, Secret};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One exchange takes at most this; it is real time, whatever the daemon's pace.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a service lets us in.
#[derive(Clone, Debug)]
pub(super) enum Login {
    Open,
    /// `Authorization: <prefix><secret>`.
    Token(&'static str, Secret),
    Basic(String, Secret),
    Headers(BTreeMap<String, Secret>),
}

/// A service of a node.
#[derive(Debug)]
pub(super) struct Wire {
    base: Url,
    login: Login,
    certificate: Option<PathBuf>,
    client: Client,
}

/// What an exchange came to: an answer with its headers, or why there is none.
pub(super) enum Asked {
    Answered(Answer, HeaderMap),
    /// Surely nothing arrived.
    NotSent(FaultCode, String),
    /// Something may have arrived.
    Lost(FaultCode, String),
}

impl Wire {
    /// `base` is `http` or `https`, without credentials. `certificate` is a PEM file, read at every use: it may be renewed.
    pub(super) fn new(base: &str, login: Login, certificate: Option<&Path>) -> Result<Wire, String> {
        let url = Url::parse(base).map_err(|error| format!("`{base}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(format!("`{base}` is not a URL of http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("a URL here holds no credentials and no fragment; give the password by its own setting".into());
        }
        if let Login::Headers(headers) = &login {
            let names = headers.keys().filter(|name| reqwest::header::HeaderName::try_from(name.as_str()).is_err());
            if let Some(name) = names.into_iter().next() {
                return Err(format!("`{name}` is not a header's name"));
            }
        }
        let client = client::client().map_err(|fault| fault.detail)?;
        Ok(Wire { base: url, login, certificate: certificate.map(Path::to_path_buf), client })
    }

    /// The URL of a path with its query; an empty one is the configured URL itself.
    pub(super) fn url(&self, path: &str) -> Url {
        if path.is_empty() {
            return self.base.clone();
        }
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// Whether a secret of the login can be read; nothing is sent.
    pub(super) fn login_problem(&self) -> Option<String> {
        self.headers(&mut Redactor::default()).err().or_else(|| self.client().err())
    }

    fn headers(&self, redactor: &mut Redactor) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        match &self.login {
            Login::Open => {}
            Login::Token(prefix, secret) => put_header(&mut headers, "authorization", &format!("{prefix}{}", redactor.take(secret)?))?,
            Login::Basic(user, secret) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", redactor.take(secret)?));
                redactor.learn(&pair);
                put_header(&mut headers, "authorization", &format!("Basic {pair}"))?;
            }
            Login::Headers(all) => {
                for (name, secret) in all {
                    let value = redactor.take(secret)?;
                    put_header(&mut headers, name, &value)?;
                }
            }
        }
        Ok(headers)
    }

    fn client(&self) -> Result<Client, String> {
        match &self.certificate {
            Some(path) if self.base.scheme() == "https" => pinned(path),
            _ => Ok(self.client.clone()),
        }
    }

    /// Sends once, with a body of a kind or none, and with more headers.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
        more: &[(&str, String)],
        redactor: &mut Redactor,
    ) -> Asked {
        let prepared = self.headers(redactor).and_then(|mut headers| {
            for (name, value) in more {
                put_header(&mut headers, name, value)?;
            }
            if let Some((kind, _)) = &body {
                put_header(&mut headers, "content-type", kind)?;
            }
            Ok((headers, self.client()?))
        });
        let (headers, client) = match prepared {
            Ok(prepared) => prepared,
            Err(problem) => return Asked::NotSent(FaultCode::Denied, problem),
        };
        let request = Request { method, url: self.url(path), headers, body: body.map(|(_, bytes)| bytes).unwrap_or_default() };
        match client::exchange_with_headers(&client, request, EXCHANGE_TIMEOUT).await {
            (Exchange::Answered(answer), headers) => Asked::Answered(answer, headers),
            (Exchange::NotSent(why), _) => Asked::NotSent(FaultCode::Unreachable, redactor.clean_head(&why, 300)),
            (Exchange::NoAnswer(code, why), _) => Asked::Lost(code, redactor.clean_head(&why, 300)),
        }
    }

    /// A reading request: the answer of status 200 to 299, or what is wrong.
    pub(super) async fn get(&self, path: &str, more: &[(&str, String)], redactor: &mut Redactor) -> Result<Answer, (FaultCode, String)> {
        let shown = self.url(path);
        match self.ask(Method::GET, path, None, more, redactor).await {
            Asked::Answered(answer, _) if answer.is_success() => Ok(answer),
            Asked::Answered(answer, _) => Err((code_of(answer.status), format!("GET {shown}: {}", answer.shown(redactor)))),
            Asked::NotSent(code, why) | Asked::Lost(code, why) => Err((code, format!("GET {shown}: {why}"))),
        }
    }

    /// The same, for a JSON answer.
    pub(super) async fn get_json(
        &self,
        path: &str,
        more: &[(&str, String)],
        redactor: &mut Redactor,
    ) -> Result<serde_json::Value, (FaultCode, String)> {
        let answer = self.get(path, more, redactor).await?;
        answer
            .json()
            .ok_or_else(|| (FaultCode::Malformed, format!("GET {}: the answer is not JSON: {}", self.url(path), answer.shown(redactor))))
    }
}

/// What a status that is no success means, as a code.
pub(super) fn code_of(status: u16) -> FaultCode {
    match client::refused(status, "", String::new()) {
        homeostat_model::Outcome::NotDone(fault) | homeostat_model::Outcome::Unknown(fault) => fault.code,
        homeostat_model::Outcome::Done(_) => FaultCode::Failed,
    }
}

/// A client that takes this certificate, or what it signed, and nothing else.
fn pinned(path: &Path) -> Result<Client, String> {
    let shown = path.display();
    let certificate = CertificateDer::from_pem_file(path).map_err(|error| format!("the certificate {shown} cannot be read: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    // A certificate that cannot stand as an authority can still be the server's own.
    let _ = roots.add(certificate.clone());
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
    let verifier = Arc::new(Pinned { certificate, chain, provider: provider.clone() });
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    client::builder().tls_backend_preconfigured(config).build().map_err(|error| format!("a client for the certificate {shown}: {error}"))
}

/// Takes one certificate, whatever name stands in it (management controllers have the factory's), or what it signed for the right name.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.chain {
            _ if shown.as_ref() == self.certificate.as_ref() => Ok(ServerCertVerified::assertion()),
            Some(chain) => chain.verify_server_cert(shown, between, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two self-signed certificates; their keys were thrown away.
    const BMC: &str = "-----BEGIN CERTIFICATE-----\nMIIBczCCARmgAwIBAgIUFcX5zX0JH86g35emVeh75JaHEfswCgYIKoZIzj0EAwIw\nDjEMMAoGA1UEAwwDYm1jMCAXDTI2MTEyMTA5NDM1NFoYDzIxMjYxMDI4MDk0MzU0\nWjAOMQwwCgYDVQQDDANibWMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAToywvI\nwF1WP7PWbx5NcyV1OX85VmklWIZb9i/AXWEgB3gSm4OsaX32OeJgQzn3eUNSTxgy\nKR2U45OBRWRKSjY7o1MwUTAdBgNVHQ4EFgQUGp0U+yt5bZ2lybWzVba6C8P2U1Iw\nHwYDVR0jBBgwFoAUGp0U+yt5bZ2lybWzVba6C8P2U1IwDwYDVR0TAQH/BAUwAwEB\n/zAKBggqhkjOPQQDAgNIADBFAiAyj9s+1naz0/CoJaNmBek+CzzO79zd8C+Fsjqe\nnGmfXwIhAPZCexEkrSOzBy5ZffZuhGXGOWPIZthVUkEfHZ0ywMbg\n-----END CERTIFICATE-----";
    const OTHER: &str = "-----BEGIN CERTIFICATE-----\nMIIBdjCCAR2gAwIBAgIUBXvZo7R1mF0GsRq689MeeoNTOkowCgYIKoZIzj0EAwIw\nEDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTIxMDk0MzU0WhgPMjEyNjEwMjgwOTQz\nNTRaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\nx44RnWKXAtg/5LlmndboTkeiz0FNRIwY45LfYHKyqugDmKFBgWtXFsFk4hf+j0T5\nwjE++UPwLEnYaum+mJM6GaNTMFEwHQYDVR0OBBYEFJ+jOykdYWDnKp5mx7NVqjEr\nOOUAMB8GA1UdIwQYMBaAFJ+jOykdYWDnKp5mx7NVqjErOOUAMA8GA1UdEwEB/wQF\nMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgYmgi1fNaFdmJ2kV6zwnTcQSQ/2zow8ZI\n3UlazkMwQmcCIDNg0LpQVlEb0Cr6kicFkUpTzPqiv98k+5ZZNeuVgVex\n-----END CERTIFICATE-----";

    #[test]
    fn a_pinned_certificate_is_taken_under_any_name_and_no_other_one_is() {
        let read = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pinned = Pinned { certificate: read(BMC), chain: None, provider };
        let verify = |shown: &CertificateDer<'_>| {
            pinned.verify_server_cert(shown, &[], &ServerName::try_from("nas-bmc.lan").unwrap(), &[], UnixTime::now()).is_ok()
        };
        assert!(verify(&read(BMC)) && !verify(&read(OTHER)));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bmc.pem");
        std::fs::write(&path, BMC).unwrap();
        super::pinned(&path).unwrap();
        assert!(super::pinned(&dir.path().join("absent")).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn paths_go_below_the_base_and_credentials_in_a_url_are_refused() {
        let wire = Wire::new("https://bmc.lan/proxy/", Login::Open, None).unwrap();
        assert_eq!(wire.url("/redfish/v1/Systems?x=1").as_str(), "https://bmc.lan/proxy/redfish/v1/Systems?x=1");
        assert_eq!(wire.url("").as_str(), "https://bmc.lan/proxy/");
        for bad in ["ftp://x", "bmc.lan", "http://u:p@x", "http://x#y"] {
            assert!(Wire::new(bad, Login::Open, None).is_err(), "{bad}");
        }
    }
}
