//! Every field of the services' configuration at least once, as people write it.

use super::*;
use homeostat_model::{Span, Verb};

const WHOLE: &str = r#"
{
  "docker": {
    "address": "unix:///run/docker.sock", "containers": ["web"], "stop_timeout": "10s", "timeout": "3m", "poll": "1s", "settle": "2m"
  },
  "pull_request": {
    "timeout": "1m",
    "repositories": {
      "lab": {
        "forge": "forgejo", "url": "https://git.lan/api/v1", "repository": "ada/lab", "base": "main", "token": "${file:/run/secrets/forge}",
        "paths": ["apps"], "draft": true
      },
      "public": { "forge": "github", "repository": "ada/lab", "token": "${env:GITHUB_TOKEN}", "paths": ["apps/web"] }
    }
  },
  "alertmanager": {
    "url": "http://alertmanager.lan:9093", "headers": { "authorization": "${env:ALERTMANAGER}" }, "duration_max": "2h",
    "require": ["alertname", "instance"], "timeout": "30s"
  },
  "grafana": {
    "url": "https://grafana.lan", "token": "${vault:secret/homeostat/grafana#token}", "dashboard_uid": "abc", "panel_id": 2, "tags": ["lab"],
    "every_action": true, "timeout": "30s"
  },
  "proxmox": {
    "url": "https://pve1.lan:8006", "token_id": "homeostat@pve!loop", "token": "${env:PVE_TOKEN}",
    "guests": { "db": { "vmid": 104, "kind": "qemu" }, "dns": { "vmid": 105, "kind": "lxc" } },
    "shutdown_timeout": "2m", "migrate_timeout": "30m", "poll": "2s", "settle": "3m"
  },
  "home_assistant": {
    "url": "http://ha.lan:8123", "token": "${env:HA_TOKEN}", "class": "disruptive", "timeout": "30s", "poll": "1s", "settle": "1m",
    "calls": {
      "nas-plug-off": {
        "service": "switch.turn_off", "entity": "switch.nas_plug", "expect": "off", "data": { "transition": 1 },
        "revert_service": "switch.turn_on", "only_below": { "entity": "sensor.nas_watts", "below": 3.0 }
      }
    }
  },
  "restic": {
    "program": "restic", "repository": "${env:RESTIC_REPO}", "password": "${file:/run/secrets/restic}",
    "env": { "AWS_SECRET_ACCESS_KEY": "${env:S3_KEY}" }, "backups": { "photos": { "paths": ["/srv/photos"], "exclude": ["*.tmp"] } },
    "read_data_subset": "2.5%", "scratch": "/var/lib/homeostat/scratch", "restore_bytes_max": 1000000000, "timeout": "2h"
  },
  "ansible": {
    "program": "ansible-runner", "data_dir": "/srv/ansible", "work_dir": "/var/lib/homeostat/ansible", "env": { "HOME": "${env:HOME}" },
    "playbooks": { "patch": { "playbook": "patch.yml", "vars": { "version": "[0-9.]+" }, "revert_playbook": "unpatch.yml" } },
    "class": "disruptive", "timeout": "30m", "settle": "5m"
  },
  "n8n": {
    "url": "http://n8n.lan:5678", "api_key": "${env:N8N_KEY}", "class": "disruptive", "timeout": "5m", "poll": "2s", "settle": "1m",
    "workflows": {
      "cleanup": { "path": "ops/cleanup", "workflow_id": "w1", "headers": { "x-hook": "${env:N8N_HOOK}" }, "reply": "when_done" }
    }
  },
  "vault": {
    "url": "https://vault.lan:8200", "namespace": "lab", "cache": "5m", "timeout": "5s",
    "kubernetes": { "role": "homeostat", "mount": "kubernetes", "jwt_file": "/var/run/secrets/kubernetes.io/serviceaccount/token" }
  }
}
"#;

#[test]
fn all_services_read_build_and_survive_writing() {
    let config: ActuatorsConfig = serde_json::from_str(WHOLE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let built = assemble(&config, dir.path(), "j1").unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(built.annotator.is_some());
    let specs: Vec<_> = built.actuators.iter().flat_map(|actuator| actuator.spec().verbs).collect();
    for verb in [
        "docker.restart",
        "pull-request.open",
        "alertmanager.silence",
        "grafana.annotate",
        "proxmox.start",
        "proxmox.shutdown",
        "proxmox.stop",
        "proxmox.migrate",
        "home-assistant.call",
        "restic.backup",
        "restic.check",
        "restic.restore-test",
        "ansible.run",
        "n8n.trigger",
    ] {
        let spec = specs.iter().find(|spec| spec.verb == Verb::from(verb)).unwrap_or_else(|| panic!("{verb}"));
        assert!(spec.doc.len() > 3 && spec.timeout > Span::ZERO && spec.opposite.as_ref() != Some(&spec.verb), "{spec:?}");
    }
    let written = serde_json::to_string(&config).unwrap();
    let again: ActuatorsConfig = serde_json::from_str(&written).unwrap();
    assert_eq!(again, config, "no literal secret stands here, so all of it comes back");
}

#[test]
fn a_wrong_service_is_named_with_the_others() {
    let wrong = r#"{ "docker": { "containers": [] }, "vault": { "url": "x" }, "n8n": { "url": "x", "workflows": {} } }"#;
    let faults = assemble(&serde_json::from_str(wrong).unwrap(), tempfile::tempdir().unwrap().path(), "j1").err().unwrap();
    for part in ["`docker`", "`vault`", "`n8n`"] {
        assert!(faults.iter().any(|fault| fault.while_doing.contains(part)), "{part} in {faults:?}");
    }
}
