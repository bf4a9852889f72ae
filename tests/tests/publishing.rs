//! Publishing: coalesced, bounded, confirmed or not, and in order per key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds something panics"
)]

use std::time::Duration;

use futures_util::FutureExt;
use polymq_core::broker::{Capability, Outcome, Send};
use polymq_core::config::WhenFull;
use polymq_core::memory::MemoryOptions;
use polymq_core::model::hop;
use polymq_core::{ErrorKind, Message, Publisher, Running, Service};
use polymq_testkit::faults::{Operation, PublishFault};
use polymq_tests::bed::{
    Bed, Log, MAILER, Receipt, hop as header, keyed, mailer, order, ordered_mailer, queued, seconds,
};

async fn start(bed: &Bed, text: &str) -> Running {
    bed.start(text, Service::new(())).await
}

/// Publishes from this many tasks at once, and waits for all.
async fn publish_from_tasks(publisher: &Publisher, tasks: u32) {
    let tasks: Vec<_> = (0..tasks)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish("orders", &order(n)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

/// A broker whose every publish takes 10 ms.
mod slow {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use polymq_core::broker::{
        Adapter, Admin, Broker, BrokerInfo, Capabilities, ChannelSpec, Connect, Consumer, Events,
        Outcome, Send, Subscription,
    };
    use polymq_core::config::Settings;
    use polymq_core::{Error, Message, Result};
    use tokio::time::Instant;

    pub(super) const TAKES: Duration = Duration::from_millis(10);

    #[derive(Debug)]
    pub(super) struct Slow<T: ?Sized>(pub(super) Arc<T>);

    #[async_trait]
    impl Adapter for Slow<dyn Adapter> {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn schemes(&self) -> &'static [&'static str] {
            self.0.schemes()
        }

        fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>> {
            self.0.check_broker(settings)
        }

        fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>> {
            self.0.check_channel(settings)
        }

        async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>> {
            Ok(Arc::new(Slow(self.0.connect(request).await?)))
        }
    }

    #[async_trait]
    impl Broker for Slow<dyn Broker> {
        fn info(&self) -> &BrokerInfo {
            self.0.info()
        }

        fn capabilities(&self, channel: &ChannelSpec) -> Capabilities {
            self.0.capabilities(channel)
        }

        fn wire_size(&self, message: &Message) -> usize {
            self.0.wire_size(message)
        }

        async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
            tokio::time::sleep(TAKES).await;
            self.0.publish(sends, deadline).await
        }

        async fn subscribe(&self, s: Subscription, deadline: Instant) -> Result<Arc<dyn Consumer>> {
            self.0.subscribe(s, deadline).await
        }

        fn events(&self) -> Events {
            self.0.events()
        }

        fn admin(&self) -> &dyn Admin {
            self.0.admin()
        }

        async fn close(&self, deadline: Instant) -> Result<()> {
            self.0.close(deadline).await
        }
    }
}

/// Starts on a broker whose publishes take [`slow::TAKES`].
async fn start_slow(bed: &Bed, text: &str) -> Running {
    use std::sync::Arc;

    use polymq_core::broker::Adapter;
    use polymq_testkit::faults::FaultyAdapter;

    let memory: Arc<dyn Adapter> = Arc::new(bed.server.adapter());
    let inner: Arc<dyn Adapter> = Arc::new(slow::Slow(memory));
    let faulty = FaultyAdapter::with(inner, bed.faults.clone());
    bed.app().adapter(faulty).start(bed.config(text)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn many_tasks_that_publish_at_once_share_few_calls() {
    let bed = Bed::default();
    let running = start_slow(&bed, MAILER).await;
    let begin = tokio::time::Instant::now();
    publish_from_tasks(&running.publisher(), 1000).await;
    let calls = bed.faults.calls(Operation::Publish);
    assert!(calls <= 10, "{calls} calls for 1000 messages");
    assert!(begin.elapsed() <= slow::TAKES * 4, "{:?}", begin.elapsed());
    assert_eq!(queued(&running, "orders").await.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_lone_publish_is_not_delayed() {
    let bed = Bed::default();
    let running = start_slow(&bed, MAILER).await;
    for n in 0..10 {
        let begin = tokio::time::Instant::now();
        running.publisher().publish("orders", &order(n)).await.unwrap();
        assert_eq!(begin.elapsed(), slow::TAKES, "the broker's own time and nothing more");
    }
    assert_eq!(bed.faults.calls(Operation::Publish), 10);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_meets_others_in_flight_waits_five_milliseconds_at_most() {
    let bed = Bed::default();
    let running = start_slow(&bed, MAILER).await;
    let publisher = running.publisher();
    let first = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish("orders", &order(1)).await }
    });
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    publisher.publish("orders", &order(2)).await.unwrap();
    assert!(begin.elapsed() <= slow::TAKES + Duration::from_millis(6), "{:?}", begin.elapsed());
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_task_keep_their_order() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    let batch = (0..2000).map(|n| Message::of(&order(n)).unwrap().with_id(n.to_string()));
    let outcomes = running.publisher().publish_all("orders", batch).await.unwrap();
    assert_eq!(outcomes.len(), 2000);
    assert!(outcomes.iter().all(Outcome::is_confirmed));
    let ids: Vec<u32> = queued(&running, "orders")
        .await
        .iter()
        .map(|m| m.id().unwrap().as_str().parse().unwrap())
        .collect();
    assert_eq!(ids, (0..2000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_window_bounds_what_is_unconfirmed_and_a_full_one_fails_if_told_to() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 4\ndeadline = '60s'\n");
    let running = start(&bed, &text).await;
    let silent = bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let publisher = running.publisher();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish("orders", &order(n)).await })
        })
        .collect();
    seconds(1).await;
    assert_eq!(bed.faults.sends().len(), 4);
    let error = publisher.clone().when_full(WhenFull::Fail).publish("orders", &order(9)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.is_retryable());
    assert!(error.to_string().contains("4 messages are unconfirmed"), "{error}");
    assert!(error.to_string().contains("publish.window"), "{error}");
    silent.end();
    let begin = tokio::time::Instant::now();
    let blocked = publisher.clone().with_deadline(Duration::from_secs(120));
    blocked.publish("orders", &order(10)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(58), "it waited for room");
    for task in waiting {
        assert!(task.await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocked_publish_that_finds_no_room_is_rejected_at_its_deadline() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 1\ndeadline = '60s'\n");
    let running = start(&bed, &text).await;
    bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let publisher = running.publisher();
    let first = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish("orders", &order(1)).await }
    });
    seconds(1).await;
    let begin = tokio::time::Instant::now();
    let impatient = publisher.with_deadline(Duration::from_secs(5));
    let outcomes = impatient.publish_all("orders", [Message::new("x")]).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
    let [Outcome::Rejected(error)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_was_sent_is_unconfirmed() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let publisher = running.publisher().with_deadline(Duration::from_secs(3));
    let begin = tokio::time::Instant::now();
    let error = publisher.publish("orders", &order(1)).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let unconfirmed = error.context().any(|(k, v)| k == "outcome" && v.starts_with("unconfirmed"));
    assert!(unconfirmed, "{error}");
    let outcomes = publisher.publish_all("orders", [Message::new("x")]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Unconfirmed(_)]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_says_that_the_message_is_certainly_not_there() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    bed.faults.fail_publish(|_| true, PublishFault::Rejected(ErrorKind::PermissionDenied));
    let error = running.publisher().publish("orders", &order(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!error.is_retryable());
    assert!(!error.context().any(|(key, _)| key == "outcome"), "{error}");
    assert_eq!(error.channel(), Some("orders"));
    assert_eq!(error.broker(), Some("default"));
}

#[tokio::test(start_paused = true)]
async fn headers_of_polymqs_own_are_stripped_and_ids_and_timestamps_are_filled_in() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    let message = Message::new("x")
        .with_header(hop::ATTEMPT, "7")
        .with_header("polymq-anything", "x")
        .with_header("tenant", "acme");
    running.publisher().publish_message("orders", message).await.unwrap();
    let own =
        Message::new("x").with_id("own").with_timestamp(polymq_core::Timestamp::from_millis(5));
    running.publisher().publish_message("orders", own).await.unwrap();
    let [first, second] = &queued(&running, "orders").await[..] else { panic!("two") };
    assert_eq!(header(first, hop::ATTEMPT), "");
    assert!(first.headers().iter().all(|(name, _)| !name.starts_with("polymq-")));
    assert_eq!(first.headers().get_str("tenant"), Some("acme"));
    assert!(first.id().is_some());
    assert_eq!(first.timestamp(), Some(bed.now()));
    assert_eq!(second.id().unwrap(), &"own");
    assert_eq!(second.timestamp(), Some(polymq_core::Timestamp::from_millis(5)));
}

#[tokio::test(start_paused = true)]
async fn a_typed_payload_brings_its_type_key_and_content_type() {
    let running = start(&Bed::default(), MAILER).await;
    running.publisher().publish("orders", &keyed("k", 1)).await.unwrap();
    let [message] = &queued(&running, "orders").await[..] else { panic!("one") };
    assert_eq!(message.message_type(), Some("order"));
    assert_eq!(message.content_type(), Some("application/json"));
    assert_eq!(message.key().map(AsRef::as_ref), Some(b"k".as_ref()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_publish_gives_its_room_back_and_stops_nobody() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 2\n");
    let running = start_slow(&bed, &text).await;
    let publisher = running.publisher();
    for n in 0..50 {
        let (dropped, kept) = (order(n), order(n + 100));
        let mut first = Box::pin(publisher.publish("orders", &dropped));
        let mut second = Box::pin(publisher.publish("orders", &kept));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await.unwrap();
    }
    // All of the window is there again.
    seconds(1).await;
    let full = publisher.when_full(WhenFull::Fail);
    let outcomes =
        full.publish_all("orders", [Message::new("x"), Message::new("y")]).await.unwrap();
    assert!(outcomes.iter().all(Outcome::is_confirmed), "{outcomes:?}");
}

fn unordered_pipelining() -> Bed {
    let options = MemoryOptions::default().without(Capability::Atomic);
    Bed::with(options.without(Capability::OrderedPipelining))
}

#[tokio::test(start_paused = true)]
async fn without_ordered_pipelining_one_message_per_key_is_in_flight_and_other_keys_go_on() {
    let bed = unordered_pipelining();
    let running = start(&bed, &ordered_mailer("")).await;
    // The first message of key `a` hangs.
    let hangs = bed.faults.fail_publish(
        |send: &Send| send.message.id().is_some_and(|id| *id == "a-0"),
        PublishFault::Silent,
    );
    let publisher = running.publisher().with_deadline(Duration::from_secs(10));
    let publish = |id: &str| {
        let (publisher, id) = (publisher.clone(), id.to_owned());
        let key = id[..1].to_owned();
        tokio::spawn(async move {
            let message = Message::of(&keyed(key, 1)).unwrap().with_id(id);
            publisher.publish_message("orders", message).await
        })
    };
    let first = publish("a-0");
    seconds(1).await;
    let (second, others) = (publish("a-1"), [publish("b-0"), publish("c-0"), publish("b-1")]);
    seconds(1).await;
    for other in others {
        assert!(other.is_finished(), "another key goes on");
        other.await.unwrap().unwrap();
    }
    let sent =
        |id: &str| bed.faults.sends().iter().any(|s| s.message.id().is_some_and(|i| *i == id));
    assert!(!sent("a-1"), "one per key");
    assert!(!second.is_finished());
    hangs.end();
    assert!(first.await.unwrap().is_err());
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_order_per_key_is_kept_with_and_without_ordered_pipelining() {
    for bed in [unordered_pipelining(), Bed::default()] {
        let running = start_slow(&bed, &ordered_mailer("")).await;
        let done = Log::default();
        let tasks: Vec<_> = (0..8u32)
            .map(|key| {
                let (publisher, done) = (running.publisher(), done.clone());
                tokio::spawn(async move {
                    // Without waiting in between: the order is that of the calls.
                    let orders: Vec<_> = (0..20).map(|n| keyed(key, n)).collect();
                    let publishes = orders.iter().map(|order| publisher.publish("orders", order));
                    for result in futures_util::future::join_all(publishes).await {
                        result.unwrap();
                    }
                    done.push(key);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut last = std::collections::BTreeMap::new();
        for message in queued(&running, "orders").await {
            let order: polymq_tests::bed::Order =
                polymq_core::Payload::decode(message.payload().unwrap()).unwrap();
            let before = last.insert(order.key.clone(), order.n);
            assert!(before.is_none_or(|before| before < order.n), "{order:?} after {before:?}");
        }
        assert_eq!(done.len(), 8);
    }
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_window_of_a_broker() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 1\n");
    let running = start(&bed, &text).await;
    bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let (one, other) = (running.publisher(), running.publisher().when_full(WhenFull::Fail));
    let first = tokio::spawn(async move { one.publish("orders", &order(1)).await });
    seconds(1).await;
    let error = other.publish("receipts", &Receipt { n: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_window_goes_through() {
    let bed = Bed::default();
    let text = format!("{}[publish]\nwindow = 3\n", mailer(""));
    let running = start(&bed, &text).await;
    let batch = (0..10).map(|n| Message::of(&order(n)).unwrap());
    let outcomes = running.publisher().publish_all("orders", batch).await.unwrap();
    assert_eq!(outcomes.iter().filter(|o| o.is_confirmed()).count(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_a_topic_without_groups_is_confirmed() {
    let text = "[broker]\nurl = 'memory://'\n[channels.news]\nkind = 'topic'\n";
    let running = start(&Bed::default(), text).await;
    running.publisher().publish("news", &order(1)).await.unwrap();
}
