use std::borrow::Cow;

use super::config::MemoryOptions;
use super::topology::names;
use crate::broker::{Capabilities, Capability, ChannelFacts, ChannelSpec, Limits, ObjectFact};
use crate::model::Namespace;

pub(super) const PRODUCT: &str = concat!("polymq memory ", env!("CARGO_PKG_VERSION"));

pub(super) const DURABILITY: &str =
    "in the memory of this process: survives consumers and connections, not the process";

/// What a server with these options can do for any channel.
pub(super) fn capabilities(options: &MemoryOptions) -> Capabilities {
    let all = Capabilities::of(Capability::ALL.iter().copied())
        .without(
            Capability::Priority,
            "the memory broker hands out in order of arrival",
            "use a channel per priority",
        )
        .without(
            Capability::Replicas,
            "the memory broker lives in one process",
            "remove `replicas`, or use a broker with several nodes",
        )
        .with_limits(Limits {
            max_message_bytes: options.max_message_bytes,
            max_delay: options.max_delay,
            lease: Some(options.lease),
            ..Limits::default()
        });
    options.lacks.iter().fold(all, |rest, lacking| {
        rest.without(
            *lacking,
            format!("this memory broker was told to lack `{lacking}`"),
            format!("remove `{lacking}` from `lacks` in [broker.memory], or the need for it"),
        )
    })
}

pub(super) fn describe(
    options: &MemoryOptions,
    namespace: &Namespace,
    channel: &ChannelSpec,
) -> ChannelFacts {
    let mut facts = ChannelFacts::new("memory", capabilities(options));
    facts.durability = Cow::Borrowed(DURABILITY);
    let object = |named: super::topology::Named<'_>| {
        let purpose = match (named.group, named.kind) {
            (None, _) => Cow::Borrowed("the channel's messages"),
            (Some(group), "group") => Cow::Owned(format!("what `{}` has not handled", group.name)),
            (Some(group), _) => Cow::Owned(format!("retries of `{}`", group.name)),
        };
        ObjectFact::new(named.kind, named.name, purpose)
    };
    facts.objects = names(namespace, channel).map(object).collect();
    facts.order = Cow::Borrowed("a lane per key: the consumer that holds a key gets all of it");
    facts.retry_wait = Cow::Borrowed("in the group's retry inbox, ordered by due time");
    facts
}
