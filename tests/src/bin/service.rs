//! A service as `main` runs it, for the tests of signals: it handles one order, says so, and waits.
//!
//! `service quick` ends its handler at once; `service stuck` never does, and never yields.

#![allow(clippy::print_stdout, reason = "the test reads it")]

use polymq_core::config::Config;
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{App, Context, Error, HandlerError, Message, Service};

async fn quick(_: Message, _: Context<()>) -> Result<(), HandlerError> {
    println!("handled");
    Ok(())
}

async fn stuck(_: Message, _: Context<()>) -> Result<(), HandlerError> {
    println!("handling");
    loop {
        std::thread::yield_now();
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let service = match arguments.next().as_deref() {
        Some("stuck") => Service::new(()).on("mailer", stuck),
        _ => Service::new(()).on("mailer", quick),
    };
    let path = arguments.next().unwrap_or_default();
    // The embedded broker ends with its process, so the order comes from a second app in it.
    let server = MemoryServer::new(MemoryOptions::default());
    let config = Config::builder().file(&path).build()?;
    let shop = App::new().adapter(server.adapter()).start(config).await?;
    shop.publisher().publish_message("orders", Message::new("an order")).await?;
    App::new().adapter(server.adapter()).serve(service).run(&path).await
}
