//! What an operator would see of the current thread: its metrics, log events and spans.

#![allow(clippy::expect_used, clippy::panic, reason = "a test bed fails by panicking")]

use std::collections::BTreeMap;
use std::fmt;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::bed::Log;

/// A metric with its labels.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// A counter's or gauge's value, or the number of a histogram's samples.
    pub value: f64,
}

/// The metrics of the current thread. Install it before the service starts.
#[derive(Debug)]
pub struct Metrics {
    totals: std::cell::RefCell<BTreeMap<(String, Vec<(String, String)>), f64>>,
    snapshotter: Snapshotter,
}

/// While it lives, the metrics of this thread are recorded.
pub type MetricsGuard = metrics::LocalRecorderGuard<'static>;

impl Metrics {
    /// Records the metrics of this thread for as long as the guard lives.
    #[must_use]
    pub fn install() -> (Self, MetricsGuard) {
        // One per test; the recorder has to outlive its guard.
        let recorder: &'static DebuggingRecorder = Box::leak(Box::new(DebuggingRecorder::new()));
        let guard = metrics::set_default_local_recorder(recorder);
        let snapshotter = recorder.snapshotter();
        (Self { totals: std::cell::RefCell::default(), snapshotter }, guard)
    }

    /// Everything recorded so far.
    #[must_use]
    pub fn all(&self) -> Vec<Metric> {
        let mut totals = self.totals.borrow_mut();
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let labels = key.key().labels();
            let labels: Vec<_> =
                labels.map(|l| (l.key().to_owned(), l.value().to_owned())).collect();
            let total = totals.entry((key.key().name().to_owned(), labels)).or_default();
            // A snapshot takes counters and histograms with it; a gauge stays.
            match value {
                DebugValue::Counter(n) => *total += n as f64,
                DebugValue::Gauge(value) => *total = value.into_inner(),
                DebugValue::Histogram(samples) => *total += samples.len() as f64,
            }
        }
        totals
            .iter()
            .map(|((name, labels), value)| Metric {
                name: name.clone(),
                labels: labels.iter().cloned().collect(),
                value: *value,
            })
            .collect()
    }

    /// The sum over everything of this name that carries these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matching = |m: &&Metric| {
            m.name == name
                && labels.iter().all(|(k, v)| m.labels.get(*k).is_some_and(|have| have == v))
        };
        self.all().iter().filter(matching).map(|m| m.value).sum()
    }
}

/// A span or an event.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name; of an event, its message.
    pub name: String,
    /// Its target.
    pub target: String,
    /// Its level.
    pub level: Level,
    /// Its fields, as text.
    pub fields: BTreeMap<String, String>,
}

/// The spans and events of the current thread.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Spans, as they begin.
    pub spans: Log<Seen>,
    /// Events.
    pub events: Log<Seen>,
}

impl Trace {
    /// Records this thread for as long as the guard lives.
    #[must_use]
    pub fn install() -> (Self, tracing::subscriber::DefaultGuard) {
        let trace = Self::default();
        let subscriber = Registry::default().with(trace.clone());
        (trace, tracing::subscriber::set_default(subscriber))
    }

    /// The events of at least this level whose message holds `text`.
    #[must_use]
    pub fn logged(&self, level: Level, text: &str) -> Vec<Seen> {
        let events = self.events.all().into_iter();
        events.filter(|e| e.level <= level && e.name.contains(text)).collect()
    }

    /// The spans of this name.
    #[must_use]
    pub fn spans(&self, name: &str) -> Vec<Seen> {
        self.spans.all().into_iter().filter(|s| s.name == name).collect()
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let meta = attributes.metadata();
        self.spans.push(Seen {
            name: meta.name().to_owned(),
            target: meta.target().to_owned(),
            level: *meta.level(),
            fields: fields.0,
        });
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.events.push(Seen {
            name: fields.0.get("message").cloned().unwrap_or_default(),
            target: event.metadata().target().to_owned(),
            level: *event.metadata().level(),
            fields: fields.0,
        });
    }
}
