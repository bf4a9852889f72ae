//! What operators see: trace context, spans and metrics, named after the OpenTelemetry messaging
//! conventions where these have a name.

pub mod metrics;
mod trace;

pub use trace::{TRACEPARENT, TRACESTATE, TraceContext};
