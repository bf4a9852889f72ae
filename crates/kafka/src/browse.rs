//! A look at a log: what a group has not handled, read without being the group's member.

mod remove;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::{Browse, Capability, PeekHandle, Peeked, StartPosition};
use polymq_core::{Error, Position, Result, Timestamp};
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;
use tokio::time::Instant;

use self::remove::{Handle, Remover};
use crate::blocking::{blocking, dispose};
use crate::convert::{self, Form, Reading};
use crate::error;
use crate::log::{Log, Part};
use crate::scan::{Scan, add_removals};
use crate::session::Session;
use crate::target::Target;

/// How long a step of a look may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A look at one source, up to where its log ended when the look began. Messages of a partition are shown in
/// their order; those of several partitions as they come.
pub(crate) struct LogBrowse {
    broker: String,
    /// Gone at the end only. Its client ends on a thread that may wait.
    look: Option<Arc<Mutex<Look>>>,
}

struct Look {
    target: Arc<Target>,
    log: Log,
    session: Session,
    scan: Scan,
    /// Keys of dead letters that were removed.
    removed: HashSet<Vec<u8>>,
    /// Up to where removals are known, of each partition.
    known: Vec<i64>,
    remover: Option<Remover>,
}

impl fmt::Debug for LogBrowse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBrowse").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl LogBrowse {
    /// Starts a look. Of a position, which is one partition's, the others are not shown.
    ///
    /// # Errors
    /// `NotFound` for a topic or position that isn't there; `Unsupported` for a time in a retry inbox.
    pub(crate) fn open(
        target: &Arc<Target>,
        log: Log,
        from: StartPosition,
        deadline: Instant,
    ) -> Result<Self> {
        let session = log.open(target, deadline)?;
        let waiting = log.waiting(&session)?;
        let mut removed = HashSet::new();
        if log.has_removals {
            add_removals(&mut removed, &session, Scan::begin(&session, &log.topic, &waiting)?)?;
        }
        let known = waiting.ends.clone();
        let range = log.narrow(&session, waiting, from)?;
        let scan = Scan::begin(&session, &log.topic, &range)?;
        let target = Arc::clone(target);
        let broker = target.broker().to_owned();
        let look = Look { target, log, session, scan, removed, known, remover: None };
        Ok(Self { broker, look: Some(Arc::new(Mutex::new(look))) })
    }

    async fn step<T: Send + 'static>(
        &self,
        operation: &'static str,
        step: impl FnOnce(&mut Look, Instant) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let look = self.look.clone().ok_or_else(|| error::closed("look"))?;
        let deadline = Instant::now() + PATIENCE;
        let done = blocking(deadline + PATIENCE / 10, move || {
            step(&mut look.lock().unwrap_or_else(PoisonError::into_inner), deadline)
        });
        done.await.map_err(|e| e.with_operation(operation).with_broker(&self.broker))
    }
}

impl Drop for LogBrowse {
    fn drop(&mut self) {
        dispose(self.look.take());
    }
}

impl Look {
    fn next(&mut self, max: usize, deadline: Instant) -> Result<Vec<Peeked>> {
        self.session.extend(deadline);
        let mut peeked = Vec::new();
        while peeked.len() < max
            && let Some(record) = self.scan.next(&self.session)?
        {
            let is_gone = record.payload().is_none()
                || record.key().is_some_and(|key| self.removed.contains(key));
            if !(self.log.has_removals && is_gone) {
                peeked.push(show(&self.log, &record));
            }
        }
        Ok(peeked)
    }

    fn remove(&mut self, handles: &[PeekHandle], deadline: Instant) -> Result<Vec<Result<()>>> {
        if !self.log.has_removals {
            return Err(error::unsupported(Capability::BrowseRemove));
        }
        let mut remover = match self.remover.take() {
            Some(remover) => remover,
            None => Remover::open(&self.target, &self.log, deadline)?,
        };
        let beginnings =
            remover.catch_up(&self.log, &mut self.removed, &mut self.known, deadline)?;
        let checked = handles.iter().map(|handle| {
            let handle = Handle::read(handle)?;
            let is_gone = self.removed.contains(&handle.key) || handle.lies_before(&beginnings);
            if is_gone { Err(remove::gone()) } else { Ok(handle) }
        });
        let results = remover.remove(&self.log.topic, checked.collect(), &mut self.removed);
        self.remover = Some(remover);
        Ok(results)
    }
}

fn show(log: &Log, record: &BorrowedMessage<'_>) -> Peeked {
    let time = record.timestamp().to_millis().and_then(|time| u64::try_from(time).ok());
    let time = time.map(Timestamp::from_millis);
    let form = if log.has_removals { Form::DeadLetter } else { Form::Plain };
    let published = time.filter(|_| log.part == Part::Channel);
    let mut reading = Reading::new(record.key(), record.payload(), published, form);
    convert::each(record, |name, value| reading.header(name, value));
    let position = Position {
        partition: record.partition().cast_unsigned(),
        offset: record.offset().cast_unsigned(),
    };
    let handle = Handle { position, key: record.key().unwrap_or_default().to_vec() };
    let mut peeked = Peeked::new(handle.write(), reading.finish().message);
    peeked.position = Some(position);
    peeked.due = time.filter(|_| log.part == Part::Inbox);
    peeked
}

#[async_trait]
impl Browse for LogBrowse {
    async fn next(&mut self, max: usize) -> Result<Vec<Peeked>> {
        self.step("browse", move |look, deadline| look.next(max, deadline)).await
    }

    async fn remove(&mut self, handles: &[PeekHandle]) -> Vec<Result<()>> {
        let wanted = handles.to_vec();
        let done = self.step("remove", move |look, deadline| look.remove(&wanted, deadline)).await;
        let results = match done {
            Ok(results) => results,
            Err(e) => handles.iter().map(|_| Err(error::again(&e))).collect(),
        };
        let named = |e: Error| e.with_operation("remove").with_broker(&self.broker);
        results.into_iter().map(|result| result.map_err(named)).collect()
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        let look = self.look.take();
        blocking(Instant::now() + PATIENCE, move || {
            drop(look);
            Ok(())
        })
        .await
    }
}
