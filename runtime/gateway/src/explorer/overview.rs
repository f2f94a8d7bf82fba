//! The network at a glance.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::{Explorer, HERE, answer, capital, grouped, short};
use crate::access::SignedIn;
use crate::console::page as chrome;
use crate::ledger::{Overview, ValidatorRow};

/// Blocks behind the last one from which a validator is said to be behind: one or two are on their way.
const BEHIND: u64 = 3;

pub(super) async fn page(
    State(explorer): State<Explorer>,
    session: Option<Extension<SignedIn>>,
) -> Response {
    let seen = explorer.view.overview().await;
    let head = html! {
        script type="module" src="/ledger/explorer.mjs" {}
        noscript { meta http-equiv="refresh" content="5"; }
    };
    let body = html! {
        h1 { "The ledger " em { (seen.name) } }
        form.search action="/ledger/find" method="get" role="search" {
            label.hidden for="receipt" { "A receipt's digest" }
            input #receipt name="receipt" placeholder="A receipt's digest, 64 hex digits" autocomplete="off" spellcheck="false" maxlength="80";
            button type="submit" { "Find" }
        }
        // What a script replaces by what is new.
        div #live { (live(&seen)) }
        p.hint { "A validator's row is its own word; height, blocks and receipts are what this server has certificates for. A receipt's page has a proof that your browser checks." }
    };
    let session = session.map(|Extension(session)| session);
    answer(
        StatusCode::OK,
        chrome::scripted("Ledger", HERE, session.as_ref(), head, body),
    )
}

fn live(seen: &Overview) -> Markup {
    html! {
        (health(seen))
        dl.facts {
            div { dt { "Height" } dd.number {
                (grouped(seen.height))
                @if let Some(time) = seen.time { ", " time datetime=(time) { (time.date()) " " (time.clock()) " UTC" } }
            } }
            div { dt { "Receipts" } dd.number { (grouped(seen.receipts)) } }
            div { dt { "Validators" } dd {
                (seen.validators.len()) ", of which "
                @match seen.tolerated { 0 => "none", more => (more) }
                " may be away or lie"
                @if seen.epoch > 0 { "; changed " (seen.epoch) @if seen.epoch == 1 { " time" } @else { " times" } }
            } }
            @if let Some(own) = &seen.own {
                div { dt { "Waiting on this machine" } dd {
                    @match own.waiting {
                        Some(1) => "1 receipt",
                        Some(waiting) => { (grouped(waiting)) " receipts" },
                        None => "not known",
                    }
                    @if let Some(trouble) = &own.trouble { "; tried again: " (trouble) }
                } }
                @if own.refused > 0 {
                    div { dt { "Never settled, set aside" } dd { (grouped(own.refused)) ", of which " code { "tally ledger refused" } " says why" } }
                }
            }
            div { dt { "Chain" } dd { code.digest { (seen.chain) } } }
        }
        h2 { "Validators" }
        div.scroll {
            table.rows {
                thead { tr { th { "Name" } th { "Is" } th { "Height" } th { "Lag" } th { "Connected" } th { "Waiting" } th { "Faults seen" } } }
                tbody { @for one in &seen.validators { (validator(one, seen)) } }
            }
        }
        h2 { "Receipts arriving" }
        @if seen.arrivals.is_empty() { p.empty { "None lately." } }
        @else {
            div.scroll {
                table.rows {
                    thead { tr { th { "When" } th { "Receipt" } th { "Settled by" } th { "Its number" } th { "Block" } } }
                    tbody {
                        @for one in &seen.arrivals {
                            tr {
                                td.number data-label="When" { time datetime=(one.time) { (one.time.to_string().get(11..19).unwrap_or_default()) } }
                                td data-label="Receipt" { a href={ "/ledger/receipts/" (one.digest) } { code { (short(&one.digest)) "…" } }
                                    @if one.in_full { " " span.mark { "in full" } } }
                                td data-label="Settled by" { code { (short(&one.node)) "…" } }
                                td.number data-label="Its number" { (grouped(one.sequence)) }
                                td.number data-label="Block" { (grouped(one.height)) }
                            }
                        }
                    }
                }
            }
        }
        h2 { "Blocks" }
        @if seen.blocks.is_empty() { p.empty { "None but genesis." } }
        @else {
            div.scroll {
                table {
                    thead { tr { th { "Height" } th { "When" } th { "Transactions" } th { "Receipts" } } }
                    tbody {
                        @for one in &seen.blocks {
                            tr {
                                td.number { (grouped(one.height)) }
                                td.number { time datetime=(one.time) { (one.time.to_string().get(11..19).unwrap_or_default()) } }
                                td.number { (one.transactions) }
                                td.number { (grouped(one.receipts as u64)) }
                            }
                        }
                    }
                }
            }
        }
        h2 { "Faults" }
        @if seen.faults.is_empty() { p.empty { "No validator is known to have signed what excludes each other." } }
        @else {
            ul.memories {
                @for one in &seen.faults {
                    li.memory {
                        p { @if one.convicts { span.mark.past { "shown" } } @else { span.mark { "not shown" } } " " (capital(&one.sentence)) "." }
                        p.from { a href={ "/ledger/evidence/" (one.name) } { "The evidence" } ", which " code { "tally verify" } " checks." }
                    }
                }
            }
        }
        p.count { "Asked at " time datetime=(seen.asked) { (seen.asked.date()) " " (seen.asked.to_string().get(11..19).unwrap_or_default()) " UTC" } "." }
    }
}

/// Whether it goes on, in a sentence.
fn health(seen: &Overview) -> Markup {
    let away: Vec<&str> = seen
        .validators
        .iter()
        .filter(|one| one.answer.is_err())
        .map(|one| &*one.name)
        .collect();
    let all = seen.validators.len();
    if all > 0 && away.len() == all {
        return html! { p.notice.bad role="status" { "No validator answers here." } };
    }
    if away.len() > seen.tolerated {
        return html! { p.notice.bad role="status" {
            (away.join(", ")) " " (answer_verb(away.len())) ": more than may be away. Nothing is settled until " (all - seen.tolerated) " of " (all) " are back."
        } };
    }
    html! { p.notice role="status" {
        @if away.is_empty() { "All validators answer." }
        @else { (away.join(", ")) " " (answer_verb(away.len())) "; the ledger goes on without." }
    } }
}

fn answer_verb(count: usize) -> &'static str {
    if count == 1 {
        "does not answer"
    } else {
        "do not answer"
    }
}

fn validator(one: &ValidatorRow, seen: &Overview) -> Markup {
    html! {
        tr {
            td data-label="Name" { (one.name) br; code { (short(&one.key)) "…" } }
            @match &one.answer {
                Err(reason) => {
                    td data-label="Is" { span.mark.past { "away" } }
                    td colspan="5" data-label="Why" { (reason) }
                }
                Ok(said) => {
                    td data-label="Is" { @if said.votes { span.mark.own { "votes" } } @else { span.mark { "follows" } } }
                    td.number data-label="Height" { (grouped(said.height)) }
                    td.number data-label="Lag" { @match seen.height.saturating_sub(said.height) {
                        0 => "none",
                        few if few < BEHIND => (few),
                        many => { span.mark.past { (grouped(many)) " blocks" } }
                    } }
                    td.number data-label="Connected" { (said.connected) " of " (seen.validators.len()) }
                    td.number data-label="Waiting" { (grouped(said.waiting)) }
                    td.number data-label="Faults seen" { @if said.faults == 0 { "none" } @else { span.mark.past { (said.faults) } } }
                }
            }
        }
    }
}
