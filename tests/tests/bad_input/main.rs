//! What bad input gets: refused, dead-lettered, counted, waited for. Never lost, and nothing panics or
//! hangs.

mod handlers;
mod limits;
mod messages;

mod types;
