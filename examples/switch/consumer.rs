//! Packs orders from whatever broker the file names, and prints the id of each, until SIGTERM or Ctrl-C.
//!
//! `cargo run --example switch-consumer -- CONFIG`

#![allow(clippy::print_stdout, reason = "the terminal is where it reports")]

use clap::Parser;
use polymq::prelude::*;

/// Packs orders.
#[derive(Parser)]
struct Arguments {
    /// The configuration
    config: std::path::PathBuf,
}

async fn pack(_: Message, ctx: Context<()>) -> Result<(), HandlerError> {
    let id = ctx.id().to_string();
    let number: u32 = id.trim_start_matches("order-").parse().permanent()?;
    if number.is_multiple_of(7) && ctx.attempt() == 1 {
        Err("the box was too small")?; // retried a second later
    }
    println!("{id}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), polymq::Error> {
    polymq::run(Arguments::parse().config, Service::new(()).on("packer", pack)).await
}
