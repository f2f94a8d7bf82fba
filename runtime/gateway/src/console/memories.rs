//! Search, the list, the timeline, and one memory with everything that can be done with it.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{evidence, item, marks, page, token};
use super::{OwnForm, Page, PageError};
use crate::access::SignedIn;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::keys::Scope;
use crate::rest::memories::{FACT_LEN, QUERY_LEN, one_state, whole_id};
use crate::rest::{short, text};
use crate::service::{CATEGORIES, Level, Listing, Memory, Recall, Status, known_category};
use crate::time::{ParseMomentError, UnixMs};

const HERE: &str = "/console/memories";

#[derive(Deserialize)]
pub(crate) struct Find {
    #[serde(default)]
    q: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    as_of: String,
    #[serde(default)]
    past: Option<String>,
    cursor: Option<String>,
    done: Option<String>,
}

impl Find {
    fn category(&self) -> Result<Option<String>, ApiError> {
        if self.category.is_empty() {
            return Ok(None);
        }
        known_category(&self.category)?;
        Ok(Some(self.category.clone()))
    }

    fn level(&self) -> Result<Option<Level>, ApiError> {
        match &*self.level {
            "" => Ok(None),
            "episode" => Ok(Some(Level::Episode)),
            "fact" => Ok(Some(Level::Fact)),
            "correction" => Ok(Some(Level::Correction)),
            _ => Err(ApiError::invalid(
                "level_unknown",
                "a kind is episode, fact or correction",
            )),
        }
    }

    /// The beginning of the day, as at a terminal.
    fn as_of(&self) -> Result<Option<UnixMs>, ApiError> {
        if self.as_of.is_empty() {
            return Ok(None);
        }
        let unreadable = |_: ParseMomentError| {
            ApiError::invalid("day_unreadable", "a day is written as 2026-11-29")
        };
        let at = format!("{}T00:00:00Z", self.as_of);
        at.parse().map(Some).map_err(unreadable)
    }

    fn chooses(&self) -> bool {
        !self.category.is_empty() || !self.level.is_empty()
    }

    fn next(&self, path: &str, cursor: &str) -> String {
        let past = if self.past.is_some() { "&past=on" } else { "" };
        format!(
            "{path}?cursor={}&category={}&level={}{past}",
            escaped(cursor),
            escaped(&self.category),
            escaped(&self.level)
        )
    }
}

/// For the value of a query's field.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

pub(crate) async fn index(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Query(find): Query<Find>,
) -> Result<Page, PageError> {
    session.caller.need(Scope::MemoriesRead)?;
    short("the question", &find.q, QUERY_LEN)?;
    let results = if find.q.trim().is_empty() {
        listed(&gateway, &find).await?
    } else {
        found(&gateway, &find).await?
    };
    let body = html! {
        h1 { "Memories" }
        form.search method="get" action=(HERE) role="search" {
            label.hidden for="q" { "Question" }
            input #q type="search" name="q" dir="auto" value=(find.q) placeholder="Ask, in your own words" maxlength="1000";
            button type="submit" { "Search" }
            div.filters {
                label { "Category "
                    select name="category" {
                        option value="" { "all" }
                        @for category in CATEGORIES {
                            option value=(category) selected[find.category == category] { (category) }
                        }
                    }
                }
                label { "Kind "
                    select name="level" {
                        option value="" { @if find.q.trim().is_empty() { "what was learnt" } @else { "everything" } }
                        @for (level, name) in [("episode", "what was said"), ("fact", "facts only"), ("correction", "your corrections")] {
                            option value=(level) selected[find.level == level] { (name) }
                        }
                    }
                }
                label { "As of " input type="date" name="as_of" value=(find.as_of); }
                label.check { input type="checkbox" name="past" checked[find.past.is_some()]; " also what no longer holds" }
            }
        }
        (results)
    };
    Ok(Page(
        StatusCode::OK,
        page("Memories", HERE, &session, find.done.as_deref(), body),
    ))
}

async fn listed(gateway: &Gateway, find: &Find) -> Result<Markup, ApiError> {
    let listing = Listing {
        cursor: find.cursor.clone(),
        limit: 30,
        level: find.level()?,
        category: find.category()?,
        past: find.past.is_some(),
        ..Listing::default()
    };
    let listed = gateway.ask(move |memory| memory.list(listing)).await?;
    Ok(html! {
        @if !find.as_of.is_empty() { p.notice role="status" { "A day is for questions: ask one. The list is of now." } }
        @if listed.memories.is_empty() && find.chooses() {
            p.empty { "Nothing is of this kind and category." }
        } @else if listed.memories.is_empty() {
            p.empty {
                "Nothing here yet. Memory fills as apps use it, or with "
                code { "tally memory add" } " and " code { "tally memory import" } "."
            }
        } @else {
            p.count { (listed.total) @if listed.total == 1 { " memory" } @else { " memories" } ", newest first" }
            ul.memories { @for memory in &listed.memories { (item(memory, html! {})) } }
        }
        @if let Some(next) = &listed.next { p { a.more href=(find.next(HERE, next)) { "Older" } } }
    })
}

async fn found(gateway: &Gateway, find: &Find) -> Result<Markup, ApiError> {
    let as_of = find.as_of()?;
    one_state(as_of, find.past.is_some())?;
    let recall = Recall {
        query: find.q.clone(),
        limit: 20,
        categories: find.category()?.into_iter().collect(),
        level: find.level()?,
        as_of,
        past: find.past.is_some(),
        ..Recall::default()
    };
    let recalled = gateway.ask(move |memory| memory.recall(recall)).await?;
    Ok(html! {
        @if let Some(why) = &recalled.abstained { p.notice role="status" { "Memory holds that it does not know: " (why) } }
        @if recalled.hits.is_empty() { p.empty { "Nothing answers this." } }
        ol.memories {
            @for hit in &recalled.hits {
                (item(&hit.memory, html! {
                    details {
                        summary { "why it is here" }
                        p.trace { "score " (format!("{:.3}", hit.score)) }
                        ul.trace { @for step in &hit.trace { li { (step) } } }
                        (evidence(&hit.memory.evidence))
                    }
                }))
            }
        }
    })
}

pub(crate) async fn timeline(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Query(find): Query<Find>,
) -> Result<Page, PageError> {
    const HERE: &str = "/console/timeline";
    session.caller.need(Scope::MemoriesRead)?;
    let listing = Listing {
        cursor: find.cursor.clone(),
        limit: 50,
        past: true,
        ..Listing::default()
    };
    let listed = gateway.ask(move |memory| memory.list(listing)).await?;
    let mut days: Vec<(String, Vec<&Memory>)> = Vec::new();
    for memory in &listed.memories {
        let day = said(memory).date();
        match days.last_mut() {
            Some((last, memories)) if *last == day => memories.push(memory),
            _ => days.push((day, vec![memory])),
        }
    }
    let body = html! {
        h1 { "Timeline" }
        p.hint { "What was learnt, by when it was said, and from which words. What no longer holds stays, and says so." }
        @if days.is_empty() { p.empty { "Nothing was learnt yet." } }
        @for (day, memories) in &days {
            section.day {
                h2 { time datetime=(day) { (day) } }
                ol.timeline {
                    @for memory in memories {
                        li {
                            time.clock datetime=(said(memory)) { (said(memory).clock()) }
                            div {
                                a.words dir="auto" href={ "/console/memories/" (memory.id) } { (memory.text) }
                                div.marks { (marks(memory)) }
                                @if let Some(piece) = memory.evidence.first() {
                                    p.from { "from “" bdi { (excerpt(&piece.words)) } "”"
                                        @if let Some(who) = &piece.speaker { ", " bdi { (who) } }
                                        @if let Some(source) = &piece.source { " in " bdi { (source) } }
                                        ", learnt " time datetime=(memory.created_at) { (memory.created_at.date()) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(next) = &listed.next { p { a.more href=(find.next(HERE, next)) { "Older" } } }
    };
    Ok(Page(
        StatusCode::OK,
        page("Timeline", HERE, &session, None, body),
    ))
}

/// When it was said, or kept if nobody knows.
fn said(memory: &Memory) -> crate::UnixMs {
    memory.observed_at.unwrap_or(memory.created_at)
}

fn excerpt(words: &str) -> String {
    const LETTERS: usize = 160;
    let mut letters = words.chars();
    let mut excerpt: String = letters.by_ref().take(LETTERS).collect();
    if letters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[derive(Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

pub(crate) async fn one(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Path(id): Path<String>,
    Query(done): Query<Done>,
) -> Result<Page, PageError> {
    session.caller.need(Scope::MemoriesRead)?;
    let id = whole_id(id)?;
    let (memory, history) = gateway
        .ask(move |memory| Ok((memory.get(&id)?, memory.history(&id)?)))
        .await?;
    let may_write = session.caller.may(Scope::MemoriesWrite);
    let action = |verb: &str| format!("/console/memories/{}/{verb}", memory.id);
    let title = excerpt(&memory.text);
    let body = html! {
        p.path { a href="/console/memories" { "Memories" } }
        h1.quoted dir="auto" { (title) }
        div.marks { (marks(&memory)) }
        @if title != memory.text { p.card.whole dir="auto" { (memory.text) } }

        @if memory.level != Level::Episode {
            h2 { "Why memory holds this" }
            @if memory.evidence.is_empty() { p.empty { "No words are kept that it rests on." } }
            (evidence(&memory.evidence))
        }

        h2 { "Particulars" }
        dl.facts {
            @for (name, value) in particulars(&memory) { div { dt { (name) } dd { bdi { (value) } } } }
            @if let Some(receipt) = &memory.receipt {
                div {
                    dt { "Receipt" }
                    dd { code.digest { (receipt) } p.hint { "Of the inference that found it. " code { "tally memory verify " (memory.id.chars().take(16).collect::<String>()) } " checks it without this server." } }
                }
            }
        }

        @if !history.is_empty() {
            h2 { "History" }
            ol.history {
                @for change in &history {
                    li {
                        time datetime=(change.at) { (change.at.date()) " " (change.at.clock()) }
                        " " strong { (change.event) } ": " bdi { (change.text) }
                        @if let Some(by) = change.by.as_ref().filter(|by| **by != memory.id) { " " a href={ "/console/memories/" (by) } { "see it" } }
                    }
                }
            }
        }

        @if may_write {
            @if memory.level != Level::Episode && memory.status == Status::Current {
                h2 { "Not quite so?" }
                form.card method="post" action=(action("correct")) {
                    (token(&session))
                    label for="text" { "What is so, in your words" }
                    textarea #text name="text" dir="auto" rows="3" required maxlength="1000" { (memory.text) }
                    p.hint { "Your words take its place. What it said stays in the history." }
                    button type="submit" { "Correct" }
                }
                @if !memory.confirmed {
                    form.inline method="post" action=(action("confirm")) {
                        (token(&session))
                        button.plain type="submit" { "It is right as it is" }
                    }
                }
            }
            h2 { "Forget" }
            form.card.danger method="post" action=(action("forget")) {
                (token(&session))
                label.check { input type="checkbox" name="cascade"; " also the words it rests on, and what else rests on it" }
                label.check { input type="checkbox" name="sure" required; " I want this forgotten; it cannot be brought back" }
                button type="submit" { "Forget" }
            }
        }
    };
    Ok(Page(
        StatusCode::OK,
        page(&title, HERE, &session, done.done.as_deref(), body),
    ))
}

fn particulars(memory: &Memory) -> Vec<(&'static str, String)> {
    let moment = |at: crate::UnixMs| format!("{} {} UTC", at.date(), at.clock());
    let mut rows = Vec::new();
    let mut row = |name, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push((name, value));
        }
    };
    row("About", memory.subject.clone());
    row("Said by", memory.said_by.clone());
    row("Said", memory.observed_at.map(moment));
    row("Kept", Some(moment(memory.created_at)));
    row("Holds from", memory.valid_from.map(moment));
    row("Held until", memory.valid_until.map(moment));
    row("From the app", memory.source.clone());
    row("Conversation", memory.thread_id.clone());
    row(
        "Confidence",
        memory.confidence.map(|it| format!("{:.0} %", it * 100.0)),
    );
    row("Id", Some(memory.id.clone()));
    rows
}

#[derive(Deserialize)]
pub(crate) struct Correct {
    text: String,
}

pub(crate) async fn correct(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Path(id): Path<String>,
    OwnForm(form): OwnForm<Correct>,
) -> Result<Redirect, PageError> {
    session.caller.need(Scope::MemoriesWrite)?;
    let id = whole_id(id)?;
    // A form's lines end as on paper tape.
    let new = form.text.replace("\r\n", "\n").trim().to_owned();
    text("the text", &new, FACT_LEN)?;
    let corrected = gateway.ask(move |memory| memory.correct(&id, &new)).await?;
    Ok(to(&corrected.memory, "corrected"))
}

#[derive(Deserialize)]
pub(crate) struct Confirm {}

pub(crate) async fn confirm(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Path(id): Path<String>,
    OwnForm(Confirm {}): OwnForm<Confirm>,
) -> Result<Redirect, PageError> {
    session.caller.need(Scope::MemoriesWrite)?;
    let id = whole_id(id)?;
    let memory = gateway.ask(move |memory| memory.confirm(&id)).await?;
    Ok(to(&memory, "confirmed"))
}

#[derive(Deserialize)]
pub(crate) struct Forget {
    #[serde(default)]
    cascade: Option<String>,
    #[serde(default)]
    sure: Option<String>,
}

pub(crate) async fn forget(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Path(id): Path<String>,
    OwnForm(form): OwnForm<Forget>,
) -> Result<Redirect, PageError> {
    session.caller.need(Scope::MemoriesWrite)?;
    if form.sure.is_none() {
        return Err(
            ApiError::invalid("not_sure", "nothing was forgotten: the box was not ticked").into(),
        );
    }
    let id = whole_id(id)?;
    let cascade = form.cascade.is_some();
    gateway
        .ask(move |memory| memory.forget(&id, cascade))
        .await?;
    Ok(Redirect::to("/console/memories?done=forgotten"))
}

fn to(memory: &Memory, done: &str) -> Redirect {
    Redirect::to(&format!(
        "/console/memories/{}?done={done}",
        escaped(&memory.id)
    ))
}
