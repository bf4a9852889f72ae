use std::fmt;

use polymq_core::Message;

use super::count::list;

/// What was published to a channel, to be checked.
pub struct Published<T> {
    what: String,
    items: Vec<(Message, T)>,
    /// Messages of other types on the same channel.
    others: Vec<String>,
}

impl<T> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<_> = self.items.iter().map(|(message, _)| message).collect();
        f.debug_struct("Published").field("what", &self.what).field("messages", &messages).finish()
    }
}

impl<T> Published<T> {
    pub(super) fn new(what: String, items: Vec<(Message, T)>, others: Vec<String>) -> Self {
        Self { what, items, others }
    }

    /// What was there, under a failure's first line.
    fn seen(&self) -> String {
        let mut lines: Vec<_> = self.items.iter().map(|(message, _)| describe(message)).collect();
        lines.extend(self.others.iter().cloned());
        if lines.is_empty() { "\n  nothing was published there".to_owned() } else { list(&lines) }
    }

    /// Checks that `matches` holds for exactly one, and returns it. Others may be there.
    ///
    /// # Panics
    /// When it holds for none or for several, with what was there.
    #[track_caller]
    pub fn one(mut self, matches: impl Fn(&T) -> bool) -> T {
        let found: Vec<_> =
            (0..self.items.len()).filter(|index| matches(&self.items[*index].1)).collect();
        match found[..] {
            [index] => self.items.swap_remove(index).1,
            _ => panic!(
                "{}: expected one that matches, found {} of {}{}",
                self.what,
                found.len(),
                self.items.len(),
                self.seen()
            ),
        }
    }

    /// Checks that there is none.
    ///
    /// # Panics
    /// When there is one, with what was there.
    #[track_caller]
    pub fn none(&self) {
        self.count(0);
    }

    /// Checks how many there are.
    ///
    /// # Panics
    /// When there are more or fewer, with what was there.
    #[track_caller]
    pub fn count(&self, expected: usize) {
        let found = self.items.len();
        assert!(
            found == expected,
            "{}: expected {expected}, found {found}{}",
            self.what,
            self.seen()
        );
    }

    /// All of them, in the order in which they were sent.
    #[must_use]
    pub fn all(self) -> Vec<T> {
        self.items.into_iter().map(|(_, item)| item).collect()
    }
}

/// The most characters of a payload that a failure shows.
const MAX_PAYLOAD: usize = 200;

/// A message in one line.
pub(super) fn describe(message: &Message) -> String {
    let id = message.id().map_or_else(|| "no id".to_owned(), ToString::to_string);
    let of_type = message.message_type().map(|name| format!(" `{name}`")).unwrap_or_default();
    let payload = match message.payload() {
        None => "tombstone".to_owned(),
        Some(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            text.chars().take(MAX_PAYLOAD).flat_map(char::escape_debug).collect()
        }
    };
    format!("{id}{of_type}: {payload}")
}
