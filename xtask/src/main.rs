//! `cargo xtask`: the commands of everyday work and of CI, without a shell or a make of its own.
//!
//! Every command prints what it runs, and ends with exit code 0, or 1 and the reason.

// A command line talks to its terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod adapters;
mod debian;
mod deny;
mod engine;
mod images;
mod msrv;
mod process;
mod python;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Everyday commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs everything that tests: unit, integration and doc tests, examples, conformance
    Test,
    /// Finds or installs what the workspace is built with beside Rust
    Tools,
    /// Checks which packages of the workspace may know which others
    Adapters,
    /// Checks licences, banned crates and sources; advisories where their database can be had
    Deny,
    /// Checks that the workspace builds with the oldest Rust it promises
    Msrv,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test => test::run(),
        Command::Tools => tools::provide(),
        Command::Adapters => adapters::run(),
        Command::Deny => deny::run(),
        Command::Msrv => msrv::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
