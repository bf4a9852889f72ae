//! Counts what the whole process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::scenarios::{self, Scenario};

pub(crate) struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the ones that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Allocations per message: of twice as many messages less those of once as many, so that setting up
/// doesn't count.
pub(crate) fn per_message(scenario: Scenario) -> f64 {
    const COUNT: usize = 51_200;
    let of = |count| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        scenarios::run_on_one_thread(scenario, count);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    let (once, twice) = (of(COUNT), of(2 * COUNT));
    (twice as f64 - once as f64) / COUNT as f64
}
