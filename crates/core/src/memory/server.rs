use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Notify;

use super::MemoryAdapter;
use super::budget::Budget;
use super::channel::Channel;
use super::config::MemoryOptions;
use crate::broker::Capability;
use crate::model::{ChannelName, Namespace, Timestamp};

/// Locks; a panic elsewhere has left every structure whole, because none of ours is left between
/// two states while foreign code runs.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The channels of one namespace.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) channels: RwLock<HashMap<ChannelName, Arc<Channel>>>,
}

impl Space {
    pub(super) fn channel(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        channels.get(name).map(Arc::clone)
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: MemoryOptions,
    pub(super) budget: Arc<Budget>,
    spaces: Mutex<HashMap<Namespace, Arc<Space>>>,
    channels: AtomicUsize,
    consumers: AtomicU32,
    connections: AtomicU32,
    version: AtomicU64,
    changed: Notify,
}

/// The messages of one embedded broker, which any number of connections share.
///
/// Whoever wants only `memory://` needs none of this: the adapter makes its servers itself. A test
/// makes one to choose options in code, to let several services or a crashed one and its successor
/// meet on the same messages, or to wait for something to happen.
///
/// Cloning gives another handle to the same server. Messages live as long as any handle,
/// connection or adapter does.
///
/// ```
/// use polymq_core::memory::{MemoryOptions, MemoryServer};
///
/// let server = MemoryServer::new(MemoryOptions::default().with_max_bytes(1 << 20));
/// let adapter = server.adapter(); // every connection of it reaches `server`
/// assert_eq!(server.used_bytes(), 0);
/// # drop(adapter);
/// ```
#[derive(Clone)]
pub struct MemoryServer(pub(super) Arc<Shared>);

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryServer")
            .field("options", &self.0.options)
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

impl Default for MemoryServer {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl MemoryServer {
    /// An empty server.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        Self(Arc::new(Shared {
            budget: Arc::new(Budget::new(options.max_bytes)),
            options,
            spaces: Mutex::default(),
            channels: AtomicUsize::new(0),
            consumers: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            version: AtomicU64::new(0),
            changed: Notify::new(),
        }))
    }

    /// An adapter whose every connection reaches this server, whatever name its URL has. A
    /// connection without options of its own takes the server's.
    #[must_use]
    pub fn adapter(&self) -> MemoryAdapter {
        MemoryAdapter::of(self.clone())
    }

    /// What the server was made with.
    #[must_use]
    pub fn options(&self) -> &MemoryOptions {
        &self.0.options
    }

    /// The bytes of all stored messages, overhead included.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.budget.used()
    }

    /// Moves whenever messages were published, handed out, settled, given back or deleted: once
    /// per batch.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Waits until [`version`](Self::version) is no longer `seen`, and returns it. Cancel-safe.
    pub async fn changed(&self, seen: u64) -> u64 {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let version = self.version();
            if version != seen {
                return version;
            }
            changed.await;
        }
    }

    pub(super) fn touch(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }

    pub(super) fn lacks(&self, capability: Capability) -> bool {
        self.0.options.lacks.contains(&capability)
    }

    pub(super) fn space(&self, namespace: &Namespace) -> Arc<Space> {
        let mut spaces = lock(&self.0.spaces);
        Arc::clone(spaces.entry(namespace.clone()).or_default())
    }

    pub(super) fn next_channel(&self) -> usize {
        self.0.channels.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next_consumer(&self) -> u32 {
        self.0.consumers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next_connection(&self) -> u32 {
        self.0.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Drops history of all channels until `bytes` were freed or none is left. No channel may be
    /// locked by the caller.
    pub(super) fn evict_history(&self, bytes: u64, now: Timestamp) {
        let spaces: Vec<Arc<Space>> = lock(&self.0.spaces).values().map(Arc::clone).collect();
        let mut wanted = bytes;
        for space in spaces {
            let channels = space.channels.read().unwrap_or_else(PoisonError::into_inner);
            for channel in channels.values() {
                let mut state = lock(&channel.state);
                state.expire_history(now);
                wanted = wanted.saturating_sub(state.evict(wanted));
                if wanted == 0 {
                    return;
                }
            }
        }
    }
}
