use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::app::App;
use super::connection::Connection;
use super::handlers::{Bound, bind, stores};
use super::running::{Connected, Running};
use crate::broker::{Adapter, Broker, Capability, ChannelSpec, Difference, Plan, Subscription};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, ConsumerConfig, Problem, TopologyPolicy, check_needs};
use crate::dedup::DedupStore;
use crate::pipeline::{Pipeline, Start};
use crate::publish::{PublishOptions, Publisher, Pump, Route, Routes};
use crate::service::Hooks;
use crate::{Error, ErrorKind, Result};

type Stores = BTreeMap<String, Arc<dyn DedupStore>>;

pub(super) async fn start(app: App, config: Config) -> Result<Running> {
    let App { adapters, bindings, hooks, stores: registered, clock } = app;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut problems = Vec::new();
    let bound = bind(&config, bindings, &mut problems);
    let stores = stores(&config, &bound, &registered, &clock, &mut problems);
    refuse(problems)?;

    let mut opened = BTreeMap::new();
    let started = async {
        connect(&config, &adapters, &clock, &mut opened).await?;
        assemble(&config, &opened, bound, &stores, &hooks, &clock).await
    };
    let started = started.await;
    if started.is_err() {
        let deadline = clock.instant() + config.drain_timeout;
        for opened in opened.values() {
            // The first error is the one to tell.
            let _ = opened.broker.close(deadline).await;
        }
    }
    let (brokers, pipelines, routes) = started?;
    let options = PublishOptions::from(&config.publish);
    let publisher = Publisher::new(Arc::new(routes), Arc::clone(&clock), options);
    Ok(Running { _watchers: watch(&brokers), config, clock, publisher, pipelines, brokers })
}

fn refuse(problems: Vec<Problem>) -> Result<()> {
    ConfigErrors::from_problems(problems).map_or(Ok(()), |errors| Err(errors.into()))
}

/// Connects to every broker that carries a channel.
async fn connect(
    config: &Config,
    adapters: &[Arc<dyn Adapter>],
    clock: &Arc<dyn Clock>,
    opened: &mut BTreeMap<String, Connection>,
) -> Result<()> {
    for broker in config.brokers_in_use() {
        let connection = super::connection::connect(config, broker, adapters, clock).await?;
        opened.insert(broker.name.clone(), connection);
    }
    Ok(())
}

type Assembled =
    (BTreeMap<String, Connected>, BTreeMap<crate::model::ConsumerName, Pipeline>, Routes);

async fn assemble(
    config: &Config,
    opened: &BTreeMap<String, Connection>,
    bound: BTreeMap<crate::model::ConsumerName, Bound>,
    stores: &Stores,
    hooks: &Hooks,
    clock: &Arc<dyn Clock>,
) -> Result<Assembled> {
    let mut problems = Vec::new();
    for (name, Connection { broker, topology }) in opened {
        let capabilities = |channel: &ChannelSpec| broker.capabilities(channel);
        problems.extend(check_needs(config, name, broker.info(), capabilities, topology));
    }
    refuse(problems)?;
    for (name, Connection { broker, .. }) in opened {
        prepare_topology(config.topology, &**broker).await.map_err(|e| e.with_broker(name))?;
    }
    let mut brokers = BTreeMap::new();
    let mut routes = Routes::default();
    for (name, Connection { broker, topology }) in opened {
        let capabilities: Vec<_> =
            topology.channels.iter().map(|c| (c, broker.capabilities(c))).collect();
        let gated = capabilities
            .iter()
            .filter(|(c, cap)| c.ordered && !cap.has(Capability::OrderedPipelining))
            .map(|(c, _)| c.name.clone())
            .collect();
        let (pump, task) =
            Pump::start(Arc::clone(broker), Arc::clone(clock), config.publish.window, gated);
        for (channel, capabilities) in &capabilities {
            routes.insert(Route::new(channel, capabilities, Arc::clone(&pump)));
        }
        brokers.insert(name.clone(), Connected { broker: Arc::clone(broker), pump, task });
    }
    let mut pipelines = BTreeMap::new();
    for (name, bound) in bound {
        let Some(consumer) = config.consumers.get(&name) else { continue };
        let deadline = clock.instant() + config.connect_timeout;
        let started =
            consume(config, consumer, opened, &routes, stores, hooks, clock, bound, deadline);
        pipelines.insert(name, started.await?);
    }
    Ok((brokers, pipelines, routes))
}

#[allow(clippy::too_many_arguments, reason = "one call site, and each is a thing of its own")]
async fn consume(
    config: &Config,
    consumer: &ConsumerConfig,
    opened: &BTreeMap<String, Connection>,
    routes: &Routes,
    stores: &Stores,
    hooks: &Hooks,
    clock: &Arc<dyn Clock>,
    bound: Bound,
    deadline: Instant,
) -> Result<Pipeline> {
    let missing = || Error::new(ErrorKind::Config, format!("no channel `{}`", consumer.channel));
    let channel = config.channels.get(&consumer.channel).ok_or_else(missing)?;
    let Connection { broker, topology } = opened.get(&channel.broker).ok_or_else(missing)?;
    let spec = topology.channel(consumer.channel.as_str()).ok_or_else(missing)?;
    let capabilities = broker.capabilities(spec);
    let route = routes.get(consumer.channel.as_str())?;
    let subscription = Subscription::new(
        consumer.channel.clone(),
        consumer.group.clone(),
        consumer.name.clone(),
        consumer.prefetch,
        consumer.max_lease,
    );
    let subscribed = broker.subscribe(subscription, deadline).await.map_err(|e| {
        e.with_operation("subscribe").with_channel(&consumer.channel).with_broker(&channel.broker)
    })?;
    let outputs: Result<Vec<_>> =
        consumer.outputs.iter().map(|o| routes.get(o.as_str()).cloned()).collect();
    Ok(Pipeline::start(Start {
        ordered: spec.ordered,
        atomic: capabilities.has(Capability::Atomic),
        limits: capabilities.limits,
        consumer: subscribed,
        pump: Arc::clone(&route.pump),
        dead_letter: Arc::clone(routes.get(consumer.dead_letter.as_str())?),
        outputs: outputs?,
        handlers: bound.handlers,
        identity: bound.identity,
        store: consumer.dedup.as_ref().and_then(|d| stores.get(&d.store)).cloned(),
        hooks: hooks.clone(),
        clock: Arc::clone(clock),
        config: consumer.clone(),
    }))
}

async fn prepare_topology(policy: TopologyPolicy, broker: &dyn Broker) -> Result<()> {
    if policy == TopologyPolicy::Off {
        return Ok(());
    }
    let plan = broker.admin().plan().await?;
    let differing: Vec<_> = plan.differing().map(|(o, d)| differs(&o.name, o.kind, d)).collect();
    if !differing.is_empty() {
        return Err(Error::new(ErrorKind::TopologyMismatch, differing.join("; "))
            .with_operation("topology")
            .with_help(
                "an existing channel is never changed: correct the configuration, or migrate to a \
                 new channel",
            ));
    }
    if policy == TopologyPolicy::Check {
        return check_complete(&plan);
    }
    broker.admin().apply(&plan).await
}

fn check_complete(plan: &Plan) -> Result<()> {
    let missing: Vec<_> = plan.missing().map(|o| format!("{} `{}`", o.kind, o.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("missing on the broker: {}", missing.join(", "));
    Err(Error::new(ErrorKind::NotFound, text).with_operation("topology").with_help(
        "apply the topology with the rights to declare, or set topology = \"create-missing\"",
    ))
}

fn differs(name: &str, kind: &str, differences: &[Difference]) -> String {
    let differences: Vec<_> = differences
        .iter()
        .map(|d| format!("{} is {}, the configuration says {}", d.field, d.found, d.wanted))
        .collect();
    format!("the {kind} `{name}` differs: {}", differences.join(", "))
}

/// Logs what happens to the connections.
fn watch(brokers: &BTreeMap<String, Connected>) -> JoinSet<()> {
    let mut watchers = JoinSet::new();
    for (name, connected) in brokers {
        let (name, mut events) = (name.clone(), connected.broker.events());
        watchers.spawn(async move {
            while let Some(event) = events.recv().await {
                tracing::warn!(broker = %name, ?event, "broker event");
            }
        });
    }
    watchers
}
