use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Why a handler failed: retried, unless it says that it is permanent.
///
/// It is made from any error by `?`, strings and `anyhow` errors included, and deliberately is no
/// [`std::error::Error`] itself, as that conversion would not exist then.
///
/// ```
/// use polymq_core::{HandlerError, ResultExt};
///
/// fn parse(amount: &str) -> Result<u32, HandlerError> {
///     if amount.is_empty() {
///         Err("no amount").permanent()?; // dead-lettered now
///     }
///     Ok(amount.parse::<u32>().class("parse")?) // retried, within the limits of its class
/// }
/// assert!(parse("").unwrap_err().is_permanent());
/// assert_eq!(parse("x").unwrap_err().error_class(), "parse");
/// ```
#[derive(Clone)]
pub struct HandlerError {
    source: Arc<dyn StdError + Send + Sync>,
    permanent: bool,
    release: bool,
    class: Cow<'static, str>,
}

/// The class of an error that names no other.
pub(crate) const CLASS_ERROR: &str = "error";
/// The class of an attempt that took longer than the consumer's `timeout`.
pub(crate) const CLASS_TIMEOUT: &str = "timeout";
/// The class of an output that the context refused.
pub(crate) const CLASS_OUTPUT: &str = "output";
/// The class of an attempt that panicked.
pub(crate) const CLASS_PANIC: &str = "panic";

impl HandlerError {
    /// A retryable error of the class `error`.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: source.into().into(),
            permanent: false,
            release: false,
            class: Cow::Borrowed(CLASS_ERROR),
        }
    }

    /// No failure: the message goes back to the broker unhandled, and soon to anybody, without an
    /// attempt spent. What was published for it is forgotten.
    ///
    /// For a handler that learns that its process is to take no more:
    /// [`Running::pause`](crate::Running::pause) the consumer first, or the message comes back here.
    /// A broker that counts hand-outs counts this one too. With `ack = "before"` there is nothing to
    /// give back: the message is dead-lettered.
    #[must_use]
    pub fn release(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { release: true, ..Self::new(reason) }
    }

    /// Never to be retried: the message is dead-lettered at once.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Names the error's class, for `retry.limits`, metrics and dead letters.
    #[must_use]
    pub fn class(mut self, class: impl Into<Cow<'static, str>>) -> Self {
        self.class = class.into();
        self
    }

    /// Whether it is never to be retried.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// Whether the message is to be given back rather than tried again.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.release
    }

    /// The class; `error` unless named.
    #[must_use]
    pub fn error_class(&self) -> &str {
        &self.class
    }

    /// The error chain, outermost first, one per line, at most `limit` bytes.
    pub(crate) fn chain(&self, limit: usize) -> String {
        // An error's text is the application's code: it must not take the message with it.
        let chain = catch_unwind(AssertUnwindSafe(|| self.full_chain(limit)));
        chain.unwrap_or_else(|_| "an error whose text panics".to_owned())
    }

    fn full_chain(&self, limit: usize) -> String {
        let mut text = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let line = error.to_string();
            // Many errors repeat their source in their own message.
            if !text.ends_with(&line) {
                text.push('\n');
                text.push_str(&line);
            }
            cause = error.source();
        }
        let mut end = limit.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("source", &self.source)
            .field("permanent", &self.permanent)
            .field("release", &self.release)
            .field("class", &self.class)
            .finish()
    }
}

/// Turns results into ones that say how their error is to be handled.
pub trait ResultExt<T> {
    /// Marks the error as never to be retried.
    ///
    /// # Errors
    /// The error itself, marked.
    fn permanent(self) -> Result<T, HandlerError>;

    /// Names the error's class.
    ///
    /// # Errors
    /// The error itself, classed.
    fn class(self, class: impl Into<Cow<'static, str>>) -> Result<T, HandlerError>;
}

impl<T, E: Into<HandlerError>> ResultExt<T> for Result<T, E> {
    fn permanent(self) -> Result<T, HandlerError> {
        self.map_err(|e| e.into().permanent())
    }

    fn class(self, class: impl Into<Cow<'static, str>>) -> Result<T, HandlerError> {
        self.map_err(|e| e.into().class(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_has_every_cause_once_and_is_cut_at_a_character() {
        let inner = std::io::Error::other("disk gone");
        let outer = crate::Error::new(crate::ErrorKind::Other, "cannot säve").with_source(inner);
        let error = HandlerError::from(outer);
        assert_eq!(error.chain(100), "cannot säve\ndisk gone");
        assert_eq!(error.chain(9), "cannot s", "ä is two bytes");
    }

    #[test]
    fn marks_add_up() {
        let error = Err::<(), _>("x").class("smtp").permanent().unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(error.error_class(), "smtp");
    }
}
