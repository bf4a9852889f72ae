//! Messages that are odd or cannot be read.

use polymq_core::model::hop;
use polymq_core::{Context, HandlerError, Message, Service};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, dead_letters, hop as header, hop_number, mailer, tally, until_dead,
    until_handled,
};

const NOT_UTF8: &[u8] = b"\xff\x00\xfe tenant";

fn typed(seen: &Log<u32>) -> Service<()> {
    let seen = seen.clone();
    Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
        let seen = seen.clone();
        async move {
            seen.push(order.n);
            Ok(())
        }
    })
}

fn raw(seen: &Log<Message>) -> Service<()> {
    let seen = seen.clone();
    Service::new(()).on("mailer", move |message: Message, _: Context<()>| {
        let seen = seen.clone();
        async move {
            seen.push(message);
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_payload_is_dead_lettered_at_once_with_its_raw_bytes() {
    let bytes: &[u8] = b"{\"n\": \xff\x00 not json";
    let seen = Log::default();
    let text = mailer("retry = { immediate = 3, delayed = 5 }");
    let running = Bed::default().start(&text, typed(&seen)).await;
    let begin = tokio::time::Instant::now();
    let message = Message::new(bytes).with_type("order").with_header("tenant", "acme");
    running.publisher().publish_message("orders", message.with_id("broken")).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    assert!(begin.elapsed().as_millis() < 1000, "no retry was waited for");
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload().unwrap().as_ref(), bytes);
    assert_eq!(dead.id().unwrap(), &"broken");
    assert_eq!(dead.headers().get_str("tenant"), Some("acme"));
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "undecodable");
    assert_eq!(hop_number(dead, hop::DEAD_LETTER_ATTEMPTS), 1);
    let error = header(dead, hop::DEAD_LETTER_ERROR);
    assert!(error.contains("not the JSON of type `order`"), "{error}");
    assert!(seen.is_empty(), "the handler never saw it");
    assert_eq!(tally(&running, "mailer").retried, 0);
    assert!(running.drain().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn an_empty_payload_is_undecodable_to_a_typed_handler() {
    let running = Bed::default().start(MAILER, typed(&Log::default())).await;
    let message = Message::new("").with_type("order");
    running.publisher().publish_message("orders", message).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload().map(|p| p.len()), Some(0), "empty, not absent");
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "undecodable");
}

#[tokio::test(start_paused = true)]
async fn an_absent_payload_is_undecodable_to_a_typed_handler_and_stays_absent() {
    let running = Bed::default().start(MAILER, typed(&Log::default())).await;
    let message = Message::tombstone().with_type("order").with_key("k");
    running.publisher().publish_message("orders", message).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload(), None);
    assert_eq!(dead.key().map(AsRef::as_ref), Some(b"k".as_ref()));
    let error = header(dead, hop::DEAD_LETTER_ERROR);
    assert!(error.contains("tombstone") && error.contains("raw handler"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_raw_handler_gets_empty_and_absent_payloads_as_they_are() {
    let seen = Log::default();
    let running = Bed::default().start(MAILER, raw(&seen)).await;
    for message in [Message::new("").with_id("empty"), Message::tombstone().with_id("absent")] {
        running.publisher().publish_message("orders", message).await.unwrap();
    }
    until_handled(&running, "mailer", 2).await;
    let mut payloads: Vec<_> = seen
        .all()
        .iter()
        .map(|m| (m.id().unwrap().to_string(), m.payload().map(|p| p.len())))
        .collect();
    payloads.sort();
    assert_eq!(payloads, [("absent".to_owned(), None), ("empty".to_owned(), Some(0))]);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_not_utf8_survives_delivery_retry_and_dead_letter_byte_for_byte() {
    let seen = Log::default();
    let service = {
        let seen = seen.clone();
        Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
            seen.push((ctx.attempt(), ctx.headers().get("raw").map(|v| v.to_vec())));
            async { Err::<(), HandlerError>("no".into()) }
        })
    };
    let text = mailer("retry = { immediate = 1, delayed = 1, base = '1s', jitter = 'none' }");
    let running = Bed::default().start(&text, service).await;
    let message = Message::of(&polymq_tests::bed::order(1)).unwrap().with_header("raw", NOT_UTF8);
    running.publisher().publish_message("orders", message).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let raw = Some(NOT_UTF8.to_vec());
    assert_eq!(seen.all(), [(1, raw.clone()), (2, raw.clone()), (3, raw)]);
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.headers().get("raw").unwrap().as_ref(), NOT_UTF8);
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_the_applications_headers_and_none_of_polymqs() {
    let seen = Log::default();
    let service = {
        let seen = seen.clone();
        Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
            let names: Vec<_> = ctx.headers().iter().map(|(n, _)| n.to_owned()).collect();
            seen.push(names);
            let attempt = ctx.attempt();
            async move { if attempt == 1 { Err("no".into()) } else { Ok(()) } }
        })
    };
    let text = mailer("retry = { delayed = 1, base = '1s', jitter = 'none' }");
    let running = Bed::default().start(&text, service).await;
    let message = Message::of(&polymq_tests::bed::order(1)).unwrap().with_header("tenant", "a");
    running.publisher().publish_message("orders", message).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(seen.all(), [["tenant"], ["tenant"]]);
}
