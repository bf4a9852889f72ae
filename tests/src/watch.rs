//! What an operator would see of the current thread: its metrics, log events and spans.

#![allow(clippy::expect_used, clippy::panic, reason = "a test bed fails by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Once;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
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

/// A name and its labels.
type Key = (String, Vec<(String, String)>);

/// The metrics of the current thread. Install it before the service starts.
#[derive(Debug)]
pub struct Metrics {
    totals: RefCell<BTreeMap<Key, f64>>,
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
        (Self { totals: RefCell::default(), snapshotter }, guard)
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

/// While it lives, the spans and events of its thread are recorded.
#[derive(Debug)]
pub struct TraceGuard(PhantomData<*const ()>);

impl Drop for TraceGuard {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(Option::take);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

impl Trace {
    /// Records this thread for as long as the guard lives.
    #[must_use]
    pub fn install() -> (Self, TraceGuard) {
        // One subscriber for the process: tracing caches per call site, for all threads, whether
        // anybody is interested, and so may miss what a subscriber of one thread wants.
        static ROUTER: Once = Once::new();
        ROUTER.call_once(|| {
            let router = Registry::default().with(Router);
            tracing::subscriber::set_global_default(router).expect("no other subscriber");
        });
        let trace = Self::default();
        CURRENT.set(Some(trace.clone()));
        (trace, TraceGuard(PhantomData))
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

/// Gives everything to the trace of the current thread; without one, nobody listens there.
struct Router;

fn record(seen: impl FnOnce(&Trace)) {
    CURRENT.with_borrow(|trace| trace.as_ref().map(seen));
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Router {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>, _: Context<'_, S>) -> bool {
        CURRENT.with_borrow(Option::is_some)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let meta = attributes.metadata();
        let seen = Seen {
            name: meta.name().to_owned(),
            target: meta.target().to_owned(),
            level: *meta.level(),
            fields: fields.0,
        };
        record(|trace| {
            trace.spans.push(seen);
        });
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let seen = Seen {
            name: fields.0.get("message").cloned().unwrap_or_default(),
            target: event.metadata().target().to_owned(),
            level: *event.metadata().level(),
            fields: fields.0,
        };
        record(|trace| {
            trace.events.push(seen);
        });
    }
}
