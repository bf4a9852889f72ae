//! The adapter and the broker: what the other files do, put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use polymq_core::broker::{
    Adapter, Admin, Broker, BrokerInfo, Capabilities, ChannelFacts, ChannelSpec, Connect, Consumer,
    EventSender, Events, Outcome, Send, Subscription, Topology,
};
use polymq_core::config::Settings;
use polymq_core::{Error, Message, Result};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::Operator;
use crate::capabilities::capabilities;
use crate::config::{BrokerTable, ChannelTable};
use crate::consume::{Attach, RabbitmqConsumer};
use crate::error;
use crate::layout::Layout;
use crate::link::Link;
use crate::publish::{self, Publisher};
use crate::target::Target;
use crate::version::Version;
use crate::{facts, homeless, steps, topology};

/// The adapter for URLs `amqp://` and `amqps://`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RabbitmqAdapter;

/// The adapter, for [`App::with`](polymq_core::App::with).
#[must_use]
pub fn adapter() -> RabbitmqAdapter {
    RabbitmqAdapter
}

#[async_trait]
impl Adapter for RabbitmqAdapter {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["amqp", "amqps"]
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
        let text = version.rsplit(' ').next().unwrap_or(version);
        facts::describe(&Version::new("RabbitMQ", text), &table, topology, channel)
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>> {
        let name = request.name.clone();
        let broker = RabbitmqBroker::connect(request).await.map_err(|e| e.with_broker(name))?;
        Ok(Arc::new(broker))
    }
}

/// A broker behind two connections: one publishes, one consumes, so that a publisher that the broker
/// blocks leaves acknowledgements their way.
#[derive(Debug)]
pub(crate) struct RabbitmqBroker {
    info: BrokerInfo,
    version: Version,
    table: BrokerTable,
    layout: Arc<Layout>,
    publishing: Link,
    consuming: Arc<Link>,
    publisher: Publisher,
    operator: Operator,
    events: EventSender,
    consumers: AtomicU32,
    _homeless: AbortOnDropHandle<()>,
}

impl RabbitmqBroker {
    async fn connect(request: Connect) -> Result<Self> {
        let table = BrokerTable::read(&request.settings).map_err(first)?;
        let layout = Arc::new(Layout::new(&request.topology)?);
        let target = Arc::new(Target::new(&request, table.clone())?);
        let (events, deadline) = (EventSender::default(), request.deadline);
        // What the consuming connection meets, its consumers tell.
        let open = |purpose, events| Link::open(Arc::clone(&target), purpose, events, deadline);
        let (publishing, consuming) = tokio::try_join!(
            open("publish", events.clone()),
            open("consume", EventSender::default())
        )?;
        let version = target.version();
        let frame_max = publishing.session(deadline).await?.frame_max();
        let publisher = Publisher::new(
            &publishing,
            Arc::clone(&layout),
            Arc::clone(&request.clock),
            steps::made_for(topology::longest_wait(&request.topology)),
            publish::Limits {
                broker: request.name.clone(),
                window: table.publish_window,
                max_message_bytes: table.max_message_bytes(),
                frame_max,
            },
        );
        let consuming = Arc::new(consuming);
        let homeless = homeless::watch(Arc::clone(&consuming), layout.homeless(), events.clone());
        let operator = Operator {
            link: Arc::clone(&consuming),
            target: Arc::clone(&target),
            layout: Arc::clone(&layout),
            topology: request.topology,
        };
        Ok(Self {
            info: BrokerInfo {
                name: request.name,
                system: "rabbitmq",
                product: version.to_string(),
                address: target.address(),
                durability: facts::DURABILITY,
            },
            version,
            table,
            layout,
            publishing,
            consuming,
            publisher,
            operator,
            events,
            consumers: AtomicU32::new(0),
            _homeless: AbortOnDropHandle::new(tokio::spawn(homeless)),
        })
    }
}

/// `check_broker` reports them all; connecting needs only one to fail.
fn first(errors: Vec<Error>) -> Error {
    let mut errors = errors.into_iter();
    errors.next().unwrap_or_else(|| error::bad_url("the table [broker.rabbitmq] cannot be read"))
}

#[async_trait]
impl Broker for RabbitmqBroker {
    fn info(&self) -> &BrokerInfo {
        &self.info
    }

    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities {
        capabilities(&self.version, &self.table, channel)
    }

    /// The body: RabbitMQ's `max_message_size` counts nothing else.
    fn wire_size(&self, message: &Message) -> usize {
        message.payload().map_or(0, bytes::Bytes::len)
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
        let found = self.layout.channel(channel).zip(self.layout.group(channel, group));
        let (layout, group) = found.ok_or_else(|| {
            error::no_group(channel, group).with_operation("subscribe").with_broker(&self.info.name)
        })?;
        let wanted = Attach {
            link: self.consuming.watch(),
            group,
            kind: layout.kind,
            ordered: layout.partitions.is_some(),
            number: self.consumers.fetch_add(1, Ordering::Relaxed),
            broker_events: self.events.clone(),
            subscription,
        };
        let attached = RabbitmqConsumer::attach(wanted, deadline).await;
        Ok(Arc::new(attached.map_err(|e| e.with_broker(&self.info.name))?))
    }

    fn events(&self) -> Events {
        self.events.subscribe()
    }

    fn admin(&self) -> &dyn Admin {
        &self.operator
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        let flushed = self.publisher.close(deadline).await;
        tokio::join!(self.publishing.close(deadline), self.consuming.close(deadline));
        flushed
    }
}
