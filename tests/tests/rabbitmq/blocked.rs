//! The broker is short of memory, and takes no more messages for now.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use polymq_core::broker::Event;
use polymq_core::{Context, ErrorKind, HandlerError, Message, Service};
use polymq_tests::bed::depth;
use polymq_tests::real::{Outages, Series, eventually, start, until_handled};
use tokio::sync::Semaphore;

on_each_series!(a_blocked_connection_is_told_and_holds_up_no_ack);

const IN_HAND: usize = 5;

const ORDERS: &str = r#"
[channels.orders]
kind = "queue"
[consumers.mailer]
channel = "orders"
"#;

async fn handle(_: Message, ctx: Context<Arc<Semaphore>>) -> Result<(), HandlerError> {
    ctx.state().acquire().await?.forget();
    Ok(())
}

async fn a_blocked_connection_is_told_and_holds_up_no_ack(series: &'static str) {
    let place = Outages::turn(Series::Rabbitmq(series)).await;
    let scenario = AssertUnwindSafe(blocked(&place)).catch_unwind().await;
    // Whatever came of it: others use the broker next.
    alarm(&place, false).await;
    scenario.unwrap_or_else(|panic| resume_unwind(panic));
}

async fn blocked(place: &Outages) {
    let gate = Arc::new(Semaphore::new(0));
    let service = Service::new(Arc::clone(&gate)).on("mailer", handle);
    let running = start(&place.config(ORDERS), service).await;
    let mut events = running.broker_of("orders").unwrap().events();
    let publisher = running.publisher();
    for n in 0..IN_HAND {
        publisher.publish_message("orders", Message::new(n.to_string())).await.unwrap();
    }
    eventually("all are in hand", async || {
        let received = running.state("mailer").unwrap().tally.received;
        if received == IN_HAND as u64 { Ok(()) } else { Err(received) }
    })
    .await;

    alarm(place, true).await;
    let impatient = publisher.clone().with_deadline(Duration::from_secs(2));
    let error = impatient.publish_message("orders", Message::new("too much")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked, "{error:?}");
    eventually("the application is told", async || match events.try_recv() {
        Some(Event::Blocked { .. }) => Ok(()),
        other => Err(other),
    })
    .await;
    gate.add_permits(IN_HAND);
    until_handled(&running, "mailer", IN_HAND as u64).await;

    alarm(place, false).await;
    gate.add_permits(2);
    eventually("the application is told that it is over", async || match events.try_recv() {
        Some(Event::Unblocked) => Ok(()),
        other => Err(other),
    })
    .await;
    publisher.publish_message("orders", Message::new("again")).await.unwrap();
    eventually("the queue is empty", async || match depth(&running, "orders").await {
        0 => Ok(()),
        depth => Err(depth),
    })
    .await;
    assert!(running.drain().await.is_clean());
}

/// Raises or clears the memory alarm.
async fn alarm(place: &Outages, raised: bool) {
    let watermark = if raised { "0.0001" } else { "0.6" };
    let command = ["rabbitmqctl", "set_vm_memory_high_watermark", watermark];
    place.container().run(&command).await.unwrap();
}
