//! The broker cannot be reached at the start.

use std::time::{Duration, Instant};

use polymq_core::{ErrorKind, Message};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Place, Proxy, Series, start, try_start, until_handled, within};

on_each_series!(a_start_waits_for_a_broker_that_is_away);

async fn a_start_waits_for_a_broker_that_is_away(series: Series) {
    let place = Place::shared(series).await;
    let mut proxy = Proxy::closed(&place.address()).await;
    let url = place.url_at(&proxy.address());
    let config = |timeout: &str| {
        place.config_at(&url, &format!("connect_timeout = \"{timeout}\"\n{ORDERS}"))
    };
    let (began, log) = (Instant::now(), Log::default());
    let error = try_start(&config("2s"), service(&log)).await.unwrap_err();
    let waited = began.elapsed();
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error:?}");
    assert!(error.to_string().contains(&proxy.address()), "where: {error}");
    assert!((1400..4000).contains(&waited.as_millis()), "{waited:?}");

    let config = config("30s");
    let starting = tokio::spawn({
        let log = log.clone();
        async move { start(&config, service(&log)).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!starting.is_finished());
    proxy.open().await;
    let running = within("the start", starting).await.unwrap();
    running.publisher().publish_message("orders", Message::new("hello")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
}
