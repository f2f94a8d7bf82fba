//! One receipt in plain words, and its proof for the reader's browser to check.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::{Explorer, HERE, answer, file, grouped, missing, short, trouble};
use crate::access::SignedIn;
use crate::console::page as chrome;
use crate::ledger::SettledReceipt;

pub(super) async fn page_or_proof(
    State(explorer): State<Explorer>,
    session: Option<Extension<SignedIn>>,
    Path(name): Path<String>,
) -> Response {
    let session = session.map(|Extension(session)| session);
    let (digest, wants_proof) = match name.strip_suffix(".proof") {
        Some(digest) => (digest, true),
        None => (&*name, false),
    };
    match explorer.view.receipt(digest).await {
        Err(error) => trouble(session, &error),
        Ok(None) => missing(
            session,
            &format!("No receipt with the digest {digest} is settled on this ledger, or not yet."),
        ),
        Ok(Some(found)) if wants_proof => file(
            "application/octet-stream",
            &format!("{}.proof", short(&found.digest)),
            found.proof.into(),
        ),
        Ok(Some(found)) => answer(
            StatusCode::OK,
            chrome::scripted(
                "A receipt",
                HERE,
                session.as_ref(),
                html! { script type="module" src="/ledger/explorer.mjs" {} },
                body(&found, explorer.verifier.is_some()),
            ),
        ),
    }
}

fn body(found: &SettledReceipt, can_check: bool) -> Markup {
    let proof = format!("/ledger/receipts/{}.proof", found.digest);
    html! {
        p.path { a href=(HERE) { "Ledger" } " / receipt" }
        h1 { "Receipt " code { (short(&found.digest)) "…" } }
        p {
            "Node " code { (short(&found.node)) "…" } " settled it as number " (grouped(found.sequence))
            " of its receipts. It is entry " (grouped(found.index)) " of the ledger's log of " (grouped(found.log_size))
            ", as of block " (grouped(found.height)) ", which is final since "
            time datetime=(found.time) { (found.time.date()) " " (found.time.clock()) " UTC" } " by the validators' clocks."
        }
        div #check data-proof=(proof) data-genesis="/ledger/genesis.toml" data-receipt=(found.digest)
            data-module=[can_check.then_some("/ledger/verifier.wasm")] {
            p.notice.bad #verdict role="status" {
                @if can_check { "Not checked: this takes scripts and WebAssembly, and your browser has run neither here." }
                @else {
                    "Not checked: this server has no verifier to hand out. " code { "scripts/verifier-web.sh" }
                    " builds it; --verifier names the file."
                }
                " Without either, " code { "tally verify " (short(&found.digest)) ".proof --genesis genesis.toml" } " checks the same file."
            }
        }
        h2 { "What it says" }
        @if found.words.is_empty() {
            p.hint #said-none {
                @if found.in_full { "It was settled in full: the ledger has its text, in " (place(found)) "; it is not at hand on this server." }
                @else { "It was settled by its digest: the ledger has no more of it." }
                " Whoever has the receipt can choose it below, and it is shown and checked here without leaving your browser."
            }
        }
        dl.facts #said { @for (about, words) in &found.words { div { dt { (about) } dd { (words) } } } }
        div #report hidden {
            h2 { "What your browser checked" }
            p.hint #believed {}
            div #checks {}
            div #unproved {}
        }
        details #own hidden {
            summary { "Check it with files of your own" }
            p.hint { "They stay in your browser." }
            div.card {
                label for="own-receipt" { "The receipt" }
                input #own-receipt type="file" accept=".json,application/json";
                label for="own-genesis" { "A genesis file that you have from somebody you believe, in place of this server's" }
                input #own-genesis type="file" accept=".toml,application/toml,text/plain";
            }
        }
        h2 { "To keep" }
        ul.lines {
            li { a href=(proof) download { "The proof" } ": one file, checked offline by " code { "tally verify" } ", today or in ten years." }
            li { a href="/ledger/genesis.toml" download { "The genesis file" } ": whom the proof is judged by. Get it from somebody else, too: this server could give you a false one." }
        }
        dl.facts {
            div { dt { "Digest" } dd { code.digest { (found.digest) } } }
            div { dt { "Settled by" } dd { code.digest { (found.node) } } }
            div { dt { "Settled" } dd { @if found.in_full { "in full: the ledger has all of it, in " (place(found)) } @else { "by its digest" } } }
        }
    }
}

/// In which block a receipt stands, as far as that is known. A proof says only that it was no later one.
fn place(found: &SettledReceipt) -> String {
    match found.block {
        Some(block) => format!("block {}", grouped(block)),
        None => format!("block {} or one before it", grouped(found.height)),
    }
}
