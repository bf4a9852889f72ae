//! Messages keep the order in which they were published.

use std::time::Duration;

use polymq_core::Message;
use polymq_core::broker::{Capability, Outcome, Send};
use polymq_core::memory::MemoryOptions;
use polymq_testkit::faults::PublishFault;
use polymq_tests::bed::{Bed, Log, MAILER, keyed, order, ordered_mailer, queued, seconds};

use super::slow::start_slow;
use super::start;

fn unordered_pipelining() -> Bed {
    let options = MemoryOptions::default().without(Capability::Atomic);
    Bed::with(options.without(Capability::OrderedPipelining))
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
