use std::collections::BTreeSet;

use polymq::App;
use polymq::config::Config;

use crate::args::Cli;
use crate::exit::Failure;

/// The configuration that the command line names, checked.
pub(crate) fn load(app: &App, cli: &Cli) -> Result<Config, Failure> {
    Ok(app.load(&cli.config)?)
}

/// Leaves only what lies on the brokers of these channels, so that a command needs no broker but
/// those that it uses.
pub(crate) fn narrow<'a>(config: &mut Config, channels: impl IntoIterator<Item = &'a str>) {
    let carrier = |name: &str| config.channels.get(name).map(|c| c.broker.clone());
    let brokers: BTreeSet<String> = channels.into_iter().filter_map(carrier).collect();
    config.channels.retain(|_, channel| brokers.contains(&channel.broker));
    let channels = &config.channels;
    config.consumers.retain(|_, consumer| channels.contains_key(&consumer.channel));
}
