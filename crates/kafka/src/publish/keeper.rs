//! The thread that serves reports, and replaces a producer that is of no more use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polymq_core::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::Producer as _;

use super::session::{self, Producer, Reports};
use super::{CLOSED, Shared};
use crate::error;

/// How long serving goes on before the keeper looks around.
const TICK: Duration = Duration::from_millis(100);

/// The time between two looks at the password, and between two producers.
const PAUSE: Duration = Duration::from_secs(1);

/// It ends with the publisher, and the producer with it: dropping one takes up to half a second.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    producer: Arc<Producer>,
    config: ClientConfig,
    /// Not to be replaced before.
    pause: Instant,
}

impl Keeper {
    /// Makes the first producer.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
        let config = session::config(&shared.target)?;
        let producer = shared.produce(&config)?;
        *shared.producer() = Some(Arc::clone(&producer));
        let keeper = Self { shared: Arc::clone(shared), producer, config, pause: Instant::now() };
        let thread = std::thread::Builder::new().name("polymq-kafka".to_owned());
        let started = thread.spawn(|| keeper.run());
        started.map(drop).map_err(|e| {
            shared.producer().take();
            Error::new(ErrorKind::Other, "no thread could be started").with_source(e)
        })
    }

    fn run(mut self) {
        while self.shared.phase() != CLOSED {
            self.producer.poll(TICK);
            if Instant::now() < self.pause {
                continue;
            }
            if let Some(config) = self.successor() {
                self.pause = Instant::now() + PAUSE;
                if let Err(error) = self.replace(config) {
                    tracing::warn!(broker = self.shared.target.broker(), %error, "no producer yet");
                }
            }
        }
    }

    /// How to make another producer, if this one is of no more use.
    fn successor(&mut self) -> Option<ClientConfig> {
        let reports = self.producer.context();
        let is_broken = reports.is_broken();
        if !is_broken && !reports.is_refused() {
            return None;
        }
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            self.shared.watch.trouble(code, &reason);
        }
        self.pause = Instant::now() + PAUSE;
        match session::config(&self.shared.target) {
            Ok(config) => {
                let password =
                    |config: &ClientConfig| config.get("sasl.password").map(str::to_owned);
                let has_changed = password(&config) != password(&self.config);
                (is_broken || has_changed).then_some(config)
            }
            Err(error) => {
                tracing::warn!(broker = self.shared.target.broker(), %error, "no password");
                None
            }
        }
    }

    /// Replaces the producer, and sends everything again that is owed.
    fn replace(&mut self, config: ClientConfig) -> Result<()> {
        let producer = self.shared.produce(&config)?;
        tracing::info!(
            broker = self.shared.target.broker(),
            "a new producer sends what is unconfirmed"
        );
        // From here on nobody hands anything over; what was stored until here counts.
        self.shared.producer().take();
        self.producer.context().give_up();
        self.config = config;
        self.producer = Arc::clone(&producer);
        self.send_again();
        let mut current = self.shared.producer();
        if self.shared.phase() != CLOSED {
            *current = Some(producer);
        }
        drop(current);
        self.shared.ledger.look();
        Ok(())
    }

    fn send_again(&self) {
        for (key, entry) in self.shared.ledger.doubt() {
            if entry.call.is_over() {
                self.shared.ledger.leave(key);
                continue;
            }
            while !self.shared.send(&self.producer, &entry.call, entry.index, key) {
                if self.producer.context().is_broken() || self.shared.phase() == CLOSED {
                    return;
                }
                self.producer.poll(Duration::from_millis(1));
            }
        }
    }
}

impl Shared {
    fn produce(&self, config: &ClientConfig) -> Result<Arc<Producer>> {
        let reports = Reports::new(Arc::clone(&self.ledger), Arc::clone(&self.watch));
        let producer = Producer::from_config_and_context(config, reports);
        producer.map(Arc::new).map_err(|e| error::client(&e))
    }
}
