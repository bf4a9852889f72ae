//! What is in a message arrives as it was.

use anyhow::{Context as _, Result, ensure};
use polymq_core::broker::Settlement;
use polymq_core::{Message, Timestamp};

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Probe, Scene, id_of, publish, queue, receive, settle, subscribe, until,
};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "binary-content",
        binary_content,
        [],
        "Payload, key and header values carry every byte value, also what is not UTF-8."
    ),
    case!(
        "message-fields",
        message_fields,
        [],
        "Every field of a message arrives: type, subject, correlation, schema, timestamp and the rest."
    ),
    case!(
        "empty-and-tombstone",
        empty_and_tombstone,
        [],
        "A payload of zero bytes and no payload stay apart."
    ),
    case!(
        "foreign-message",
        foreign_message,
        [],
        "A message without any header of polymq's is handled like any other."
    ),
    case!("trace-context", trace_context, [], "A message's trace context reaches its handler."),
];

/// Publishes one message and returns what arrived.
async fn echo(fixture: &dyn Fixture, message: Message) -> Result<(Message, Tally)> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Ledger::default();
    let message = message.with_id("m-0");
    publish(&*broker, &ledger, "q", vec![message]).await?;
    let consumer = subscribe(&*broker, "q", "q", 1).await?;
    let mut got = receive(&*consumer, 1).await?;
    settle(&*consumer, &got, Settlement::Ack).await?;
    let got = got.pop().context("nothing came")?.message;
    ledger.received(&id_of(&got));
    Ok((got, ledger.arrived(0)?))
}

async fn binary_content(fixture: &dyn Fixture) -> Result<Tally> {
    let bytes: Vec<u8> = (0..=255).collect();
    let sent = Message::new(bytes.clone())
        .with_key(bytes.clone())
        .with_header("raw", bytes)
        .with_header("text", "grüße 日本 🐇")
        .with_header("not-utf8", vec![0xff, 0xfe, 0xc0])
        .with_header("empty", "");
    let (got, tally) = echo(fixture, sent.clone()).await?;
    ensure!(got.payload() == sent.payload(), "the payload differs");
    ensure!(got.key() == sent.key(), "the key differs");
    for (name, value) in sent.headers().iter() {
        ensure!(got.headers().get(name) == Some(value), "the header `{name}` differs");
    }
    Ok(tally)
}

async fn message_fields(fixture: &dyn Fixture) -> Result<Tally> {
    let sent = Message::new("{}")
        .with_id("m-0")
        .with_type("order.placed")
        .with_content_type("application/json")
        .with_key("k")
        .with_timestamp(Timestamp::from_millis(1_767_225_600_123))
        .with_subject("orders/42")
        .with_correlation_id("c-1")
        .with_causation_id("c-0")
        .with_reply_to("answers")
        .with_schema_version(3)
        .with_ttl(std::time::Duration::from_secs(86_400 * 3650));
    let (mut got, tally) = echo(fixture, sent.clone()).await?;
    got.headers_mut().retain(|_| false);
    ensure!(got == sent, "sent {sent:?}, got {got:?}");
    Ok(tally)
}

async fn empty_and_tombstone(fixture: &dyn Fixture) -> Result<Tally> {
    let (empty, first) = echo(fixture, Message::new("")).await?;
    let (tombstone, second) = echo(fixture, Message::tombstone()).await?;
    ensure!(empty.payload().is_some_and(|p| p.is_empty()), "zero bytes came as {empty:?}");
    ensure!(tombstone.payload().is_none(), "a tombstone came as {tombstone:?}");
    Ok([first, second].into_iter().sum())
}

const CONFIG: &str = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n";

async fn foreign_message(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    scene.publish_foreign(queue("q")?, Message::new("from elsewhere")).await?;
    until("it was handled", || probe.attempts() == 1).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let tally = &report.consumers[0].tally;
    ensure!(tally.handled == 1 && tally.dead_letters() == 0, "{tally:?}");
    let seen = probe.all();
    ensure!(
        seen[0].message.payload().is_some_and(|p| p == "from elsewhere"),
        "another payload: {:?}",
        seen[0].message
    );
    Ok(Tally::default())
}

async fn trace_context(fixture: &dyn Fixture) -> Result<Tally> {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    let message = Message::new("x").with_id("m").with_header("traceparent", PARENT);
    probe.publish(&running, "q", vec![message]).await?;
    probe.handled(1).await?;
    let seen = probe.of("m");
    let trace = seen[0].trace.as_deref();
    ensure!(trace == Some("4bf92f3577b34da6a3ce929d0e0e4736"), "the handler saw {trace:?}");
    running.drain().await;
    probe.ledger.arrived(0)
}
