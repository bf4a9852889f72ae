//! Tests over the whole of polymq; see `tests/*.rs`.

pub mod bed;
pub mod real;
pub mod watch;

/// What the pages for newcomers show compiles.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    mod repository {}
    #[doc = include_str!("../../crates/polymq/README.md")]
    mod polymq {}
    #[doc = include_str!("../../crates/testkit/README.md")]
    mod testkit {}
}
