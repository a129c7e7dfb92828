//! The pages: each node's exporters, and the house's.
//!
//! Deliberately absent: what stands on them (`pages`). An editor breaks this by answering for something that cannot be reached: such a
//! request's connection is cut without a byte.

use crate::door::{Cut, Door};
use crate::page::CONTENT_TYPE;
use crate::pages;
use crate::screen::Summary;
use crate::world::{NodePage, World};
use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use homeostat_sim::plant::Plant;
use serde::Deserialize;
use std::sync::Arc;

/// Cuts the connection; the answer never leaves.
pub(crate) fn cut(cut: &Cut) -> Response {
    cut.cut();
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn page(text: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

/// One node's exporters.
pub(crate) fn node_router(world: Arc<World>, index: usize) -> Router {
    let exporter = |which: NodePage| {
        let world = Arc::clone(&world);
        get(move |ConnectInfo(line): ConnectInfo<Cut>| async move {
            match world.pass(index).await {
                Ok(()) => world.node_page(index, which).map_or_else(|| cut(&line), page),
                Err(()) => cut(&line),
            }
        })
    };
    Router::new()
        .route("/metrics", exporter(NodePage::Metrics))
        .route("/kepler", exporter(NodePage::Kepler))
        .route("/kepler/metrics", exporter(NodePage::Kepler))
        .route("/smart", exporter(NodePage::Smart))
        .route("/smart/metrics", exporter(NodePage::Smart))
}

/// What sees the whole house.
pub(crate) fn house_router() -> Router<Arc<World>> {
    Router::new()
        .route("/kube-state-metrics/metrics", get(cluster))
        .route("/lab/metrics", get(lab))
        .route("/plugs/metrics", get(plugs))
        .route("/probe", get(probe))
        .route("/plant", get(plant))
}

fn house_page(world: &World, line: &Cut, render: impl FnOnce(&Plant) -> Response) -> Response {
    match world.house_door() {
        Door::Open => world.with(|plant| render(plant)),
        _ => cut(line),
    }
}

async fn cluster(State(world): State<Arc<World>>, ConnectInfo(line): ConnectInfo<Cut>) -> Response {
    house_page(&world, &line, |plant| page(pages::cluster::render(plant)))
}

async fn lab(State(world): State<Arc<World>>, ConnectInfo(line): ConnectInfo<Cut>) -> Response {
    house_page(&world, &line, |plant| page(pages::lab::render(plant)))
}

async fn plugs(State(world): State<Arc<World>>, ConnectInfo(line): ConnectInfo<Cut>) -> Response {
    house_page(&world, &line, |plant| page(pages::plugs::render(plant)))
}

#[derive(Deserialize)]
struct ProbeQuery {
    target: Option<String>,
    module: Option<String>,
}

async fn probe(State(world): State<Arc<World>>, ConnectInfo(line): ConnectInfo<Cut>, Query(query): Query<ProbeQuery>) -> Response {
    house_page(&world, &line, |plant| match pages::probe::render(plant, query.target.as_deref(), query.module.as_deref()) {
        Ok(text) => page(text),
        Err(wrong) => (StatusCode::BAD_REQUEST, format!("{wrong}\n")).into_response(),
    })
}

async fn plant(State(world): State<Arc<World>>) -> Response {
    Json(world.with(|plant| Summary::of(plant))).into_response()
}
