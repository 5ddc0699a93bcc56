//! What the buttons do. Who may is checked before (form token, session) and behind it (rights at the forge).

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use serde::Deserialize;

use super::run_number;
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::{Done, Enqueue, Person, WebState};

/// The form for a new run.
#[derive(Deserialize)]
pub(crate) struct Wish {
    recipe: String,
    #[serde(default)]
    reference: String,
}

/// `POST /runs`
pub(crate) async fn enqueue(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Form(wish): Form<Wish>,
) -> Result<Response, WebError> {
    let person = person(viewer)?;
    let reference = Some(wish.reference.trim().to_owned()).filter(|reference| !reference.is_empty());
    let what = Enqueue { recipe: wish.recipe.trim().to_owned(), reference, pull: None };
    Ok(after(&state.actions.enqueue(&what, &person).await?, "/queue"))
}

/// `POST /runs/{id}/cancel`
pub(crate) async fn cancel(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let (person, number) = (person(viewer)?, run_number(&state, &id).await?);
    Ok(after(&state.actions.cancel(number, &person).await?, &format!("/runs/{number}")))
}

/// `POST /runs/{id}/rerun`
pub(crate) async fn rerun(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let (person, number) = (person(viewer)?, run_number(&state, &id).await?);
    Ok(after(&state.actions.rerun(number, &person).await?, &format!("/runs/{number}")))
}

/// Who acts; the guard has let nobody else pass.
pub(crate) fn person(viewer: Viewer) -> Result<Person, WebError> {
    viewer.person.ok_or(WebError::Unauthorized)
}

fn after(done: &Done, otherwise: &str) -> Response {
    let to = done.run.map_or_else(|| otherwise.to_owned(), |run| format!("/runs/{run}"));
    Redirect::to(&to).into_response()
}
