use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;

use crate::broker::{Destination, Send};
use crate::model::ChannelName;

/// A key of an ordered channel.
pub(super) type GateKey = (ChannelName, Bytes);

/// Keeps at most one unconfirmed message per key on the channels whose broker could swap two.
/// Other keys stay pipelined.
#[derive(Debug)]
pub(super) struct Gate<T> {
    channels: HashSet<ChannelName>,
    busy: HashMap<GateKey, VecDeque<T>>,
}

impl<T> Gate<T> {
    pub(super) fn new(channels: HashSet<ChannelName>) -> Self {
        Self { channels, busy: HashMap::new() }
    }

    /// The key that orders this send, if any does.
    pub(super) fn key_of(&self, send: &Send) -> Option<GateKey> {
        match &send.destination {
            Destination::Channel(channel) if self.channels.contains(channel) => {
                Some((channel.clone(), send.message.key()?.clone()))
            }
            _ => None,
        }
    }

    /// Lets the item through, or queues it behind its key.
    pub(super) fn enter(&mut self, key: &GateKey, item: T) -> Option<T> {
        match self.busy.get_mut(key) {
            Some(queue) => {
                queue.push_back(item);
                None
            }
            None => {
                self.busy.insert(key.clone(), VecDeque::new());
                Some(item)
            }
        }
    }

    /// The item ahead is settled: the next of the key, which now holds it.
    pub(super) fn leave(&mut self, key: &GateKey) -> Option<T> {
        let next = self.busy.get_mut(key)?.pop_front();
        if next.is_none() {
            self.busy.remove(key);
        }
        next
    }
}
