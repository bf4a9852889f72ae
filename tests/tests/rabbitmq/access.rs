//! Virtual hosts and rights.

use std::path::Path;

use polymq_core::{Error, ErrorKind, Message, Running, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Rabbitmq, Site, start, try_start, until_handled};
use serde_json::json;

on_each_series!(
    a_missing_virtual_host_is_named,
    without_the_right_to_declare_only_an_existing_topology_will_do,
);

async fn run(config: &Path) -> Result<Running, Error> {
    try_start(config, service(&Log::default())).await
}

async fn a_missing_virtual_host_is_named(series: &str) {
    let place = Rabbitmq::place(series).await;
    let url = format!("amqp://guest:guest@{}/nowhere", place.address());
    let error = run(&place.config_at(&url, ORDERS)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("add_vhost")), "{error:?}");
}

async fn without_the_right_to_declare_only_an_existing_topology_will_do(series: &str) {
    let place = Rabbitmq::place(series).await;
    let user = place.vhost().name();
    let management = place.management();
    management.put(&format!("users/{user}"), json!({ "password": "p", "tags": "" })).await;
    let grant = async |write: &str| {
        let rights = json!({ "configure": "^$", "write": write, "read": ".*" });
        management.put(&format!("permissions/{{vhost}}/{user}"), rights).await;
    };
    grant(".*").await;
    let url = place.url_as(user, "p");
    let with = |policy: &str| place.config_at(&url, &format!("topology = \"{policy}\"\n{ORDERS}"));

    let error = run(&with("create-missing")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("set_permissions")), "{error:?}");
    let error = run(&with("check")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("test.orders"), "{error}");

    let operator = start(&place.config(ORDERS), Service::new(())).await;
    for policy in ["check", "off", "create-missing"] {
        let running = run(&with(policy)).await.unwrap_or_else(|e| panic!("{policy}: {e:?}"));
        running.publisher().publish_message("orders", Message::new("hello")).await.unwrap();
        until_handled(&running, "mailer", 1).await;
        assert!(running.drain().await.is_clean(), "{policy}");
    }
    // To check, reading is enough.
    grant("^$").await;
    let reader = try_start(&with("check"), Service::new(())).await;
    assert!(reader.unwrap().drain().await.is_clean());
    drop(operator);
    management.delete(&format!("users/{user}")).await;
}
