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

    /// The item ahead found no room: everything behind it, which must not overtake it.
    pub(super) fn clear(&mut self, key: &GateKey) -> VecDeque<T> {
        self.busy.remove(key).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Message;

    fn gate() -> (Gate<u32>, GateKey) {
        let channel = ChannelName::new("orders").unwrap();
        let gate = Gate::new([channel.clone()].into());
        let send = Send::new(Destination::Channel(channel), Message::new("").with_key("k"));
        let key = gate.key_of(&send).unwrap();
        (gate, key)
    }

    #[test]
    fn one_message_of_a_key_is_let_through_at_a_time_in_order() {
        let (mut gate, key) = gate();
        assert_eq!(gate.enter(&key, 1), Some(1));
        assert_eq!((gate.enter(&key, 2), gate.enter(&key, 3)), (None, None));
        assert_eq!((gate.leave(&key), gate.leave(&key)), (Some(2), Some(3)));
        assert_eq!(gate.leave(&key), None);
        assert_eq!(gate.enter(&key, 4), Some(4), "the key is free again");
    }

    #[test]
    fn nothing_overtakes_a_message_that_found_no_room() {
        let (mut gate, key) = gate();
        for n in 1..=3 {
            gate.enter(&key, n);
        }
        assert_eq!(gate.clear(&key), [2, 3]);
        assert_eq!(gate.enter(&key, 1), Some(1));
    }

    #[test]
    fn only_keyed_messages_of_gated_channels_have_a_gate() {
        let (gate, _) = gate();
        let channel = |name| Destination::Channel(ChannelName::new(name).unwrap());
        let unkeyed = Send::new(channel("orders"), Message::new(""));
        let other = Send::new(channel("mails"), Message::new("").with_key("k"));
        assert!(gate.key_of(&unkeyed).is_none() && gate.key_of(&other).is_none());
    }
}
