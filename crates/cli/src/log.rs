use std::io;

use tracing_subscriber::filter::LevelFilter;

/// Sends what the libraries have to say to stderr: warnings, and more when asked.
pub(crate) fn install(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}
