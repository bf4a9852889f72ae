use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Sends what polymq has to say to stderr: warnings, and more when asked. What its clients log of
/// their own stays out: what matters of it is in polymq's errors.
pub(crate) fn install(verbose: u8) {
    let (ours, theirs) = match verbose {
        0 => (LevelFilter::WARN, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::OFF),
        _ => (LevelFilter::DEBUG, LevelFilter::INFO),
    };
    let targets = Targets::new().with_target("polymq", ours).with_default(theirs);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
}
