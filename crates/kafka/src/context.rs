//! What librdkafka tells of by itself, on threads of its own: connections that come and go, and its log.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use polymq_core::Error;
use polymq_core::broker::{Event, EventSender};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::error;

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// One client's connection to its cluster, as events: each change is told once.
#[derive(Debug)]
pub(crate) struct Watch {
    broker: String,
    events: EventSender,
    state: AtomicU8,
    latest: Mutex<Option<(Code, String)>>,
}

impl Watch {
    pub(crate) fn new(broker: &str, events: EventSender) -> Self {
        Self {
            broker: broker.to_owned(),
            events,
            state: AtomicU8::new(UNKNOWN),
            latest: Mutex::default(),
        }
    }

    /// Whether no broker can be reached.
    pub(crate) fn is_down(&self) -> bool {
        self.state.load(Ordering::Relaxed) == DOWN
    }

    /// Why there is no connection, as far as librdkafka has said.
    pub(crate) fn reason(&self) -> Option<Error> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().map(|(code, reason)| error::reported(*code, reason))
    }

    /// A broker has answered.
    pub(crate) fn up(&self) {
        if self.state.swap(UP, Ordering::Relaxed) == DOWN {
            tracing::info!(broker = self.broker, "connected again");
            self.events.send(Event::Recovered);
        }
    }

    /// What librdkafka noticed outside any operation.
    pub(crate) fn trouble(&self, code: Code, reason: &str) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((code, reason.to_owned()));
        match code {
            Code::AllBrokersDown => {
                if self.state.swap(DOWN, Ordering::Relaxed) != DOWN {
                    tracing::warn!(broker = self.broker, reason, "disconnected");
                    self.events.send(Event::Disconnected { reason: reason.to_owned() });
                }
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
                tracing::warn!(broker = self.broker, reason, "refused");
                self.events.send(Event::AuthFailed { reason: reason.to_owned() });
            }
            _ => tracing::debug!(broker = self.broker, reason, "{code}"),
        }
    }

    /// librdkafka's log. It repeats at error level what [`trouble`](Self::trouble) tells once.
    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let broker = &self.broker;
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", broker, facility, "{text}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::debug!(target: "librdkafka", broker, facility, "{text}");
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::trace!(target: "librdkafka", broker, facility, "{text}");
            }
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.trouble(code, reason);
        }
    }
}

/// An operator's clients read and commit without joining their group.
impl ConsumerContext for Watch {}
