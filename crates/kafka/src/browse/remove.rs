//! Removing dead letters: a record of the same key without a value, which compaction goes by.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use polymq_core::broker::{EventSender, PeekHandle};
use polymq_core::{Error, ErrorKind, Position, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tokio::time::Instant;

use crate::context::Watch;
use crate::error;
use crate::log::{Log, Waiting};
use crate::scan::{Scan, add_removals};
use crate::session::{Session, of_topic};
use crate::target::Target;

/// What a handle stands for: where the message lies, and the key that removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) position: Position,
    pub(super) key: Vec<u8>,
}

impl Handle {
    pub(super) fn write(&self) -> PeekHandle {
        let Position { partition, offset } = self.position;
        let key = percent_encode(&self.key, NON_ALPHANUMERIC);
        PeekHandle(format!("{partition}/{offset}/{key}"))
    }

    pub(super) fn read(handle: &PeekHandle) -> Result<Self> {
        let mut parts = handle.0.splitn(3, '/');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let position = number().and_then(|p| u32::try_from(p).ok()).zip(number());
        let key = parts.next().map(|key| percent_decode_str(key).collect::<Vec<u8>>());
        let ((partition, offset), key) = position.zip(key).ok_or_else(|| {
            Error::new(ErrorKind::Malformed, "this is not a handle of a message on Kafka")
        })?;
        if key.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the message has no key, by which Kafka would forget it",
            )
            .with_help("move the group past it: `polymq seek`"));
        }
        Ok(Self { position: Position { partition, offset }, key })
    }

    /// Whether its place has been deleted.
    pub(super) fn lies_before(&self, beginnings: &[i64]) -> bool {
        let beginning = beginnings.get(self.position.partition as usize);
        beginning.is_none_or(|first| self.position.offset < first.cast_unsigned())
    }
}

/// What is removed already, or purged.
pub(super) fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "the message has gone since it was shown")
}

/// The clients of a look that removes.
pub(super) struct Remover {
    session: Session,
    producer: BaseProducer<Fates>,
}

/// What became of the removals that are under way, by their place.
struct Fates {
    watch: Watch,
    failed: Mutex<Vec<(usize, KafkaError)>>,
}

impl ClientContext for Fates {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        ClientContext::log(&self.watch, level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Fates {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<usize>) {
        if let Err((error, _)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.push((*place, error.clone()));
        }
    }
}

/// How much longer than librdkafka takes to give a record up its fate is waited for.
const GRACE: Duration = Duration::from_secs(1);

impl Remover {
    pub(super) fn open(target: &Target, log: &Log, deadline: Instant) -> Result<Self> {
        let session = log.open(target, deadline)?;
        let watch = Watch::new(target.broker(), EventSender::default());
        let fates = Fates { watch, failed: Mutex::default() };
        let mut config = target.client("operator")?;
        config
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", session.left().as_millis().max(1).to_string());
        let producer = config.create_with_context(fates).map_err(|e| error::client(&e))?;
        Ok(Self { session, producer })
    }

    /// Learns what was removed since; tells where the log begins by now.
    pub(super) fn catch_up(
        &mut self,
        log: &Log,
        removed: &mut HashSet<Vec<u8>>,
        known: &mut Vec<i64>,
        deadline: Instant,
    ) -> Result<Vec<i64>> {
        self.session.extend(deadline);
        let partitions = self.session.existing(&log.topic)?.partitions;
        let beginnings = self.session.beginnings(&log.topic, partitions)?;
        let ends = self.session.ends(&log.topic, partitions)?;
        known.resize(ends.len(), 0);
        let from = known.iter().zip(&beginnings).map(|(known, first)| *known.max(first)).collect();
        let range = Waiting { from, ends };
        add_removals(removed, &self.session, Scan::begin(&self.session, &log.topic, &range)?)?;
        *known = range.ends;
        Ok(beginnings)
    }

    /// Removes what was found to be there.
    pub(super) fn remove(
        &self,
        topic: &str,
        handles: Vec<Result<Handle>>,
        removed: &mut HashSet<Vec<u8>>,
    ) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(handles.len());
        for (place, handle) in handles.iter().enumerate() {
            results.push(match handle {
                Ok(handle) => self.send(topic, handle, place),
                Err(_) => Ok(()),
            });
        }
        let flushed = self.producer.flush(self.session.left() + GRACE);
        let mut failed = std::mem::take(
            &mut *self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for (place, error) in failed.drain(..) {
            if let Some(result) = results.get_mut(place) {
                *result = Err(of_topic(error::native(&error), topic));
            }
        }
        results
            .into_iter()
            .zip(handles)
            .map(|(result, handle)| {
                let handle = handle?;
                result?;
                flushed.clone().map_err(|e| of_topic(error::native(&e), topic))?;
                removed.insert(handle.key);
                Ok(())
            })
            .collect()
    }

    fn send(&self, topic: &str, handle: &Handle, place: usize) -> Result<()> {
        let removal = BaseRecord::<[u8], [u8], Box<usize>>::with_opaque_to(topic, Box::new(place))
            .partition(handle.position.partition.cast_signed())
            .key(handle.key.as_slice());
        self.producer.send(removal).map_err(|(e, _)| of_topic(error::native(&e), topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written_whatever_the_key() {
        for key in ["a", "a/b", "ä%2F", "0/1/2"] {
            let position = Position { partition: 3, offset: 77 };
            let handle = Handle { position, key: key.as_bytes().to_vec() };
            assert_eq!(Handle::read(&handle.write()).unwrap(), handle);
        }
    }

    #[test]
    fn what_is_no_handle_is_malformed_and_what_has_no_key_stays() {
        for text in ["", "1", "1/2", "x/2/k", "1/x/k"] {
            let kind = Handle::read(&PeekHandle(text.to_owned())).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::Malformed, "{text}");
        }
        let kind = Handle::read(&PeekHandle("1/2/".to_owned())).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Unsupported);
    }
}
