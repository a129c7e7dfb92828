//! Whom to trust at the other end of a TLS connection.
//!
//! One provider (`ring`) for the whole process, one shared configuration for the common case. Deliberately absent: client
//! certificates. An editor breaks this by letting an unreadable `ca_file` fall back to the public authorities.

use homeostat_model::{Fault, FaultCode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// A certificate file larger than this is not one.
const CA_BYTES_MAX: u64 = 4 << 20;

/// How far to trust a server's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// A PEM file with the lab's own certificate authority; only it is trusted then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Takes any certificate. Whoever sits in between can read and change everything, credentials included.
    pub insecure_skip_verify: bool,
    /// The name expected in the certificate, if it is not the URL's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// The rustls configuration for these wishes. `NotFound` or `Malformed` for a `ca_file` that does not serve.
pub(super) fn client_config(config: Option<&TlsConfig>) -> Result<ClientConfig, Fault> {
    static COMMON: OnceLock<ClientConfig> = OnceLock::new();
    // Other crates of the process (the daemon's webhooks) look the provider up by process; a second call only says "already".
    let _ = ring::default_provider().install_default();
    match config {
        Some(config) if *config != TlsConfig::default() => special(config),
        _ => match COMMON.get() {
            Some(common) => Ok(common.clone()),
            None => Ok(COMMON.get_or_init(|| trusting(public_roots())).clone()),
        },
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

fn special(config: &TlsConfig) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(ring::default_provider());
    let roots = match &config.ca_file {
        Some(path) => roots_of(path)?,
        None => public_roots(),
    };
    if config.insecure_skip_verify {
        let verifier = Arc::new(TrustAnybody { provider });
        return Ok(ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let Some(name) = &config.server_name else { return Ok(trusting(roots)) };
    let malformed = |detail: String| Fault::new(FaultCode::Malformed, "set up TLS", detail);
    let expected = ServerName::try_from(name.clone()).map_err(|_| malformed(format!("`{name}` in `server_name` is not a host name")))?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| malformed(format!("the trusted certificates do not serve: {error}")))?;
    let verifier = Arc::new(ExpectName { inner, expected });
    Ok(ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots_of(path: &str) -> Result<RootCertStore, Fault> {
    let fault = |code, detail: String| Fault::new(code, format!("read the certificates in `{path}`"), detail);
    let size = std::fs::metadata(path).map_err(|error| fault(FaultCode::NotFound, error.to_string()))?.len();
    if size > CA_BYTES_MAX {
        return Err(fault(FaultCode::Limit, format!("{size} bytes, expected at most {CA_BYTES_MAX}")));
    }
    let pem = std::fs::read(path).map_err(|error| fault(FaultCode::NotFound, error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fault(FaultCode::Malformed, format!("not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| fault(FaultCode::Malformed, error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault(FaultCode::Malformed, "no certificate in it, expected `-----BEGIN CERTIFICATE-----`".into()));
    }
    Ok(roots)
}

/// Verifies as usual, but against a configured name.
#[derive(Debug)]
struct ExpectName {
    inner: Arc<WebPkiServerVerifier>,
    expected: ServerName<'static>,
}

impl ServerCertVerifier for ExpectName {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end, between, &self.expected, ocsp, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: any certificate will do; the handshake's own signatures are still checked.
#[derive(Debug)]
struct TrustAnybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_file_that_does_not_serve_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let config = |path: &std::path::Path| TlsConfig { ca_file: Some(path.display().to_string()), ..TlsConfig::default() };
        let fault = client_config(Some(&config(&path))).unwrap_err();
        assert_eq!(fault.code, FaultCode::NotFound, "{fault}");
        std::fs::write(&path, "hello").unwrap();
        let fault = client_config(Some(&config(&path))).unwrap_err();
        assert!(fault.code == FaultCode::Malformed && fault.while_doing.contains("ca.pem"), "{fault}");
    }

    #[test]
    fn every_wish_makes_a_configuration() {
        for config in [
            None,
            Some(TlsConfig::default()),
            Some(TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() }),
            Some(TlsConfig { server_name: Some("nas.lab".into()), ..TlsConfig::default() }),
        ] {
            assert!(client_config(config.as_ref()).is_ok(), "{config:?}");
        }
        let bad = TlsConfig { server_name: Some("not a name".into()), ..TlsConfig::default() };
        assert_eq!(client_config(Some(&bad)).unwrap_err().code, FaultCode::Malformed);
    }
}
