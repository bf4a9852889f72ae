//! `deliver_at`: a message waits for its time, on a queue and in every group of a topic.

use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::broker::{Capability, Destination, Send, Settlement};
use polymq_core::{Clock, Message, SystemClock};
use tokio::time::Instant;

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Probe, RESOLUTION, Scene, channel, id_of, publish_one, queue, receive, settle, soon,
    subscribe,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

const DELAYED: Need = Need::Has(Capability::DelayedRetry);

pub(super) const CASES: &[Case] = &[
    case!(
        "scheduled-queue",
        scheduled_queue,
        [DELAYED, Need::Quiet],
        "A message with a delivery time on a queue is handled then: never early, at attempt 1."
    ),
    case!(
        "scheduled-topic",
        scheduled_topic,
        [DELAYED, Need::Has(Capability::Topic), Need::Quiet],
        "A message with a delivery time on a topic is handled then: never early, at attempt 1."
    ),
    case!(
        "inbox-delay",
        inbox_delay,
        [DELAYED],
        "A send to a retry inbox is not handed out before its time, and holds up nobody."
    ),
];

const WAIT: Duration = Duration::from_millis(700);

async fn scheduled(fixture: &dyn Fixture, kind: &str) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let tables = format!("[channels.c]\nkind = '{kind}'\n[consumers.handler]\nchannel = 'c'\n");
    let running = scene.start(&tables, service).await?;
    let begin = Instant::now();
    let at = SystemClock.now() + WAIT;
    let messages: Vec<Message> = ["late-0", "late-1"]
        .map(|id| Message::new(id).with_id(id).with_deliver_at(at))
        .into_iter()
        .chain([Message::new("now").with_id("now")])
        .collect();
    probe.publish(&running, "c", messages).await?;
    probe.handled(3).await?;
    let limits = running.broker_of("c")?.capabilities(&queue("c")?).limits;
    for id in ["late-0", "late-1"] {
        let seen = probe.of(id);
        let waited = seen[0].at - begin;
        ensure!(seen[0].attempt == 1, "{id} was handled as attempt {}", seen[0].attempt);
        ensure!(waited + RESOLUTION >= WAIT, "{id} came early, after {waited:?}");
        let bound = limits.delay_slack.max(WAIT / 10);
        ensure!(waited <= WAIT + bound, "{id} came late, after {waited:?}");
    }
    let waited = probe.of("now")[0].at - begin;
    ensure!(waited < WAIT, "what was due at once waited {waited:?}");
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}

async fn scheduled_queue(fixture: &dyn Fixture) -> Result<Tally> {
    scheduled(fixture, "queue").await
}

async fn scheduled_topic(fixture: &dyn Fixture) -> Result<Tally> {
    scheduled(fixture, "topic").await
}

async fn inbox_delay(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let to = channel("q")?;
    let inbox = Destination::RetryInbox { group: (&to).into(), channel: to.clone() };
    let begin = Instant::now();
    let now = SystemClock.now();
    let ledger = Ledger::default();
    for (id, wait) in [("late", WAIT), ("soon", WAIT / 2)] {
        let mut send = Send::new(inbox.clone(), Message::new(id).with_id(id));
        send.at = Some(now + wait);
        ledger.sent(id, None);
        publish_one(&*broker, send).await?;
        ledger.confirmed(id);
    }
    let send = Send::new(Destination::Channel(to), Message::new("now").with_id("now"));
    ledger.sent("now", None);
    publish_one(&*broker, send).await?;
    ledger.confirmed("now");
    let consumer = subscribe(&*broker, "q", "q", 10).await?;
    // An adapter hands out at its ceiling; the pipeline sends it on.
    let ceiling = broker.capabilities(&queue("q")?).limits.max_delay.unwrap_or(Duration::MAX);
    for n in 0..3 {
        let got = receive(&*consumer, 1).await?;
        let (id, waited) = (id_of(&got[0].message), begin.elapsed());
        let wait = match id.as_str() {
            "late" => WAIT,
            "soon" => WAIT / 2,
            _ => Duration::ZERO,
        };
        ensure!((n == 0) == (id == "now"), "{id} came as number {n}");
        ensure!(waited + RESOLUTION >= wait.min(ceiling), "{id} came early, after {waited:?}");
        ledger.received(&id);
        settle(&*consumer, &got, Settlement::Ack).await?;
    }
    consumer.close(soon()).await?;
    ledger.arrived(0)
}
