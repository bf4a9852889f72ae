//! Topics: every group gets every message, and channels stay apart.

use std::sync::Arc;

use anyhow::{Result, ensure};
use polymq_core::broker::Capability;
use polymq_core::{Context, HandlerError, Message, Service};
use tokio::time::timeout;

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, QUIET, Readers, Scene, id_of, publish, queue, subscribe, texts, topic, until,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

const TOPIC: Need = Need::Has(Capability::Topic);

pub(super) const CASES: &[Case] = &[
    case!(
        "consumer-groups",
        consumer_groups,
        [TOPIC],
        "Two groups of a topic each get every message once, however many consumers they have."
    ),
    case!(
        "channel-isolation",
        channel_isolation,
        [],
        "What is published to one channel never shows on another one, or in another namespace."
    ),
    case!(
        "topic-without-groups",
        topic_without_groups,
        [TOPIC],
        "A publish to a topic that nobody subscribes to is confirmed."
    ),
    case!(
        "subject-filter",
        subject_filter,
        [TOPIC],
        "A group with subject patterns handles what they take and nothing else; another group of \
         the topic gets everything."
    ),
];

async fn consumer_groups(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![topic("t", &["a", "b"])?]).await?;
    let (a, b) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
    let mut readers = Vec::new();
    for (group, ledger) in [("a", &a), ("b", &b)] {
        for _ in 0..2 {
            let consumer = subscribe(&*broker, "t", group, 50).await?;
            readers.push(Readers::start([consumer], ledger));
        }
    }
    let messages = texts("m", 200);
    for message in &messages {
        let id = id_of(message);
        b.sent(&id, None);
        b.confirmed(&id);
    }
    publish(&*broker, &a, "t", messages).await?;
    for (reader, ledger) in readers.into_iter().zip([&a, &a, &b, &b]) {
        reader.finish(ledger, 200).await?;
    }
    Ok([a.arrived(0)?, b.arrived(0)?].into_iter().sum())
}

async fn channel_isolation(fixture: &dyn Fixture) -> Result<Tally> {
    let (here, there) = (Scene::new(fixture).await?, Scene::new(fixture).await?);
    let broker = here.broker(vec![queue("q")?, queue("other")?]).await?;
    let elsewhere = there.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    let own = subscribe(&*broker, "q", "q", 50).await?;
    let other = subscribe(&*broker, "other", "other", 50).await?;
    let foreign = subscribe(&*elsewhere, "q", "q", 50).await?;
    publish(&*broker, &ledger, "q", texts("m", 100)).await?;
    Readers::start([own], &ledger).finish(&ledger, 100).await?;
    for consumer in [other, foreign] {
        if let Ok(got) = timeout(QUIET, consumer.recv(1)).await {
            ensure!(got?.is_empty(), "a message crossed over");
        }
    }
    ledger.arrived(0)
}

const SUBJECTS: &str = r#"
    [channels.t]
    kind = "topic"
    [consumers.some]
    channel = "t"
    subjects = ["orders.*.placed", "eu.#"]
    [consumers.all]
    channel = "t"
"#;

async fn subject_filter(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (some, all) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
    let note = |ledger: &Arc<Ledger>| {
        let ledger = Arc::clone(ledger);
        move |message: Message, _: Context<()>| {
            ledger.received(&id_of(&message));
            async { Ok::<(), HandlerError>(()) }
        }
    };
    let service = Service::new(()).on("some", note(&some)).on("all", note(&all));
    let running = scene.start(SUBJECTS, service).await?;
    for (id, subject, wanted) in [
        ("word", Some("orders.42.placed"), true),
        ("rest", Some("eu.orders.42.placed"), true),
        ("no-words", Some("eu"), true),
        ("too-many", Some("orders.4.2.placed"), false),
        ("other", Some("orders.42.paid"), false),
        ("none", None, false),
    ] {
        let message = Message::new(id).with_id(id);
        let message = subject.into_iter().fold(message, Message::with_subject);
        for ledger in std::iter::once(&all).chain(wanted.then_some(&some)) {
            ledger.sent(id, None);
            ledger.confirmed(id);
        }
        running.publisher().publish_message("t", message).await?;
    }
    until("everything arrived", || some.distinct() >= 3 && all.distinct() >= 6).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    Ok([some.arrived(0)?, all.arrived(0)?].into_iter().sum())
}

async fn topic_without_groups(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![topic("t", &[])?]).await?;
    let ledger = Ledger::default();
    for outcome in publish(&*broker, &ledger, "t", texts("m", 10)).await? {
        outcome.into_result()?;
    }
    Ok(Tally::default())
}
