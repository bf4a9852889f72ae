//! Messages that don't fit, and channels that are full.

use std::time::Duration;

use polymq_core::broker::Event;
use polymq_core::config::WhenFull;
use polymq_core::{ErrorKind, Message, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Rabbitmq, start, until_handled};

on_each_series!(
    what_does_not_fit_is_refused_before_it_is_sent,
    a_full_queue_tells_its_publisher_and_loses_nothing,
);

async fn what_does_not_fit_is_refused_before_it_is_sent(series: &str) {
    let place = Rabbitmq::place(series).await;
    let log = Log::default();
    let service = service(&log);
    let running = start(&place.config(ORDERS), service).await;
    let mut events = running.broker_of("orders").unwrap().events();
    let publisher = running.publisher();
    let oversize = Message::new(vec![0; 17 << 20]);
    let wide = Message::new("").with_header("wide", vec![b'x'; 200_000]);
    for message in [oversize, wide] {
        let error = publisher.publish_message("orders", message).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
        assert!(!error.to_string().contains("unconfirmed"), "{error}");
    }
    publisher.publish_message("orders", Message::new("").with_id("fits")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(log.all(), ["fits"]);
    while let Some(event) = events.try_recv() {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
}

async fn a_full_queue_tells_its_publisher_and_loses_nothing(series: &str) {
    let place = Rabbitmq::place(series).await;
    let full = ORDERS.replacen("kind", "max_bytes = \"64KiB\"\nkind", 1);
    let config = place.config(&full);
    let shop = start(&config, Service::new(())).await;
    let publisher = shop.publisher().when_full(WhenFull::Fail);
    let mut confirmed = Vec::new();
    let error = loop {
        let id = format!("m-{}", confirmed.len());
        let message = Message::new(vec![0; 4096]).with_id(id.as_str());
        match publisher.publish_message("orders", message).await {
            Ok(_) => confirmed.push(id),
            Err(error) => break error,
        }
        assert!(confirmed.len() < 100, "64 KiB hold 100 messages of 4 KiB");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(confirmed.len() > 8, "full after {}", confirmed.len());

    // Who waits for room gets it when somebody consumes.
    let waiting = shop.publisher().with_deadline(Duration::from_secs(30));
    let message = Message::new(vec![0; 4096]).with_id("waited");
    let waiting = tokio::spawn(async move { waiting.publish_message("orders", message).await });
    let log = Log::default();
    let running = start(&config, service(&log)).await;
    waiting.await.unwrap().unwrap();
    until_handled(&running, "mailer", confirmed.len() as u64 + 1).await;
    confirmed.push("waited".to_owned());
    let mut handled = log.all();
    handled.sort_unstable();
    confirmed.sort_unstable();
    assert_eq!(handled, confirmed);
}
