//! What is refused before anything runs, and in which words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds something panics"
)]

use polymq_core::broker::Capability;
use polymq_core::config::Config;
use polymq_core::{App, Context, Error, ErrorKind, HandlerError, Message, Service, memory};
use polymq_tests::bed::{Bed, MAILER, Order, Receipt, mailer};

async fn ignore<I>(_: I, _: Context<()>) -> Result<(), HandlerError> {
    Ok(())
}

fn service() -> Service<()> {
    Service::new(()).on("mailer", ignore::<Order>)
}

fn refused(text: &str) -> String {
    let adapters: [std::sync::Arc<dyn polymq_core::broker::Adapter>; 1] =
        [std::sync::Arc::new(memory::adapter())];
    let built = Config::builder().text("polymq.toml", text).adapters(&adapters).build();
    let error = built.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

/// Starts on an embedded broker of its own, with these lines under `[broker.memory]`.
async fn start_refused(text: &str, service: Service<()>) -> Error {
    let app = App::new().serve(service);
    let config = Config::builder().text("polymq.toml", text).build().unwrap();
    app.start(config).await.expect_err("refused")
}

#[test]
fn a_misspelt_key_is_refused_at_its_place_with_the_nearest_name() {
    assert_eq!(
        refused(&mailer("concurency = 3")),
        "the configuration has a problem\n\
         polymq.toml:11:1: consumers.mailer.concurency: unknown key; did you mean `concurrency`?"
    );
}

#[test]
fn an_output_that_is_no_channel_is_refused_before_start() {
    let text = MAILER.replace("outputs = [\"receipts\"]", "outputs = [\"reciepts\"]");
    let error = refused(&text);
    assert!(error.contains("polymq.toml:10:12: consumers.mailer.outputs[0]"), "{error}");
    assert!(error.contains("no channel is called `reciepts`; did you mean `receipts`?"), "{error}");
}

#[test]
fn a_consumer_of_a_channel_that_is_not_there_is_refused() {
    let error = refused(&MAILER.replace("channel = \"orders\"", "channel = \"order\""));
    assert!(error.contains("no channel is called `order`; did you mean `orders`?"), "{error}");
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = mailer("concurency = 3\ntimeout = 30\nack = \"maybe\"");
    let error = refused(&text);
    assert!(error.starts_with("the configuration has 3 problems\n"), "{error}");
    for place in ["polymq.toml:11:1", "polymq.toml:12:1", "polymq.toml:13:1"] {
        assert!(error.contains(place), "{place}: {error}");
    }
}

#[test]
fn a_scheme_without_an_adapter_lists_those_compiled_in_and_names_the_feature() {
    let error = refused(&MAILER.replace("memory://", "amqp://localhost"));
    assert!(error.contains("polymq.toml:3:"), "{error}");
    assert!(error.contains("amqp"), "{error}");
    assert!(error.contains("memory"), "the compiled-in ones are listed: {error}");
    assert!(error.contains("feature"), "{error}");
    assert!(error.contains("rabbitmq"), "the feature to enable is named: {error}");
}

#[test]
fn an_unknown_scheme_lists_those_compiled_in() {
    let error = refused(&MAILER.replace("memory://", "gopher://localhost"));
    assert!(error.contains("gopher") && error.contains("memory"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_for_an_unknown_consumer_is_refused_with_the_nearest_name() {
    let service = Service::new(()).on("mailr", ignore::<Order>);
    let error = Bed::default().try_start(MAILER, service).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("polymq.toml:8:"), "{text}");
    assert!(text.contains("the service has a handler for `mailr`, which is no consumer"), "{text}");
    assert!(text.contains("did you mean `mailer`?"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn two_handlers_for_one_type_are_refused() {
    let service = service().on("mailer", ignore::<Order>);
    let error = Bed::default().try_start(MAILER, service).await.unwrap_err().to_string();
    assert!(error.contains("two handlers take type `order`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn two_handlers_for_every_type_are_refused() {
    let service = Service::new(()).on("mailer", ignore::<Message>).on("mailer", ignore::<Message>);
    let error = Bed::default().try_start(MAILER, service).await.unwrap_err().to_string();
    assert!(error.contains("two handlers take every other type"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn single_and_batch_handlers_on_one_consumer_are_refused() {
    let service = service().on_batch("mailer", async |batch: Vec<(Receipt, Context<()>)>| {
        Ok(batch.iter().map(|_| Ok(())).collect())
    });
    let error = Bed::default().try_start(MAILER, service).await.unwrap_err().to_string();
    assert!(error.contains("consumers.mailer"), "{error}");
    assert!(error.contains("batch"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_deduplication_store_is_refused_with_those_that_exist() {
    let text = mailer("dedup = { store = \"redis\" }");
    let error = Bed::default().try_start(&text, service()).await.unwrap_err().to_string();
    assert!(error.contains("polymq.toml:11:"), "{error}");
    assert!(error.contains("no deduplication store is called `redis`"), "{error}");
    assert!(error.contains("use one of: memory"), "{error}");
}

/// A service that needs everything that a broker can lack.
const NEEDY: &str = r#"
[broker]
url = "memory://"
[channels.orders]
kind = "queue"
order_by = "key"
max_bytes = "1MiB"
[channels.news]
kind = "topic"
retention = "1d"
[channels.work]
kind = "queue"
[consumers.mailer]
channel = "work"
retry = { delayed = 3 }
[consumers.reader]
channel = "news"
start = "earliest"
retry = { delayed = 0 }
"#;

#[tokio::test(start_paused = true)]
async fn each_need_that_the_broker_lacks_is_refused_at_its_key_with_the_fix() {
    let cases = [
        (Capability::OrderByKey, "polymq.toml:6:1: channels.orders.order_by"),
        (Capability::MaxBytes, "polymq.toml:7:1: channels.orders.max_bytes"),
        (Capability::Topic, "polymq.toml:9:1: channels.news.kind"),
        (Capability::Retention, "polymq.toml:10:1: channels.news.retention"),
        (Capability::DelayedRetry, "polymq.toml:15:11: consumers.mailer.retry.delayed"),
        (Capability::Replay, "polymq.toml:18:1: consumers.reader.start"),
    ];
    let product = format!("polymq memory {}", env!("CARGO_PKG_VERSION"));
    for (lacking, place) in cases {
        let text = format!("{NEEDY}[broker.memory]\nlacks = [\"{lacking}\"]\n");
        let error = start_refused(&text, service()).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            format!(
                "the configuration has a problem\n\
                 {place}: {product} (broker `default`) has no {lacking}: this memory broker was \
                 told to lack `{lacking}`; fix: remove `{lacking}` from `lacks` in \
                 [broker.memory], or the need for it"
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_are_refused_by_a_broker_of_one_process() {
    let text = MAILER.replacen("kind = \"queue\"", "kind = \"queue\"\nreplicas = 3", 1);
    let error = start_refused(&text, service()).await.to_string();
    assert!(error.contains("channels.orders.replicas"), "{error}");
    assert!(error.contains("the memory broker lives in one process"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_queues_refuses_queues_and_the_dead_letters_that_are_implied() {
    let text = format!("{MAILER}[broker.memory]\nlacks = [\"queue\"]\n");
    let error = start_refused(&text, service()).await.to_string();
    for path in ["channels.orders.kind", "channels.receipts.kind", "consumers.mailer"] {
        assert!(error.contains(path), "{path}: {error}");
    }
}

#[test]
fn consumers_of_one_queue_that_contradict_each_other_are_refused() {
    for (key, first, second) in [
        ("dead_letter", "'a-dead'", "'b-dead'"),
        ("retry", "{ delayed = 1 }", "{ delayed = 2 }"),
        ("dedup", "{ window = '1h' }", "{ window = '2h' }"),
        ("ack", "'after'", "'before'"),
        ("unknown_type", "'ignore'", "'fail'"),
        ("expired", "'drop'", "'dead-letter'"),
        ("max_deliveries", "3", "4"),
    ] {
        let text = mailer(&format!(
            "{key} = {first}\n[consumers.printer]\nchannel = 'orders'\n{key} = {second}"
        ));
        let error = refused(&text);
        let wanted = format!(
            "polymq.toml:14:1: consumers.printer.{key}: differs from the consumer `mailer`, which \
             shares the group `orders` of `orders`; fix: give both the same `{key}`"
        );
        assert!(error.contains(&wanted), "{error}");
    }
}

#[test]
fn consumers_of_one_queue_may_differ_in_what_is_their_own() {
    let text = mailer(
        "concurrency = 1\ntimeout = '1s'\n[consumers.printer]\nchannel = 'orders'\nconcurrency = 9",
    );
    let config = Config::builder().text("polymq.toml", text).build().unwrap();
    assert_eq!(config.consumers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_existing_channel_is_never_changed() {
    let bed = Bed::default();
    let running = bed.start(MAILER, service()).await;
    assert!(running.drain().await.is_clean());
    let changed = MAILER.replacen("kind = \"queue\"", "kind = \"queue\"\norder_by = \"key\"", 1);
    let error = bed.try_start(&changed, service()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch);
    let text = error.to_string();
    assert!(text.contains("order_by"), "{text}");
    assert!(text.contains("migrate"), "migration is named: {text}");
}

#[tokio::test(start_paused = true)]
async fn under_check_missing_topology_is_refused_and_nothing_is_created() {
    let bed = Bed::default();
    let text = format!("topology = \"check\"\n{MAILER}");
    for _ in 0..2 {
        let error = bed.try_start(&text, service()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("orders"), "{error}");
    }
    assert!(bed.start(MAILER, service()).await.drain().await.is_clean());
    assert!(bed.start(&text, service()).await.drain().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn publishing_to_a_channel_that_is_not_configured_names_those_that_are() {
    let running = Bed::default().start(MAILER, service()).await;
    let error = running.publisher().publish("order", &Receipt { n: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("the configuration has no channel `order`"), "{text}");
    assert!(text.contains("orders, orders-dead, receipts"), "{text}");
}
