//! Looking at what lies on the broker.

use polymq_core::broker::{Peeked, Source, StartPosition};
use polymq_core::{ChannelName, GroupName, Message, Running};

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap_or_else(|e| panic!("{e}"))
}

/// What lies in a source.
pub async fn peek(running: &Running, channel: &str, source: Source) -> Vec<Peeked> {
    let broker = running.broker_of(channel).unwrap_or_else(|e| panic!("{e}"));
    let browse = broker.admin().browse(&source, StartPosition::Earliest).await;
    let mut browse = browse.unwrap_or_else(|e| panic!("{e}"));
    browse.next(10_000).await.unwrap_or_else(|e| panic!("{e}"))
}

fn messages(peeked: Vec<Peeked>) -> Vec<Message> {
    peeked.into_iter().map(|p| p.message).collect()
}

/// The dead letters in a channel.
pub async fn dead_letters(running: &Running, name: &str) -> Vec<Message> {
    messages(peek(running, name, Source::DeadLetter(channel(name))).await)
}

/// What nobody has handled yet on a queue.
pub async fn queued(running: &Running, name: &str) -> Vec<Message> {
    let group = GroupName::from(&channel(name));
    messages(peek(running, name, Source::Group { channel: channel(name), group }).await)
}

/// What waits in the retry inbox of a queue.
pub async fn delayed(running: &Running, name: &str) -> Vec<Peeked> {
    let group = GroupName::from(&channel(name));
    peek(running, name, Source::RetryInbox { channel: channel(name), group }).await
}

/// How many messages a queue and its retry inbox hold, in flight included, as far as the broker tells.
pub async fn depth(running: &Running, name: &str) -> u64 {
    depth_of_group(running, name).await + depth_of_inbox(running, name).await
}

/// How many messages a queue holds.
pub async fn depth_of_group(running: &Running, name: &str) -> u64 {
    let group = GroupName::from(&channel(name));
    depth_of(running, name, Source::Group { channel: channel(name), group }).await
}

/// How many messages the retry inbox of a queue holds.
pub async fn depth_of_inbox(running: &Running, name: &str) -> u64 {
    let group = GroupName::from(&channel(name));
    depth_of(running, name, Source::RetryInbox { channel: channel(name), group }).await
}

async fn depth_of(running: &Running, channel: &str, source: Source) -> u64 {
    let broker = running.broker_of(channel).unwrap_or_else(|e| panic!("{e}"));
    let depth = broker.admin().depth(&source).await;
    depth.unwrap_or_else(|e| panic!("{e}")).total()
}

/// A header of polymq's own, as text; empty if it isn't there.
#[must_use]
pub fn hop<'a>(message: &'a Message, name: &str) -> &'a str {
    message.headers().get_str(name).unwrap_or_default()
}

/// A header of polymq's own, as a number.
///
/// # Panics
/// When it is absent or no number.
#[must_use]
pub fn hop_number(message: &Message, name: &str) -> u64 {
    hop(message, name).parse().unwrap_or_else(|_| panic!("{name} in {:?}", message.headers()))
}
