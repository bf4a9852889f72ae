//! A service in a process of its own, for the tests that kill it: it writes down every attempt.
//!
//! `worker CONFIG JOURNAL WORK`: each attempt takes up to twice WORK milliseconds, at random. A message's
//! header `fails` says how many attempts at it fail.

use std::time::Duration;

use polymq::prelude::*;
use polymq_tests::real::{Deed, Journal};

struct Worker {
    journal: Journal,
    work: Duration,
}

async fn work(message: Message, ctx: Context<Worker>) -> Result<(), HandlerError> {
    let note = |deed| ctx.state().journal.note(deed, ctx.id().as_str(), ctx.attempt());
    note(Deed::Began)?;
    tokio::time::sleep(ctx.state().work.mul_f32(2.0 * rand::random::<f32>())).await;
    let fails = message.headers().get_str("fails").map_or(Ok(0), str::parse::<u32>)?;
    if ctx.attempt() <= fails {
        note(Deed::Failed)?;
        Err("as its header says")?;
    }
    Ok(note(Deed::Handled)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, journal, work_ms] = &arguments[..] else {
        return Err("worker CONFIG JOURNAL WORK".into());
    };
    let work_time = Duration::from_millis(work_ms.parse()?);
    let worker = Worker { journal: Journal::open(journal)?, work: work_time };
    Ok(polymq::run(config, Service::new(worker).on("worker", work)).await?)
}
