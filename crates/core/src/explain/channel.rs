use super::ceilings::ceilings;
use super::{Explanation, Statement, kind, lacks, statement};
use crate::broker::{Capability, ChannelFacts, ChannelKind, ChannelRole};
use crate::config::{ByteSize, ChannelConfig, Config, HumanDuration};

pub(super) fn explain(
    config: &Config,
    channel: &ChannelConfig,
    facts: &ChannelFacts,
) -> Explanation {
    Explanation {
        what: "channel",
        name: channel.name.to_string(),
        channel: channel.name.to_string(),
        kind: kind(channel.kind),
        group: None,
        broker: channel.broker.clone(),
        product: facts.product.clone(),
        objects: facts.objects.clone(),
        guarantees: guarantees(channel, facts),
        retries: Vec::new(),
        duplicates: vec![publishing(config)],
        ceilings: ceilings(facts),
        lacks: lacks(facts),
    }
}

/// What holds for everybody who uses the channel.
pub(super) fn guarantees(channel: &ChannelConfig, facts: &ChannelFacts) -> Vec<Statement> {
    vec![
        statement("publish", format!("confirmed once it is {}", facts.durability)),
        statement("groups", groups(channel)),
        order(channel, facts),
        statement("kept", kept(channel)),
        statement("when full", full(channel)),
    ]
}

fn groups(channel: &ChannelConfig) -> &'static str {
    match (channel.role, channel.kind) {
        (ChannelRole::DeadLetter, _) => "a queue of dead letters, which never expire",
        (_, ChannelKind::Queue) => "each message is handled by one consumer",
        (_, ChannelKind::Topic) => {
            "each group gets every message published after its topology was applied"
        }
    }
}

fn order(channel: &ChannelConfig, facts: &ChannelFacts) -> Statement {
    let says = match channel.ordered {
        true => format!(
            "messages of one key are handled in order, through retries too: {} ({} partitions)",
            facts.order, channel.partitions
        ),
        false => "none is promised: set order_by = \"key\" for messages of one key".to_owned(),
    };
    statement("order", says)
}

fn kept(channel: &ChannelConfig) -> String {
    match channel.retention {
        Some(retention) => format!("at least {} while unhandled", HumanDuration(retention)),
        None => "until it is handled".to_owned(),
    }
}

fn full(channel: &ChannelConfig) -> String {
    match channel.max_bytes {
        Some(bytes) => format!("at {} publishers are told; nothing is dropped", ByteSize(bytes)),
        None => "no limit of its own".to_owned(),
    }
}

/// What a publisher can leave behind twice.
pub(super) fn publishing(config: &Config) -> Statement {
    let window = config.publish.window;
    statement(
        "lost connection",
        format!(
            "at most {window} unconfirmed messages (publish.window), sent again under their ids"
        ),
    )
}

/// Whether what waits for its retry survives the process.
pub(super) fn retries_in_process(channel: &ChannelConfig, facts: &ChannelFacts) -> bool {
    channel.ordered || !facts.capabilities.has(Capability::DelayedRetry)
}
