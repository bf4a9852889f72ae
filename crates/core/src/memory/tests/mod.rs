//! The contract of an adapter, read from the memory broker, in virtual time.

mod admin;
mod atomic;
mod delivery;
mod leases;
mod limits;
mod ordered;
mod retries;
mod stress;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{MemoryOptions, MemoryServer};
use crate::broker::{
    Adapter, Broker, ChannelSpec, Connect, Consumer, Depth, Destination, Outcome, Send, Settlement,
    Source, Subscription, Token, Topology,
};
use crate::clock::VirtualClock;
use crate::model::{ChannelName, ConsumerName, Delivery, GroupName, Message, Namespace};
use crate::{ErrorKind, Result};

/// How long a delivery may stay unsettled.
const HOLD: Duration = Duration::from_secs(3600);

fn request(url: &str, channels: Vec<ChannelSpec>) -> Connect {
    let topology = Topology { namespace: Namespace::new("test").unwrap(), channels };
    Connect::new("default", vec![url.into()], topology, deadline())
        .with_clock(Arc::new(VirtualClock::default()))
}

/// A connection whose topology was applied.
async fn connect(server: &MemoryServer, channels: Vec<ChannelSpec>) -> Arc<dyn Broker> {
    let broker = server.adapter().connect(request("memory://", channels)).await.unwrap();
    let plan = broker.admin().plan().await.unwrap();
    broker.admin().apply(&plan).await.unwrap();
    broker
}

/// A server of its own with one queue, `q`.
async fn with_queue() -> (MemoryServer, Arc<dyn Broker>) {
    with_options(MemoryOptions::default()).await
}

async fn with_options(options: MemoryOptions) -> (MemoryServer, Arc<dyn Broker>) {
    let server = MemoryServer::new(options);
    let broker = connect(&server, vec![queue("q")]).await;
    (server, broker)
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn queue(name: &str) -> ChannelSpec {
    ChannelSpec::queue(channel(name))
}

fn ordered(name: &str) -> ChannelSpec {
    let mut spec = queue(name);
    spec.ordered = true;
    spec
}

fn topic(name: &str, groups: &[&str]) -> ChannelSpec {
    ChannelSpec::topic(channel(name), groups.iter().map(|g| group(g)))
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn send(to: &str, payload: &str) -> Send {
    Send::new(Destination::Channel(channel(to)), Message::new(payload.to_owned()))
}

/// A message `k3` has the key `k`.
fn keyed(to: &str, payload: &str) -> Send {
    let message = Message::new(payload.to_owned()).with_key(payload[..1].to_owned());
    Send::new(Destination::Channel(channel(to)), message)
}

fn retry(to: &str, of: &str, payload: &str) -> Send {
    let inbox = Destination::RetryInbox { channel: channel(to), group: group(of) };
    Send::new(inbox, Message::new(payload.to_owned()))
}

async fn publish(broker: &Arc<dyn Broker>, sends: impl IntoIterator<Item = Send>) -> Vec<Outcome> {
    broker.publish(sends.into_iter().collect(), deadline()).await
}

/// Publishes to the queue `q`; everything must be confirmed.
async fn publish_all(broker: &Arc<dyn Broker>, payloads: &[&str]) {
    let outcomes = publish(broker, payloads.iter().map(|p| send("q", p))).await;
    assert!(outcomes.iter().all(Outcome::is_confirmed), "{outcomes:?}");
}

async fn consume(
    broker: &Arc<dyn Broker>,
    from: &str,
    of: &str,
    prefetch: usize,
) -> Arc<dyn Consumer> {
    let consumer = ConsumerName::new("c").unwrap();
    let subscription = Subscription::new(channel(from), group(of), consumer, prefetch, HOLD);
    broker.subscribe(subscription, deadline()).await.unwrap()
}

fn payload(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.payload().unwrap().to_vec()).unwrap()
}

fn payloads(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(payload).collect()
}

/// Receives what is there now; empty if that is nothing.
async fn try_recv(consumer: &Arc<dyn Consumer>, max: usize) -> Vec<Delivery> {
    tokio::select! {
        biased;
        batch = consumer.recv(max) => batch.unwrap(),
        () = tokio::task::yield_now() => Vec::new(),
    }
}

fn tokens(deliveries: &[Delivery]) -> Vec<Token> {
    deliveries.iter().map(|d| d.token).collect()
}

async fn settle(consumer: &Arc<dyn Consumer>, how: Settlement, of: &[Delivery]) {
    let settlements: Vec<_> = of.iter().map(|d| (d.token, how)).collect();
    for result in consumer.settle(&settlements, deadline()).await {
        result.unwrap();
    }
}

async fn ack(consumer: &Arc<dyn Consumer>, of: &[Delivery]) {
    settle(consumer, Settlement::Ack, of).await;
}

async fn release(consumer: &Arc<dyn Consumer>, of: &[Delivery]) {
    settle(consumer, Settlement::Release, of).await;
}

fn source(of: &str, by: &str) -> Source {
    Source::Group { channel: channel(of), group: group(by) }
}

async fn depth(broker: &Arc<dyn Broker>, of: &str, by: &str) -> Depth {
    broker.admin().depth(&source(of, by)).await.unwrap()
}

fn kind(outcome: &Outcome) -> Option<ErrorKind> {
    outcome.error().map(crate::Error::kind)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a waiting task gives once it was woken: a timer that ends must not be what did it.
async fn promptly<T>(waiting: tokio::task::JoinHandle<T>) -> T {
    let start = Instant::now();
    let result = waiting.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "only a timer ended the wait");
    result
}

/// A task that waits in `recv` by the time that this returns.
async fn waiting(consumer: &Arc<dyn Consumer>, max: usize) -> tokio::task::JoinHandle<Vec<String>> {
    let consumer = Arc::clone(consumer);
    let task = tokio::spawn(async move { payloads(&consumer.recv(max).await.unwrap()) });
    tokio::task::yield_now().await;
    task
}
