//! `polymq sub`: a consumer of the configuration, whose handler writes lines or runs commands.
//!
//! The pipeline is the one that a service has: retries, dead letters, deduplication and order are
//! those of the configuration. A message is acked after its line was written and flushed, or after
//! its command has ended well.

mod exec;
mod gate;
mod idle;
mod lines;
mod record;
mod run;
mod writer;

#[cfg(test)]
mod tests;

use std::io;

use polymq::config::Config;
use polymq::{App, Context, HandlerError, Message, Service};

use crate::args::{Cli, SubArgs};
use crate::exit::{Exit, Failure};
use crate::load::{load, narrow};
use crate::output::Style;
use exec::Exec;
use gate::Gate;
use lines::Lines;
use run::Watch;

/// What is done with a message.
enum Sink {
    Lines(Lines),
    Exec(Exec),
}

/// The state of the service that `sub` is.
struct Subscriber {
    sink: Sink,
    gate: Gate,
}

async fn handle(_: Message, context: Context<Subscriber>) -> Result<(), HandlerError> {
    let Subscriber { sink, gate } = context.state();
    let ticket = gate.enter().await?;
    let handled = match sink {
        Sink::Lines(lines) => lines.write(&context, gate).await,
        Sink::Exec(exec) => exec.run(&context).await,
    };
    // A dead letter is an end too; after a failed attempt the message comes again.
    if handled.as_ref().map_or_else(HandlerError::is_permanent, |()| true) {
        ticket.used();
    }
    handled
}

pub(crate) async fn run(cli: &Cli, args: &SubArgs) -> Result<Exit, Failure> {
    let app = polymq::app();
    let config = load(&app, cli)?;
    let sink = sink(cli, args, &config)?;
    subscribe(app, config, args, sink).await
}

async fn subscribe(
    app: App,
    mut config: Config,
    args: &SubArgs,
    sink: Sink,
) -> Result<Exit, Failure> {
    prepare(&mut config, args)?;
    let gate = Gate::new(args.count);
    let service = Service::new(Subscriber { sink, gate: gate.clone() }).on(&args.consumer, handle);
    let watch = Watch { consumer: &args.consumer, idle: args.idle, gate };
    watch.run(app.serve(service), config).await
}

fn sink(cli: &Cli, args: &SubArgs, config: &Config) -> Result<Sink, Failure> {
    let channel = &config.consumer(&args.consumer)?.channel;
    let broker = config.channel(channel.as_str())?.broker.clone();
    Ok(match &args.exec {
        Some(command) => Sink::Exec(Exec::new(command, broker)),
        None => Sink::Lines(Lines::new(Style::of(cli), broker, io::stdout())?),
    })
}

/// Makes the configuration that of this command: its consumer, and no more than it needs.
fn prepare(config: &mut Config, args: &SubArgs) -> Result<(), Failure> {
    let consumer = config.consumer(&args.consumer)?.clone();
    let channels = [&consumer.channel, &consumer.dead_letter].into_iter().chain(&consumer.outputs);
    narrow(config, channels.map(|channel| channel.as_str()));
    let Some(consumer) = config.consumers.get_mut(args.consumer.as_str()) else { return Ok(()) };
    if args.exec.is_none() {
        // A reader that pauses is no failure of the message.
        consumer.timeout = consumer.max_lease;
    }
    if let Some(count) = args.count.and_then(|count| usize::try_from(count).ok()) {
        consumer.concurrency = consumer.concurrency.min(count);
        consumer.prefetch = consumer.prefetch.min(count);
        consumer.batch.max = consumer.batch.max.min(count);
    }
    Ok(())
}
