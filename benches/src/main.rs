//! Mayfly's figures, one command each: what is measured, beside what it compares with, as data, plots and a page.
//!
//! `cargo run --release -p mayfly-benches -- all`
//!
//! The platform under test is this same program in processes of its own: called with a word of `mayfly`'s, it is `mayfly`.

mod figures;

use std::process::ExitCode;

use clap::Parser;

/// Words of `mayfly` that figures start it with, and that it starts itself with.
const OF_THE_PLATFORM: [&str; 3] = ["serve", "deploy", "zygote"];

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    if first.is_some_and(|word| OF_THE_PLATFORM.contains(&word.as_str())) {
        return mayfly_gateway::cli::main();
    }
    match figures::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mayfly-benches: {error}");
            ExitCode::FAILURE
        }
    }
}
