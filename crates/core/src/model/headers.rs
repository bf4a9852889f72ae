use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smol_str::SmolStr;

/// Names beginning with this are polymq's own: a publisher strips them from application messages.
pub const RESERVED_PREFIX: &str = "polymq-";

/// Application headers: a small map from names to bytes, in insertion order.
///
/// Names are compared exactly. A value is bytes because brokers carry bytes: read text with
/// [`Headers::get_str`], which says `None` for bytes that are not UTF-8 rather than guessing.
/// Cloning shares the storage; an empty map owns nothing.
///
/// ```
/// use polymq_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.insert("tenant", "acme");
/// headers.insert("raw", vec![0xff, 0x00]);
/// assert_eq!(headers.get_str("tenant"), Some("acme"));
/// assert_eq!(headers.get_str("raw"), None);
/// assert_eq!(headers.get("raw").unwrap().as_ref(), [0xff, 0x00]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<(SmolStr, Bytes)>>>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    fn entries(&self) -> &[(SmolStr, Bytes)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    fn entries_mut(&mut self) -> &mut Vec<(SmolStr, Bytes)> {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.entries().iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The value of `name` as text; `None` if it is absent or not UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Sets `name`, replacing an earlier value.
    pub fn insert(&mut self, name: impl Into<SmolStr>, value: impl Into<Bytes>) {
        let (name, value) = (name.into(), value.into());
        let entries = self.entries_mut();
        match entries.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => entries.push((name, value)),
        }
    }

    /// Removes `name` and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<Bytes> {
        let at = self.entries().iter().position(|(n, _)| n == name)?;
        Some(self.entries_mut().remove(at).1)
    }

    /// Keeps the headers for which `keep` says yes. Copies nothing when all stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        if self.entries().iter().all(|(n, _)| keep(n)) {
            return;
        }
        self.entries_mut().retain(|(n, _)| keep(n));
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// The headers in insertion order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Bytes)> {
        self.entries().iter().map(|(n, v)| (n.as_str(), v))
    }

    /// How many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The bytes of all names and values together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries().iter().map(|(n, v)| n.len() + v.len()).sum()
    }
}

impl<N: Into<SmolStr>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.insert(name, value);
        }
        headers
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_not_changed_through_the_original() {
        let mut a: Headers = [("x", "1")].into_iter().collect();
        let b = a.clone();
        a.insert("x", "2");
        a.remove("y");
        assert_eq!((a.get_str("x"), b.get_str("x")), (Some("2"), Some("1")));
    }

    #[test]
    fn retain_that_empties_leaves_the_default() {
        let mut a: Headers = [("polymq-x", "1")].into_iter().collect();
        a.retain(|n| !n.starts_with(RESERVED_PREFIX));
        assert_eq!(a, Headers::new());
    }
}
