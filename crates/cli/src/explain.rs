//! `polymq explain` and `polymq capabilities`: the core's facts, as text or as data.

use polymq::broker::ChannelFacts;
use polymq::config::Config;
use polymq::explain::{Explanation, explain};
use polymq::{App, system_clock};

use crate::args::{Cli, ExplainArgs};
use crate::exit::{Exit, Failure};
use crate::load::load;
use crate::output::{Stdout, Style, printable_lines};

pub(crate) async fn run(cli: &Cli, args: &ExplainArgs) -> Result<Exit, Failure> {
    let app = polymq::app();
    let config = load(&app, cli)?;
    let explanation = match args.connect {
        false => app.explain(&config, &args.name, None)?,
        true => running(&app, &config, &args.name).await?,
    };
    let mut stdout = Stdout::new();
    match Style::of(cli) {
        Style::Json => stdout.json(&explanation)?,
        Style::Table => stdout.text(&printable_lines(&explanation.to_string()))?,
    }
    stdout.flush()?;
    Ok(Exit::Done)
}

/// Explains with what the broker says of itself.
async fn running(app: &App, config: &Config, name: &str) -> Result<Explanation, Failure> {
    let consumer = config.consumers.get(name);
    let channel = config.channel(consumer.map_or(name, |consumer| consumer.channel.as_str()))?;
    let connection = app.connect(config, &channel.broker).await?;
    let facts = facts(app, config, &connection.broker.info().product, channel.name.as_str());
    let spec = connection.topology.channel(channel.name.as_str()).cloned();
    let facts = facts.map(|facts| match &spec {
        Some(spec) => facts.of_running(&*connection.broker, spec),
        None => facts,
    });
    // Nothing was published: there is nothing to flush.
    let _ = connection.broker.close(system_clock().instant() + config.drain_timeout).await;
    Ok(explain(config, name, &facts?)?)
}

/// The facts at the version that a product such as `RabbitMQ 4.3.6` names last.
fn facts(app: &App, config: &Config, product: &str, channel: &str) -> polymq::Result<ChannelFacts> {
    app.describe(config, channel, product.rsplit(' ').next())
}

pub(crate) fn capabilities() -> Result<Exit, Failure> {
    let mut stdout = Stdout::new();
    stdout.text(&polymq::app().capability_table()?)?;
    stdout.flush()?;
    Ok(Exit::Done)
}
