//! Messages above the limits, and full channels.

use std::time::Duration;

use polymq_core::broker::{Destination, Outcome, Send};
use polymq_core::config::WhenFull;
use polymq_core::memory::MemoryOptions;
use polymq_core::model::hop;
use polymq_core::{
    ChannelName, Context, ErrorKind, HandlerError, Message, MessageId, Running, Service,
};
use polymq_tests::bed::{
    Bed, MAILER, dead_letters, depth, hop as header, hop_number, mailer, order, pass, queued,
    until_dead, until_handled,
};

const LIMIT: usize = 64 << 10;
/// What a publisher keeps free for the envelope of a retry or a dead letter.
const RESERVE: usize = 16 << 10;

fn small() -> Bed {
    Bed::with(MemoryOptions::default().with_max_message_bytes(LIMIT))
}

fn failing() -> Service<()> {
    Service::new(()).on("mailer", |_: Message, _: Context<()>| async {
        Err::<(), HandlerError>(HandlerError::new("no".repeat(5000)).permanent())
    })
}

fn idle() -> Service<()> {
    Service::new(())
}

/// As a foreign client would: past the publisher and its checks.
async fn publish_foreign(running: &Running, mut message: Message) {
    message.set_id(MessageId::new("foreign"));
    let destination = Destination::Channel(ChannelName::new("orders").unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let broker = running.broker_of("orders").unwrap();
    let outcomes = broker.publish(vec![Send::new(destination, message)], deadline).await;
    assert!(matches!(outcomes[..], [Outcome::Confirmed(_)]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_less_the_reserve_is_refused_with_both_sizes() {
    let running = small().start(MAILER, idle()).await;
    let message = Message::new(vec![b'x'; LIMIT - RESERVE + 1]);
    let error = running.publisher().publish_message("orders", message).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(!error.is_retryable());
    let facts: Vec<_> = error.context().collect();
    assert!(facts.contains(&("limit", &(LIMIT - RESERVE).to_string())), "{error}");
    let size: usize = facts.iter().find(|(k, _)| *k == "size").unwrap().1.parse().unwrap();
    assert!(size > LIMIT - RESERVE, "{error}");
    assert_eq!(error.channel(), Some("orders"));
    assert!(error.help().is_some());
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn headers_above_the_limit_are_refused() {
    let running = small().start(MAILER, idle()).await;
    let large = Message::new("x").with_header("big", vec![0; 60 << 10]);
    let many = (0..129).fold(Message::new("x"), |m, i| m.with_header(format!("h{i}"), "v"));
    for message in [large, many] {
        let error = Bed::default()
            .start(MAILER, idle())
            .await
            .publisher()
            .publish_message("orders", message)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("headers"), "{error}");
        assert!(error.to_string().contains("limit: "), "{error}");
    }
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn as_many_headers_as_can_be_published_still_leave_room_for_a_retry_and_a_dead_letter() {
    let service = Service::new(())
        .on("mailer", |_: Message, _: Context<()>| async { Err::<(), HandlerError>("no".into()) });
    let text = mailer("retry = { delayed = 1, base = '1s' }");
    let running = Bed::default().start(&text, service).await;
    // The largest set that the publisher takes.
    let mut count = 128;
    loop {
        let message =
            (0..count).fold(Message::new("x"), |m, i| m.with_header(format!("h{i}"), "v"));
        match running.publisher().publish_message("orders", message).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}"),
        }
        count -= 1;
    }
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    let kept = dead.headers().iter().filter(|(name, _)| name.starts_with('h')).count();
    assert_eq!(kept, count, "no application header is dropped: {:?}", dead.headers());
    assert!(!header(dead, hop::DEAD_LETTER_ERROR).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_does_not_hinder_the_others_of_its_batch() {
    let running = small().start(MAILER, idle()).await;
    let batch = [Message::new("a"), Message::new(vec![0; LIMIT]), Message::new("b")];
    let outcomes = running.publisher().publish_all("orders", batch).await.unwrap();
    assert!(
        matches!(
            outcomes[..],
            [Outcome::Confirmed(_), Outcome::Rejected(_), Outcome::Confirmed(_)]
        ),
        "{outcomes:?}"
    );
    assert_eq!(depth(&running, "orders").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_message_that_nearly_fills_the_limit_loses_its_error_chain_first() {
    let running = small().start(MAILER, failing()).await;
    let payload = vec![b'x'; LIMIT - 4096];
    let message = Message::new(payload.clone()).with_header("tenant", "acme");
    publish_foreign(&running, message).await;
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload().unwrap().as_ref(), payload);
    assert_eq!(dead.headers().get_str("tenant"), Some("acme"), "there is room for it");
    assert_eq!(header(dead, hop::DEAD_LETTER_ERROR), "");
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "permanent");
    assert_eq!(header(dead, hop::DEAD_LETTER_DROPPED_HEADERS), "");
}

#[tokio::test(start_paused = true)]
async fn then_it_loses_the_applications_headers_which_are_counted() {
    let running = small().start(MAILER, failing()).await;
    let payload = vec![b'x'; LIMIT - 1024];
    let headers = (0..3).fold(Message::new(payload.clone()), |m, i| {
        m.with_header(format!("app-{i}"), vec![b'v'; 300])
    });
    publish_foreign(&running, headers).await;
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload().unwrap().as_ref(), payload);
    assert_eq!(hop_number(dead, hop::DEAD_LETTER_DROPPED_HEADERS), 3);
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "permanent");
    assert_eq!(header(dead, hop::DEAD_LETTER_GROUP), "orders");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_message_at_the_very_limit_keeps_every_byte_of_its_payload() {
    let running = small().start(MAILER, failing()).await;
    let payload = vec![b'x'; LIMIT - "foreign".len()];
    publish_foreign(&running, Message::new(payload.clone())).await;
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload().unwrap().as_ref(), payload);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_message_at_the_limit_can_be_retried() {
    let service = Service::new(()).on("mailer", |message: Message, ctx: Context<()>| async move {
        assert_eq!(message.payload().map(|p| p.len()), Some(LIMIT - 1024));
        if ctx.attempt() == 1 { Err("once".into()) } else { Ok(()) }
    });
    let text = mailer("retry = { delayed = 1, base = '1s', jitter = 'none' }");
    let running = small().start(&text, service).await;
    publish_foreign(&running, Message::new(vec![b'x'; LIMIT - 1024])).await;
    until_handled(&running, "mailer", 1).await;
}

/// Room for a few messages of 100 bytes; each takes an overhead of 256 bytes.
fn tiny(publish: &str) -> String {
    let limited = "kind = \"queue\"\nmax_bytes = \"2KiB\"";
    MAILER.replacen("kind = \"queue\"", limited, 1) + &format!("[publish]\n{publish}\n")
}

async fn fill(running: &Running) {
    let publisher = running.publisher().when_full(WhenFull::Fail);
    for n in 0.. {
        let message = Message::new(vec![b'x'; 100]).with_id(format!("fill-{n}"));
        if let Err(error) = publisher.publish_message("orders", message).await {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            assert!(n > 1, "there was room for some");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_fails_a_publish_at_once_if_told_to_with_a_clear_retryable_error() {
    let running = Bed::default().start(&tiny("when_full = 'fail'"), idle()).await;
    fill(&running).await;
    let begin = tokio::time::Instant::now();
    let message = Message::new(vec![b'x'; 100]);
    let error = running.publisher().publish_message("orders", message).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.is_retryable());
    assert_eq!(error.channel(), Some("orders"));
    let text = error.to_string();
    assert!(text.contains("max_bytes") && text.contains("2048"), "{text}");
    assert!(!text.contains("unconfirmed"), "certainly not there: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_blocks_a_publish_until_there_is_room() {
    let bed = Bed::default();
    let text = tiny("deadline = '60s'");
    let running = bed.start(&text, idle()).await;
    fill(&running).await;
    let before = queued(&running, "orders").await.len() as u64;
    let publisher = running.publisher();
    let blocked = tokio::spawn(async move {
        let message = Message::new(vec![b'x'; 100]).with_id("late");
        publisher.publish_message("orders", message).await
    });
    pass(Duration::from_secs(10)).await;
    assert!(!blocked.is_finished(), "it waits for room");
    let worker = bed
        .start(
            &text,
            Service::new(())
                .on("mailer", |_: Message, _: Context<()>| async { Ok::<(), HandlerError>(()) }),
        )
        .await;
    assert!(blocked.await.unwrap().is_ok());
    until_handled(&worker, "mailer", before + 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_stays_full_rejects_a_blocked_publish_at_its_deadline() {
    let running = Bed::default().start(&tiny("deadline = '5s'"), idle()).await;
    fill(&running).await;
    let begin = tokio::time::Instant::now();
    let message = Message::new(vec![b'x'; 100]);
    let error = running.publisher().publish_message("orders", message).await.unwrap_err();
    assert!(begin.elapsed() <= Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(begin.elapsed() >= Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_does_not_stop_its_own_retries_and_dead_letters() {
    let bed = Bed::default();
    let text = tiny("when_full = 'fail'")
        .replace("outputs =", "retry = { delayed = 1, base = '1s' }\noutputs =");
    let running = bed.start(&text, idle()).await;
    fill(&running).await;
    let count = queued(&running, "orders").await.len() as u64;
    let failing = Service::new(())
        .on("mailer", |_: Message, _: Context<()>| async { Err::<(), HandlerError>("no".into()) });
    let worker = bed.start(&text, failing).await;
    until_dead(&worker, "mailer", count).await;
    assert_eq!(dead_letters(&worker, "orders-dead").await.len() as u64, count);
}

#[tokio::test(start_paused = true)]
async fn a_full_server_tells_the_publisher() {
    let bed = Bed::with(MemoryOptions::default().with_max_bytes(4096));
    let running = bed.start(MAILER, idle()).await;
    fill(&running).await;
    let publisher = running.publisher().when_full(WhenFull::Fail);
    let error = publisher.publish("receipts", &order(1)).await;
    let message = Message::new(vec![b'x'; 400]);
    let error = match error {
        Err(error) => error,
        Ok(_) => publisher.publish_message("receipts", message).await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("[broker.memory]"), "{error}");
}
