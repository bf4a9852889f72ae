//! Publishes orders to whatever broker the file names, and prints the id of each confirmed one.
//!
//! `cargo run --example switch-producer -- CONFIG [--count N]`

#![allow(clippy::print_stdout, reason = "the terminal is where it reports")]

use std::path::PathBuf;

use clap::Parser;
use polymq::prelude::*;

/// Publishes orders.
#[derive(Parser)]
struct Arguments {
    /// The configuration
    config: PathBuf,
    /// How many orders
    #[arg(long, default_value_t = 100)]
    count: usize,
}

#[tokio::main]
async fn main() -> Result<(), polymq::Error> {
    let Arguments { config, count } = Arguments::parse();
    let app = polymq::app();
    let config = app.load(config)?;
    let running = app.start(config).await?;
    let ids: Vec<String> = (1..=count).map(|n| format!("order-{n}")).collect();
    let order = |id: &String| Message::new(format!("pack {id}")).with_id(id);
    let orders: Vec<_> = ids.iter().map(order).collect();
    let outcomes = running.publisher().publish_all("orders", orders).await?;
    for (id, outcome) in ids.iter().zip(outcomes) {
        outcome.into_result()?;
        println!("{id}");
    }
    running.drain().await;
    Ok(())
}
