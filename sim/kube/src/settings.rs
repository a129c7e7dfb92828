//! What the caller chooses: delays of the models, limits, who may do what.

use homeostat_model::{Span, Time};

/// How the server and its controllers behave. `Settings::default()` suits a demo; delays are in plant time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Plant time at the start.
    pub start: Time,
    /// The bearer token that requests must carry; `None` asks for none. Never shown by `Debug` of the server.
    pub token: Option<Token>,
    /// What `/version` says, as `v<this>`.
    pub git_version: String,
    /// From a pod's start on a ready node until it is Ready.
    pub pod_ready_after: Span,
    /// From a pod's deletion until it is gone (never longer than its grace period).
    pub pod_stop_after: Span,
    /// How long pods stay on a node that is not ready before they are deleted (Kubernetes' default is 300 s).
    pub not_ready_toleration: Span,
    /// Time between two looks of a HorizontalPodAutoscaler.
    pub hpa_period: Span,
    /// How long a GitOps owner lets a drift stand.
    pub gitops_delay: Span,
    /// How long each Kratix workflow takes.
    pub kratix_workflow: Span,
    /// Requests that are refused; the first rule that fits decides, no rule means allowed.
    pub access: Vec<AccessRule>,
    /// Where the server stops.
    pub limits: Limits,
}

/// A bearer token; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Where the server stops. Reaching one is an error for the caller or a counter in [`crate::Counters`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body (real: 3 MiB); more is 413.
    pub body_bytes: usize,
    /// Objects of all kinds; more is 403 `exceeded quota`.
    pub objects: usize,
    /// Open watches; more is 429.
    pub watchers: usize,
    /// Changes kept for watches; older ones are 410.
    pub history: usize,
    /// Bytes of one object as JSON (etcd's limit); more is 413.
    pub object_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_bytes: 3 << 20, objects: 20_000, watchers: 512, history: 10_000, object_bytes: 1_572_864 }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            start: Time(1_767_225_600_000),
            token: None,
            git_version: "1.34.1".into(),
            pod_ready_after: Span::from_secs(4),
            pod_stop_after: Span::from_secs(2),
            not_ready_toleration: Span::from_secs(300),
            hpa_period: Span::from_secs(15),
            gitops_delay: Span::from_secs(10),
            kratix_workflow: Span::from_secs(10),
            access: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// A rule of who may do what. An empty list, or `"*"` in it, means any.
#[derive(Clone, Debug, Default)]
pub struct AccessRule {
    /// Users, by the name in SubjectAccessReview; the client of this server is [`crate::CLIENT_USER`].
    pub users: Vec<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: Vec<String>,
    /// API groups; the core group is `""`, so a list `[""]` means the core group.
    pub groups: Vec<String>,
    /// Plurals, subresources as `deployments/scale`.
    pub resources: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// What the rule decides.
    pub allow: bool,
}

/// One question about access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) user: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// `plural` or `plural/subresource`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
}

impl Settings {
    /// Whether the rules allow what is asked.
    pub(crate) fn allows(&self, question: Question<'_>) -> bool {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == "*" || one == value);
        self.access
            .iter()
            .find(|rule| {
                any(&rule.users, question.user)
                    && any(&rule.verbs, question.verb)
                    && any(&rule.groups, question.group)
                    && any(&rule.resources, question.resource)
                    && any(&rule.namespaces, question.namespace)
            })
            .is_none_or(|rule| rule.allow)
    }
}
