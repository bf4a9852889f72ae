//! A look at a log.

use crate::log::Log;
use crate::target::Target;
use polymq_core::Result;
use polymq_core::broker::StartPosition;
use tokio::time::Instant;
#[derive(Debug)]
pub(crate) struct LogBrowse {}
impl LogBrowse {
    pub(crate) fn open(_: &Target, _: Log, _: StartPosition, _: Instant) -> Result<Self> {
        Ok(Self {})
    }
}
#[async_trait::async_trait]
impl polymq_core::broker::Browse for LogBrowse {
    async fn next(&mut self, _: usize) -> Result<Vec<polymq_core::broker::Peeked>> {
        Ok(vec![])
    }
    async fn remove(&mut self, _: &[polymq_core::broker::PeekHandle]) -> Vec<Result<()>> {
        vec![]
    }
    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
