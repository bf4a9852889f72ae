use polymq_core::model::hop;
use polymq_core::{DeadLetterReason, Message};

use super::count::list;
use super::published::describe;

/// A message that a consumer gave up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    message: Message,
}

impl DeadLetter {
    pub(super) fn new(message: Message) -> Self {
        Self { message }
    }

    fn header(&self, name: &str) -> &str {
        self.message.headers().get_str(name).unwrap_or_default()
    }

    /// The message as it lies there, with the envelope in its headers.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Whether this is why it was given up.
    #[must_use]
    pub fn is(&self, reason: DeadLetterReason) -> bool {
        self.reason() == reason.as_str()
    }

    /// Why it was given up: the name of a [`DeadLetterReason`].
    #[must_use]
    pub fn reason(&self) -> &str {
        self.header(hop::DEAD_LETTER_REASON)
    }

    /// The last error, outermost first, one cause per line.
    #[must_use]
    pub fn error(&self) -> &str {
        self.header(hop::DEAD_LETTER_ERROR)
    }

    /// How many attempts were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.header(hop::DEAD_LETTER_ATTEMPTS).parse().unwrap_or_default()
    }

    fn describe(&self) -> String {
        format!(
            "{} after {} attempts: {:?}; message {}",
            self.reason(),
            self.attempts(),
            self.error(),
            describe(&self.message)
        )
    }
}

/// What a consumer gave up, to be checked.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    what: String,
    letters: Vec<DeadLetter>,
}

impl DeadLetters {
    pub(super) fn new(what: String, letters: Vec<DeadLetter>) -> Self {
        Self { what, letters }
    }

    fn seen(&self) -> String {
        let lines: Vec<_> = self.letters.iter().map(DeadLetter::describe).collect();
        list(&lines)
    }

    /// Checks that there is none.
    ///
    /// # Panics
    /// When there is one, with what was there and why.
    #[track_caller]
    pub fn none(&self) {
        self.count(0);
    }

    /// Checks how many there are.
    ///
    /// # Panics
    /// When there are more or fewer, with what was there and why.
    #[track_caller]
    pub fn count(&self, expected: usize) {
        let found = self.letters.len();
        assert!(
            found == expected,
            "{}: expected {expected}, found {found}{}",
            self.what,
            self.seen()
        );
    }

    /// Checks that `matches` holds for exactly one, and returns it. Others may be there.
    ///
    /// # Panics
    /// When it holds for none or for several, with what was there and why.
    #[track_caller]
    pub fn one(&self, matches: impl Fn(&DeadLetter) -> bool) -> DeadLetter {
        let mut found = self.letters.iter().filter(|letter| matches(letter));
        match (found.next(), found.next()) {
            (Some(letter), None) => letter.clone(),
            (first, _) => panic!(
                "{}: expected one that matches, found {} of {}{}",
                self.what,
                if first.is_some() { "several" } else { "none" },
                self.letters.len(),
                self.seen()
            ),
        }
    }

    /// All of them, in the order in which they were given up.
    #[must_use]
    pub fn all(self) -> Vec<DeadLetter> {
        self.letters
    }
}
