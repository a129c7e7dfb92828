//! Getting and listing: selectors, pages, versions, and the face in which an object is shown.

use crate::event;
use crate::meta;
use crate::resource::{Resource, list_of};
use crate::selector::{Fields, Labels};
use crate::status::ApiError;
use crate::world::World;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which objects of a resource are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Empty means all namespaces.
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) fields: Fields,
}

impl Selection {
    pub(crate) fn matches(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || meta::namespace(object) == self.namespace)
            && self.labels.matches(object)
            && self.fields.matches(object)
    }
}

/// The query of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) limit: usize,
    pub(crate) token: String,
    pub(crate) version: String,
    pub(crate) exact: bool,
}

/// One page of a list.
pub(crate) struct Listed {
    pub(crate) items: Vec<Arc<Value>>,
    pub(crate) version: u64,
    /// The `continue` token, empty at the end, and how many items remain.
    pub(crate) token: String,
    pub(crate) remaining: usize,
}

impl World {
    /// Lists one page. A token carries the version of the first page and the last key; it expires with the history.
    pub(crate) fn list(&self, resource: &Resource, selection: &Selection, page: &Page) -> Result<Listed, ApiError> {
        let expired = || ApiError::expired("The provided continue parameter is too old to display a consistent list result.");
        let mut version = self.version;
        let mut after: Option<(String, String)> = None;
        if !page.token.is_empty() {
            let mut parts = page.token.splitn(3, '|');
            let read = (|| Some((parts.next()?.parse::<u64>().ok()?, parts.next()?.to_string(), parts.next()?.to_string())))();
            let (at, namespace, name) = read.ok_or_else(|| ApiError::bad_request("continue key is not valid"))?;
            self.changes_after(at, 0).map_err(|_| expired())?;
            version = at;
            after = Some((namespace, name));
        } else if let Ok(wanted) = page.version.parse::<u64>() {
            if wanted > self.version {
                let mut error = ApiError::new(504, "Timeout", format!("Too large resource version: {wanted}, current: {}", self.version));
                error.retry_after_seconds = Some(1);
                error.details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]});
                return Err(error);
            }
            if page.exact && wanted != self.version {
                return Err(ApiError::expired(format!("too old resource version: {wanted} ({})", self.version)));
            }
        }
        let shelf = resource.shelf();
        let all = if selection.namespace.is_empty() { self.all(&shelf) } else { self.within(&shelf, &selection.namespace) };
        let mut matching = all.into_iter().filter(|object| selection.matches(object)).filter(|object| match &after {
            Some((namespace, name)) => (meta::namespace(object), meta::name(object)) > (namespace.as_str(), name.as_str()),
            None => true,
        });
        let limit = if page.limit == 0 { usize::MAX } else { page.limit };
        let items: Vec<Arc<Value>> = matching.by_ref().take(limit).collect();
        let remaining = matching.count();
        let token = match items.last() {
            Some(last) if remaining > 0 => format!("{version}|{}|{}", meta::namespace(last), meta::name(last)),
            _ => String::new(),
        };
        Ok(Listed { items, version, token, remaining })
    }
}

/// An object as a resource shows it: in that version, in that face.
pub(crate) fn present(resource: &Resource, object: &Value) -> Value {
    let mut shown = object.clone();
    event::outward(resource, &mut shown);
    shown["apiVersion"] = json!(resource.api_version());
    shown
}

/// The list object of a page.
pub(crate) fn present_list(resource: &Resource, listed: &Listed) -> Value {
    let items = listed.items.iter().map(|object| present(resource, object)).collect();
    let mut list = list_of(resource, listed.version, items);
    finish_list(&mut list, listed);
    list
}

/// Puts the token and the count of what remains into a list's metadata.
pub(crate) fn finish_list(list: &mut Value, listed: &Listed) {
    if !listed.token.is_empty() {
        list["metadata"]["continue"] = json!(listed.token);
        list["metadata"]["remainingItemCount"] = json!(listed.remaining);
    }
}

/// Only the metadata of an object, as `PartialObjectMetadata`.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
