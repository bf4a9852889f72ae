//! PLACEHOLDER (admin helper).
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::*;
use polymq_core::model::{ChannelName, GroupName};
use polymq_core::{Clock, Result};
use tokio::time::Instant;

use crate::error;
use crate::layout::Layout;
use crate::target::Target;

#[derive(Debug)]
pub(crate) struct Operator {}

impl Operator {
    pub(crate) async fn connect(
        _target: Arc<Target>,
        _layout: Arc<Layout>,
        _topology: Topology,
        _clock: Arc<dyn Clock>,
        _deadline: Instant,
    ) -> Result<Self> {
        Ok(Self {})
    }
}

#[async_trait]
impl Admin for Operator {
    async fn plan(&self) -> Result<Plan> {
        Err(error::closed("placeholder"))
    }
    async fn apply(&self, _: &Plan) -> Result<()> {
        Err(error::closed("placeholder"))
    }
    async fn depth(&self, _: &Source) -> Result<Depth> {
        Err(error::closed("placeholder"))
    }
    async fn browse(&self, _: &Source, _: StartPosition) -> Result<Box<dyn Browse>> {
        Err(error::closed("placeholder"))
    }
    async fn purge(&self, _: &Source) -> Result<u64> {
        Err(error::closed("placeholder"))
    }
    async fn seek(&self, _: &ChannelName, _: &GroupName, _: StartPosition) -> Result<()> {
        Err(error::closed("placeholder"))
    }
    async fn ping(&self) -> Result<Duration> {
        Err(error::closed("placeholder"))
    }
}
