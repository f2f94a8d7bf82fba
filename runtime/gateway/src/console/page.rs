//! What all pages share.

use maud::{DOCTYPE, Markup, html};

use crate::access::SignedIn;
use crate::service::{Evidence, Level, Memory, Status};

const PLACES: [(&str, &str); 6] = [
    ("/console/memories", "Memories"),
    ("/console/timeline", "Timeline"),
    ("/console/profile", "Profile"),
    ("/console/access", "Access"),
    ("/console/models", "Models"),
    ("/ledger", "Ledger"),
];

fn document(title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Tally" }
                link rel="icon" href="/console/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console/style.css";
                (head)
            }
            body { (body) }
        }
    }
}

/// A page for nobody in particular.
pub(crate) fn bare(title: &str, body: Markup) -> Markup {
    document(title, html! {}, html! { main.narrow { (body) } })
}

/// A page of the console. `here` is the place it belongs to.
pub(crate) fn page(
    title: &str,
    here: &str,
    session: &SignedIn,
    done: Option<&str>,
    body: Markup,
) -> Markup {
    let body = html! {
        @if let Some(sentence) = done.and_then(sentence) { p.notice role="status" { (sentence) } }
        (body)
    };
    scripted(title, here, Some(session), html! {}, body)
}

/// A page with more in its head, for somebody who is signed in, or for whoever comes where nobody signs in.
pub(crate) fn scripted(
    title: &str,
    here: &str,
    session: Option<&SignedIn>,
    head: Markup,
    body: Markup,
) -> Markup {
    let home = if session.is_some() {
        "/console/memories"
    } else {
        here
    };
    document(
        title,
        head,
        html! {
            a.skip href="#content" { "Skip to the content" }
            header.top {
                a.brand href=(home) { img src="/console/icon.svg" alt="" width="24" height="24"; span { "Tally" } }
                @if let Some(session) = session {
                    nav aria-label="Console" {
                        @for (path, name) in PLACES {
                            a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                        }
                    }
                    form method="post" action="/console/sign-out" {
                        (token(session))
                        button.plain type="submit" { "Sign out" }
                    }
                }
            }
            main #content { (body) }
        },
    )
}

/// The hidden field that makes a form one of this session's.
pub(crate) fn token(session: &SignedIn) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf); }
}

/// What was done, by a word in the address: nothing of the address is shown.
fn sentence(done: &str) -> Option<&'static str> {
    Some(match done {
        "corrected" => "Corrected. What it said before is in its history.",
        "confirmed" => "Kept that this is so.",
        "forgotten" => "Forgotten.",
        "bio" => "The bio is changed.",
        "key-deleted" => "The key is deleted and opens nothing any more.",
        _ => return None,
    })
}

/// A memory in a list.
pub(crate) fn item(memory: &Memory, more: Markup) -> Markup {
    html! {
        li.memory {
            a.words dir="auto" href={ "/console/memories/" (memory.id) } { (memory.text) }
            div.marks { (marks(memory)) }
            (from(memory))
            (more)
        }
    }
}

/// The short facts about a memory.
pub(crate) fn marks(memory: &Memory) -> Markup {
    html! {
        @match memory.level {
            Level::Episode => span.mark { "said" },
            Level::Fact => span.mark.learnt { "learnt" },
            Level::Correction => span.mark.own { "your correction" },
        }
        @match memory.status {
            Status::Current => {},
            Status::Past => span.mark.past { "no longer so" },
            Status::Corrected => span.mark.past { "corrected" },
        }
        @if memory.confirmed { span.mark.own { "confirmed" } }
        @if memory.level != Level::Episode && !memory.kind.is_empty() { span.mark { (memory.kind) } }
        @if let Some(modality) = memory.modality.as_deref().filter(|it| *it != "asserted") { span.mark { (modality) } }
        @for category in &memory.categories { span.mark { (category) } }
    }
}

/// Where a memory comes from, in a line.
fn from(memory: &Memory) -> Markup {
    let said = memory.observed_at.unwrap_or(memory.created_at);
    html! {
        p.from {
            @if let Some(who) = &memory.said_by { bdi { (who) } ", " }
            time datetime=(said) { (said.date()) }
            @if let Some(source) = &memory.source { " in " bdi { (source) } }
            @if memory.receipt.is_some() { " · with a receipt" }
        }
    }
}

/// The words a memory rests on.
pub(crate) fn evidence(evidence: &[Evidence]) -> Markup {
    html! {
        @for piece in evidence {
            figure.evidence {
                blockquote dir="auto" { (piece.words) }
                figcaption {
                    @if let Some(who) = &piece.speaker { bdi { (who) } " " }
                    @if let Some(at) = piece.said_at { time datetime=(at) { (at.date()) " " (at.clock()) " UTC" } }
                    @if let Some(source) = &piece.source { " in " bdi { (source) } }
                    " · " a href={ "/console/memories/" (piece.episode) } { "the whole turn" }
                }
            }
        }
    }
}
