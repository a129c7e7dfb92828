//! A guest and a task as the API shows them.
//!
//! Deliberately absent: deciding. An editor breaks this by asking a node about a task of another node.

use super::{Deed, GuestKind};
use crate::rest::{Call, Session};
use homeostat_model::{FaultCode, Outcome, Span};
use reqwest::Method;
use serde_json::Value;

/// A guest by its number.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Guest {
    pub vmid: u32,
    pub kind: GuestKind,
}

/// A guest as it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub vmid: u32,
    pub node: String,
    pub status: String,
    pub is_ha: bool,
    pub lock: Option<String>,
}

impl Seen {
    pub(super) fn shown(&self) -> String {
        format!("guest {} is {} on `{}`", self.vmid, self.status, self.node)
    }
}

/// All guests with their nodes.
pub(super) fn resources() -> Call {
    Call::get(["api2", "json", "cluster", "resources"]).with_query("type", "vm")
}

impl Guest {
    fn path(self, node: &str, rest: &[&str]) -> Vec<String> {
        let kind = match self.kind {
            GuestKind::Qemu => "qemu",
            GuestKind::Lxc => "lxc",
        };
        let vmid = self.vmid.to_string();
        let path = ["api2", "json", "nodes", node, kind, &vmid];
        path.iter().chain(rest).map(|part| (*part).to_owned()).collect()
    }

    pub(super) fn current(self, node: &str) -> Call {
        Call::get(self.path(node, &["status", "current"]))
    }

    pub(super) fn precheck(self, node: &str, to: &str) -> Call {
        Call::get(self.path(node, &["migrate"])).with_query("target", to)
    }

    /// The writing request.
    pub(super) fn call(self, deed: Deed, seen: &Seen, to: &str, shutdown_timeout: Span) -> Call {
        let post = |rest: &[&str]| Call::new(Method::POST, self.path(&seen.node, rest));
        match deed {
            Deed::Start | Deed::Stop => post(&["status", deed.name()]).form(Vec::new()),
            Deed::Shutdown => {
                let seconds = (shutdown_timeout.millis() / 1000).to_string();
                post(&["status", "shutdown"]).form(vec![("timeout", seconds), ("forceStop", "0".into())])
            }
            Deed::Migrate => {
                let mut form = vec![("target", to.to_owned())];
                // A running container cannot move live: it is restarted on the other side.
                let live = if self.kind == GuestKind::Qemu { "online" } else { "restart" };
                if seen.status != "stopped" {
                    form.push((live, "1".into()));
                }
                post(&["migrate"]).form(form)
            }
        }
    }

    /// Where it is and how it does.
    pub(super) async fn look(self, session: &Session<'_>) -> Result<Seen, Outcome> {
        let list = session.fetch(&resources()).await?;
        let is_it = |one: &&Value| one["vmid"].as_u64() == Some(u64::from(self.vmid));
        let node = list["data"].as_array().into_iter().flatten().find(is_it).and_then(|one| one["node"].as_str());
        let Some(node) = node else {
            let detail = format!("there is no guest {}, or the token may not see it (VM.Audit)", self.vmid);
            return Err(session.not_done(FaultCode::NotFound, detail));
        };
        let current = session.fetch(&self.current(node)).await?;
        let data = &current["data"];
        let Some(status) = data["status"].as_str() else {
            return Err(session.not_done(FaultCode::Malformed, format!("guest {} has no status", self.vmid)));
        };
        let is_ha = matches!(&data["ha"]["managed"], Value::Bool(true)) || data["ha"]["managed"].as_i64() == Some(1);
        let lock = data["lock"].as_str().filter(|lock| !lock.is_empty()).map(str::to_owned);
        Ok(Seen { vmid: self.vmid, node: node.to_owned(), status: status.to_owned(), is_ha, lock })
    }

    /// The precheck of a migration. Containers have none.
    pub(super) async fn may_move(self, session: &Session<'_>, seen: &Seen, to: &str) -> Result<(), Outcome> {
        if self.kind == GuestKind::Lxc {
            return Ok(());
        }
        let body = session.fetch(&self.precheck(&seen.node, to)).await?;
        let data = &body["data"];
        let some = |name: &str| data[name].as_array().is_some_and(|list| !list.is_empty());
        let refuse = |why: String| Err(session.not_done(FaultCode::Conflict, format!("guest {} cannot move to `{to}`: {why}", self.vmid)));
        if !data["not_allowed_nodes"][to].is_null() {
            return refuse(format!("not allowed there: {}", data["not_allowed_nodes"][to]));
        }
        if data["allowed_nodes"].as_array().is_some_and(|nodes| !nodes.is_empty() && !nodes.iter().any(|node| node.as_str() == Some(to))) {
            return refuse(format!("it may go to {}", data["allowed_nodes"]));
        }
        if some("local_resources") {
            return refuse(format!("it uses what only `{}` has: {}", seen.node, data["local_resources"]));
        }
        if some("local_disks") {
            return refuse("it has local disks".into());
        }
        Ok(())
    }
}

/// A task's name: `UPID:node:pid:pstart:starttime:type:id:user:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upid {
    pub text: String,
    pub node: String,
}

impl Upid {
    pub(super) fn parse(text: &str) -> Option<Upid> {
        let parts: Vec<&str> = text.split(':').collect();
        let hex = |at: usize| parts.get(at).is_some_and(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_hexdigit()));
        let whole = parts.len() == 9 && parts[0] == "UPID" && !parts[1].is_empty() && hex(2) && hex(3) && hex(4);
        whole.then(|| Upid { text: text.to_owned(), node: parts[1].to_owned() })
    }

    /// How it exited; `None`: it runs. Asked of the node that its name holds.
    pub(super) async fn exit(&self, session: &Session<'_>) -> Result<Option<String>, Outcome> {
        let body = session.fetch(&Call::get(["api2", "json", "nodes", &self.node, "tasks", &self.text, "status"])).await?;
        match body["data"]["status"].as_str() {
            Some("stopped") => Ok(Some(body["data"]["exitstatus"].as_str().unwrap_or("no exit status").to_owned())),
            Some(_) => Ok(None),
            None => Err(session.not_done(FaultCode::Malformed, "the task has no status")),
        }
    }
}
