//! The profile, each line with the memory it rests on.

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{page, token};
use super::{OwnForm, Page, PageError};
use crate::access::SignedIn;
use crate::gateway::Gateway;
use crate::keys::Scope;
use crate::rest::text;
use crate::service::ProfileLine;

#[derive(Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

pub(crate) async fn profile(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Query(done): Query<Done>,
) -> Result<Page, PageError> {
    session.caller.need(Scope::ProfileRead)?;
    let profile = gateway.ask(|memory| memory.profile()).await?;
    let body = html! {
        h1 { "Profile" }
        p.hint { "Made from what holds now. Every line leads to the memory it rests on." }
        section.card.bio {
            @if profile.user_bio.is_empty() { p.empty { "Nothing is known about you yet." } }
            @else { p dir="auto" { (profile.user_bio) } }
            @if profile.bio_is_own { p.hint { "In your own words." } }
            @for other in &profile.bios {
                details { summary { (other.name) } p dir="auto" { (other.text) } }
            }
        }
        @if profile.bio_is_editable && session.caller.may(Scope::ProfileWrite) {
            details {
                summary { "Write the bio yourself" }
                form.card method="post" action="/console/profile/bio" {
                    (token(&session))
                    label for="bio" { "Your words" }
                    textarea #bio name="bio" dir="auto" rows="5" maxlength="8000" { (profile.user_bio) }
                    p.hint { "Leave it empty to have it made from your memories again." }
                    button type="submit" { "Keep" }
                }
            }
        }
        (lines("What lasts", &profile.lasting))
        (lines("What is going on", &profile.dynamic))
        @if !profile.categories.is_empty() {
            h2 { "By category" }
            div.columns {
                @for category in &profile.categories {
                    section.card {
                        h3 { (category.name) }
                        (list(&category.lines))
                    }
                }
            }
        }
    };
    Ok(Page(
        StatusCode::OK,
        page(
            "Profile",
            "/console/profile",
            &session,
            done.done.as_deref(),
            body,
        ),
    ))
}

fn lines(title: &str, lines: &[ProfileLine]) -> Markup {
    html! {
        @if !lines.is_empty() { h2 { (title) } (list(lines)) }
    }
}

fn list(lines: &[ProfileLine]) -> Markup {
    html! {
        ul.lines { @for line in lines { li dir="auto" { a href={ "/console/memories/" (line.id) } { (line.text) } } } }
    }
}

#[derive(Deserialize)]
pub(crate) struct EditBio {
    bio: String,
}

pub(crate) async fn edit_bio(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    OwnForm(form): OwnForm<EditBio>,
) -> Result<Redirect, PageError> {
    session.caller.need(Scope::ProfileWrite)?;
    let bio = form.bio.replace("\r\n", "\n").trim().to_owned();
    if !bio.is_empty() {
        text("the bio", &bio, 8 << 10)?;
    }
    gateway
        .ask(move |memory| memory.set_bio(Some(&*bio).filter(|bio| !bio.is_empty())))
        .await?;
    Ok(Redirect::to("/console/profile?done=bio"))
}
