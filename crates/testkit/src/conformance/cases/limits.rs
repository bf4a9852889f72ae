//! Sizes and room: what is too much is refused where its sender can see it.

use anyhow::{Result, ensure};
use polymq_core::broker::{Broker, Capability, ChannelSpec, Destination, Send};
use polymq_core::config::WhenFull;
use polymq_core::model::hop;
use polymq_core::{Error, ErrorKind, Message, Service};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Probe, Scene, channel, publish_one, queue, read_dead_letters,
};
use crate::conformance::{Case, Need};
use crate::ledger::Tally;

pub(super) const CASES: &[Case] = &[
    case!(
        "oversize-publish",
        oversize_publish,
        [],
        "A message above the publisher's limit is rejected before sending; one at it is handled."
    ),
    case!(
        "foreign-at-limit",
        foreign_at_limit,
        [],
        "A foreign message at the broker's own limit is dead-lettered with its payload intact."
    ),
    case!(
        "full-channel",
        full_channel,
        [Need::Has(Capability::MaxBytes), Need::Has(Capability::DelayedRetry)],
        "A full channel tells its publisher, and retries still go in and are handled."
    ),
];

/// The room that a publisher leaves for polymq's own headers.
const RESERVE: usize = 16 << 10;

const CONFIG: &str = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n";

async fn oversize_publish(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    let broker = running.broker_of("q")?;
    let limit = limit_of(&**broker)?;
    let message = |id: &str, payload: usize| Message::new(vec![b'x'; payload]).with_id(id);
    // The publisher adds a timestamp.
    let fits = limit - RESERVE - broker.wire_size(&message("just", 0)) - 64;
    probe.publish(&running, "q", vec![message("just", fits)]).await?;
    let refused = running.publisher().publish_message("q", message("over", limit)).await;
    let kind = refused.as_ref().err().map(Error::kind);
    ensure!(kind == Some(ErrorKind::TooLarge), "the oversize one: {refused:?}");
    probe.handled(1).await?;
    let size = probe.of("just")[0].message.payload().map(|p| p.len());
    ensure!(size == Some(fits), "{size:?} bytes came, not {fits}");
    running.drain().await;
    probe.ledger.arrived(0)
}

async fn foreign_at_limit(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (_, service) = Probe::service(|_| Err("no".into()));
    let tables = format!("{CONFIG}retry = {{ immediate = 0, delayed = 0 }}\n");
    let running = scene.start(&tables, service).await?;
    let message = as_large_as_possible(&**running.broker_of("q")?)?;
    scene.publish_foreign(queue("q")?, message.clone()).await?;
    let letters = read_dead_letters(&running, "q-dead", 1).await?;
    ensure!(letters[0].payload() == message.payload(), "the payload changed");
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    Ok(Tally::default())
}

fn limit_of(broker: &dyn Broker) -> Result<usize> {
    Ok(broker.capabilities(&queue("q")?).limits.max_message_bytes)
}

/// The largest message that the broker takes from anybody.
fn as_large_as_possible(broker: &dyn Broker) -> Result<Message> {
    let limit = limit_of(broker)?;
    let message = |payload: usize| Message::new(vec![b'x'; payload]);
    let (mut fits, mut over) = (0, limit + 1);
    while over - fits > 1 {
        let middle = fits.midpoint(over);
        if broker.wire_size(&message(middle)) <= limit {
            fits = middle;
        } else {
            over = middle;
        }
    }
    Ok(message(fits))
}

async fn full_channel(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let mut spec: ChannelSpec = queue("q")?;
    spec.max_bytes = Some(64 << 10);
    let broker = scene.broker(vec![spec]).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let tables = "[channels.q]\nkind = 'queue'\nmax_bytes = '64KiB'\n";
    let full = scene.start(tables, Service::new(())).await?;
    let publisher = full.publisher().when_full(WhenFull::Fail);
    let mut refused = None;
    for n in 0..200 {
        let id = format!("m-{n}");
        let message = Message::new(vec![b'x'; 1 << 10]).with_id(&id);
        probe.ledger.sent(&id, None);
        match publisher.publish_message("q", message).await {
            Ok(_) => probe.ledger.confirmed(&id),
            Err(error) => {
                probe.ledger.rejected(&id);
                refused = Some(error);
                break;
            }
        }
    }
    let kind = refused.as_ref().map(Error::kind);
    ensure!(kind == Some(ErrorKind::Full), "200 KiB into 64 KiB: {refused:?}");
    let to = channel("q")?;
    let inbox = Destination::RetryInbox { group: (&to).into(), channel: to };
    let retry = Message::new("r").with_id("retry").with_header(hop::ATTEMPT, "2");
    probe.ledger.sent("retry", None);
    publish_one(&*broker, Send::new(inbox, retry)).await?;
    probe.ledger.confirmed("retry");
    full.drain().await;
    let tables = format!("{tables}[consumers.handler]\nchannel = 'q'\n");
    let running = scene.start(&tables, service).await?;
    probe.handled(probe.tally().confirmed).await?;
    ensure!(probe.of("retry")[0].attempt == 2, "the retry lost its attempt");
    running.drain().await;
    probe.ledger.arrived(0)
}
