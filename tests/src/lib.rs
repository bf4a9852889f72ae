//! Tests over the whole of polymq; see `tests/*.rs`.

pub mod bed;
pub mod watch;
