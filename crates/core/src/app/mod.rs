//! Putting it together: an [`App`] connects brokers, checks what they can do against what the
//! configuration needs, and runs the consumers of a service until it is told to stop.

mod app;
mod connection;
mod handlers;
mod inspect;
mod report;
mod running;
mod signal;
mod start;

pub use app::App;
pub use connection::Connection;
pub use report::DrainReport;
pub use running::Running;
pub use signal::stop_requested;
