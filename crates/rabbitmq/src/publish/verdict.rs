//! What the broker's answers mean for a message.

use lapin::Confirmation as Answer;
use polymq_core::Error;
use polymq_core::broker::{ChannelKind, Confirmation, Destination, Outcome};

use super::Shared;
use super::batch::Item;
use crate::error::{self, Blame};
use crate::layout::Layout;

/// How often an AMQP channel may end over something that nobody can be blamed for, before a message
/// that was in flight each time is given up.
const SUSPICIONS: u8 = 3;

impl Shared {
    /// The outcome of a message that the broker has answered.
    pub(super) fn answered(&self, answer: &Answer, item: &Item) -> Outcome {
        let destination = &item.send.destination;
        let outcome = match answer {
            Answer::Ack(None) => Outcome::Confirmed(Confirmation::default()),
            Answer::Ack(Some(_)) => {
                Outcome::Rejected(self.describe(error::unroutable(destination), destination))
            }
            Answer::Nack(_) if is_bounded_queue(self.router.layout(), destination) => {
                Outcome::Rejected(self.describe(error::full(destination), destination))
            }
            // Of a topic's queues some may have taken it; of an unbounded one nobody knows.
            Answer::Nack(_) | Answer::NotRequested => {
                Outcome::Unconfirmed(self.describe(error::nacked(destination), destination))
            }
        };
        item.all_told(outcome)
    }

    /// The outcome of a message that was in flight when its AMQP channel ended, if there is one:
    /// otherwise it is to be written again.
    pub(super) fn accused(&self, reason: &lapin::Error, item: &mut Item) -> Option<Outcome> {
        let destination = &item.send.destination;
        if let Some(blame) = error::blame(reason) {
            if let Some(error) = conviction(&blame, reason, item) {
                if matches!(blame, Blame::Exchange { .. }) {
                    self.suspects.add(&item.route.exchange);
                }
                let error = self.describe(error, destination);
                return Some(item.all_told(Outcome::Rejected(error)));
            }
            item.suspicions += u8::from(blame == Blame::Nobody);
        }
        // The broker may have taken it before the channel ended.
        item.in_doubt = true;
        (item.suspicions >= SUSPICIONS)
            .then(|| Outcome::Unconfirmed(self.describe(error::native(reason), destination)))
    }
}

/// What is wrong with this message, if it is the one, or one of those, that the channel ended over.
fn conviction(blame: &Blame<'_>, reason: &lapin::Error, item: &Item) -> Option<Error> {
    match blame {
        Blame::Exchange { name, key } => {
            let exchange = match item.route.exchange.as_str() {
                "" => "amq.default",
                name => name,
            };
            let is_meant =
                exchange == *name && key.is_none_or(|key| key == item.route.key.as_str());
            is_meant.then(|| error::native(reason))
        }
        Blame::Larger { max } => {
            let bytes = item.bytes();
            (bytes > *max).then(|| error::too_large(bytes, *max))
        }
        Blame::Nobody => None,
    }
}

fn is_bounded_queue(layout: &Layout, destination: &Destination) -> bool {
    let Destination::Channel(name) = destination else { return false };
    layout.channel(name).is_some_and(|c| c.kind == ChannelKind::Queue && c.bounded)
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPSoftError};
    use polymq_core::ErrorKind;

    use super::super::scene::{item, shared};
    use super::*;

    fn refusal(code: AMQPSoftError, text: &str) -> lapin::Error {
        lapin::ErrorKind::ProtocolError(AMQPError::new(code.into(), text.into())).into()
    }

    #[test]
    fn too_large_a_message_is_rejected_and_its_neighbours_are_written_again_as_often_as_it_takes() {
        let shared = shared();
        let text = "PRECONDITION_FAILED - message size 20 is larger than configured max size 16";
        let reason = refusal(AMQPSoftError::PRECONDITIONFAILED, text);
        let (mut large, mut small) = (item(&shared, 20), item(&shared, 16));
        match shared.accused(&reason, &mut large) {
            Some(Outcome::Rejected(error)) => assert_eq!(error.kind(), ErrorKind::TooLarge),
            outcome => panic!("{outcome:?}"),
        }
        for _ in 0..=SUSPICIONS {
            assert!(shared.accused(&reason, &mut small).is_none());
        }
        assert!(!shared.suspects.contains(&large.route.exchange));
    }

    #[test]
    fn whoever_is_not_meant_by_a_refusal_is_written_again_as_often_as_it_takes() {
        for (text, is_meant) in [
            ("NOT_FOUND - no exchange 'prod.orders' in vhost '/'", true),
            ("NOT_FOUND - no exchange 'prod.other' in vhost '/'", false),
            ("ACCESS_REFUSED - write access to exchange 'prod.orders' in vhost '/' refused", true),
            (
                "ACCESS_REFUSED - write access to topic 'x' in exchange 'prod.orders' in vhost '/'",
                false,
            ),
        ] {
            let reason = refusal(AMQPSoftError::NOTFOUND, text);
            let shared = shared();
            let mut item = item(&shared, 1);
            for _ in 0..=SUSPICIONS {
                let outcome = shared.accused(&reason, &mut item);
                assert_eq!(outcome.is_some(), is_meant, "{text}");
                assert_eq!(shared.suspects.contains(&item.route.exchange), is_meant, "{text}");
            }
        }
    }

    #[test]
    fn a_message_that_is_there_whenever_a_channel_ends_for_no_known_reason_is_given_up() {
        let shared = shared();
        let reason = refusal(AMQPSoftError::RESOURCELOCKED, "RESOURCE_LOCKED - something new");
        let mut item = item(&shared, 1);
        for _ in 1..SUSPICIONS {
            assert!(shared.accused(&reason, &mut item).is_none());
        }
        assert!(matches!(shared.accused(&reason, &mut item), Some(Outcome::Unconfirmed(_))));
    }

    #[test]
    fn only_an_ack_confirms() {
        let shared = shared();
        let item = item(&shared, 1);
        assert!(shared.answered(&Answer::Ack(None), &item).is_confirmed());
        for answer in [Answer::Nack(None), Answer::NotRequested] {
            assert!(matches!(shared.answered(&answer, &item), Outcome::Unconfirmed(_)));
        }
    }
}
