//! The results pages: overview, recipe, run, queue and health; badges, files, JSON and metrics for all of it.
//!
//! Every page is made on the server and works without JavaScript; one small script makes the live log live. What comes
//! from a recipe, an app, a log or the forge goes through [`crate::results::sanitise`] and is escaped by the templates,
//! none of which may switch escaping off. This module never touches Docker or the forge and decides nothing about runs:
//! it reads the store, and hands wishes to [`Actions`].
//!
//! The one rule to know: a route exists only in [`routes`], with its [`Access`]; the tests walk that table.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use tower_http::compression::CompressionLayer;

mod api;
mod assets;
mod chart;
mod error;
mod files;
mod guard;
mod live;
mod metrics;
mod openapi;
mod pages;
pub mod seed;
mod session;
mod state;
mod view;

pub use guard::Access;
pub use state::{
    AccessToken, ActionError, Actions, Done, Enqueue, ForgeLogin, Later, OpenPull, OpenPulls, Parts, Person,
    Reconciler, Reconcilers, Right, SessionKey, Settings, WebState,
};

use error::WebError;

/// A route of the table.
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path as axum writes it.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    handler: MethodRouter<WebState>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.access)
    }
}

/// All routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    use Access::{Act, Open, Read};
    let get_ = |path, access, handler| Route { method: "GET", path, access, handler };
    let post_ = |path, access, handler| Route { method: "POST", path, access, handler };
    vec![
        get_("/", Read, get(pages::overview::show)),
        get_("/recipes/{name}", Read, get(pages::recipe::show)),
        get_("/recipes/{name}/badge.svg", Read, get(files::recipe_badge)),
        get_("/runs", Read, get(pages::runs::show)),
        post_("/runs", Act, post(pages::actions::enqueue)),
        get_("/runs/{id}", Read, get(pages::run::show)),
        get_("/runs/{id}/badge.svg", Read, get(files::run_badge)),
        get_("/runs/{id}/events", Read, get(live::events)),
        get_("/runs/{id}/logs/{stage}", Read, get(files::stage_log)),
        get_("/runs/{id}/files/{*path}", Read, get(files::artifact)),
        post_("/runs/{id}/cancel", Act, post(pages::actions::cancel)),
        post_("/runs/{id}/rerun", Act, post(pages::actions::rerun)),
        get_("/queue", Read, get(pages::queue::show)),
        get_("/about", Read, get(pages::about::show)),
        get_("/login", Open, get(pages::login::show)),
        post_("/login", Open, post(pages::login::with_token)),
        get_("/login/forge", Open, get(pages::login::to_forge)),
        get_("/login/callback", Open, get(pages::login::callback)),
        post_("/logout", Open, post(pages::login::logout)),
        get_("/assets/{name}", Open, get(assets::serve)),
        get_("/healthz", Open, get(api::healthz)),
        get_("/readyz", Open, get(api::readyz)),
        get_("/metrics", Read, get(metrics::serve)),
        get_("/api/v1/openapi.json", Open, get(openapi::serve)),
        get_("/api/v1/recipes", Read, get(api::recipes)),
        get_("/api/v1/recipes/{name}", Read, get(api::recipe)),
        get_("/api/v1/runs", Read, get(api::runs)),
        post_("/api/v1/runs", Act, post(api::enqueue)),
        get_("/api/v1/runs/{id}", Read, get(api::run)),
        get_("/api/v1/runs/{id}/results", Read, get(api::results)),
        post_("/api/v1/runs/{id}/cancel", Act, post(api::cancel)),
        post_("/api/v1/runs/{id}/rerun", Act, post(api::rerun)),
        get_("/api/v1/queue", Read, get(api::queue)),
        get_("/api/v1/health", Read, get(api::health)),
    ]
}

/// The pages as a service.
pub fn router(state: WebState) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let (access, for_check) = (route.access, state.clone());
        let check = move |request: Request, next: Next| guard::check(access, for_check.clone(), request, next);
        router = router.route(route.path, route.handler.route_layer(from_fn(check)));
    }
    router
        .fallback(|| async { WebError::NotFound("this page".into()).into_response() })
        .method_not_allowed_fallback(|| async { WebError::Method.into_response() })
        .layer(from_fn_with_state(state.clone(), guard::wrap))
        .layer(CompressionLayer::new())
        .with_state(state)
}
