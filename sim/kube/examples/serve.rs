//! Serves a small cluster on loopback, to look at it with kubectl: `cargo run -p homeostat-kube-face --example serve -- 18001 4`
//! (port and speed), then `kubectl --server http://127.0.0.1:18001 get nodes`.

use homeostat_kube_face::{KubeServer, Settings};
use homeostat_model::{Span, Time};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(18001);
    let speed: f64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let settings = Settings::default();
    let (start, started) = (settings.start, Instant::now());
    let server = KubeServer::new(settings);
    for name in ["n1", "n2", "n3"] {
        server.upsert(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.34.1", "osImage": "Debian GNU/Linux 12", "kernelVersion": "6.1.0", "containerRuntimeVersion": "containerd://2.1.4"},
            },
        }))?;
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let drive = server
        .drive(move || Time(start.0 + Span::from_millis(started.elapsed().as_millis() as i64).times(speed).0), Duration::from_millis(100));
    println!("serving on http://{}", listener.local_addr()?);
    server.serve(listener).await??;
    drive.await?;
    Ok(())
}
