//! PLACEHOLDER (consume helper).
use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::*;
use polymq_core::model::Delivery;
use polymq_core::{Clock, Result};
use tokio::time::Instant;

use crate::error;
use crate::layout::GroupLayout;
use crate::target::Target;

/// What it takes to attach a consumer.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) target: Arc<Target>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) group: GroupLayout,
    pub(crate) number: u32,
    /// What concerns the whole broker.
    pub(crate) broker_events: EventSender,
    pub(crate) subscription: Subscription,
}

#[derive(Debug)]
pub(crate) struct KafkaConsumer {}

impl KafkaConsumer {
    pub(crate) async fn attach(_wanted: Attach, _deadline: Instant) -> Result<Self> {
        Err(error::closed("placeholder"))
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn recv(&self, _max: usize) -> Result<Vec<Delivery>> {
        Err(error::closed("placeholder"))
    }
    async fn settle(&self, _: &[(Token, Settlement)], _: Instant) -> Vec<Result<()>> {
        Vec::new()
    }
    async fn extend(&self, _: &[Token], _: Instant) -> Vec<Result<()>> {
        Vec::new()
    }
    async fn commit(&self, _: Vec<Unit>, _: Instant) -> Vec<Result<()>> {
        Vec::new()
    }
    fn pause(&self) {}
    fn resume(&self) {}
    fn events(&self) -> Events {
        EventSender::default().subscribe()
    }
    fn status(&self) -> ConsumerStatus {
        ConsumerStatus::default()
    }
    async fn close(&self, _: Instant) -> Result<()> {
        Ok(())
    }
}
