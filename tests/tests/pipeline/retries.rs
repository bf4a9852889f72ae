//! Retries: what a failed attempt is followed by, and what survives a crash.

use std::time::Duration;

use polymq_core::model::hop;
use polymq_core::{Context, HandlerError, Message, Origin, ResultExt, Service, Timestamp};
use polymq_tests::bed::{
    Bed, Log, Order, dead_letters, delayed, depth, hop as header, hop_number, mailer, order,
    seconds, tally, until_dead, until_handled, until_state,
};

/// An attempt as a handler saw it.
#[derive(Debug, Clone, PartialEq)]
struct Try {
    attempt: u32,
    at: Timestamp,
    origin: Origin,
}

/// Succeeds at attempt `good`, and logs every try.
fn failing_until(good: u32, tries: &Log<Try>) -> Service<()> {
    let tries = tries.clone();
    Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
        let (attempt, at) = (ctx.attempt(), ctx.now());
        tries.push(Try { attempt, at, origin: ctx.delivery().origin });
        async move {
            if attempt < good { Err(format!("failure {attempt}").into()) } else { Ok(()) }
        }
    })
}

fn waits(tries: &[Try]) -> Vec<u64> {
    tries.windows(2).map(|w| w[1].at.saturating_since(w[0].at).as_secs()).collect()
}

const NEVER: u32 = u32::MAX;

#[tokio::test(start_paused = true)]
async fn immediate_tries_come_first_then_delayed_ones_then_the_dead_letter() {
    for bed in [Bed::default(), Bed::atomic()] {
        let tries = Log::default();
        let text = mailer(
            "retry = { immediate = 2, delayed = 3, backoff = 'linear', base = '10s', jitter = 'none' }",
        );
        let running = bed.start(&text, failing_until(NEVER, &tries)).await;
        running.publisher().publish("orders", &order(1)).await.unwrap();
        until_dead(&running, "mailer", 1).await;
        let all = tries.all();
        assert_eq!(all.iter().map(|t| t.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(waits(&all), [0, 0, 10, 20, 30]);
        let origins: Vec<_> = all.iter().map(|t| t.origin).collect();
        assert_eq!(origins[..3], [Origin::Channel; 3]);
        assert_eq!(origins[3..], [Origin::RetryInbox; 3]);
        let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
        assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "retries-exhausted");
        assert_eq!(hop_number(dead, hop::DEAD_LETTER_ATTEMPTS), 6);
        assert_eq!(depth(&running, "orders").await, 0);
        assert_eq!(tally(&running, "mailer").retried, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_retry_is_never_early_and_late_by_a_second_or_a_tenth_at_most() {
    let tries = Log::default();
    let text = mailer("retry = { immediate = 0, delayed = 6, base = '1500ms', jitter = 'full' }");
    let dues = Log::default();
    let service = {
        let dues = dues.clone();
        failing_until(7, &tries).on_retry(move |r| {
            dues.push(r.due);
        })
    };
    let running = Bed::default().start(&text, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let tries = tries.all();
    for (before, (due, next)) in tries.iter().zip(dues.all().iter().zip(&tries[1..])) {
        assert!(next.at >= *due, "early: {next:?}, due {due}");
        let wait = due.saturating_since(before.at);
        let slack = (wait / 10).max(Duration::from_secs(1));
        assert!(next.at.saturating_since(*due) <= slack, "late: {next:?}, due {due}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_retry_survives_a_crash_with_its_attempt_and_the_rest_of_its_delay() {
    let (bed, tries) = (Bed::default(), Log::default());
    let text = mailer("retry = { immediate = 0, delayed = 3, base = '60s', jitter = 'none' }");
    let running = bed.start(&text, failing_until(2, &tries)).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_state(&running, "mailer", "retried", |s| s.tally.retried == 1).await;
    seconds(20).await;
    drop(running);
    seconds(20).await;
    let running = bed.another_process().start(&text, failing_until(2, &tries)).await;
    until_handled(&running, "mailer", 1).await;
    let all = tries.all();
    assert_eq!(all.iter().map(|t| t.attempt).collect::<Vec<_>>(), [1, 2]);
    assert!((60..=66).contains(&waits(&all)[0]), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_in_hand_when_the_process_dies_is_redelivered_as_the_same_attempt() {
    let (bed, tries) = (Bed::default(), Log::default());
    let service = || {
        let tries = tries.clone();
        Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
            let n = tries.push(ctx.attempt());
            async move {
                if n == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<(), HandlerError>(())
            }
        })
    };
    let running = bed.start(&mailer("timeout = '1h'"), service()).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_state(&running, "mailer", "running", |s| s.running == 1).await;
    drop(running);
    let running = bed.another_process().start(&mailer("timeout = '1h'"), service()).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(tries.all(), [1, 1], "a crash is no failed attempt");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_keeps_killing_its_process_is_dead_lettered_as_a_crash_loop() {
    let (bed, calls) = (Bed::default(), Log::default());
    let service = || {
        let calls = calls.clone();
        Service::new(()).on("mailer", move |_: Order, _: Context<()>| {
            calls.push(());
            std::future::pending::<Result<(), HandlerError>>()
        })
    };
    let text = mailer("max_deliveries = 3\ntimeout = '1h'");
    let publisher = bed.start(&text, Service::new(())).await;
    publisher.publisher().publish("orders", &order(1)).await.unwrap();
    for life in 1..=3 {
        let running = bed.start(&text, service()).await;
        seconds(1).await;
        assert_eq!(calls.len(), life);
        drop(running);
    }
    let running = bed.start(&text, service()).await;
    until_dead(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 3, "checked before handing out");
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "crash-loop");
}

#[tokio::test(start_paused = true)]
async fn a_retry_copy_carries_first_failure_last_error_and_due_time() {
    let bed = Bed::default();
    let text = mailer(
        "retry = { immediate = 0, delayed = 3, base = '60s', backoff = 'constant', jitter = 'none' }",
    );
    let running = bed.start(&text, failing_until(NEVER, &Log::default())).await;
    let begin = bed.now();
    let message = Message::of(&order(1)).unwrap().with_id("m").with_header("tenant", "acme");
    running.publisher().publish_message("orders", message).await.unwrap();
    for attempt in [2u64, 3] {
        until_state(&running, "mailer", "retried", |s| s.tally.retried == attempt - 1).await;
        let [copy] = &delayed(&running, "orders").await[..] else { panic!("one copy") };
        let message = &copy.message;
        assert_eq!(hop_number(message, hop::ATTEMPT), attempt);
        assert_eq!(header(message, hop::LAST_ERROR), format!("failure {}", attempt - 1));
        let first = Timestamp::from_millis(hop_number(message, hop::FIRST_FAILURE));
        assert!(first.saturating_since(begin) < Duration::from_secs(1), "the first of all");
        let due = Timestamp::from_millis(hop_number(message, hop::DUE));
        assert_eq!(copy.due, Some(due));
        assert_eq!(message.id().unwrap(), &"m");
        assert_eq!(message.headers().get_str("tenant"), Some("acme"));
        assert_eq!(message.payload().unwrap().as_ref(), br#"{"n":1}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_carries_the_message_and_its_whole_story() {
    let bed = Bed::default();
    let text = mailer("retry = { immediate = 0, delayed = 1, base = '60s', jitter = 'none' }");
    let service = Service::new(()).on("mailer", |_: Message, _: Context<()>| async {
        let inner = std::io::Error::other("disk gone");
        let outer = polymq_core::Error::new(polymq_core::ErrorKind::Other, "cannot save");
        Err::<(), HandlerError>(outer.with_source(inner).into())
    });
    let running = bed.start(&text, service).await;
    let begin = bed.now();
    let message = Message::new(vec![0, 159, 146, 150])
        .with_id("m")
        .with_key("k")
        .with_type("blob")
        .with_content_type("image/png")
        .with_subject("s")
        .with_correlation_id("corr")
        .with_reply_to("somewhere")
        .with_header("tenant", "acme");
    running.publisher().publish_message("orders", message.clone()).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload(), message.payload());
    assert_eq!(dead.key(), message.key());
    assert_eq!(dead.id(), message.id());
    assert_eq!(dead.message_type(), Some("blob"));
    assert_eq!(dead.content_type(), Some("image/png"));
    assert_eq!(dead.subject(), Some("s"));
    assert_eq!(dead.correlation_id(), Some("corr"));
    assert_eq!(dead.reply_to(), Some("somewhere"));
    assert_eq!(dead.headers().get_str("tenant"), Some("acme"));
    assert_eq!(header(dead, hop::DEAD_LETTER_ERROR), "cannot save\ndisk gone");
    assert_eq!(hop_number(dead, hop::DEAD_LETTER_ATTEMPTS), 2);
    let first = Timestamp::from_millis(hop_number(dead, hop::FIRST_FAILURE));
    let last = Timestamp::from_millis(hop_number(dead, hop::DEAD_LETTER_LAST_FAILURE));
    assert!(first.saturating_since(begin) < Duration::from_secs(1));
    assert!(last.saturating_since(first) >= Duration::from_secs(60));
    assert_eq!(header(dead, hop::DEAD_LETTER_CHANNEL), "orders");
    assert_eq!(header(dead, hop::DEAD_LETTER_GROUP), "orders");
    assert_eq!(header(dead, hop::DEAD_LETTER_BROKER), "default");
    assert_eq!(header(dead, hop::DEAD_LETTER_POSITION), "0/0", "where it first lay");
    for gone in [hop::ATTEMPT, hop::DUE, hop::LAST_ERROR] {
        assert_eq!(header(dead, gone), "", "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_dead_lettered_at_once() {
    let service = Service::new(())
        .on("mailer", |_: Order, _: Context<()>| async { Err("no address").permanent() });
    let running = Bed::default().start(&mailer("retry = { immediate = 3 }"), service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    assert_eq!(tally(&running, "mailer").dead_lettered["permanent"], 1);
    assert_eq!(tally(&running, "mailer").retried, 0);
}

#[tokio::test(start_paused = true)]
async fn attempt_headers_are_trusted_only_in_the_retry_inbox() {
    use polymq_core::broker::{Destination, Send};
    let tries = Log::default();
    let running = Bed::default().start(&mailer(""), failing_until(1, &tries)).await;
    let mut forged = Message::of(&order(1)).unwrap().with_id("forged");
    forged.headers_mut().insert(hop::ATTEMPT, "7");
    forged.headers_mut().insert(hop::DUE, "99999999999999");
    let destination = Destination::Channel(polymq_core::ChannelName::new("orders").unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let broker = running.broker_of("orders").unwrap();
    broker.publish(vec![Send::new(destination, forged)], deadline).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(tries.all()[0].attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn hooks_see_every_retry_and_every_dead_letter() {
    let seen = Log::default();
    let (retried, dead) = (seen.clone(), seen.clone());
    let service = failing_until(NEVER, &Log::default())
        .on_retry(move |r| {
            retried.push(format!("{} {} {} {}: {}", r.consumer, r.id, r.attempt, r.class, r.error));
        })
        .on_dead_letter(move |d| {
            dead.push(format!("{} {} {} {}: {}", d.consumer, d.id, d.attempts, d.reason, d.error));
        });
    let text = mailer("retry = { immediate = 1, delayed = 1, base = '1s' }");
    let running = Bed::default().start(&text, service).await;
    let message = Message::of(&order(1)).unwrap().with_id("m");
    running.publisher().publish_message("orders", message).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    assert_eq!(
        seen.all(),
        [
            "mailer m 1 error: failure 1",
            "mailer m 2 error: failure 2",
            "mailer m 3 retries-exhausted: failure 3",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_changes_nothing() {
    let tries = Log::default();
    let service = failing_until(NEVER, &tries)
        .on_retry(|_| panic!("an observer"))
        .on_dead_letter(|_| panic!("another observer"));
    let text = mailer("retry = { immediate = 1, delayed = 1, base = '1s' }");
    let running = Bed::default().start(&text, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    assert_eq!(tries.len(), 3);
    assert_eq!(dead_letters(&running, "orders-dead").await.len(), 1);
    assert!(running.drain().await.is_clean());
}
