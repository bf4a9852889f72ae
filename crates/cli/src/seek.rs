//! `polymq seek`: where a consumer's group goes on.

use polymq::broker::{Capability, StartPosition};
use polymq::config::{Config, ConsumerConfig};
use polymq::{App, Error, ErrorKind, system_clock};
use serde::Serialize;

use crate::args::{Cli, SeekArgs};
use crate::exit::{Exit, Failure};
use crate::load::load;
use crate::output::{Stdout, Style, printable_lines};

/// What was done, as a line of output.
#[derive(Debug, Serialize)]
struct Moved<'a> {
    consumer: &'a str,
    channel: &'a str,
    group: &'a str,
    broker: &'a str,
    to: String,
}

pub(crate) async fn run(cli: &Cli, args: &SeekArgs) -> Result<Exit, Failure> {
    let app = polymq::app();
    let config = load(&app, cli)?;
    let consumer = config.consumer(&args.consumer)?;
    let broker = &config.channel(consumer.channel.as_str())?.broker;
    seek(&app, &config, broker, consumer, args.to).await?;
    let moved = Moved {
        consumer: &args.consumer,
        channel: consumer.channel.as_str(),
        group: consumer.group.as_str(),
        broker,
        to: text(args.to),
    };
    let mut stdout = Stdout::new();
    match Style::of(cli) {
        Style::Json => stdout.json(&moved)?,
        Style::Table => stdout.text(&printable_lines(&moved.to_string()))?,
    }
    stdout.flush()?;
    Ok(Exit::Done)
}

impl std::fmt::Display for Moved<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channel, group, to, .. } = self;
        write!(f, "group `{group}` goes on with channel `{channel}` at {to}")
    }
}

async fn seek(
    app: &App,
    config: &Config,
    broker: &str,
    consumer: &ConsumerConfig,
    to: StartPosition,
) -> Result<(), Failure> {
    let connection = app.connect(config, broker).await?;
    let spec = connection.topology.channel(consumer.channel.as_str());
    let can = spec.map(|spec| connection.broker.capabilities(spec));
    let moved = match can.and_then(|can| can.denial(Capability::Replay)) {
        Some(denial) => Err(Error::new(ErrorKind::Unsupported, denial.reason)
            .with_operation("seek")
            .with_channel(&consumer.channel)
            .with_broker(broker)
            .with_help(denial.fix)),
        None => connection.broker.admin().seek(&consumer.channel, &consumer.group, to).await,
    };
    // Nothing was published: there is nothing to flush.
    let _ = connection.broker.close(system_clock().instant() + config.drain_timeout).await;
    Ok(moved?)
}

fn text(to: StartPosition) -> String {
    match to {
        StartPosition::Earliest => "earliest".to_owned(),
        StartPosition::Position(at) => format!("{}:{}", at.partition, at.offset),
        StartPosition::Timestamp(at) => at.to_string(),
        _ => "latest".to_owned(),
    }
}
