//! `tally agent`: make, build, inspect and test agents.

mod build;
mod inspect;
mod new;
mod test;

use clap::Subcommand;

use crate::failure::Outcome;

/// What to do with an agent.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start an agent in a new folder.
    New(new::Args),
    /// Build a project into one component.
    Build(build::Args),
    /// Show what a component asks for, without running it.
    Inspect(inspect::Args),
    /// Run an agent against a recorded journal and tell what it now does differently.
    Test(test::Args),
}

pub(crate) fn run(verb: Verb, json: bool) -> Outcome {
    match verb {
        Verb::New(args) => new::run(&args, json),
        Verb::Build(args) => build::run(&args, json),
        Verb::Inspect(args) => inspect::run(&args, json),
        Verb::Test(args) => test::run(&args, json),
    }
}
