use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use polymq_core::broker::{
    Broker, Consumer, Destination, Outcome, Send, Settlement, Subscription, Token,
};
use polymq_core::{ConsumerName, Delivery, ErrorKind, Message};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{PATIENCE, channel, group, soon, until};
use crate::ledger::{Ledger, Tally};

/// Messages with the ids `PREFIX-0` and on, whose payload is their id.
pub(in crate::conformance) fn texts(prefix: &str, count: usize) -> Vec<Message> {
    (0..count)
        .map(|n| format!("{prefix}-{n}"))
        .map(|id| Message::new(id.clone()).with_id(id))
        .collect()
}

/// As [`texts`], dealt out to `keys` keys in turn.
pub(in crate::conformance) fn keyed(prefix: &str, count: usize, keys: usize) -> Vec<Message> {
    let deal = |(n, message): (usize, Message)| message.with_key(format!("k{}", n % keys));
    texts(prefix, count).into_iter().enumerate().map(deal).collect()
}

/// Publishes a batch to a channel and enters it in the ledger.
pub(in crate::conformance) async fn publish(
    broker: &dyn Broker,
    ledger: &Ledger,
    to: &str,
    messages: Vec<Message>,
) -> Result<Vec<Outcome>> {
    let to = Destination::Channel(channel(to)?);
    let ids: Vec<String> = messages.iter().map(id_of).collect();
    for (id, message) in ids.iter().zip(&messages) {
        ledger.sent(id, message.key().map(AsRef::as_ref));
    }
    let sends = messages.into_iter().map(|m| Send::new(to.clone(), m)).collect();
    let outcomes = broker.publish(sends, soon()).await;
    ensure!(outcomes.len() == ids.len(), "{} outcomes for {} sends", outcomes.len(), ids.len());
    for (id, outcome) in ids.iter().zip(&outcomes) {
        ledger.outcome(id, outcome);
    }
    Ok(outcomes)
}

/// Publishes one send, which must be confirmed.
pub(in crate::conformance) async fn publish_one(broker: &dyn Broker, send: Send) -> Result<()> {
    let outcome = broker.publish(vec![send], soon()).await.pop().context("no outcome")?;
    outcome.into_result().context("publish")?;
    Ok(())
}

pub(in crate::conformance) async fn subscribe(
    broker: &dyn Broker,
    to: &str,
    of: &str,
    prefetch: usize,
) -> Result<Arc<dyn Consumer>> {
    let name = ConsumerName::new("conformance")?;
    let hold = Duration::from_secs(600);
    let subscription = Subscription::new(channel(to)?, group(of)?, name, prefetch, hold);
    broker.subscribe(subscription, soon()).await.context("subscribe")
}

/// Receives exactly `count` deliveries, over as many calls as it takes.
pub(in crate::conformance) async fn receive(
    consumer: &dyn Consumer,
    count: usize,
) -> Result<Vec<Delivery>> {
    let mut got = Vec::new();
    while got.len() < count {
        let batch = timeout(PATIENCE, consumer.recv(count - got.len())).await;
        got.extend(batch.with_context(|| format!("{} of {count} came", got.len()))??);
    }
    Ok(got)
}

/// Settles deliveries, all of which must still be the consumer's.
pub(in crate::conformance) async fn settle(
    consumer: &dyn Consumer,
    deliveries: &[Delivery],
    how: Settlement,
) -> Result<()> {
    let settlements: Vec<(Token, Settlement)> = deliveries.iter().map(|d| (d.token, how)).collect();
    for result in consumer.settle(&settlements, soon()).await {
        result.context("settle")?;
    }
    Ok(())
}

/// The id of a message; empty if it has none.
pub(in crate::conformance) fn id_of(message: &Message) -> String {
    message.id().map_or_else(String::new, ToString::to_string)
}

/// Enters deliveries as received.
pub(in crate::conformance) fn note(ledger: &Ledger, deliveries: &[Delivery]) {
    for delivery in deliveries {
        ledger.received(&id_of(&delivery.message));
    }
}

/// Consumers that receive, enter and ack everything, each in a task of its own, until dropped.
pub(in crate::conformance) struct Readers(JoinSet<Result<()>>);

impl Readers {
    pub(in crate::conformance) fn start(
        consumers: impl IntoIterator<Item = Arc<dyn Consumer>>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let read = |consumer| read(consumer, Arc::clone(ledger));
        Self(consumers.into_iter().map(read).collect())
    }

    /// Waits until `count` ids and all that was confirmed have arrived, then stops.
    pub(in crate::conformance) async fn finish(
        mut self,
        ledger: &Ledger,
        count: u64,
    ) -> Result<()> {
        let arrived =
            until("everything arrived", || ledger.distinct() >= count && ledger.tally().lost == 0);
        let outcome = tokio::select! {
            arrived = arrived => arrived,
            Some(stopped) = self.0.join_next() => match stopped? {
                Ok(()) => Err(anyhow::anyhow!("a consumer was closed")),
                Err(error) => Err(error),
            },
        };
        self.0.shutdown().await;
        outcome.with_context(|| format!("{} of {count} arrived", ledger.distinct()))
    }

    /// Waits until every consumer was closed.
    pub(in crate::conformance) async fn closed(mut self) -> Result<()> {
        while let Some(stopped) = self.0.join_next().await {
            stopped??;
        }
        Ok(())
    }
}

async fn read(consumer: Arc<dyn Consumer>, ledger: Arc<Ledger>) -> Result<()> {
    loop {
        let batch = match consumer.recv(64).await {
            Ok(batch) => batch,
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        note(&ledger, &batch);
        let acks: Vec<_> = batch.iter().map(|d| (d.token, Settlement::Ack)).collect();
        for result in consumer.settle(&acks, soon()).await {
            match result {
                // A lease that ended, or a consumer that was closed: the message comes again.
                Err(error)
                    if !matches!(error.kind(), ErrorKind::StaleToken | ErrorKind::Closed) =>
                {
                    return Err(error).context("settle");
                }
                _ => {}
            }
        }
    }
}

/// What must hold of the messages of a case once all of them were read.
pub(in crate::conformance) trait Arrivals {
    /// Nothing was lost or invented, and at most `duplicates` came again.
    fn arrived(self, duplicates: u64) -> Result<Tally>;
    /// As [`arrived`](Arrivals::arrived), each key in order.
    fn in_order(self, duplicates: u64) -> Result<Tally>;
}

impl Arrivals for &Ledger {
    fn arrived(self, duplicates: u64) -> Result<Tally> {
        let tally = self.tally();
        let lost = self.lost();
        ensure!(lost.is_empty(), "lost, such as {}: {tally}", lost[0]);
        ensure!(tally.unexpected == 0, "something came that was not sent: {tally}");
        ensure!(tally.confirmed + tally.rejected == tally.sent, "not all were confirmed: {tally}");
        ensure!(tally.duplicated <= duplicates, "more than {duplicates} duplicates: {tally}");
        Ok(tally)
    }

    fn in_order(self, duplicates: u64) -> Result<Tally> {
        let tally = self.arrived(duplicates)?;
        ensure!(tally.reordered == 0, "keys lost their order: {tally}");
        Ok(tally)
    }
}
