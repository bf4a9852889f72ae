//! Every key of a configuration, per table: the one list that readers, the environment and the
//! "did you mean" of unknown keys share.

use std::sync::Arc;

use super::tree::Table;
use crate::broker::Adapter;

/// What a key holds, as far as the shape of the tree goes.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Text, and what is written as text: names, choices, durations, secrets.
    Text,
    /// A number, a boolean or a size.
    Scalar,
    /// One text, or a list of them.
    Texts,
    /// A table with these keys.
    Table(&'static Section),
    /// A table of tables with these keys, under names of the user's.
    Named(&'static Section),
    /// A table with any keys.
    Open,
}

/// The keys of one table.
pub(super) struct Section {
    pub(super) keys: &'static [(&'static str, Shape)],
    /// Whether adapters have tables of their own in it.
    pub(super) adapters: bool,
}

use Shape::{Named, Open, Scalar, Text, Texts};

pub(super) static ROOT: Section = Section {
    keys: &[
        ("namespace", Text),
        ("topology", Text),
        ("security", Text),
        ("connect_timeout", Text),
        ("drain_timeout", Text),
        ("publish", Shape::Table(&PUBLISH)),
        ("broker", Shape::Table(&BROKER)),
        ("brokers", Named(&BROKER)),
        ("channels", Named(&CHANNEL)),
        ("consumers", Named(&CONSUMER)),
    ],
    adapters: false,
};

pub(super) static PUBLISH: Section = Section {
    keys: &[("deadline", Text), ("window", Scalar), ("when_full", Text)],
    adapters: false,
};

pub(super) static BROKER: Section = Section {
    keys: &[("url", Texts), ("username", Text), ("password", Text), ("password_file", Text)],
    adapters: true,
};

pub(super) static CHANNEL: Section = Section {
    keys: &[
        ("kind", Text),
        ("broker", Text),
        ("order_by", Text),
        ("partitions", Scalar),
        ("retention", Text),
        ("max_bytes", Scalar),
        ("replicas", Scalar),
    ],
    adapters: true,
};

pub(super) static CONSUMER: Section = Section {
    keys: &[
        ("channel", Text),
        ("group", Text),
        ("subjects", Texts),
        ("outputs", Texts),
        ("concurrency", Scalar),
        ("prefetch", Scalar),
        ("timeout", Text),
        ("max_lease", Text),
        ("max_deliveries", Scalar),
        ("retry", Shape::Table(&RETRY)),
        ("dead_letter", Text),
        ("dedup", Shape::Table(&DEDUP)),
        ("breaker", Shape::Table(&BREAKER)),
        ("batch", Shape::Table(&BATCH)),
        ("ack", Text),
        ("unknown_type", Text),
        ("expired", Text),
        ("start", Text),
    ],
    adapters: false,
};

pub(super) static RETRY: Section = Section {
    keys: &[
        ("immediate", Scalar),
        ("delayed", Scalar),
        ("backoff", Text),
        ("base", Text),
        ("max", Text),
        ("jitter", Text),
        ("max_elapsed", Text),
        ("limits", Open),
    ],
    adapters: false,
};

pub(super) static DEDUP: Section = Section {
    keys: &[("store", Text), ("window", Text), ("lease", Text), ("on_store_failure", Text)],
    adapters: false,
};

pub(super) static BREAKER: Section = Section {
    keys: &[("failure_rate", Scalar), ("minimum", Scalar), ("window", Text), ("open", Text)],
    adapters: false,
};

pub(super) static BATCH: Section =
    Section { keys: &[("max", Scalar), ("linger", Text)], adapters: false };

/// The adapters of polymq: their tables are accepted whether or not they are compiled in.
const ADAPTERS: [&str; 5] = ["memory", "rabbitmq", "kafka", "sqs", "nats"];

/// The adapters that a build knows of.
#[derive(Clone, Copy)]
pub(super) struct Adapters<'a> {
    /// `None`: not told, so what depends on them isn't checked.
    pub(super) registered: Option<&'a [Arc<dyn Adapter>]>,
}

impl Adapters<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn Adapter> {
        self.registered.into_iter().flatten().map(AsRef::as_ref)
    }

    /// Whether `[broker.NAME]` is an adapter's table.
    pub(super) fn is_table(&self, name: &str) -> bool {
        ADAPTERS.contains(&name) || self.iter().any(|adapter| adapter.name() == name)
    }

    /// The tables among `table`'s keys that are adapters'.
    pub(super) fn names_in<'t>(&self, table: &'t Table) -> Vec<&'t str> {
        let names = table.keys().map(String::as_str);
        names.filter(|name| self.is_table(name)).collect()
    }
}

impl Section {
    pub(super) fn shape(&self, key: &str) -> Option<Shape> {
        self.keys.iter().find(|(k, _)| *k == key).map(|(_, s)| *s)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|(name, _)| *name)
    }
}
