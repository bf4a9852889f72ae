//! The way to the broker is cut.

use std::time::Duration;

use polymq_core::Message;
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Proxy, Rabbitmq, Site, eventually, start, until_handled, within};

on_each_series!(
    a_service_goes_on_by_itself_when_the_broker_was_away,
    when_a_host_goes_away_another_one_of_the_list_is_used,
);

async fn a_service_goes_on_by_itself_when_the_broker_was_away(series: &str) {
    let place = Rabbitmq::place(series).await;
    let mut proxy = Proxy::closed(&place.address()).await;
    proxy.open().await;
    let config = place.config_at(&place.url_at(&proxy.address()), ORDERS);
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
    let place = Rabbitmq::place(series).await;
    let (mut first, mut second) =
        (Proxy::closed(&place.address()).await, Proxy::closed(&place.address()).await);
    let urls = [&first, &second].map(|host| place.url_at(&host.address()));
    let text = format!("namespace = \"{}\"\nbroker.url = {urls:?}\n{ORDERS}", Rabbitmq::NAMESPACE);
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
