//! What goes on the wire is a contract between versions: golden vectors of it.
//!
//! `tests/vectors/hops.json` holds every header of a retry copy, a dead letter and an output, and the
//! ids that are derived. A change here is a change of the wire's version.

use std::collections::BTreeMap;

use polymq_core::broker::{Destination, Send};
use polymq_core::config::Config;
use polymq_core::{ChannelName, Context, HandlerError, Message, MessageId, ResultExt, Service};

const CONFIG: &str = r#"
    namespace = "vectors"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [channels.receipts]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
    outputs = ["receipts"]
    retry = { immediate = 0, delayed = 1, base = "10s", jitter = "full" }
"#;

async fn handle(_: Message, ctx: Context<()>) -> Result<(), HandlerError> {
    if ctx.id() == &"order-1" {
        return ctx.publish_message("receipts", Message::new("{}").with_type("receipt.sent"));
    }
    match ctx.attempt() {
        1 => Err("the mail server is away").class("smtp"),
        _ => Err("no such address").permanent(),
    }
}

type Fields = BTreeMap<String, String>;

fn fields(send: &Message, destination: &Destination) -> Fields {
    let headers = send.headers().iter();
    let mut fields: Fields = headers
        .map(|(name, value)| (format!("header {name}"), String::from_utf8_lossy(value).into()))
        .collect();
    let mut add = |name: &str, value: Option<String>| {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("destination", Some(destination.to_string()));
    add("id", send.id().map(ToString::to_string));
    add("causation id", send.causation_id().map(ToOwned::to_owned));
    add("correlation id", send.correlation_id().map(ToOwned::to_owned));
    add("timestamp", send.timestamp().map(|t| t.to_string()));
    fields
}

#[tokio::test]
async fn hops_and_derived_ids_are_as_they_have_always_been() {
    let config = Config::builder().text("polymq.toml", CONFIG);
    let t = polymq_testkit::start(config, Service::new(()).on("mailer", handle)).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let message = |id: &str| Message::new("{}").with_id(id).with_header("traceparent", trace);
    t.publish_message("orders", message("order-1").with_correlation_id("basket-9")).await;
    t.publish_message("orders", message("order-2").with_header("tenant", "acme")).await;
    t.idle().await;
    let mut found: BTreeMap<String, Fields> = BTreeMap::new();
    for send in t.faults().sends() {
        let what = match &send.destination {
            Destination::RetryInbox { .. } => "retry copy",
            Destination::DeadLetter(_) => "dead letter",
            Destination::Channel(channel) if *channel == "receipts" => "output",
            _ => continue,
        };
        let mut fields = fields(&send.message, &send.destination);
        if what == "output" {
            // Its span is a new one each time; its trace is the input's.
            let child = fields.remove("header traceparent").unwrap();
            assert_eq!(child[..36], trace[..36]);
            assert_ne!(child, trace);
        }
        if what == "dead letter" {
            // When the timer fired, to the millisecond, is the clock's affair.
            let failed = fields.remove("header polymq-dead-letter-last-failure").unwrap();
            let due = &found["retry copy"]["header polymq-due"];
            assert!(failed >= *due, "{failed} is before {due}");
        }
        found.insert(what.to_owned(), fields);
    }
    let send = Send::new(
        Destination::Channel(ChannelName::new("orders").unwrap()),
        Message::new("{}").with_id("order-1"),
    );
    let ids = [
        ("native id", send.native_id(7, 3)),
        ("derived id", MessageId::derived(&[b"a", b"", b"bc"])),
    ];
    let ids = ids.map(|(name, id)| (name.to_owned(), id.to_string()));
    found.insert("ids".to_owned(), ids.into_iter().collect());

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/hops.json");
    let golden: BTreeMap<String, Fields> =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let found_text = serde_json::to_string_pretty(&found).unwrap();
    assert_eq!(found, golden, "found:\n{found_text}");
}
