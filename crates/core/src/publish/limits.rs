use crate::broker::Limits;
use crate::model::Message;
use crate::{Error, ErrorKind, Result};

/// Room that a publisher leaves below the broker's limit, so that the envelope of a retry or a
/// dead letter always fits.
pub(crate) const HOP_RESERVE: usize = 16 << 10;

/// How many headers of an envelope there can be.
const HOP_HEADERS: usize = 16;

/// Whether a message, of `size` bytes as its broker counts them, fits with `reserve` bytes to spare.
pub(crate) fn check_limits(
    message: &Message,
    size: usize,
    limits: &Limits,
    reserve: usize,
) -> Result<()> {
    let too_large = |what: &str, size: usize, limit: usize| {
        Err(Error::new(ErrorKind::TooLarge, format!("{what} exceed the limit"))
            .with_context("size", size)
            .with_context("limit", limit))
    };
    let limit = limits.max_message_bytes.saturating_sub(reserve);
    if size > limit {
        return too_large("the message's bytes", size, limit)
            .map_err(|e| e.with_help("send a reference to the data instead of the data"));
    }
    let headers = message.headers();
    if headers.is_empty() {
        return Ok(());
    }
    let limit = limits.max_header_bytes.saturating_sub(reserve.min(limits.max_header_bytes / 4));
    if headers.size() > limit {
        return too_large("the bytes of the headers", headers.size(), limit)
            .map_err(|e| e.with_help("move large headers into the payload"));
    }
    let limit =
        limits.max_headers - if reserve > 0 { HOP_HEADERS.min(limits.max_headers) } else { 0 };
    if headers.len() > limit {
        return too_large("the headers", headers.len(), limit)
            .map_err(|e| e.with_help("send fewer headers, or move them into the payload"));
    }
    Ok(())
}
