use super::*;
use crate::conformance::{ClosedPort, HangsUp, Server, answer, corpus};
use axum::response::Response;

const KEPT: &str = "hunter2-from-the-vault";

fn reference(text: &str) -> VaultRef {
    let Ok(Secret::Vault(reference)) = Secret::parse(&format!("${{vault:{text}}}")) else { panic!("{text}") };
    reference
}

/// A vault with the secret `kv/lab/telegram` and the policies of its paths; counts logins by their POSTs.
async fn face() -> Server {
    Server::start(move |_, seen| {
        let token = seen.header("x-vault-token");
        match (seen.method.as_str(), seen.uri.path()) {
            ("POST", "/v1/auth/kubernetes/login") if seen.json()["jwt"] == "pods-jwt" => {
                answer(200, json!({ "auth": { "client_token": "hvs.login", "lease_duration": 3600 } }))
            }
            ("GET", path) if token != "hvs.file" && token != "hvs.login" => denied(path),
            ("GET", "/v1/kv/data/lab/telegram") => {
                answer(200, json!({ "data": { "data": { "token": KEPT, "port": 7, "list": [1] }, "metadata": { "version": 3 } } }))
            }
            ("GET", "/v1/kv/data/lab/gone") => {
                answer(404, json!({ "data": { "data": null, "metadata": { "version": 3, "destroyed": false, "deletion_time": "x" } } }))
            }
            ("GET", "/v1/kv/data/lab/never") => answer(404, json!({ "errors": [] })),
            ("GET", "/v1/sealed/data/x") => answer(503, json!({ "errors": ["Vault is sealed"] })),
            ("GET", "/v1/old/data/x") => answer(200, json!({ "data": { "token": KEPT } })),
            (_, path) => denied(path),
        }
    })
    .await
}

fn denied(_: &str) -> Response {
    answer(403, json!({ "errors": ["permission denied"] }))
}

fn config(url: &str, dir: &tempfile::TempDir) -> VaultConfig {
    let path = dir.path().join("token");
    std::fs::write(&path, "hvs.file\n").unwrap();
    let token = Some(Secret::File(path.display().to_string()));
    VaultConfig {
        url: url.into(),
        namespace: Some("lab".into()),
        token,
        kubernetes: None,
        cache: cache_default(),
        timeout: Span::from_secs(3),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_read_once_and_cached() {
    let (far, dir) = (face().await, tempfile::tempdir().unwrap());
    let vault = Vault::new(&config(&far.url, &dir)).unwrap();
    assert_eq!(vault.read(&reference("kv/lab/telegram#token")), Ok(KEPT.to_owned()));
    assert_eq!(vault.read(&reference("kv/lab/telegram#port")), Ok("7".to_owned()));
    let seen = far.seen();
    assert_eq!((seen.len(), seen[0].header("x-vault-namespace"), seen[0].header("x-vault-request")), (1, "lab", "true"));
    let error = vault.read(&reference("kv/lab/telegram#none")).unwrap_err();
    assert!(error.contains("there are: port, token") && !error.contains("hunter2"), "{error}");
    assert!(!format!("{vault:?}").contains("hvs"));
    let fresh = Vault::new(&VaultConfig { cache: Span::ZERO, ..config(&far.url, &dir) }).unwrap();
    for _ in 0..2 {
        assert!(fresh.read(&reference("kv/lab/telegram#token")).is_ok());
    }
    assert_eq!(far.seen().len(), 3, "nothing is cached for 0s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_is_named() {
    let (far, dir) = (face().await, tempfile::tempdir().unwrap());
    let vault = Vault::new(&config(&far.url, &dir)).unwrap();
    for (place, words) in [
        ("kv/lab/gone#token", "version 3 was deleted"),
        ("kv/lab/never#token", "there is no secret at kv/lab/never"),
        ("kv/other#token", "the policy needs `read` on `kv/data/other`"),
        ("old/x#token", "version 2"),
        ("sealed/x#token", "HTTP 503"),
    ] {
        let error = vault.read(&reference(place)).unwrap_err();
        assert!(error.contains(words) && error.contains(&format!("${{vault:{place}}}")) && !error.contains("hunter2"), "{error}");
    }
    std::fs::remove_file(dir.path().join("token")).unwrap();
    assert!(vault.read(&reference("kv/lab/telegram#token")).unwrap_err().contains("cannot be read"));
    let (mute, dir) = (HangsUp::start().await, tempfile::tempdir().unwrap());
    let vault = Vault::new(&config(&mute.url, &dir)).unwrap();
    assert!(vault.read(&reference("kv/x#y")).is_err());
    let tried = mute.count();
    assert!(vault.read(&reference("kv/other#y")).is_err());
    assert_eq!(mute.count(), tried, "nobody waits for it again so soon");
    let closed = ClosedPort::new();
    let url = format!("http://{}", closed.address());
    assert!(Vault::new(&config(&url, &dir)).unwrap().read(&reference("kv/x#y")).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_logs_in_once_with_its_account() {
    let (far, dir) = (face().await, tempfile::tempdir().unwrap());
    let jwt_file = dir.path().join("jwt");
    std::fs::write(&jwt_file, "pods-jwt").unwrap();
    let kubernetes = Some(VaultKubernetesConfig { role: "homeostat".into(), mount: mount_default(), jwt_file: jwt_file.clone() });
    let pod = VaultConfig { token: None, kubernetes, cache: Span::ZERO, ..config(&far.url, &dir) };
    let vault = Vault::new(&pod).unwrap();
    for _ in 0..2 {
        assert_eq!(vault.read(&reference("kv/lab/telegram#token")), Ok(KEPT.to_owned()));
    }
    assert_eq!(far.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
    std::fs::write(&jwt_file, "others-jwt").unwrap();
    let error = Vault::new(&pod).unwrap().read(&reference("kv/lab/telegram#token")).unwrap_err();
    assert!(error.contains("role `homeostat`") && !error.contains("others-jwt"), "{error}");
}

#[test]
fn configurations_are_checked_and_the_corpus_is_read_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let literal = VaultConfig { token: Some(Secret::Literal("x".into())), cache: Span::from_hours(9), ..config("ftp://x", &dir) };
    assert_eq!(Vault::new(&literal).unwrap_err().len(), 3);
    assert!(Vault::new(&VaultConfig { token: None, ..config("http://x", &dir) }).is_err());
    let Some(corpus) = corpus("acting/vault") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(corpus.join("samples-synthetic.json")).unwrap()).unwrap();
    let read = &all["GET /v1/secret/data/loopd/telegram"]["response"];
    assert_eq!(read["data"]["data"]["token"], "123:abc");
    assert!(all["deleted_404"]["data"]["metadata"].is_object() && all["k8s_login"]["response"]["auth"]["client_token"].is_string());
}
