//! `tally memory mcp`: the memory as an MCP server for the program that started this one. `docs/gateway.md` has the tools.

use clap::Args as ClapArgs;

use crate::failure::{Failure, Outcome};
use crate::keeper::Receipts;
use crate::memories::{Keeping, Rerank, WhichMemory};
use crate::verbs::serve::{self, Learning};

/// Serve one MCP client over standard streams.
#[derive(ClapArgs)]
pub(crate) struct Mcp {
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    which: WhichMemory,
    #[command(flatten)]
    rerank: Rerank,
}

pub(crate) fn run(args: &Mcp, json: bool) -> Outcome {
    if json {
        return Err(Failure::misuse(
            "stdout belongs to the protocol here, which is JSON already: leave --json out",
        ));
    }
    let (service, _open) = serve::open(
        &args.which,
        &args.rerank,
        &args.learning,
        args.keeping,
        Receipts::default(),
    )?;
    let gateway = serve::private_gateway(service);
    crate::runtime()?.block_on(async {
        tally_gateway::serve_stdio(gateway)
            .await
            .map_err(|error| Failure::environment(format_args!("cannot serve the client: {error}")))
    })
}
