//! Access reviews: the answers of `SelfSubjectAccessReview`, `SubjectAccessReview` and `SelfSubjectRulesReview` from the rules in [`crate::Settings`].

use crate::CLIENT_USER;
use crate::meta;
use crate::settings::{Question, Settings};
use crate::status::ApiError;
use serde_json::{Value, json};

/// The kinds of review: plural, kind, namespaced.
pub(crate) const REVIEWS: [(&str, &str, bool); 4] = [
    ("localsubjectaccessreviews", "LocalSubjectAccessReview", true),
    ("selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
    ("selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
    ("subjectaccessreviews", "SubjectAccessReview", false),
];

/// Answers a review; `plural` says which.
pub(crate) fn answer(settings: &Settings, plural: &str, mut body: Value) -> Result<Value, ApiError> {
    let Some((_, kind, _)) = REVIEWS.iter().find(|(of, _, _)| *of == plural) else { return Err(ApiError::no_route()) };
    if !body.is_object() {
        return Err(ApiError::bad_request(format!("{kind}: the body is not a JSON object")));
    }
    body["apiVersion"] = json!("authorization.k8s.io/v1");
    body["kind"] = json!(kind);
    if *kind == "SelfSubjectRulesReview" {
        body["status"] = rules(settings);
        return Ok(body);
    }
    let user = if *kind == "SelfSubjectAccessReview" { CLIENT_USER } else { meta::text(&body, "/spec/user") };
    if user.is_empty() {
        let cause =
            ("spec.user".to_string(), "FieldValueRequired", "Required value: at least one of user or group must be specified".to_string());
        return Err(ApiError::invalid("authorization.k8s.io", kind, "", &[cause]));
    }
    let at = "/spec/resourceAttributes";
    let part = |field: &str| meta::text(&body, &format!("{at}/{field}"));
    let resource = match part("subresource") {
        "" => part("resource").to_string(),
        sub => format!("{}/{sub}", part("resource")),
    };
    let question = Question { user, verb: part("verb"), group: part("group"), resource: &resource, namespace: part("namespace") };
    let allowed = body.pointer(at).is_none() || settings.allows(question);
    body["status"] = if allowed {
        json!({"allowed": true, "reason": "allowed by the server's rules"})
    } else {
        json!({"allowed": false, "reason": "no rule allows it"})
    };
    Ok(body)
}

fn rules(settings: &Settings) -> Value {
    let any = |list: &[String]| if list.is_empty() { vec!["*".to_string()] } else { list.to_vec() };
    let mut all: Vec<Value> = settings
        .access
        .iter()
        .filter(|rule| rule.allow && (rule.users.is_empty() || rule.users.iter().any(|user| user == "*" || user == CLIENT_USER)))
        .map(|rule| json!({"verbs": any(&rule.verbs), "apiGroups": any(&rule.groups), "resources": any(&rule.resources)}))
        .collect();
    let denies = settings.access.iter().any(|rule| !rule.allow);
    if !denies {
        all.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    }
    json!({"resourceRules": all, "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}], "incomplete": denies})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccessRule;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let list = |text: &str| vec![text.to_string()];
        let settings = Settings {
            access: vec![AccessRule {
                verbs: list("patch"),
                groups: list("apps"),
                resources: list("deployments/scale"),
                allow: false,
                ..AccessRule::default()
            }],
            ..Settings::default()
        };
        let ask = |verb: &str| {
            let body = json!({"spec": {"resourceAttributes": {"group": "apps", "resource": "deployments", "subresource": "scale", "verb": verb, "namespace": "x"}}});
            answer(&settings, "selfsubjectaccessreviews", body).unwrap()["status"]["allowed"].clone()
        };
        assert_eq!(ask("patch"), false);
        assert_eq!(ask("get"), true);
        assert_eq!(answer(&settings, "subjectaccessreviews", json!({"spec": {}})).unwrap_err().code, 422);
    }
}
