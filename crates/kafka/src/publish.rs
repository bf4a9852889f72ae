//! PLACEHOLDER (publish helper).
use std::sync::Arc;

use polymq_core::broker::{EventSender, Outcome, Send};
use polymq_core::{Clock, Result};
use tokio::time::Instant;

use crate::layout::Layout;
use crate::target::Target;

#[derive(Debug)]
pub(crate) struct Publisher {}

impl Publisher {
    pub(crate) fn new(
        _target: Arc<Target>,
        _layout: Arc<Layout>,
        _clock: Arc<dyn Clock>,
        _events: EventSender,
    ) -> Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn publish(&self, _sends: Vec<Send>, _deadline: Instant) -> Vec<Outcome> {
        Vec::new()
    }

    pub(crate) async fn close(&self, _deadline: Instant) -> Result<()> {
        Ok(())
    }
}
