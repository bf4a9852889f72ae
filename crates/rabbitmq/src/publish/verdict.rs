//! What the broker's answers mean for a message.

use lapin::Confirmation as Answer;
use polymq_core::broker::{ChannelKind, Confirmation, Destination, Outcome, Send};

use super::Shared;
use super::batch::Item;
use crate::error;
use crate::layout::Layout;

/// How often an AMQP channel may end over something that nobody can be blamed for, before a message
/// that was in flight each time is given up.
const SUSPICIONS: u8 = 3;

impl Shared {
    /// The outcome of a message that the broker has answered.
    pub(super) fn answered(&self, answer: &Answer, send: &Send) -> Outcome {
        let destination = &send.destination;
        match answer {
            Answer::Ack(None) | Answer::NotRequested => Outcome::Confirmed(Confirmation::default()),
            Answer::Ack(Some(_)) => {
                Outcome::Rejected(self.describe(error::unroutable(destination), destination))
            }
            Answer::Nack(_) if is_bounded_queue(self.router.layout(), destination) => {
                Outcome::Rejected(self.describe(error::full(destination), destination))
            }
            // Of a topic's queues some may have taken it; of an unbounded one nobody knows.
            Answer::Nack(_) => {
                Outcome::Unconfirmed(self.describe(error::nacked(destination), destination))
            }
        }
    }

    /// The outcome of a message that was in flight when its AMQP channel ended, if there is one:
    /// otherwise it is to be written again.
    pub(super) fn accused(&self, reason: &lapin::Error, item: &mut Item) -> Option<Outcome> {
        if !reason.is_amqp_soft_error() {
            return None;
        }
        let destination = &item.send.destination;
        let name = match item.route.exchange.as_str() {
            "" => "amq.default",
            name => name,
        };
        if error::text(reason).contains(&format!("exchange '{name}'")) {
            let error = self.describe(error::native(reason), destination);
            return Some(Outcome::Rejected(error));
        }
        item.suspicions += 1;
        (item.suspicions >= SUSPICIONS)
            .then(|| Outcome::Unconfirmed(self.describe(error::native(reason), destination)))
    }
}

fn is_bounded_queue(layout: &Layout, destination: &Destination) -> bool {
    let Destination::Channel(name) = destination else { return false };
    layout.channel(name).is_some_and(|c| c.kind == ChannelKind::Queue && c.bounded)
}
