//! A worker process and nothing else, for the tests of this crate. `tally __worker` is the same thing in the product.

fn main() -> std::process::ExitCode {
    tally_inference::worker::main()
}
