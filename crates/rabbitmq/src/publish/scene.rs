//! What the tests of publishing have in common.

use std::sync::Arc;

use polymq_core::broker::{ChannelSpec, Destination, Send, Topology};
use polymq_core::{ChannelName, Message, Namespace, system_clock};

use super::Shared;
use super::batch::Item;
use super::route::Router;
use super::suspects::Suspects;
use crate::layout::Layout;

fn name() -> ChannelName {
    ChannelName::new("orders").unwrap()
}

/// What a pump or lane of a topology with the queue `orders` knows.
pub(super) fn shared() -> Shared {
    let topology = Topology {
        namespace: Namespace::new("prod").unwrap(),
        channels: vec![ChannelSpec::queue(name())],
    };
    let layout = Arc::new(Layout::new(&topology).unwrap());
    Shared {
        broker: "default".to_owned(),
        source: "polymq:prod".to_owned(),
        router: Router::new(layout, system_clock(), vec![1]),
        suspects: Suspects::default(),
        window: 1,
        max_message_bytes: 1 << 20,
        frame_max: 0,
    }
}

/// A message of this size for `orders`.
pub(super) fn item(shared: &Shared, bytes: usize) -> Item {
    let send = Send::new(Destination::Channel(name()), Message::new(vec![0; bytes]));
    let route = shared.router.route(&send).unwrap();
    Item::new(0, send, route)
}
