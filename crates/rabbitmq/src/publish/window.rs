//! How much may be unconfirmed at once.

use super::batch::Item;

/// The most messages that are written, and answered for, together.
const PIECE: usize = 128;

/// The payloads in flight come to no more bytes, but for those of the last message: lapin keeps a copy of
/// each until it is on the wire, however slow that is.
const BYTES: usize = 64 << 20;

/// What messages take up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    count: usize,
    bytes: usize,
}

impl Size {
    pub(super) fn of(items: &[Item]) -> Self {
        Self { count: items.len(), bytes: items.iter().map(Item::bytes).sum() }
    }
}

/// Messages that are written and not confirmed: bounded by number and by bytes.
#[derive(Debug)]
pub(super) struct Window {
    count: usize,
    in_flight: Size,
}

impl Window {
    /// A window for so many messages.
    pub(super) fn new(count: usize) -> Self {
        Self { count, in_flight: Size::default() }
    }

    /// How many of these may be written now, as one piece; `None` while it is full.
    pub(super) fn fit(&self, items: &[Item]) -> Option<usize> {
        let count = self.count.saturating_sub(self.in_flight.count).min(PIECE);
        let mut bytes = self.in_flight.bytes;
        let fits = |item: &&Item| {
            let is_room = bytes < BYTES;
            bytes += item.bytes();
            is_room
        };
        let fitting = items.iter().take(count).take_while(fits).count();
        (fitting > 0).then_some(fitting)
    }

    pub(super) fn enter(&mut self, size: Size) {
        self.in_flight.count += size.count;
        self.in_flight.bytes += size.bytes;
    }

    pub(super) fn leave(&mut self, size: Size) {
        self.in_flight.count -= size.count;
        self.in_flight.bytes -= size.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{item, shared};
    use super::*;

    fn items(count: usize, bytes: usize) -> Vec<Item> {
        let shared = shared();
        (0..count).map(|_| item(&shared, bytes)).collect()
    }

    #[test]
    fn small_messages_fill_it_by_number() {
        let mut window = Window::new(200);
        let many = items(300, 1);
        assert_eq!(window.fit(&many), Some(PIECE));
        window.enter(Size::of(&many[..PIECE]));
        assert_eq!(window.fit(&many[PIECE..]), Some(200 - PIECE));
        window.enter(Size::of(&many[PIECE..200]));
        assert_eq!(window.fit(&many[200..]), None);
        window.leave(Size::of(&many[..PIECE]));
        assert_eq!(window.fit(&many[200..]), Some(100));
    }

    #[test]
    fn large_messages_fill_it_by_bytes_and_one_of_any_size_gets_in() {
        let mut window = Window::new(200);
        let large = items(4, BYTES / 2);
        assert_eq!(window.fit(&large), Some(2));
        window.enter(Size::of(&large[..2]));
        assert_eq!(window.fit(&large[2..]), None);
        window.leave(Size::of(&large[..2]));
        assert_eq!(window.fit(&items(2, BYTES + 1)), Some(1));
    }
}
