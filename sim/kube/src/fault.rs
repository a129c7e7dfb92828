//! Faults on purpose: what an actuator must survive when the API server is not well.

use crate::status::ApiError;
use serde_json::json;

/// What an injected fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Answers this status without doing anything: 409, 410, 429, 500, 503, 504 and others.
    Status {
        /// HTTP status.
        code: u16,
        /// `Retry-After`, in seconds.
        retry_after_seconds: Option<u64>,
    },
    /// 429 `storage is (re)initializing` with Retry-After 1, as right after a CustomResourceDefinition was installed.
    Initializing,
    /// Waits this long in real time, then answers 504 without having done anything.
    Timeout {
        /// Real milliseconds, at most 600,000.
        real_ms: u64,
    },
    /// Does what was asked, and answers 500. Passes dry runs over, which do nothing.
    DropAfterDoing,
    /// Answers as if it had done what was asked (as a dry run would), and does nothing.
    PretendDone,
}

/// A fault for the next `count` requests that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeFault {
    /// HTTP method; empty for every method.
    pub method: String,
    /// What the request's path starts with.
    pub path_prefix: String,
    /// What happens.
    pub kind: FaultKind,
    /// How many requests it hits before it is spent.
    pub count: u32,
}

/// The faults that wait for their request; the oldest that fits strikes. At most [`MAX_FAULTS`].
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<KubeFault>);

/// How many faults may wait.
pub const MAX_FAULTS: usize = 256;

impl Faults {
    /// Adds a fault; `false` when too many wait already.
    pub(crate) fn add(&mut self, fault: KubeFault) -> bool {
        let room = self.0.len() < MAX_FAULTS;
        if room {
            self.0.push(fault);
        }
        room
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes this request, counted down.
    pub(crate) fn strike(&mut self, method: &str, path: &str, dry: bool) -> Option<FaultKind> {
        let at = self.0.iter().position(|fault| {
            fault.count > 0
                && !(dry && fault.kind == FaultKind::DropAfterDoing)
                && (fault.method.is_empty() || fault.method == method)
                && path.starts_with(&fault.path_prefix)
        })?;
        self.0[at].count -= 1;
        let kind = self.0[at].kind.clone();
        self.0.retain(|fault| fault.count > 0);
        Some(kind)
    }
}

/// The refusal of a status fault.
pub(crate) fn refusal(code: u16, retry_after_seconds: Option<u64>) -> ApiError {
    let (reason, message) = match code {
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden"),
        404 => ("NotFound", "the server could not find the requested resource"),
        409 => (
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => ("Expired", "The resourceVersion for the provided list or watch is too old."),
        429 => ("TooManyRequests", "The apiserver is currently overwhelmed; please try again later."),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "The list operation against the server timed out"),
        _ => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    };
    let mut error = ApiError::new(code, reason, message);
    error.retry_after_seconds = retry_after_seconds;
    error
}

/// The refusal while storage starts.
pub(crate) fn initializing() -> ApiError {
    let mut error = ApiError::new(429, "TooManyRequests", "storage is (re)initializing");
    error.retry_after_seconds = Some(1);
    error.details = json!({});
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_says() {
        let mut faults = Faults::default();
        let fault = |method: &str, count| KubeFault {
            method: method.into(),
            path_prefix: "/api/v1/nodes".into(),
            kind: FaultKind::DropAfterDoing,
            count,
        };
        assert!(faults.add(fault("PATCH", 2)));
        assert_eq!(faults.strike("GET", "/api/v1/nodes", false), None);
        assert_eq!(faults.strike("PATCH", "/apis/apps/v1", false), None);
        assert!(faults.strike("PATCH", "/api/v1/nodes/a", false).is_some());
        assert!(faults.strike("PATCH", "/api/v1/nodes/a", false).is_some());
        assert_eq!(faults.strike("PATCH", "/api/v1/nodes/a", false), None);
        for _ in 0..MAX_FAULTS {
            assert!(faults.add(fault("GET", 1)));
        }
        assert!(!faults.add(fault("GET", 1)));
    }
}
