//! Stages together: order with deduplication, breaker with order, several brokers, atomic commits.

use std::time::Duration;

use polymq_core::dedup::{Claim, ClaimRequest, DedupKey, DedupStore, Held};
use polymq_core::model::hop;
use polymq_core::{
    App, ChannelName, Clock, Context, ErrorKind, GroupName, HandlerError, Message, Service, memory,
};
use polymq_testkit::faults::{Operation, SendOutcome};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, depth, hop as header, keyed, order,
    ordered_mailer, queued, seconds, tally, until_dead, until_handled, until_state,
};

fn logging(seen: &Log<(u32, u32)>) -> Service<()> {
    let seen = seen.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        seen.push((order.n, ctx.attempt()));
        async { Ok::<(), HandlerError>(()) }
    })
}

fn input(key: &str, n: u32) -> Message {
    Message::of(&keyed(key, n)).unwrap().with_id(format!("{key}-{n}"))
}

#[tokio::test(start_paused = true)]
async fn on_an_ordered_channel_a_claim_held_elsewhere_holds_its_key_and_only_its_key() {
    let (bed, seen) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let (channel, group) = (ChannelName::new("orders").unwrap(), GroupName::new("orders").unwrap());
    let key = DedupKey::new(&channel, &group, "a-0", 0);
    let request = ClaimRequest { key: key.clone(), attempt: 1, lease: Duration::from_secs(20) };
    let Claim::Granted(fence) = store.claim(&[request]).await.unwrap()[0] else { panic!() };
    let running = bed
        .start_with(&store, &ordered_mailer("dedup = { store = 'shared' }"), logging(&seen))
        .await;
    for message in [input("a", 0), input("a", 1), input("b", 7)] {
        running.publisher().publish_message("orders", message).await.unwrap();
    }
    seconds(10).await;
    assert_eq!(seen.all(), [(7, 1)]);
    store.release(&[Held { key, fence }]).await.unwrap();
    until_handled(&running, "mailer", 3).await;
    assert_eq!(seen.all(), [(7, 1), (0, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn on_an_ordered_channel_a_retry_keeps_its_claim_while_it_waits() {
    let (bed, seen) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let service = {
        let seen = seen.clone();
        Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
            seen.push((order.n, ctx.attempt()));
            let attempt = ctx.attempt();
            async move { if attempt < 3 { Err("not yet".into()) } else { Ok(()) } }
        })
    };
    let text = ordered_mailer(
        "dedup = { store = 'shared', lease = '10s' }\n\
         retry = { immediate = 0, delayed = 3, base = '60s', jitter = 'none' }",
    );
    let running = bed.start_with(&store, &text, service).await;
    running.publisher().publish_message("orders", input("a", 0)).await.unwrap();
    running.publisher().publish_message("orders", input("a", 0)).await.unwrap();
    until_state(&running, "mailer", "done", |s| s.tally.duplicates == 1).await;
    assert_eq!(seen.all(), [(0, 1), (0, 2), (0, 3)]);
    assert_eq!(tally(&running, "mailer").handled, 1);
}

#[tokio::test(start_paused = true)]
async fn the_order_per_key_survives_an_open_breaker() {
    let (bed, seen) = (Bed::default(), Log::default());
    let service = {
        let seen = seen.clone();
        Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
            let key = order.key.clone().unwrap();
            let fails = ctx.attempt() == 1 && order.n < 2;
            if !fails {
                seen.push((key, order.n));
            }
            async move { if fails { Err("down".into()) } else { Ok(()) } }
        })
    };
    let text = ordered_mailer(
        "breaker = { failure_rate = 0.5, minimum = 4, window = '10s', open = '30s' }\n\
         retry = { immediate = 0, delayed = 3, base = '1s', jitter = 'none' }",
    );
    let running = bed.start(&text, service).await;
    for n in 0..40 {
        let message = Message::of(&keyed(n % 4, n / 4)).unwrap();
        running.publisher().publish_message("orders", message).await.unwrap();
    }
    until_handled(&running, "mailer", 40).await;
    for key in 0..4 {
        let of_key = seen.all().into_iter().filter(|(k, _)| *k == key.to_string());
        assert_eq!(of_key.map(|(_, n)| n).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_back_what_waits_for_its_retry_on_an_ordered_channel_in_order() {
    let (bed, seen) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let failing = Service::new(())
        .on("mailer", |_: Order, _: Context<()>| async { Err::<(), HandlerError>("no".into()) });
    let text = ordered_mailer(
        "dedup = { store = 'shared' }\nretry = { immediate = 0, delayed = 3, base = '60s' }",
    );
    let running = bed.start_with(&store, &text, failing).await;
    for n in 0..5 {
        running.publisher().publish_message("orders", input("a", n)).await.unwrap();
    }
    until_state(&running, "mailer", "failed", |s| s.tally.retried == 1).await;
    assert!(running.drain().await.is_clean());
    let begin = tokio::time::Instant::now();
    let running = bed.another_process().start_with(&store, &text, logging(&seen)).await;
    until_handled(&running, "mailer", 5).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "the claim was given back too");
    assert_eq!(seen.all().iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_atomic_commit_that_fails_is_tried_again_with_the_same_ids() {
    let (bed, calls) = (Bed::atomic(), Log::default());
    let service = {
        let calls = calls.clone();
        Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
            calls.push(());
            async move { ctx.publish("receipts", Receipt { n: order.n }) }
        })
    };
    let running = bed.start(MAILER, service).await;
    bed.faults.fail(Operation::Commit, ErrorKind::Disconnected).times(3);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(queued(&running, "receipts").await.len(), 1);
    let sends = bed.faults.sends();
    let to_receipts = |s: &&polymq_testkit::faults::SendRecord| {
        s.destination.channel().is_some_and(|c| *c == "receipts")
    };
    let ids: std::collections::BTreeSet<_> =
        sends.iter().filter(to_receipts).map(|s| s.message.id().cloned()).collect();
    assert_eq!(ids.len(), 1);
    let confirmed =
        sends.iter().filter(to_receipts).filter(|s| s.outcome == SendOutcome::Confirmed);
    assert_eq!(confirmed.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn outputs_and_dead_letters_may_lie_on_another_broker() {
    let text = r#"
        [brokers.here]
        url = "memory://here"
        [brokers.there]
        url = "memory://there"
        [channels.orders]
        kind = "queue"
        broker = "here"
        [channels.receipts]
        kind = "queue"
        broker = "there"
        [channels.failed]
        kind = "queue"
        broker = "there"
        [consumers.mailer]
        channel = "orders"
        outputs = ["receipts"]
        dead_letter = "failed"
        retry = { immediate = 0, delayed = 1, base = "1s" }
    "#;
    let service = Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
        ctx.publish("receipts", Receipt { n: order.n })?;
        if order.n == 13 { Err("unlucky".into()) } else { Ok(()) }
    });
    let clock = std::sync::Arc::new(polymq_core::VirtualClock::default());
    let app = App::with(memory::adapter()).clock(clock as std::sync::Arc<dyn Clock>);
    let config = polymq_core::config::Config::builder().text("polymq.toml", text).build().unwrap();
    let running = app.serve(service).start(config).await.unwrap();
    for n in [1, 13] {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 1).await;
    until_dead(&running, "mailer", 1).await;
    assert_eq!(queued(&running, "receipts").await.len(), 1);
    let [dead] = &dead_letters(&running, "failed").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_BROKER), "here", "where it was consumed");
    assert_eq!(depth(&running, "orders").await, 0);
    assert!(running.drain().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_messages_that_fail_at_random_are_all_accounted_for() {
    for bed in [Bed::default(), Bed::atomic()] {
        let store = bed.empty_store();
        let service = || {
            Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
                tokio::time::sleep(Duration::from_millis(u64::from(order.n % 7))).await;
                ctx.publish("receipts", Receipt { n: order.n })?;
                match (order.n % 10, ctx.attempt()) {
                    (0, _) => Err("always".into()),
                    (1, 1) => Err("once".into()),
                    (2, 1..=3) => Err("thrice".into()),
                    (3, _) => Err(HandlerError::from("bad").permanent()),
                    _ => Ok(()),
                }
            })
        };
        let text = polymq_tests::bed::mailer(
            "concurrency = 16\nmax_deliveries = 100\ndedup = { store = 'shared' }\n\
             retry = { immediate = 1, delayed = 3, base = '1s' }",
        );
        // Every few seconds the process dies.
        let publisher = bed.another_process().start_with(&store, &text, Service::new(())).await;
        let orders = (0..1000).map(|n| Message::of(&order(n)).unwrap().with_id(n.to_string()));
        publisher.publisher().publish_all("orders", orders).await.unwrap();
        for life in 0..40 {
            let process = bed.another_process();
            process.faults.crash_at(20 + life * 7);
            let running = process.start_with(&store, &text, service()).await;
            seconds(3).await;
            drop(running);
        }
        let running = bed.another_process().start_with(&store, &text, service()).await;
        seconds(600).await;
        assert_eq!(depth(&running, "orders").await, 0, "nothing is left behind");
        let distinct = |messages: Vec<Message>| -> usize {
            let ids: std::collections::BTreeSet<_> =
                messages.iter().map(|m| m.id().unwrap().clone()).collect();
            ids.len()
        };
        assert_eq!(distinct(dead_letters(&running, "orders-dead").await), 200);
        assert_eq!(distinct(queued(&running, "receipts").await), 800);
    }
}
