use std::fmt;

use bytes::Bytes;

use crate::model::Headers;

/// The W3C header that names the trace and the span that a message comes from.
pub const TRACEPARENT: &str = "traceparent";
/// The W3C header that carries vendors' data beside it; passed on untouched.
pub const TRACESTATE: &str = "tracestate";

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// A position in a distributed trace: the W3C `traceparent`, version 00.
///
/// A publisher puts it on messages, a consumer hands it to the handler, and what the handler
/// publishes continues the same trace.
///
/// ```
/// use polymq_core::observe::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = TraceContext::parse(text).unwrap();
/// assert_eq!(context.to_string(), text);
/// assert_eq!(context.child().trace_id(), context.trace_id());
/// assert_ne!(context.child(), context);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

fn hex<const DIGITS: usize>(text: &str) -> Option<u128> {
    let ok = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    ok.then(|| u128::from_str_radix(text, 16).ok())?
}

impl TraceContext {
    /// Reads a `traceparent`; `None` if it is not one (an unknown version counts as 00 as long as
    /// its beginning does, as the recommendation asks).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex::<2>(parts.next()?)?;
        let trace_id = hex::<32>(parts.next()?)?;
        let span_id = u64::try_from(hex::<16>(parts.next()?)?).ok()?;
        let flags = u8::try_from(hex::<2>(parts.next()?)?).ok()?;
        let valid = version != 0xff
            && trace_id != 0
            && span_id != 0
            && (version != 0 || parts.next().is_none());
        valid.then_some(Self { trace_id, span_id, flags })
    }

    /// The trace context that a message carries.
    #[must_use]
    pub fn of(headers: &Headers) -> Option<Self> {
        Self::parse(headers.get_str(TRACEPARENT)?)
    }

    /// A new trace, sampled.
    #[must_use]
    pub fn root() -> Self {
        Self { trace_id: rand::random::<u128>() | 1, span_id: rand::random::<u64>() | 1, flags: 1 }
    }

    /// The next span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: rand::random::<u64>() | 1, ..*self }
    }

    /// The context of the handler that is running, if its message carried one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|c| *c).ok()
    }

    /// Runs a future with this as the [`current`](TraceContext::current) context.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The trace's 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Puts it on a message.
    pub(crate) fn write(&self, headers: &mut Headers) {
        headers.insert(TRACEPARENT, Bytes::from(self.to_string()));
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_traceparent_is_ignored() {
        for text in [
            "",
            "00",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_later_version_is_read_by_its_beginning() {
        let text = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more";
        assert!(TraceContext::parse(text).is_some());
    }
}
