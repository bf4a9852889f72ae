use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Claim, ClaimRequest, DedupKey, DedupStore, Fence, HandOver, Held};
use crate::clock::Clock;
use crate::observe::metrics::DEDUP_EVICTED;
use crate::{Error, ErrorKind, Result};

/// A [`DedupStore`] in the process: forgets everything on restart, and serves one process only.
///
/// It is bounded. When it is full, the handled ids that would be forgotten soonest are forgotten
/// at once, which shortens their window, and the metric `polymq.dedup.evicted` counts them. A claim
/// is never forgotten: with nothing but live claims, further ones fail.
pub struct MemoryDedupStore {
    clock: Arc<dyn Clock>,
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<DedupKey, Entry>,
    /// When finished entries end. Holds stale items too: the entry's own `until` decides.
    ends: BinaryHeap<Reverse<(Instant, DedupKey)>>,
    last_fence: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    phase: Phase,
    /// The earliest attempt that is not superseded.
    floor: u32,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Claimed(Fence),
    Handed,
    Done(Fence),
}

/// How many ids a store remembers by default: about 200 MiB with ids of 100 bytes.
const DEFAULT_CAPACITY: usize = 1_000_000;

impl fmt::Debug for MemoryDedupStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDedupStore")
            .field("capacity", &self.capacity)
            .field("len", &self.state().entries.len())
            .finish()
    }
}

impl MemoryDedupStore {
    /// An empty store for a million ids.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_capacity(clock, DEFAULT_CAPACITY)
    }

    /// An empty store for at most `capacity` ids, claims included.
    #[must_use]
    pub fn with_capacity(clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self { clock, capacity, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn finish(&mut self, key: &DedupKey, entry: Entry) {
        self.ends.push(Reverse((entry.until, key.clone())));
        self.entries.insert(key.clone(), entry);
    }

    fn forget_ended(&mut self, now: Instant) {
        while self.ends.peek().is_some_and(|Reverse((until, _))| *until <= now) {
            self.forget_first();
        }
    }

    /// Forgets the finished entry that ends first. `false`: there was none.
    fn forget_first(&mut self) -> bool {
        while let Some(Reverse((until, key))) = self.ends.pop() {
            let current = self
                .entries
                .get(&key)
                .is_some_and(|e| e.until == until && !matches!(e.phase, Phase::Claimed(_)));
            if current {
                self.entries.remove(&key);
                return true;
            }
        }
        false
    }

    fn make_room(&mut self, capacity: usize) -> Result<()> {
        while self.entries.len() >= capacity {
            if !self.forget_first() {
                return Err(Error::new(
                    ErrorKind::Store,
                    format!("the store in memory holds {capacity} live claims, its capacity"),
                )
                .with_operation("claim")
                .with_help("give the store a larger capacity, or lower prefetch"));
            }
            metrics::counter!(DEDUP_EVICTED).increment(1);
        }
        Ok(())
    }

    fn claim(&mut self, request: &ClaimRequest, now: Instant, capacity: usize) -> Result<Claim> {
        let floor = match self.entries.get(&request.key) {
            Some(entry) if matches!(entry.phase, Phase::Done(_)) => return Ok(Claim::Done),
            Some(entry) if request.attempt < entry.floor => return Ok(Claim::Superseded),
            Some(entry) if matches!(entry.phase, Phase::Claimed(_)) && entry.until > now => {
                return Ok(Claim::Held(entry.until - now));
            }
            Some(entry) => entry.floor,
            None => {
                self.make_room(capacity)?;
                0
            }
        };
        self.last_fence += 1;
        let fence = Fence(self.last_fence);
        let until = now + request.lease;
        let entry = Entry { phase: Phase::Claimed(fence), floor, until };
        self.entries.insert(request.key.clone(), entry);
        Ok(Claim::Granted(fence))
    }

    /// The entry, if this claim still holds it.
    fn held(&mut self, held: &Held) -> Option<&mut Entry> {
        self.entries.get_mut(&held.key).filter(|e| e.phase == Phase::Claimed(held.fence))
    }
}

#[async_trait]
impl DedupStore for MemoryDedupStore {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Claim>> {
        let now = self.clock.instant();
        let mut state = self.state();
        state.forget_ended(now);
        requests.iter().map(|request| state.claim(request, now, self.capacity)).collect()
    }

    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<bool>> {
        let until = self.clock.instant() + lease;
        let mut state = self.state();
        let renewed = |held| state.held(held).map(|entry| entry.until = until).is_some();
        Ok(held.iter().map(renewed).collect())
    }

    async fn commit(&self, held: &[Held], retain: Duration) -> Result<Vec<bool>> {
        let until = self.clock.instant() + retain;
        let mut state = self.state();
        let commit = |held: &Held| match state.entries.get(&held.key).copied() {
            Some(Entry { phase: Phase::Done(fence), .. }) => fence == held.fence,
            Some(Entry { phase: Phase::Claimed(fence), floor, .. }) if fence == held.fence => {
                state.finish(&held.key, Entry { phase: Phase::Done(fence), floor, until });
                true
            }
            _ => false,
        };
        Ok(held.iter().map(commit).collect())
    }

    async fn hand_over(&self, handed: &[HandOver]) -> Result<Vec<bool>> {
        let now = self.clock.instant();
        let mut state = self.state();
        let hand_over = |handed: &HandOver| {
            if state.held(&handed.held).is_none() {
                return false;
            }
            let until = now + handed.retain;
            let entry = Entry { phase: Phase::Handed, floor: handed.attempt, until };
            state.finish(&handed.held.key, entry);
            true
        };
        Ok(handed.iter().map(hand_over).collect())
    }

    async fn release(&self, held: &[Held]) -> Result<()> {
        let now = self.clock.instant();
        let mut state = self.state();
        for held in held {
            let Some(entry) = state.held(held).copied() else {
                continue;
            };
            if entry.floor == 0 {
                state.entries.remove(&held.key);
            } else {
                // Keeps what was handed over: the floor outlives the claim by the lease it had.
                let until = entry.until.max(now);
                state.finish(&held.key, Entry { phase: Phase::Handed, until, ..entry });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::model::{ChannelName, GroupName};

    const LEASE: Duration = Duration::from_secs(30);
    const WINDOW: Duration = Duration::from_secs(3600);

    fn store(capacity: usize) -> MemoryDedupStore {
        MemoryDedupStore::with_capacity(Arc::new(VirtualClock::default()), capacity)
    }

    fn key(id: &str) -> DedupKey {
        DedupKey::new(
            &ChannelName::new("orders").unwrap(),
            &GroupName::new("billing").unwrap(),
            id,
            0,
        )
    }

    async fn claim(store: &MemoryDedupStore, id: &str, attempt: u32) -> Claim {
        let request = ClaimRequest { key: key(id), attempt, lease: LEASE };
        store.claim(&[request]).await.unwrap()[0]
    }

    async fn granted(store: &MemoryDedupStore, id: &str, attempt: u32) -> Held {
        match claim(store, id, attempt).await {
            Claim::Granted(fence) => Held { key: key(id), fence },
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_claimed_key_is_held_until_its_lease_ends() {
        let store = store(10);
        let first = granted(&store, "1", 1).await;
        assert_eq!(claim(&store, "1", 1).await, Claim::Held(LEASE));
        tokio::time::advance(LEASE).await;
        let second = granted(&store, "1", 1).await;
        assert!(second.fence > first.fence);
        assert_eq!(store.commit(&[first], WINDOW).await.unwrap(), [false], "fenced off");
        assert_eq!(store.commit(&[second], WINDOW).await.unwrap(), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_claim_outlives_its_lease() {
        let store = store(10);
        let held = granted(&store, "1", 1).await;
        tokio::time::advance(LEASE * 2 / 3).await;
        assert_eq!(store.renew(std::slice::from_ref(&held), LEASE).await.unwrap(), [true]);
        tokio::time::advance(LEASE * 2 / 3).await;
        assert!(matches!(claim(&store, "1", 1).await, Claim::Held(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_committed_key_is_done_for_its_window_and_then_forgotten() {
        let store = store(10);
        let held = granted(&store, "1", 1).await;
        store.commit(std::slice::from_ref(&held), WINDOW).await.unwrap();
        assert_eq!(store.commit(&[held], WINDOW).await.unwrap(), [true], "again is true again");
        assert_eq!(claim(&store, "1", 1).await, Claim::Done);
        tokio::time::advance(WINDOW).await;
        granted(&store, "1", 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_hand_over_earlier_attempts_are_superseded() {
        let store = store(10);
        let held = granted(&store, "1", 1).await;
        let handed = HandOver { held, attempt: 2, retain: WINDOW };
        assert_eq!(store.hand_over(&[handed]).await.unwrap(), [true]);
        assert_eq!(claim(&store, "1", 1).await, Claim::Superseded);
        let copy = granted(&store, "1", 2).await;
        assert_eq!(claim(&store, "1", 1).await, Claim::Superseded, "also while the copy runs");
        store.release(&[copy]).await.unwrap();
        assert_eq!(claim(&store, "1", 1).await, Claim::Superseded, "and after it was given up");
        granted(&store, "1", 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_claim_is_free_at_once() {
        let store = store(10);
        let held = granted(&store, "1", 1).await;
        store.release(&[held]).await.unwrap();
        granted(&store, "1", 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_store_forgets_what_ends_first_but_never_a_claim() {
        let store = store(2);
        for (id, window) in [("long", WINDOW), ("short", LEASE)] {
            let held = granted(&store, id, 1).await;
            store.commit(&[held], window).await.unwrap();
        }
        let live = granted(&store, "live", 1).await;
        assert_eq!(claim(&store, "long", 1).await, Claim::Done, "the short one was forgotten");
        granted(&store, "live-2", 1).await;
        let request = ClaimRequest { key: key("live-3"), attempt: 1, lease: LEASE };
        assert_eq!(store.claim(&[request]).await.unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(store.renew(&[live], LEASE).await.unwrap(), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_key_twice_in_a_batch_is_granted_once() {
        let store = store(10);
        let request = ClaimRequest { key: key("1"), attempt: 1, lease: LEASE };
        let claims = store.claim(&[request.clone(), request]).await.unwrap();
        assert!(matches!(claims[..], [Claim::Granted(_), Claim::Held(_)]), "{claims:?}");
    }
}
