//! Reading a log from here to there, once.

use std::collections::HashSet;

use polymq_core::Result;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset};

use crate::error;
use crate::log::Waiting;
use crate::session::{Session, list, of_topic};

/// A reader of what lies between two offsets of each partition. It reads all partitions side by side.
pub(crate) struct Scan {
    topic: String,
    /// Where each partition ends; `None` once it has been read.
    ends: Vec<Option<i64>>,
}

impl Scan {
    /// Starts reading.
    pub(crate) fn begin(session: &Session, topic: &str, range: &Waiting) -> Result<Self> {
        let mut ends = Vec::with_capacity(range.ends.len());
        let mut starts = Vec::new();
        for (partition, (from, end)) in (0..).zip(range.from.iter().zip(&range.ends)) {
            ends.push((from < end).then_some(*end));
            if from < end {
                starts.push((partition, Offset::Offset(*from)));
            }
        }
        let assigned = session.client().assign(&list(topic, starts)?);
        assigned.map_err(|e| of_topic(error::native(&e), topic))?;
        Ok(Self { topic: topic.to_owned(), ends })
    }

    /// The next record; `None` at the end. In order within a partition.
    ///
    /// # Errors
    /// `Timeout` at the session's deadline; the connection's.
    pub(crate) fn next<'s>(&mut self, session: &'s Session) -> Result<Option<BorrowedMessage<'s>>> {
        while self.ends.iter().any(Option::is_some) {
            match session.client().poll(session.left()) {
                Some(Ok(record)) => {
                    let Some(slot) = self.ends.get_mut(record.partition() as usize) else {
                        continue;
                    };
                    let Some(end) = *slot else { continue };
                    if record.offset() + 1 >= end {
                        *slot = None;
                    }
                    if record.offset() < end {
                        return Ok(Some(record));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(slot) = self.ends.get_mut(partition as usize) {
                        *slot = None;
                    }
                }
                // librdkafka reconnects by itself; what lasts ends at the deadline.
                Some(Err(e)) if error::native(&e).is_retryable() => {}
                Some(Err(e)) => return Err(of_topic(error::native(&e), &self.topic)),
                None if session.left().is_zero() => {
                    return Err(of_topic(
                        error::late("the log was not read to its end in time"),
                        &self.topic,
                    ));
                }
                None => {}
            }
        }
        Ok(None)
    }
}

/// How many records of a dead-letter topic have not been removed.
pub(crate) fn remaining(session: &Session, topic: &str, range: &Waiting) -> Result<u64> {
    let mut scan = Scan::begin(session, topic, range)?;
    let (mut keys, mut foreign) = (HashSet::new(), 0);
    while let Some(record) = scan.next(session)? {
        match (record.key(), record.payload()) {
            (Some(key), Some(_)) => drop(keys.insert(key.to_vec())),
            (Some(key), None) => drop(keys.remove(key)),
            (None, _) => foreign += 1,
        }
    }
    Ok(keys.len() as u64 + foreign)
}

/// Adds the keys of the dead letters that were removed.
pub(crate) fn add_removals(
    keys: &mut HashSet<Vec<u8>>,
    session: &Session,
    mut scan: Scan,
) -> Result<()> {
    while let Some(record) = scan.next(session)? {
        if let (Some(key), None) = (record.key(), record.payload()) {
            keys.insert(key.to_vec());
        }
    }
    Ok(())
}
