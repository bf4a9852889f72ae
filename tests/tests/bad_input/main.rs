//! What bad input gets: refused, dead-lettered, counted, waited for. Never lost, and nothing panics or
//! hangs.

mod faults;
mod handlers;
mod limits;
mod messages;
mod stuck;
mod types;
