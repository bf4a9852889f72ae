use std::collections::BTreeMap;

use polymq_core::Running;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Management, Rabbitmq};
use crate::real::site::publish_each;

/// Reads from the routing keys of what is sent which partition it is sent to.
pub(super) async fn of(
    management: &Management,
    running: &Running,
    channel: &str,
    keys: &[String],
) -> BTreeMap<String, usize> {
    management.put("queues/{vhost}/spy", json!({})).await;
    let all = Some(json!({ "routing_key": "#" }));
    let path = format!("bindings/{{vhost}}/e/{}.{channel}/q/spy", Rabbitmq::NAMESPACE);
    management.call(Method::POST, &path, all).await;
    publish_each(running, channel, keys).await;
    let partition_of = |sent: Value| {
        let (key, routed) = (sent["payload"].as_str()?, sent["routing_key"].as_str()?);
        Some((key.to_owned(), routed.split('.').next()?.parse().ok()?))
    };
    management.take("spy", keys.len()).await.into_iter().filter_map(partition_of).collect()
}
