//! The `polymq` command: publish, subscribe, check, apply and explain, on any broker.
//!
//! stdout carries data and nothing else: NDJSON when it is asked for or when stdout is no terminal,
//! tables when it is one. Problems, progress and reports go to stderr. `docs/cli.md` is the manual.

#![forbid(unsafe_code)]

mod args;
mod check;
mod envelope;
mod exit;
mod explain;
mod load;
mod log;
mod output;
mod publish;
mod seek;
mod subscribe;
mod topology;

use std::process::ExitCode;

use args::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    log::install(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&Failure::Internal(error.to_string())).into(),
    };
    let exit = runtime.block_on(run(&cli)).unwrap_or_else(|failure| exit::report(&failure));
    // A read from stdin that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    exit.into()
}

async fn run(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Pub(args) => publish::run(cli, args).await,
        Command::Sub(args) => subscribe::run(cli, args).await,
        Command::Check(args) => check::run(cli, args).await,
        Command::Topology(args) => topology::run(cli, &args.action).await,
        Command::Seek(args) => seek::run(cli, args).await,
        Command::Explain(args) => explain::run(cli, args).await,
        Command::Capabilities => explain::capabilities(),
    }
}
