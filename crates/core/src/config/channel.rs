use std::collections::BTreeMap;
use std::time::Duration;

use super::Settings;
use crate::broker::{ChannelKind, ChannelRole};
use crate::model::ChannelName;

/// A `[channels.NAME]` table, or the dead-letter channel that a consumer implies.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ChannelConfig {
    /// The name.
    pub name: ChannelName,
    /// Queue or topic.
    pub kind: ChannelKind,
    /// Application messages, or dead letters.
    pub role: ChannelRole,
    /// The name of the broker that carries it.
    pub broker: String,
    /// `order_by = "key"`.
    pub ordered: bool,
    /// Partitions of an ordered channel; 12 unless set.
    pub partitions: u32,
    /// The least time that unhandled messages are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// The most that it holds, in bytes; `None`: no limit.
    pub max_bytes: Option<u64>,
    /// On how many nodes it is kept; `None`: the broker's default.
    pub replicas: Option<u32>,
    /// The adapters' own tables, by adapter.
    pub settings: BTreeMap<String, Settings>,
}
