//! Expiry, scheduled delivery, and messages that come before their time.

use std::time::Duration;

use polymq_core::memory::MemoryOptions;
use polymq_core::model::hop;
use polymq_core::{Context, ErrorKind, Message, Running, Service, Timestamp};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, dead_letters, delayed, depth, hop as header, mailer, order,
    ordered_mailer, queued, seconds, tally, until_dead, until_handled, until_state,
};

type Seen = Log<(String, u32, Timestamp)>;

fn logging(consumer: &str, good: u32, seen: &Seen) -> Service<()> {
    add(Service::new(()), consumer, good, seen)
}

fn add(service: Service<()>, consumer: &str, good: u32, seen: &Seen) -> Service<()> {
    let seen = seen.clone();
    service.on(consumer, move |_: Order, ctx: Context<()>| {
        seen.push((ctx.consumer().to_string(), ctx.attempt(), ctx.now()));
        let attempt = ctx.attempt();
        async move { if attempt < good { Err("not yet".into()) } else { Ok(()) } }
    })
}

fn message() -> Message {
    Message::of(&order(1)).unwrap()
}

async fn publish(running: &Running, message: Message) {
    running.publisher().publish_message("orders", message).await.unwrap();
}

/// Publishes a message that expires after 10 s, and starts a consumer after 11 s.
async fn late(bed: &Bed, text: &str, seen: &Seen) -> Running {
    let publisher = bed.start(text, Service::new(())).await;
    publish(&publisher, message().with_ttl(Duration::from_secs(10)).with_header("h", "v")).await;
    publish(&publisher, message().with_ttl(Duration::from_secs(3600))).await;
    seconds(11).await;
    bed.start(text, logging("mailer", 1, seen)).await
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_dropped_counted_and_never_handled() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = late(&bed, MAILER, &seen).await;
    until_state(&running, "mailer", "dropped", |s| s.tally.expired == 1).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(seen.len(), 1, "the other one lives");
    assert_eq!(depth(&running, "orders").await, 0);
    assert!(dead_letters(&running, "orders-dead").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_dead_lettered_if_so_configured() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = late(&bed, &mailer("expired = 'dead-letter'"), &seen).await;
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "expired");
    assert_eq!(dead.headers().get_str("h"), Some("v"));
    until_handled(&running, "mailer", 1).await;
    assert_eq!(seen.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_while_it_waits_for_a_retry_is_not_handled_again() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("retry = { immediate = 0, delayed = 3, base = '60s', jitter = 'none' }");
    let running = bed.start(&text, logging("mailer", 9, &seen)).await;
    publish(&running, message().with_ttl(Duration::from_secs(30))).await;
    until_state(&running, "mailer", "dropped", |s| s.tally.expired == 1).await;
    assert_eq!(seen.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_on_a_queue_waits_as_a_first_attempt() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start(MAILER, logging("mailer", 1, &seen)).await;
    let due = bed.now() + Duration::from_secs(3600);
    publish(&running, message().with_deliver_at(due)).await;
    seconds(3599).await;
    assert!(seen.is_empty());
    until_handled(&running, "mailer", 1).await;
    let [(_, attempt, at)] = seen.all()[..] else { panic!("one") };
    assert_eq!(attempt, 1);
    assert!(at >= due && at.saturating_since(due) < Duration::from_secs(360), "{at}");
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_survives_a_crash_and_can_be_retried() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("retry = { immediate = 0, delayed = 2, base = '10s', jitter = 'none' }");
    let running = bed.start(&text, logging("mailer", 2, &seen)).await;
    let due = bed.now() + Duration::from_secs(600);
    publish(&running, message().with_deliver_at(due)).await;
    seconds(1).await;
    drop(running);
    let running = bed.another_process().start(&text, logging("mailer", 2, &seen)).await;
    until_handled(&running, "mailer", 1).await;
    let all = seen.all();
    let [(_, 1, first), (_, 2, second)] = all[..] else { panic!("{all:?}") };
    assert!(first >= due && second >= first + Duration::from_secs(10), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_on_a_topic_is_published_at_once_and_deferred_by_each_group() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = r#"
        [broker]
        url = "memory://"
        [channels.orders]
        kind = "topic"
        [consumers.mailer]
        channel = "orders"
        [consumers.printer]
        channel = "orders"
    "#;
    let service = add(logging("mailer", 1, &seen), "printer", 1, &seen);
    let running = bed.start(text, service).await;
    let due = bed.now() + Duration::from_secs(600);
    publish(&running, message().with_deliver_at(due)).await;
    until_state(&running, "mailer", "deferred", |s| s.tally.rescheduled == 1).await;
    until_state(&running, "printer", "deferred", |s| s.tally.rescheduled == 1).await;
    until_handled(&running, "mailer", 1).await;
    until_handled(&running, "printer", 1).await;
    for (consumer, attempt, at) in seen.all() {
        assert_eq!(attempt, 1, "{consumer}");
        assert!(at >= due, "{consumer} {at}");
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn scheduled_delivery_is_refused_on_an_ordered_channel() {
    let bed = Bed::default();
    let running = bed.start(&ordered_mailer(""), Service::new(())).await;
    let due = bed.now() + Duration::from_secs(600);
    let message = message().with_deliver_at(due);
    let error = running.publisher().publish_message("orders", message).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("ordered channel"), "{error}");
    assert!(queued(&running, "orders").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_due_time_in_the_past_is_now() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start(MAILER, logging("mailer", 1, &seen)).await;
    publish(&running, message().with_deliver_at(Timestamp::from_millis(1))).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(seen.all()[0].1, 1);
}

/// A broker that holds a message for 15 minutes at most.
fn impatient() -> Bed {
    Bed::with(MemoryOptions::default().with_max_delay(Duration::from_secs(900)))
}

#[tokio::test(start_paused = true)]
async fn a_message_handed_out_before_its_time_is_sent_on_and_spends_no_attempt() {
    for more in ["", "\ndedup = { store = 'memory' }"] {
        let (bed, seen) = (impatient(), Log::default());
        let text = mailer(&format!(
            "retry = {{ immediate = 0, delayed = 1, base = '1h', max = '1h', jitter = 'none' }}{more}"
        ));
        let running = bed.start(&text, logging("mailer", 2, &seen)).await;
        publish(&running, message().with_id("m")).await;
        tokio::time::sleep(Duration::from_secs(3500)).await;
        assert_eq!(seen.len(), 1, "never early");
        let [copy] = &delayed(&running, "orders").await[..] else { panic!("one copy") };
        assert_eq!(header(&copy.message, hop::ATTEMPT), "2");
        assert_eq!(header(&copy.message, hop::LAST_ERROR), "not yet", "its story goes with it");
        until_handled(&running, "mailer", 1).await;
        let all = seen.all();
        let [(_, 1, first), (_, 2, second)] = all[..] else { panic!("{all:?}") };
        assert!(second >= first + Duration::from_secs(3600), "{all:?}");
        assert!(second <= first + Duration::from_secs(3961), "{all:?}");
        assert!(tally(&running, "mailer").rescheduled >= 3);
        assert_eq!(tally(&running, "mailer").retried, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_beyond_the_brokers_ceiling_comes_at_its_time() {
    let (bed, seen) = (impatient(), Log::default());
    let running = bed.start(MAILER, logging("mailer", 1, &seen)).await;
    let due = bed.now() + Duration::from_secs(5000);
    publish(&running, message().with_deliver_at(due)).await;
    tokio::time::sleep(Duration::from_secs(4990)).await;
    assert!(seen.is_empty());
    until_handled(&running, "mailer", 1).await;
    let [(_, attempt, at)] = seen.all()[..] else { panic!("one") };
    assert_eq!(attempt, 1);
    assert!(at >= due && at.saturating_since(due) <= Duration::from_secs(500));
}
