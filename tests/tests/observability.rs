//! What operators see: a trace from publish to handler to outputs, spans, logs and metrics by their
//! documented names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds something panics"
)]

use std::time::Duration;

use polymq_core::observe::{TRACEPARENT, TRACESTATE, TraceContext, metrics};
use polymq_core::{Context, HandlerError, Message, Publisher, ResultExt, Service};
use polymq_testkit::faults::Operation;
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, mailer, order, queued, seconds, until_dead,
    until_handled, until_state,
};
use polymq_tests::watch::{Metrics, Trace};
use tracing::Level;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Publishes a receipt, and logs the trace it sees at each attempt; succeeds at attempt `good`.
fn traced(good: u32, seen: &Log<Option<TraceContext>>) -> Service<()> {
    let seen = seen.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        seen.push(ctx.trace());
        async move {
            assert_eq!(TraceContext::current(), ctx.trace(), "the ambient trace");
            ctx.publish("receipts", Receipt { n: order.n })?;
            if ctx.attempt() < good { Err("not yet".into()) } else { Ok(()) }
        }
    })
}

fn trace_of(message: &Message) -> TraceContext {
    TraceContext::of(message.headers()).expect("a traceparent")
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_from_the_message_to_the_handler_its_retries_and_its_outputs() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("retry = { immediate = 1, delayed = 1, base = '5s' }");
    let running = bed.start(&text, traced(3, &seen)).await;
    let input = Message::of(&order(1)).unwrap();
    let input = input.with_header(TRACEPARENT, PARENT).with_header(TRACESTATE, "vendor=1");
    running.publisher().publish_message("orders", input).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let parent = TraceContext::parse(PARENT).unwrap();
    let traces = seen.all();
    assert_eq!(traces.len(), 3);
    for trace in traces {
        assert_eq!(trace.unwrap().trace_id(), parent.trace_id());
    }
    let [receipt] = &queued(&running, "receipts").await[..] else { panic!("one") };
    let output = trace_of(receipt);
    assert_eq!(output.trace_id(), parent.trace_id(), "the same trace");
    assert_ne!(output, parent, "another span");
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_publishes_through_a_publisher_belongs_to_its_trace_too() {
    let publisher: Log<Publisher> = Log::default();
    let service = {
        let publisher = publisher.clone();
        Service::new(()).on("mailer", move |_: Order, _: Context<()>| {
            let publisher = publisher.all().remove(0);
            async move {
                publisher.publish("receipts", &Receipt { n: 1 }).await?;
                Ok::<(), HandlerError>(())
            }
        })
    };
    let running = Bed::default().start(MAILER, service).await;
    publisher.push(running.publisher());
    let input = Message::of(&order(1)).unwrap().with_header(TRACEPARENT, PARENT);
    running.publisher().publish_message("orders", input).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let parent = TraceContext::parse(PARENT).unwrap();
    let receipts = queued(&running, "receipts").await;
    assert_eq!(trace_of(&receipts[0]).trace_id(), parent.trace_id());
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_trace_begins_one_if_anybody_listens() {
    let (_trace, _guard) = Trace::install();
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start(MAILER, traced(1, &seen)).await;
    for n in [1, 2] {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 2).await;
    let traces: Vec<_> = seen.all().into_iter().map(|t| t.unwrap().trace_id()).collect();
    assert_ne!(traces[0], traces[1], "two traces");
    for receipt in queued(&running, "receipts").await {
        assert!(traces.contains(&trace_of(&receipt).trace_id()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_the_trace_of_its_message() {
    let service =
        Service::new(()).on("mailer", |_: Order, _: Context<()>| async { Err("no").permanent() });
    let running = Bed::default().start(MAILER, service).await;
    let input = Message::of(&order(1)).unwrap();
    let input = input.with_header(TRACEPARENT, PARENT).with_header(TRACESTATE, "vendor=1");
    running.publisher().publish_message("orders", input).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(trace_of(dead).trace_id(), TraceContext::parse(PARENT).unwrap().trace_id());
    assert_eq!(dead.headers().get_str(TRACESTATE), Some("vendor=1"));
}

#[tokio::test(start_paused = true)]
async fn publish_receive_and_process_have_spans_with_the_names_of_the_conventions() {
    let (trace, _guard) = Trace::install();
    let running = Bed::default().start(MAILER, traced(1, &Log::default())).await;
    let input = Message::of(&order(1)).unwrap().with_id("m").with_header(TRACEPARENT, PARENT);
    running.publisher().publish_message("orders", input).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    for name in ["publish", "receive", "process"] {
        let spans = trace.spans(name);
        assert!(!spans.is_empty(), "{name}");
        for span in spans {
            assert_eq!(span.target, format!("polymq::{name}"));
            assert_eq!(span.fields["messaging.operation.name"], name);
        }
    }
    let receive = &trace.spans("receive")[0].fields;
    assert_eq!(receive["messaging.destination.name"], "orders");
    assert_eq!(receive["messaging.batch.message_count"], "1");
    let process = &trace.spans("process")[0].fields;
    assert_eq!(process["messaging.destination.name"], "orders");
    assert_eq!(process["messaging.consumer.group.name"], "orders");
    assert_eq!(process["messaging.message.id"], "m");
    assert_eq!(process["polymq.consumer"], "mailer");
    assert_eq!(process["polymq.attempt"], "1");
    assert_eq!(process["trace_id"], TraceContext::parse(PARENT).unwrap().trace_id());
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_logs_is_inside_its_process_span() {
    let (trace, _guard) = Trace::install();
    let service = Service::new(()).on("mailer", |_: Order, _: Context<()>| async {
        tokio::task::yield_now().await;
        tracing::info!(span = tracing::Span::current().metadata().map(|m| m.name()), "handling");
        Ok::<(), HandlerError>(())
    });
    let running = Bed::default().start(MAILER, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(trace.logged(Level::INFO, "handling")[0].fields["span"], "process");
}

#[tokio::test(start_paused = true)]
async fn every_message_is_counted_by_what_became_of_it() {
    let (counted, _guard) = Metrics::install();
    let service = Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
        match (order.n, ctx.attempt()) {
            (1, _) => Err("bad").permanent(),
            (2, 1) => Err("once").class("smtp"),
            (3, _) => panic!("always"),
            (4, _) => std::future::pending().await,
            _ => Ok(()),
        }
    });
    let text = mailer(
        "timeout = '1s'\nunknown_type = 'ignore'\ndedup = { store = 'memory' }\n\
         retry = { immediate = 0, delayed = 1, base = '1s', limits = { panic = 1, timeout = 1 } }",
    );
    let running = Bed::default().start(&text, service).await;
    let publish = |message: Message| {
        let publisher = running.publisher();
        async move { publisher.publish_message("orders", message).await.unwrap() }
    };
    for n in 0..10 {
        publish(Message::of(&order(n)).unwrap().with_id(n.to_string())).await;
    }
    publish(Message::of(&order(9)).unwrap().with_id("9")).await;
    publish(Message::of(&order(20)).unwrap().with_ttl(Duration::ZERO)).await;
    publish(Message::new("{}").with_type("stranger")).await;
    publish(Message::new("not json").with_type("order")).await;
    until_dead(&running, "mailer", 4).await;
    until_handled(&running, "mailer", 7).await;
    until_state(&running, "mailer", "done", |s| {
        s.tally.duplicates == 1 && s.tally.expired == 1 && s.tally.ignored == 1
    })
    .await;
    let settled = |outcome| counted.sum(metrics::SETTLED, &[("outcome", outcome)]);
    let outcomes = ["handled", "retried", "dead-lettered", "duplicate", "expired", "ignored"];
    assert_eq!(outcomes.map(settled), [7.0, 1.0, 4.0, 1.0, 1.0, 1.0]);
    let dead = |reason| counted.sum(metrics::DEAD_LETTERS, &[("reason", reason)]);
    let reasons = ["permanent", "retries-exhausted", "undecodable"];
    assert_eq!(reasons.map(dead), [1.0, 2.0, 1.0]);
    let attempts = |outcome| counted.sum(metrics::PROCESS_DURATION, &[("outcome", outcome)]);
    // As documented: ok, error, timeout, panic, or the class that the handler named.
    assert_eq!(["ok", "panic", "timeout", "smtp"].map(attempts), [7.0, 1.0, 1.0, 1.0]);
    assert_eq!(counted.sum(metrics::CONSUMED, &[]), 15.0, "14 messages and one retry");
}

#[tokio::test(start_paused = true)]
async fn metrics_carry_system_destination_group_and_consumer() {
    let (counted, _guard) = Metrics::install();
    let running = Bed::default().start(MAILER, traced(1, &Log::default())).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    let labels = [
        ("messaging.system", "memory"),
        ("messaging.destination.name", "orders"),
        ("messaging.consumer.group.name", "orders"),
        ("polymq.consumer", "mailer"),
    ];
    for name in [metrics::SETTLED, metrics::CONSUMED, metrics::PROCESS_DURATION] {
        assert_eq!(counted.sum(name, &labels), 1.0, "{name}");
    }
    let sent = [("messaging.system", "memory"), ("outcome", "confirmed")];
    assert_eq!(counted.sum(metrics::SENT, &sent), 2.0, "the order and its receipt");
    assert_eq!(counted.sum(metrics::OPERATION_DURATION, &[]), 2.0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_has_nothing_in_hand() {
    let (counted, _guard) = Metrics::install();
    let running = Bed::default().start(MAILER, traced(1, &Log::default())).await;
    for n in 0..20 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 20).await;
    seconds(60).await;
    assert_eq!(running.state("mailer").unwrap().waiting, 0);
    assert_eq!(counted.sum(metrics::IN_HAND, &[]), 0.0, "the gauge goes down again");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_and_late_settlements_have_metrics() {
    let (counted, _guard) = Metrics::install();
    let bed = Bed::default();
    let service = Service::new(())
        .on("mailer", |_: Order, _: Context<()>| async { Err::<(), HandlerError>("down".into()) });
    let text = mailer(
        "breaker = { failure_rate = 0.5, minimum = 2, window = '10s', open = '30s' }\n\
         retry = { immediate = 0, delayed = 1, base = '1h', max = '1h' }",
    );
    let running = bed.start(&text, service).await;
    bed.faults.fail(Operation::Settle, polymq_core::ErrorKind::StaleToken).times(1);
    for n in 0..5 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "open", |s| s.breaker_open).await;
    assert_eq!(counted.sum(metrics::BREAKER_OPEN, &[("polymq.consumer", "mailer")]), 1.0);
    seconds(1).await;
    assert!(counted.sum(metrics::STALE_SETTLEMENTS, &[]) >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_logged_with_its_reason_and_id() {
    let (trace, _guard) = Trace::install();
    let service = Service::new(())
        .on("mailer", |_: Order, _: Context<()>| async { Err("no address").permanent() });
    let running = Bed::default().start(MAILER, service).await;
    let input = Message::of(&order(1)).unwrap().with_id("m");
    running.publisher().publish_message("orders", input).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let logged = trace.logged(Level::WARN, "dead-lettered");
    let [event] = &logged[..] else { panic!("one: {:#?}", trace.events.all()) };
    assert_eq!(event.fields["reason"], "permanent");
    assert_eq!(event.fields["messaging.message.id"], "m");
    assert_eq!(event.fields["error"], "no address");
}
