//! Batch handlers: gathered up to `max` or `linger`, answered per message or with one error for all.

use std::time::Duration;

use polymq_core::model::hop;
use polymq_core::{Context, HandlerError, Message, Service};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, depth, hop as header, keyed, mailer, order,
    ordered_mailer, queued, seconds, tally, until_dead, until_handled, until_state,
};

type Item = (Order, Context<()>);
type Answers = Result<Vec<Result<(), HandlerError>>, HandlerError>;

/// Logs each batch as its orders and attempts, and answers with `answer`.
fn batches<F>(seen: &Log<Vec<(u32, u32)>>, answer: F) -> Service<()>
where
    F: Fn(&[Item]) -> Answers + Clone + Send + Sync + 'static,
{
    let seen = seen.clone();
    Service::new(()).on_batch("mailer", move |batch: Vec<Item>| {
        seen.push(batch.iter().map(|(o, c)| (o.n, c.attempt())).collect());
        let answers = answer(&batch);
        async move { answers }
    })
}

fn all_good(batch: &[Item]) -> Answers {
    Ok(batch.iter().map(|_| Ok(())).collect())
}

fn numbers(seen: &Log<Vec<(u32, u32)>>) -> Vec<Vec<u32>> {
    seen.all().iter().map(|batch| batch.iter().map(|(n, _)| *n).collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_holds_max_messages_at_most_and_a_full_one_does_not_linger() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("batch = { max = 10, linger = '1m' }\nconcurrency = 1");
    let running = bed.start(&text, batches(&seen, all_good)).await;
    let begin = tokio::time::Instant::now();
    let orders = (0..30).map(|n| Message::of(&order(n)).unwrap());
    running.publisher().publish_all("orders", orders).await.unwrap();
    until_handled(&running, "mailer", 30).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let batches = numbers(&seen);
    assert_eq!(batches.len(), 3);
    assert_eq!(batches.concat(), (0..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_fill_is_handed_out_after_the_linger() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("batch = { max = 10, linger = '2s' }");
    let running = bed.start(&text, batches(&seen, all_good)).await;
    let begin = tokio::time::Instant::now();
    for n in 0..3 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    until_handled(&running, "mailer", 3).await;
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took <= Duration::from_millis(2100), "counted from the first: {took:?}");
    assert_eq!(numbers(&seen), [[0, 1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn each_message_has_its_own_answer() {
    for bed in [Bed::default(), Bed::atomic()] {
        let seen = Log::default();
        let answer = |batch: &[Item]| {
            let one = |(order, ctx): &Item| match (order.n % 3, ctx.attempt()) {
                (0, _) => Err(HandlerError::from("bad").permanent()),
                (1, 1) => Err("not yet".into()),
                _ => ctx.publish("receipts", Receipt { n: order.n }),
            };
            Ok(batch.iter().map(one).collect())
        };
        let text = mailer("retry = { immediate = 0, delayed = 2, base = '5s', jitter = 'none' }");
        let running = bed.start(&text, batches(&seen, answer)).await;
        for n in 0..9 {
            running.publisher().publish("orders", &order(n)).await.unwrap();
        }
        until_handled(&running, "mailer", 6).await;
        until_dead(&running, "mailer", 3).await;
        assert_eq!(tally(&running, "mailer").retried, 3);
        assert_eq!(queued(&running, "receipts").await.len(), 6);
        assert_eq!(depth(&running, "orders").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_error_fails_every_message_of_the_batch_and_publishes_nothing() {
    let (bed, seen) = (Bed::default(), Log::default());
    let answer = |batch: &[Item]| {
        for (order, ctx) in batch {
            ctx.publish("receipts", Receipt { n: order.n })?;
        }
        Err("the database is down".into())
    };
    let text = mailer("retry = { immediate = 1, delayed = 0 }");
    let running = bed.start(&text, batches(&seen, answer)).await;
    for n in 0..5 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_dead(&running, "mailer", 5).await;
    assert_eq!(seen.all().concat().len(), 10, "each has had two attempts");
    assert!(queued(&running, "receipts").await.is_empty());
    for dead in dead_letters(&running, "orders-dead").await {
        assert_eq!(header(&dead, hop::DEAD_LETTER_ERROR), "the database is down");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_answers_fails_the_batch_and_loses_nothing() {
    for wrong in [0, 1, 4] {
        let (bed, seen) = (Bed::default(), Log::default());
        let answer = move |_: &[Item]| Ok((0..wrong).map(|_| Ok(())).collect());
        let running = bed.start(&mailer("retry = { delayed = 0 }"), batches(&seen, answer)).await;
        let orders = (0..3).map(|n| Message::of(&order(n)).unwrap());
        running.publisher().publish_all("orders", orders).await.unwrap();
        until_dead(&running, "mailer", 3).await;
        assert_eq!(tally(&running, "mailer").handled, 0);
        let dead = dead_letters(&running, "orders-dead").await;
        let error = header(&dead[0], hop::DEAD_LETTER_ERROR);
        assert!(error.contains(&format!("{wrong} answers for 3 messages")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_message_is_dead_lettered_and_the_rest_of_the_batch_goes_on() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("batch = { max = 10, linger = '1s' }");
    let running = bed.start(&text, batches(&seen, all_good)).await;
    let mut messages: Vec<_> = (0..4).map(|n| Message::of(&order(n)).unwrap()).collect();
    messages.insert(2, Message::new("not json").with_type("order"));
    messages.insert(0, Message::new("x").with_type("stranger"));
    running.publisher().publish_all("orders", messages).await.unwrap();
    until_handled(&running, "mailer", 4).await;
    until_dead(&running, "mailer", 2).await;
    assert_eq!(numbers(&seen), [[0, 1, 2, 3]]);
    let reasons = tally(&running, "mailer").dead_lettered;
    assert_eq!((reasons["undecodable"], reasons["unknown-type"]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_inside_a_batch_reaches_the_handler_once() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("batch = { max = 10, linger = '1s' }\ndedup = { store = 'memory' }");
    let running = bed.start(&text, batches(&seen, all_good)).await;
    let message = |n: u32, id: &str| Message::of(&order(n)).unwrap().with_id(id);
    let messages = [message(1, "a"), message(2, "b"), message(1, "a")];
    running.publisher().publish_all("orders", messages).await.unwrap();
    until_state(&running, "mailer", "deduplicated", |s| s.tally.duplicates == 1).await;
    assert_eq!(seen.all().concat().len(), 2);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn expired_messages_never_reach_a_batch_handler() {
    let (bed, seen) = (Bed::default(), Log::default());
    let publisher = bed.start(MAILER, Service::new(())).await;
    for n in 0..4 {
        let ttl = Duration::from_secs(if n % 2 == 0 { 1 } else { 3600 });
        let message = Message::of(&order(n)).unwrap().with_ttl(ttl);
        publisher.publisher().publish_message("orders", message).await.unwrap();
    }
    seconds(2).await;
    let running = bed.start(MAILER, batches(&seen, all_good)).await;
    until_handled(&running, "mailer", 2).await;
    assert_eq!(tally(&running, "mailer").expired, 2);
    assert_eq!(seen.all().concat().iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_handler_that_panics_or_hangs_has_failed_an_attempt() {
    let (bed, seen) = (Bed::default(), Log::default());
    let service = {
        let seen = seen.clone();
        Service::new(()).on_batch("mailer", move |batch: Vec<Item>| {
            let call = seen.push(batch.len());
            async move {
                match call {
                    1 => panic!("the first time"),
                    2 => std::future::pending().await,
                    _ => Ok(batch.iter().map(|_| Ok(())).collect()),
                }
            }
        })
    };
    let text = mailer("timeout = '5s'\nretry = { immediate = 3 }\nbatch = { linger = '100ms' }");
    let running = bed.start(&text, service).await;
    let orders = (0..3).map(|n| Message::of(&order(n)).unwrap());
    running.publisher().publish_all("orders", orders).await.unwrap();
    until_handled(&running, "mailer", 3).await;
    assert_eq!(seen.all(), [3, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn on_an_ordered_channel_a_batch_holds_one_message_per_key_and_keeps_the_order() {
    let (bed, seen) = (Bed::default(), Log::default());
    let service = {
        let seen = seen.clone();
        Service::new(()).on_batch("mailer", move |batch: Vec<Item>| {
            seen.push(batch.iter().map(|(o, _)| (o.key.clone().unwrap(), o.n)).collect::<Vec<_>>());
            async move { Ok(batch.iter().map(|_| Ok(())).collect()) }
        })
    };
    let text = ordered_mailer("batch = { max = 10, linger = '10ms' }\nconcurrency = 2");
    let running = bed.start(&text, service).await;
    let orders = (0..60).map(|n| Message::of(&keyed(n % 4, n)).unwrap());
    running.publisher().publish_all("orders", orders).await.unwrap();
    until_handled(&running, "mailer", 60).await;
    let mut last = std::collections::BTreeMap::new();
    for batch in seen.all() {
        let keys: std::collections::BTreeSet<_> = batch.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), batch.len(), "{batch:?}");
        for (key, n) in batch {
            assert!(last.insert(key, n).is_none_or(|before| before < n));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_handles_what_was_gathered() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("batch = { max = 10, linger = '1h' }\ntimeout = '10s'");
    let running = bed.start(&text, batches(&seen, all_good)).await;
    for n in 0..3 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "gathered", |s| s.running == 3).await;
    let report = running.drain().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.consumers[0].tally.handled, 3);
}
