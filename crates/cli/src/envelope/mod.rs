//! Messages as JSON: what `pub` reads and `sub` writes. What `sub` writes, `pub` reads.
//!
//! Bytes that are text are JSON strings; other bytes are `{"base64": "…"}`.

mod delivery;
mod line;

pub(crate) use delivery::{Envelope, bytes_text};
pub(crate) use line::parse;

/// The field that marks bytes which are no text.
const BASE64: &str = "base64";
