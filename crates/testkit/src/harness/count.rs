/// A number to be checked.
#[derive(Debug, Clone)]
pub struct Count {
    what: String,
    n: u64,
    /// What was counted, for the reader of a failure.
    seen: Vec<String>,
}

impl Count {
    pub(super) fn new(what: String, n: u64, seen: Vec<String>) -> Self {
        Self { what, n, seen }
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.n
    }

    /// Checks the number.
    ///
    /// # Panics
    /// When it is another one, with what was counted.
    #[track_caller]
    pub fn assert_eq(&self, expected: u64) {
        let Self { what, n, seen } = self;
        assert!(*n == expected, "{what}: expected {expected}, found {n}{}", list(seen));
    }
}

/// The most lines that a failure shows.
const MAX_LINES: usize = 20;

/// Lines under a failure's first one.
pub(super) fn list(lines: &[String]) -> String {
    let mut text: String = lines.iter().take(MAX_LINES).map(|line| format!("\n  {line}")).collect();
    if lines.len() > MAX_LINES {
        text.push_str(&format!("\n  … and {} more", lines.len() - MAX_LINES));
    }
    text
}
