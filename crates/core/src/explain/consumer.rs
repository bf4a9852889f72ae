use super::ceilings::ceilings;
use super::channel::{guarantees, publishing, retries_in_process};
use super::{Explanation, Statement, kind, lacks, statement};
use crate::Result;
use crate::broker::ChannelFacts;
use crate::config::{
    AckMode, Backoff, ChannelConfig, Config, ConsumerConfig, ExpiredPolicy, HumanDuration, Jitter,
    StoreFailure, UnknownType,
};

pub(super) fn explain(
    config: &Config,
    consumer: &ConsumerConfig,
    facts: &ChannelFacts,
) -> Result<Explanation> {
    let channel = config.channel(consumer.channel.as_str())?;
    let mut all = delivery(consumer);
    all.extend(guarantees(channel, facts));
    Ok(Explanation {
        what: "consumer",
        name: consumer.name.to_string(),
        channel: channel.name.to_string(),
        kind: kind(channel.kind),
        group: Some(consumer.group.to_string()),
        broker: channel.broker.clone(),
        product: facts.product.clone(),
        objects: facts.objects.clone(),
        guarantees: all,
        retries: retries(consumer, channel, facts),
        duplicates: duplicates(config, consumer, facts),
        ceilings: ceilings(facts),
        lacks: lacks(facts),
    })
}

/// What holds for the consumer's messages.
fn delivery(consumer: &ConsumerConfig) -> Vec<Statement> {
    let ack = match consumer.ack {
        AckMode::After => "at least once: acked after it was handled and its outputs confirmed",
        AckMode::Before => "at most once: acked before it is handled; a failure is dead-lettered",
    };
    let unknown = match consumer.unknown_type {
        UnknownType::DeadLetter => "dead-lettered",
        UnknownType::Ignore => "acked and counted",
        UnknownType::Fail => "a failed attempt",
    };
    let expired = match consumer.expired {
        ExpiredPolicy::Drop => "acked and counted, never handled",
        ExpiredPolicy::DeadLetter => "dead-lettered, never handled",
    };
    let mut statements = vec![
        statement("delivery", ack),
        statement("unknown types", unknown),
        statement("expired", expired),
    ];
    if !consumer.subjects.is_empty() {
        let patterns: Vec<_> = consumer.subjects.iter().map(|p| p.as_str()).collect();
        let says = format!("only {}; the rest is acked unseen and counted", patterns.join(", "));
        statements.push(statement("subjects", says));
    }
    statements
}

/// What follows a failed attempt, in order.
fn retries(
    consumer: &ConsumerConfig,
    channel: &ChannelConfig,
    facts: &ChannelFacts,
) -> Vec<Statement> {
    let dead = format!("`{}`, confirmed before the ack", consumer.dead_letter);
    let retry = &consumer.retry;
    let mut statements = Vec::new();
    if consumer.ack == AckMode::After && retry.immediate > 0 {
        statements.push(statement("at once", format!("{} tries in the process", retry.immediate)));
    }
    if consumer.ack == AckMode::After && retry.delayed > 0 {
        statements.push(statement(
            "after a delay",
            format!("{} delayed: {}", retry.delayed, delays(consumer)),
        ));
        let place = match retries_in_process(channel, facts) {
            true => "in the process, holding the message's key and nothing else".to_owned(),
            false => facts.retry_wait.clone().into_owned(),
        };
        statements.push(statement("waits", place));
    }
    if let Some(limit) = retry.max_elapsed.filter(|_| consumer.ack == AckMode::After) {
        let says =
            format!("no try begins later than {} after the first failure", HumanDuration(limit));
        statements.push(statement("ends", says));
    }
    let crash = format!(
        "handed out more than {} times without an end: dead-lettered",
        consumer.max_deliveries
    );
    statements.push(statement("crash loop", crash));
    statements.push(statement("dead letters", dead));
    statements
}

fn delays(consumer: &ConsumerConfig) -> String {
    let retry = &consumer.retry;
    let base = HumanDuration(retry.base);
    let growth = match retry.backoff {
        Backoff::Constant => format!("{base} each"),
        Backoff::Linear => format!("{base}, growing by {base}"),
        Backoff::Exponential => format!("{base}, doubling"),
    };
    let jitter = match retry.jitter {
        Jitter::None => "no jitter",
        Jitter::Full => "full jitter",
        Jitter::Equal => "equal jitter",
        Jitter::Decorrelated => "decorrelated jitter",
    };
    format!("{growth}, at most {}, {jitter}", HumanDuration(retry.max))
}

/// What can be handled twice, by cause.
fn duplicates(config: &Config, consumer: &ConsumerConfig, facts: &ChannelFacts) -> Vec<Statement> {
    let crash = match consumer.ack {
        AckMode::After => format!(
            "at most the {} messages in hand (consumers.{}.prefetch) come again",
            consumer.prefetch, consumer.name
        ),
        AckMode::Before => "none: what was acked and not handled is lost".to_owned(),
    };
    let mut statements = vec![statement("crash", crash)];
    statements.extend(facts.duplicates.iter().map(|more| statement("crash", more.clone())));
    statements.push(publishing(config));
    statements.push(match &consumer.dedup {
        None => statement("deduplication", "none: every second delivery is handled"),
        Some(dedup) => {
            let failure = match dedup.on_store_failure {
                StoreFailure::Pause => "nothing is handled while it fails",
                StoreFailure::Pass => "while it fails, messages are handled without it",
            };
            let window = HumanDuration(dedup.window);
            statement(
                "deduplication",
                format!(
                    "ids are remembered for {window} in the store `{}`; {failure}",
                    dedup.store
                ),
            )
        }
    });
    statements
}
