//! A service works through a file of orders, and accounts for every line.
//!
//! It sends a receipt for each order. The orders are what production sees: most are good, some come
//! twice, some too late, some can't be read, and the mail server isn't always there. What the
//! service does about that is in `polymq.toml`; the code is what you read here.
//!
//! `cargo run --example quickstart [-- [--broker URL] [CONFIG]]`; without a URL, on the embedded broker.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is where it reports")]

mod ledger;
mod orders;
mod report;
mod smtp;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use polymq::prelude::*;

use ledger::Ledger;
use orders::{OrderPlaced, ReceiptSent};
use smtp::Smtp;

/// What the handlers share.
struct Shop {
    smtp: Smtp,
    ledger: Arc<Ledger>,
}

async fn send_receipt(order: OrderPlaced, ctx: Context<Shop>) -> Result<(), HandlerError> {
    if order.email.is_empty() {
        Err("no address").permanent()?; // dead-lettered now
    }
    ctx.state().smtp.send(&order).await?; // any error: retried
    ctx.publish("receipts", ReceiptSent { order: order.order }) // sent only if this returns Ok
}

async fn book_receipt(receipt: ReceiptSent, ctx: Context<Shop>) -> Result<(), HandlerError> {
    ctx.state().ledger.book(receipt.order);
    Ok(())
}

fn service(shop: Shop) -> Service<Shop> {
    Service::new(shop).on("mailer", send_receipt).on("bookkeeper", book_receipt)
}

/// Works through a file of orders and accounts for every line.
#[derive(Parser)]
struct Arguments {
    /// The configuration
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart/polymq.toml"))]
    config: PathBuf,
    /// Where the broker is, such as amqp://guest:guest@localhost:5672/%2f, instead of what the
    /// configuration says
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// The orders, one per line
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/orders.ndjson"))]
    orders: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode, polymq::Error> {
    let arguments = Arguments::parse();
    // An order that makes its handler panic is business as usual here: one line, no backtrace.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let messages = orders::read(&arguments.orders)?;
    let lines = messages.len() as u64;

    let ledger = Arc::new(Ledger::default());
    let shop = Shop { smtp: Smtp::default(), ledger: Arc::clone(&ledger) };
    let app = polymq::app().serve(service(shop));
    let mut layers = app.layers(&arguments.config);
    if let Some(url) = arguments.broker {
        layers = layers.set("broker.url", url);
    }
    let running = app.start(layers.build()?).await?;
    // A broker that outlives this process may hold the dead letters of an earlier run.
    let dead_before = report::dead_letters(&running).await?;

    println!("publishing {lines} lines to `orders`");
    for outcome in running.publisher().publish_all("orders", messages).await? {
        outcome.into_result()?;
    }
    println!("all confirmed by the broker; handling them");
    report::wait(&running, lines).await?;
    let dead_letters = report::dead_letters(&running).await? - dead_before;

    let drained = running.drain().await;
    if !drained.is_clean() {
        eprintln!("{drained}");
        return Ok(ExitCode::FAILURE);
    }
    println!("drained, nothing left\n");
    let account = report::Account::new(lines, &drained, dead_letters, ledger.orders());
    println!("{account}");
    Ok(if account.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
