//! The broker cannot be reached: at the start, and later.

use std::time::{Duration, Instant};

use polymq_core::{ErrorKind, Message};
use polymq_tests::bed::Log;
use polymq_tests::real::{
    NAMESPACE, Place, Proxy, eventually, start, try_start, until_handled, within,
};

use crate::mailer::{ORDERS, service};

on_each_series!(
    a_start_waits_for_a_broker_that_is_away,
    a_service_goes_on_by_itself_when_the_broker_was_away,
    when_a_host_goes_away_another_one_of_the_list_is_used,
);

async fn a_start_waits_for_a_broker_that_is_away(series: &str) {
    let place = Place::shared(series).await;
    let mut proxy = Proxy::closed(place.address()).await;
    let url = place.url_as("guest", "guest", &proxy.address());
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

async fn a_service_goes_on_by_itself_when_the_broker_was_away(series: &str) {
    let place = Place::shared(series).await;
    let mut proxy = Proxy::closed(place.address()).await;
    proxy.open().await;
    let config = place.config_at(&place.url_as("guest", "guest", &proxy.address()), ORDERS);
    let log = Log::default();
    let running = start(&config, service(&log)).await;
    let publisher = running.publisher();
    publisher.publish_message("orders", Message::new("").with_id("before")).await.unwrap();
    until_handled(&running, "mailer", 1).await;

    proxy.close().await;
    let meanwhile = tokio::spawn(async move {
        publisher.publish_message("orders", Message::new("").with_id("meanwhile")).await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.open().await;
    within("the publish", meanwhile).await.unwrap().unwrap();
    eventually("both are handled", async || {
        let handled = log.all();
        if handled.iter().any(|id| id == "meanwhile") { Ok(()) } else { Err(handled) }
    })
    .await;
    assert!(within("the drain", running.drain()).await.is_clean());
}

async fn when_a_host_goes_away_another_one_of_the_list_is_used(series: &str) {
    let place = Place::shared(series).await;
    let (mut first, mut second) =
        (Proxy::closed(place.address()).await, Proxy::closed(place.address()).await);
    let urls = [&first, &second].map(|host| place.url_as("guest", "guest", &host.address()));
    let text = format!("namespace = \"{NAMESPACE}\"\nbroker.url = {urls:?}\n{ORDERS}");
    let (config, log) = (place.folder().file("hosts.toml", &text), Log::default());
    first.open().await;
    let running = start(&config, service(&log)).await;
    running.publisher().publish_message("orders", Message::new("one")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    second.open().await;
    first.close().await;
    running.publisher().publish_message("orders", Message::new("two")).await.unwrap();
    until_handled(&running, "mailer", 2).await;
    let report = running.drain().await;
    assert!(report.is_clean(), "{report}");
}
