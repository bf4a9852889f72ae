//! One opaque error for the whole crate family, written for the person who reads it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// A shorthand for results that fail with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by meaning rather than by broker.
///
/// Adapters map every native error to one of these in one place (their `error.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration, or the service against its configuration, is wrong.
    Config,
    /// The broker, at its running version, cannot do what was asked.
    Unsupported,
    /// A channel, group, consumer or object on the broker does not exist.
    NotFound,
    /// An object exists on the broker but differs from what the configuration asks for.
    TopologyMismatch,
    /// The broker refused the credentials.
    Unauthenticated,
    /// The credentials are good but lack a right.
    PermissionDenied,
    /// The broker could not be reached, or the connection broke.
    Disconnected,
    /// The broker refuses to take more for now (memory, disk or flow alarm).
    Blocked,
    /// A deadline passed first.
    Timeout,
    /// A channel, a stream or a window is full.
    Full,
    /// A message or its headers exceed a limit.
    TooLarge,
    /// Bytes that could not be understood, or a value that cannot be sent.
    Malformed,
    /// An ack token that no longer stands for a delivery.
    StaleToken,
    /// The publisher, consumer or broker handle was closed.
    Closed,
    /// A store (deduplication) failed.
    Store,
    /// A handler failed.
    Handler,
    /// Anything else; the source says what.
    Other,
}

impl ErrorKind {
    /// The kind's name as it appears in logs, metrics and dead-letter headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not-found",
            Self::TopologyMismatch => "topology-mismatch",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission-denied",
            Self::Disconnected => "disconnected",
            Self::Blocked => "blocked",
            Self::Timeout => "timeout",
            Self::Full => "full",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::StaleToken => "stale-token",
            Self::Closed => "closed",
            Self::Store => "store",
            Self::Handler => "handler",
            Self::Other => "other",
        }
    }

    /// Whether trying the same operation again can succeed without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Disconnected | Self::Blocked | Self::Timeout | Self::Full | Self::Store
        )
    }
}

/// What failed, where, why, and what to do about it.
///
/// The error is one pointer wide, so results of the hot path stay small. Secrets never appear in
/// it: adapters put addresses into [`Error::with_context`] only after removing credentials.
///
/// ```
/// use polymq_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Full, "the channel holds 64 MiB, its max_bytes")
///     .with_operation("publish")
///     .with_channel("orders")
///     .with_broker("memory")
///     .with_help("raise max_bytes, or add consumers");
/// assert!(error.is_retryable());
/// assert_eq!(
///     error.to_string(),
///     "publish, channel `orders`, broker `memory`: the channel holds 64 MiB, its max_bytes \
///      (help: raise max_bytes, or add consumers)"
/// );
/// ```
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    retryable: bool,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    channel: Option<String>,
    broker: Option<String>,
    help: Option<Cow<'static, str>>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; retryable or permanent as [`ErrorKind::is_retryable`] says.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retryable: kind.is_retryable(),
            message: message.into(),
            operation: None,
            channel: None,
            broker: None,
            help: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Names the operation that failed, unless an inner layer has named it already.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Names the channel, unless an inner layer has named it already.
    #[must_use]
    pub fn with_channel(mut self, channel: impl fmt::Display) -> Self {
        self.0.channel.get_or_insert_with(|| channel.to_string());
        self
    }

    /// Names the broker, unless an inner layer has named it already.
    #[must_use]
    pub fn with_broker(mut self, broker: impl fmt::Display) -> Self {
        self.0.broker.get_or_insert_with(|| broker.to_string());
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds a fact, such as `("limit", "1048576")`. Never a secret.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides what the kind says about trying again.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// What went wrong, by meaning.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The message alone, without operation, channel, broker and help.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The channel it failed on.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.0.channel.as_deref()
    }

    /// The broker it failed on.
    #[must_use]
    pub fn broker(&self) -> Option<&str> {
        self.0.broker.as_deref()
    }

    /// The facts added with [`Error::with_context`].
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(k, v)| (*k, v.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut first = true;
        let mut sep = |f: &mut fmt::Formatter<'_>| {
            let comma = !first;
            first = false;
            if comma { f.write_str(", ") } else { Ok(()) }
        };
        if let Some(operation) = inner.operation {
            sep(f)?;
            f.write_str(operation)?;
        }
        if let Some(channel) = &inner.channel {
            sep(f)?;
            write!(f, "channel `{channel}`")?;
        }
        if let Some(broker) = &inner.broker {
            sep(f)?;
            write!(f, "broker `{broker}`")?;
        }
        if !first {
            f.write_str(": ")?;
        }
        f.write_str(&inner.message)?;
        for (key, value) in &inner.context {
            write!(f, "; {key}: {value}")?;
        }
        if let Some(help) = &inner.help {
            write!(f, " (help: {help})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `fn main() -> Result<_, Error>` prints Debug: the reader gets the sentence, then the causes.
        write!(f, "{self}")?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}
