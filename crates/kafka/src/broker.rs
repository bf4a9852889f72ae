//! The adapter and the broker: what the other files do, put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use polymq_core::Clock;
use polymq_core::broker::{
    Adapter, Admin, Broker, BrokerInfo, Capabilities, ChannelFacts, ChannelSpec, Connect, Consumer,
    EventSender, Events, Outcome, Send, Subscription, Topology,
};
use polymq_core::config::Settings;
use polymq_core::{Error, Message, Result};
use tokio::time::Instant;

use crate::admin::Operator;
use crate::capabilities::capabilities;
use crate::config::{BrokerTable, ChannelTable};
use crate::consume::{Attach, KafkaConsumer};
use crate::inbox::Inboxes;
use crate::layout::Layout;
use crate::publish::Publisher;
use crate::target::{PLAIN, TLS, Target};
use crate::{convert, error, facts};

/// The adapter for URLs `kafka://` and `kafka+ssl://`.
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaAdapter;

/// The adapter, for [`App::with`](polymq_core::App::with).
#[must_use]
pub fn adapter() -> KafkaAdapter {
    KafkaAdapter
}

#[async_trait]
impl Adapter for KafkaAdapter {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[PLAIN, TLS]
    }

    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        BrokerTable::read(settings).map(drop)
    }

    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        ChannelTable::read(settings).map(drop)
    }

    fn versions(&self) -> &'static [&'static str] {
        facts::VERSIONS
    }

    fn describe(
        &self,
        version: &str,
        settings: &Settings,
        topology: &Topology,
        channel: &ChannelSpec,
    ) -> Result<ChannelFacts> {
        let table = BrokerTable::read(settings).map_err(first)?;
        let version = version.rsplit(' ').next().unwrap_or(version);
        facts::describe(version, &table, topology, channel)
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>> {
        let name = request.name.clone();
        let broker = KafkaBroker::connect(request).await.map_err(|e| e.with_broker(name))?;
        Ok(Arc::new(broker))
    }
}

/// One cluster: a producer that all publishes share, a client for each consumer, and the operator's.
#[derive(Debug)]
pub(crate) struct KafkaBroker {
    info: BrokerInfo,
    target: Arc<Target>,
    layout: Arc<Layout>,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    operator: Operator,
    inboxes: Inboxes,
    events: EventSender,
    consumers: AtomicU32,
}

impl KafkaBroker {
    async fn connect(request: Connect) -> Result<Self> {
        let table = BrokerTable::read(&request.settings).map_err(first)?;
        let layout = Arc::new(Layout::new(&request.topology)?);
        let target = Arc::new(Target::new(&request, table)?);
        let events = EventSender::default();
        let operator = Operator::connect(
            Arc::clone(&target),
            Arc::clone(&layout),
            request.topology,
            Arc::clone(&request.clock),
            request.deadline,
        )
        .await?;
        let publisher = Publisher::new(
            Arc::clone(&target),
            Arc::clone(&layout),
            Arc::clone(&request.clock),
            events.clone(),
        )?;
        Ok(Self {
            info: BrokerInfo {
                name: request.name,
                system: "kafka",
                product: "Kafka".to_owned(),
                address: target.address(),
                durability: facts::DURABILITY,
            },
            target,
            layout,
            clock: request.clock,
            publisher,
            operator,
            inboxes: Inboxes::default(),
            events,
            consumers: AtomicU32::new(0),
        })
    }
}

/// `check_broker` reports them all; connecting needs only one to fail.
fn first(errors: Vec<Error>) -> Error {
    let mut errors = errors.into_iter();
    errors.next().unwrap_or_else(|| error::bad_url("the table [broker.kafka] cannot be read"))
}

#[async_trait]
impl Broker for KafkaBroker {
    fn info(&self) -> &BrokerInfo {
        &self.info
    }

    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities {
        capabilities(&self.info.product, self.target.table(), channel)
    }

    /// Key, value and headers: what the topics' `max.message.bytes` bounds.
    fn wire_size(&self, message: &Message) -> usize {
        convert::wire_size(message)
    }

    async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        self.publisher.publish(sends, deadline).await
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
        deadline: Instant,
    ) -> Result<Arc<dyn Consumer>> {
        let Subscription { channel, group, .. } = &subscription;
        let group = self.layout.group(channel, group).ok_or_else(|| {
            error::no_group(channel, group).with_operation("subscribe").with_broker(&self.info.name)
        })?;
        let wanted = Attach {
            target: Arc::clone(&self.target),
            clock: Arc::clone(&self.clock),
            group: group.clone(),
            number: self.consumers.fetch_add(1, Ordering::Relaxed),
            broker_events: self.events.clone(),
            subscription,
        };
        let attached = KafkaConsumer::attach(wanted, deadline).await;
        let attached = attached.map_err(|e| e.with_broker(&self.info.name))?;
        self.inboxes.keep(&self.target, &group);
        Ok(Arc::new(attached))
    }

    fn events(&self) -> Events {
        self.events.subscribe()
    }

    fn admin(&self) -> &dyn Admin {
        &self.operator
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.operator.close();
        self.inboxes.close();
        self.publisher.close(deadline).await
    }
}
