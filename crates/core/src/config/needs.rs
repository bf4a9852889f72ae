use super::{AckMode, ChannelConfig, Config, ConsumerConfig, HumanDuration, Problem};
use crate::broker::{
    BrokerInfo, Capabilities, Capability, ChannelKind, ChannelRole, ChannelSpec, StartPosition,
    Topology,
};

/// Compares what the configuration needs of a broker with what the broker, at its running
/// version, can do: the check at start, before any consumer runs.
///
/// Each need that isn't met is a problem at the key that causes it, with the broker's reason and
/// fix. `topology` is [`Config::topology_of`] of the same broker, and `capabilities` is asked once
/// for each of its channels.
#[must_use]
pub fn check_needs(
    config: &Config,
    broker: &str,
    info: &BrokerInfo,
    capabilities: impl Fn(&ChannelSpec) -> Capabilities,
    topology: &Topology,
) -> Vec<Problem> {
    let mut check = Check { config, broker, info, problems: Vec::new() };
    for spec in &topology.channels {
        if let Some(channel) = config.channels.get(&spec.name) {
            let capabilities = capabilities(spec);
            check.channel(channel, &capabilities);
            let consumers = config.consumers.values();
            for consumer in consumers.filter(|c| c.channel == spec.name) {
                check.consumer(consumer, channel, &capabilities);
            }
        }
    }
    check.problems
}

struct Check<'a> {
    config: &'a Config,
    broker: &'a str,
    info: &'a BrokerInfo,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn channel(&mut self, channel: &ChannelConfig, capabilities: &Capabilities) {
        let path = |key: &str| format!("channels.{}.{key}", channel.name);
        let kind = match channel.kind {
            ChannelKind::Queue => Capability::Queue,
            ChannelKind::Topic => Capability::Topic,
        };
        self.need(capabilities, kind, self.kind_path(channel));
        if channel.ordered {
            self.need(capabilities, Capability::OrderByKey, path("order_by"));
        }
        if channel.max_bytes.is_some() {
            self.need(capabilities, Capability::MaxBytes, path("max_bytes"));
        }
        if channel.replicas.is_some_and(|copies| copies > 1) {
            self.need(capabilities, Capability::Replicas, path("replicas"));
        }
        if let Some(retention) = channel.retention
            && self.need(capabilities, Capability::Retention, path("retention"))
            && let Some(limit) = capabilities.limits.max_retention
            && retention > limit
        {
            let limit = HumanDuration(limit);
            self.problem(
                path("retention"),
                &format!("keeps messages for at most {limit}"),
                format!("set retention = \"{limit}\" or less"),
            );
        }
    }

    fn consumer(
        &mut self,
        consumer: &ConsumerConfig,
        channel: &ChannelConfig,
        capabilities: &Capabilities,
    ) {
        let path = |key: &str| format!("consumers.{}.{key}", consumer.name);
        let retries = consumer.retry.delayed > 0 && consumer.ack == AckMode::After;
        if retries && !channel.ordered {
            self.need(capabilities, Capability::DelayedRetry, path("retry.delayed"));
        }
        if consumer.start != StartPosition::Latest && channel.kind == ChannelKind::Topic {
            self.need(capabilities, Capability::Replay, path("start"));
        }
        if let Some(limit) = capabilities.limits.max_lease
            && consumer.max_lease > limit
        {
            let limit = HumanDuration(limit);
            self.problem(
                path("max_lease"),
                &format!("holds a message for at most {limit}"),
                format!("set max_lease = \"{limit}\" or less"),
            );
        }
    }

    /// Where a channel got its kind: an implied one from the consumer that dead-letters to it.
    fn kind_path(&self, channel: &ChannelConfig) -> String {
        let path = format!("channels.{}", channel.name);
        if channel.role == ChannelRole::DeadLetter && !self.config.origins.contains(&path) {
            let mut consumers = self.config.consumers.values();
            if let Some(consumer) = consumers.find(|c| c.dead_letter == channel.name) {
                return format!("consumers.{}.dead_letter", consumer.name);
            }
        }
        format!("{path}.kind")
    }

    /// Whether the broker has the capability.
    fn need(&mut self, has: &Capabilities, capability: Capability, path: String) -> bool {
        let Some(denial) = has.denial(capability) else {
            return true;
        };
        let message = format!("has no {capability}: {}", denial.reason);
        self.problem(path, &message, denial.fix);
        false
    }

    fn problem(&mut self, path: String, what: &str, fix: String) {
        let message = format!("{} (broker `{}`) {what}", self.info.product, self.broker);
        self.problems.push(self.config.problem(path, message, fix));
    }
}
