use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, Problem, unknown};
use crate::dedup::{DedupStore, MemoryDedupStore};
use crate::model::ConsumerName;
use crate::pipeline::Handlers;
use crate::service::{Binding, Identity};

/// What a consumer of the configuration runs.
pub(super) struct Bound {
    pub(super) handlers: Handlers,
    pub(super) identity: Option<Identity>,
}

/// Matches the service's handlers with the configuration's consumers.
pub(super) fn bind(
    config: &Config,
    bindings: BTreeMap<String, Binding>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<ConsumerName, Bound> {
    let mut bound = BTreeMap::new();
    for (name, mut binding) in bindings {
        let Some(consumer) = config.consumers.get(name.as_str()) else {
            let message = format!("the service has a handler for `{name}`, which is no consumer");
            let known = config.consumers.keys().map(ConsumerName::as_str);
            let (message, fix) = unknown(&message, &name, known);
            problems.push(config.problem("consumers", message, fix));
            continue;
        };
        let identity = binding.identity.take();
        match Handlers::new(binding) {
            Ok(handlers) => {
                bound.insert(consumer.name.clone(), Bound { handlers, identity });
            }
            Err(message) => problems.push(config.problem(
                format!("consumers.{name}"),
                format!("the service's handlers don't fit together: {message}"),
                "change what the service registers",
            )),
        }
    }
    for name in config.consumers.keys().filter(|name| !bound.contains_key(*name)) {
        tracing::info!(consumer = %name, "not run: this service has no handler for it");
    }
    bound
}

/// The stores that the consumers which run here name.
pub(super) fn stores(
    config: &Config,
    bound: &BTreeMap<ConsumerName, Bound>,
    registered: &BTreeMap<String, Arc<dyn DedupStore>>,
    clock: &Arc<dyn Clock>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<dyn DedupStore>> {
    let mut stores = registered.clone();
    for consumer in config.consumers.values().filter(|c| bound.contains_key(&c.name)) {
        let Some(dedup) = &consumer.dedup else { continue };
        if stores.contains_key(&dedup.store) {
            continue;
        }
        if dedup.store == "memory" {
            let store = MemoryDedupStore::new(Arc::clone(clock));
            stores.insert(dedup.store.clone(), Arc::new(store));
            continue;
        }
        let mut known: Vec<_> = registered.keys().map(String::as_str).collect();
        known.push("memory");
        problems.push(config.problem(
            format!("consumers.{}.dedup.store", consumer.name),
            format!("no deduplication store is called `{}`", dedup.store),
            format!("register it with App::dedup_store, or use one of: {}", known.join(", ")),
        ));
    }
    stores
}
