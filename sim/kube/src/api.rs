//! One request to one answer: verbs over routes, under the lock of the world.
//!
//! Pure of transport: [`crate::http`] reads bytes and writes them. Watches only return what to follow; [`crate::watch`] does the following.

use crate::delete::{DeleteOptions, Deleted};
use crate::discovery;
use crate::meta;
use crate::read::{self, Page, Selection};
use crate::resource::Resource;
use crate::review;
use crate::route::{Query, Route};
use crate::selector::{Fields, Labels};
use crate::settings::Question;
use crate::status::{ApiError, qualified};
use crate::table;
use crate::world::World;
use crate::write::{Part, PatchKind, Validation, WriteOptions};
use crate::{CLIENT_USER, scale};
use serde_json::{Value, json};
use std::sync::Arc;

/// A request, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) host: String,
    /// The body; null where there is none.
    pub(crate) body: Value,
}

/// A watch to follow.
#[derive(Clone, Debug)]
pub(crate) struct WatchSpec {
    pub(crate) resource: Arc<Resource>,
    pub(crate) selection: Selection,
    /// Follow from here; `None` sends what exists first.
    pub(crate) from: Option<u64>,
    pub(crate) bookmarks: bool,
    /// Mark the end of what exists with an annotated bookmark.
    pub(crate) mark_initial: bool,
    pub(crate) timeout_seconds: u64,
    pub(crate) as_table: bool,
    pub(crate) metadata_only: bool,
}

/// An answer, not yet written.
#[derive(Debug)]
pub(crate) enum Answer {
    Json(u16, Value),
    Text(String),
    /// A body with its content type.
    Raw(&'static str, Vec<u8>),
    Watch(Box<WatchSpec>),
}

/// Answers one request.
pub(crate) fn answer(world: &mut World, call: &Call) -> Result<Answer, ApiError> {
    let ok = |value| Ok(Answer::Json(200, value));
    let route = crate::route::parse(world, &call.path).ok_or_else(ApiError::no_page)?;
    let aggregated = ["v2", "v2beta1"].into_iter().find(|version| {
        call.accept
            .split(',')
            .any(|part| part.contains("g=apidiscovery.k8s.io") && part.split(';').any(|field| field.trim() == format!("v={version}")))
    });
    match route {
        Route::Resource { resource, namespace, name, sub } => Target { resource, namespace, name, sub }.answer(world, call),
        Route::Review(plural) if call.method == "POST" => {
            review::answer(&world.settings, &plural, call.body.clone()).map(|body| Answer::Json(201, body))
        }
        _ if call.method != "GET" => Err(ApiError::method_not_allowed()),
        Route::Review(_) => Err(ApiError::method_not_allowed()),
        Route::Core | Route::Groups if aggregated.is_some() => {
            let version = aggregated.unwrap_or("v2");
            ok(discovery::aggregated(world, matches!(route, Route::Core), version))
        }
        Route::Core => ok(discovery::core_versions(&call.host)),
        Route::Groups => ok(discovery::group_list(world)),
        Route::Group(group) => discovery::group(world, &group).map(|body| Answer::Json(200, body)).ok_or_else(ApiError::no_page),
        Route::Version(group, version) => {
            discovery::resource_list(world, &group, &version).map(|body| Answer::Json(200, body)).ok_or_else(ApiError::no_page)
        }
        Route::ServerVersion => ok(discovery::version(world)),
        Route::Health => Ok(Answer::Text("ok".into())),
        // The empty protobuf document is an empty one: kubectl before 1.27 then leaves validation to the server.
        Route::OpenApiV2 if call.accept.contains("protobuf") => {
            Ok(Answer::Raw("application/com.github.proto-openapi.spec.v2.v1.0+protobuf", Vec::new()))
        }
        Route::OpenApiV2 => ok(discovery::openapi_v2(world)),
        Route::OpenApiIndex => ok(discovery::openapi_index(world)),
        Route::OpenApi(group, version) => ok(discovery::openapi(world, &group, &version)),
    }
}

/// The resource that a request is about.
struct Target {
    resource: Arc<Resource>,
    namespace: String,
    name: String,
    sub: String,
}

impl Target {
    fn answer(&self, world: &mut World, call: &Call) -> Result<Answer, ApiError> {
        self.allowed(world, call)?;
        match (call.method.as_str(), self.name.is_empty(), self.sub.as_str()) {
            ("GET", true, _) => self.list(world, call),
            ("GET", false, "" | "status") => {
                let object = world.existing(&self.resource, &self.namespace, &self.name)?;
                Ok(self.shown(world, call, 200, &object))
            }
            ("POST", true, _) => {
                let mut body = call.body.clone();
                meta::unset(&mut body, "/metadata", "managedFields"); // who owns what is the server's word
                let object = world.create(&self.resource, &self.namespace, body, &write_options(call)?)?;
                Ok(self.shown(world, call, 201, &object))
            }
            ("DELETE", true, _) => self.delete_all(world, call),
            ("DELETE", false, "") => self.delete(world, call),
            (_, false, "scale") => self.scale(world, call),
            ("POST", false, "eviction") if self.resource.shelf() == "pods" => {
                let dry_run = call.query.get("dryRun") == "All";
                world.evict(&self.resource, &self.namespace, &self.name, &call.body, dry_run).map(|body| Answer::Json(201, body))
            }
            ("GET", false, "log") if self.resource.shelf() == "pods" => self.log(world, call),
            ("PUT", false, "" | "status") => {
                let object =
                    world.replace(&self.resource, &self.namespace, &self.name, call.body.clone(), self.part()?, &write_options(call)?)?;
                Ok(self.shown(world, call, 200, &object))
            }
            ("PATCH", false, "" | "status") => {
                let key = (self.namespace.as_str(), self.name.as_str());
                let (object, created) =
                    world.patch(&self.resource, key, patch_kind(call)?, &call.body, self.part()?, &write_options(call)?)?;
                Ok(self.shown(world, call, if created { 201 } else { 200 }, &object))
            }
            (_, false, sub) if !sub.is_empty() && self.resource.custom() => {
                Err(ApiError::not_found(&self.resource.group, &self.resource.plural, &self.name))
            }
            (_, false, sub) if !sub.is_empty() => Err(ApiError::no_route()),
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Asks the access rules.
    fn allowed(&self, world: &World, call: &Call) -> Result<(), ApiError> {
        let one = !self.name.is_empty();
        let verb = match call.method.as_str() {
            "GET" if call.query.flag("watch") => "watch",
            "GET" if one => "get",
            "GET" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if one => "delete",
            _ => "deletecollection",
        };
        let resource = if self.sub.is_empty() { self.resource.plural.clone() } else { format!("{}/{}", self.resource.plural, self.sub) };
        let group = self.resource.group.as_str();
        let question = Question { user: CLIENT_USER, verb, group, resource: &resource, namespace: &self.namespace };
        if world.settings.allows(question) {
            return Ok(());
        }
        let place =
            if self.namespace.is_empty() { "at the cluster scope".to_string() } else { format!("in the namespace \"{}\"", self.namespace) };
        let what = qualified(group, &self.resource.plural);
        let name = if one { format!(" \"{}\"", self.name) } else { String::new() };
        let mut error = ApiError::forbidden(format!(
            "{what}{name} is forbidden: User \"{CLIENT_USER}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
        ));
        error.details = json!({"name": self.name, "group": group, "kind": self.resource.plural});
        Err(error)
    }

    fn part(&self) -> Result<Part, ApiError> {
        match self.sub.as_str() {
            "" => Ok(Part::Whole),
            "status" if self.resource.status => Ok(Part::Status),
            _ => Err(ApiError::no_route()),
        }
    }

    fn shown(&self, world: &World, call: &Call, code: u16, object: &Arc<Value>) -> Answer {
        Answer::Json(
            code,
            match face(call) {
                Face::Table => table::table(&self.resource, std::slice::from_ref(object), world.now, world.version, true),
                Face::Metadata => read::partial(object),
                Face::Whole => read::present(&self.resource, object),
            },
        )
    }

    fn selection(&self, call: &Call) -> Result<Selection, ApiError> {
        Ok(Selection {
            namespace: self.namespace.clone(),
            labels: Labels::parse(call.query.get("labelSelector"))?,
            fields: Fields::parse(&call.query.get("fieldSelector").replace("regarding.", "involvedObject."), &self.resource.kind)?,
        })
    }

    fn list(&self, world: &mut World, call: &Call) -> Result<Answer, ApiError> {
        let selection = self.selection(call)?;
        let face = face(call);
        if call.query.flag("watch") {
            let mark_initial = call.query.flag("sendInitialEvents");
            let from = call.query.number("resourceVersion").filter(|version| *version > 0 && !mark_initial);
            return Ok(Answer::Watch(Box::new(WatchSpec {
                resource: self.resource.clone(),
                selection,
                from,
                bookmarks: call.query.flag("allowWatchBookmarks"),
                mark_initial,
                timeout_seconds: call.query.number("timeoutSeconds").unwrap_or(1800).clamp(1, 3600),
                as_table: face == Face::Table,
                metadata_only: face == Face::Metadata,
            })));
        }
        let page = Page {
            limit: call.query.number("limit").unwrap_or(0) as usize,
            token: call.query.get("continue").into(),
            version: call.query.get("resourceVersion").into(),
            exact: call.query.get("resourceVersionMatch") == "Exact",
        };
        let listed = world.list(&self.resource, &selection, &page)?;
        let body = match face {
            Face::Table => {
                let mut table = table::table(&self.resource, &listed.items, world.now, listed.version, true);
                read::finish_list(&mut table, &listed);
                table
            }
            Face::Metadata => {
                let mut list = read::present_list(&self.resource, &listed);
                list["kind"] = json!("PartialObjectMetadataList");
                list["apiVersion"] = json!("meta.k8s.io/v1");
                list["items"] = listed.items.iter().map(|object| read::partial(object)).collect();
                list
            }
            Face::Whole => read::present_list(&self.resource, &listed),
        };
        Ok(Answer::Json(200, body))
    }

    fn delete_options(&self, call: &Call) -> DeleteOptions {
        let mut options = DeleteOptions::of(&call.body);
        options.dry_run |= call.query.get("dryRun") == "All";
        if let Ok(seconds) = call.query.get("gracePeriodSeconds").parse() {
            options.grace_seconds = Some(seconds);
        }
        if !call.query.get("propagationPolicy").is_empty() {
            options.propagation = Some(call.query.get("propagationPolicy").into());
        }
        options
    }

    fn delete(&self, world: &mut World, call: &Call) -> Result<Answer, ApiError> {
        match world.delete(&self.resource, &self.namespace, &self.name, &self.delete_options(call))? {
            Deleted::Waiting(object) => Ok(Answer::Json(200, read::present(&self.resource, &object))),
            Deleted::Gone(object) => {
                let details =
                    json!({"name": self.name, "group": self.resource.group, "kind": self.resource.plural, "uid": meta::uid(&object)});
                Ok(Answer::Json(
                    200,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
                ))
            }
        }
    }

    fn delete_all(&self, world: &mut World, call: &Call) -> Result<Answer, ApiError> {
        let options = self.delete_options(call);
        let listed = world.list(&self.resource, &self.selection(call)?, &Page::default())?;
        for object in &listed.items {
            world.delete(&self.resource, meta::namespace(object), meta::name(object), &options)?;
        }
        Ok(Answer::Json(200, read::present_list(&self.resource, &listed)))
    }

    fn scale(&self, world: &mut World, call: &Call) -> Result<Answer, ApiError> {
        let paths = self.resource.scale.as_ref().ok_or_else(ApiError::no_route)?;
        let key = (self.namespace.as_str(), self.name.as_str());
        let body = match call.method.as_str() {
            "GET" => scale::of(paths, &*world.existing(&self.resource, key.0, key.1)?),
            "PUT" => world.rescale(&self.resource, key, None, &call.body, &write_options(call)?)?,
            "PATCH" => world.rescale(&self.resource, key, Some(patch_kind(call)?), &call.body, &write_options(call)?)?,
            _ => return Err(ApiError::method_not_allowed()),
        };
        Ok(Answer::Json(200, body))
    }

    /// A canned log: what the model knows of the pod.
    fn log(&self, world: &World, call: &Call) -> Result<Answer, ApiError> {
        let pod = world.existing(&self.resource, &self.namespace, &self.name)?;
        let containers = meta::list(&pod, "/spec/containers");
        let wanted = call.query.get("container");
        let container = if wanted.is_empty() { containers.first() } else { containers.iter().find(|one| one["name"] == wanted) };
        let Some(container) = container else {
            return Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {}", self.name)));
        };
        if meta::text(&pod, "/spec/nodeName").is_empty() {
            return Err(ApiError::bad_request(format!(
                "container \"{}\" in pod \"{}\" is waiting to start: no node yet",
                meta::text(container, "/name"),
                self.name
            )));
        }
        let started = meta::text(&pod, "/status/startTime");
        let restarts: i64 = meta::list(&pod, "/status/containerStatuses").iter().filter_map(|status| status["restartCount"].as_i64()).sum();
        Ok(Answer::Text(format!(
            "{started} {} {} started, restarts {restarts}\n",
            meta::text(container, "/name"),
            meta::text(container, "/image")
        )))
    }
}

/// In which face the client wants objects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Face {
    Whole,
    Table,
    Metadata,
}

fn face(call: &Call) -> Face {
    if call.accept.contains("as=Table") {
        Face::Table
    } else if call.accept.contains("as=PartialObjectMetadata") {
        Face::Metadata
    } else {
        Face::Whole
    }
}

fn patch_kind(call: &Call) -> Result<PatchKind, ApiError> {
    match call.content_type.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        other => Err(ApiError::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - got {other}, accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
            ),
        )),
    }
}

fn write_options(call: &Call) -> Result<WriteOptions, ApiError> {
    let manager = match call.query.get("fieldManager") {
        "" => call.user_agent.split('/').next().unwrap_or_default().chars().take(128).collect(),
        given if given.len() > 128 => return Err(ApiError::bad_request("fieldManager must be no more than 128 bytes")),
        given => given.to_string(),
    };
    let applies = call.content_type.starts_with("application/apply-patch");
    let dry_run = match call.query.get("dryRun") {
        "" => false,
        "All" => true,
        other => return Err(ApiError::bad_request(format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\""))),
    };
    let validation = match call.query.get("fieldValidation") {
        "Ignore" => Validation::Ignore,
        "Strict" => Validation::Strict,
        "" | "Warn" => Validation::Warn,
        other => {
            return Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
            )));
        }
    };
    let force = call.query.flag("force");
    if force && !applies {
        return Err(ApiError::bad_request("force: Forbidden: may not be specified for non-apply patch"));
    }
    // Apply must name its manager; a user agent does not count.
    let manager = if applies { call.query.get("fieldManager").to_string() } else { manager };
    Ok(WriteOptions { dry_run, manager, validation, force, patches: call.method == "PATCH" && !applies })
}

#[cfg(test)]
mod hostile;
