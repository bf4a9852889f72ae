//! What cases are written with: a scene per case, traffic that is counted, and waits with ends.

mod probe;
mod scene;
mod traffic;
mod wait;

pub(super) use probe::{Probe, Seen, read_dead_letters};
pub(super) use scene::{Scene, channel, group, ordered_queue, queue, topic};
pub(super) use traffic::{
    Arrivals, Readers, id_of, keyed, note, publish, publish_one, receive, settle, subscribe, texts,
};
pub(super) use wait::{PATIENCE, QUIET, RESOLUTION, soon, until};
