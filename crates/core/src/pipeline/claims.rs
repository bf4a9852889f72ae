use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

use crate::dedup::{Claim, ClaimRequest, DedupStore};
use crate::slots::Slots;

/// Gathers the claims of many workers into few calls to the store: at once when none is in flight,
/// and what arrives meanwhile with the next.
#[derive(Debug)]
pub(super) struct Claims {
    store: Arc<dyn DedupStore>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<(usize, ClaimRequest)>,
    slots: Slots<Option<Claim>>,
}

impl Claims {
    pub(super) fn new(store: Arc<dyn DedupStore>) -> Self {
        Self { store, state: Mutex::default(), wake: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's answer; `None` when the store failed, which has been logged.
    pub(super) async fn claim(&self, request: ClaimRequest) -> Option<Claim> {
        let waiting = {
            let mut state = self.state();
            let slot = state.slots.open();
            state.queue.push((slot, request));
            Waiting { claims: self, slot }
        };
        self.wake.notify_one();
        poll_fn(|cx| match self.state().slots.poll(waiting.slot, cx.waker()) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }

    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let batch = std::mem::take(&mut self.state().queue);
            if batch.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let (slots, requests): (Vec<usize>, Vec<ClaimRequest>) = batch.into_iter().unzip();
            let answers = self.store.claim(&requests).await;
            if let Err(error) = &answers {
                tracing::error!(%error, "the deduplication store failed to claim");
            }
            let mut answers = answers.unwrap_or_default().into_iter();
            let wakers: Vec<_> = {
                let mut state = self.state();
                slots
                    .into_iter()
                    .filter_map(|slot| state.slots.complete(slot, answers.next()))
                    .collect()
            };
            wakers.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

struct Waiting<'a> {
    claims: &'a Claims,
    slot: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.claims.state().slots.close(self.slot);
    }
}
