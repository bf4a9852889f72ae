use std::fmt;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::Timestamp;

/// What identifies a message across hops, brokers and redeliveries.
///
/// Any non-empty text is an id. Generated ids are 22 digits of base 64: 48 bits of time and 80 random
/// bits, the layout of a ULID, so that they sort by time and need no allocation. The digits are
/// `0`–`9`, letters, `_` and `~`; the first one is always `0`–`3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(SmolStr);

impl MessageId {
    /// Takes an id as it is; `None` if it is empty.
    #[must_use]
    pub fn new(id: impl AsRef<str>) -> Option<Self> {
        let id = id.as_ref();
        (!id.is_empty()).then(|| Self(SmolStr::new(id)))
    }

    /// A fresh id that sorts by `now`.
    #[must_use]
    pub fn generate(now: Timestamp) -> Self {
        let random: u128 = rand::random::<u128>() >> 48;
        Self(digits((u128::from(now.as_millis()) << 80) | random))
    }

    /// The id that the same `parts` always give: the first 128 bits of the SHA-256 of the parts,
    /// each preceded by its length as eight big-endian bytes.
    #[must_use]
    pub fn derived(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(digits(u128::from_be_bytes(first)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 22 digits of six bits, most significant first, from an alphabet in the order of ASCII.
fn digits(value: u128) -> SmolStr {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
    let mut out = [0; 22];
    let mut rest = value;
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(rest & 63) as usize];
        rest >>= 6;
    }
    SmolStr::new(std::str::from_utf8(&out).unwrap_or_default())
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl AsRef<str> for MessageId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for MessageId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl serde::Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_fixed_in_width_and_in_order() {
        assert_eq!(digits(0), "0".repeat(22));
        assert_eq!(digits(63), format!("{}~", "0".repeat(21)));
        assert_eq!(digits(64), format!("{}10", "0".repeat(20)));
        assert_eq!(digits(u128::MAX), format!("3{}", "~".repeat(21)));
        assert!(digits(u128::MAX - 1) < digits(u128::MAX));
    }

    #[test]
    fn generated_ids_sort_by_time_and_differ() {
        let early = MessageId::generate(Timestamp::from_millis(1));
        let late = MessageId::generate(Timestamp::from_millis(2));
        assert!(early < late);
        assert_ne!(late, MessageId::generate(Timestamp::from_millis(2)));
    }

    #[test]
    fn derived_ids_do_not_confuse_where_a_part_ends() {
        assert_eq!(MessageId::derived(&[b"a", b"bc"]), MessageId::derived(&[b"a", b"bc"]));
        assert_ne!(MessageId::derived(&[b"a", b"bc"]), MessageId::derived(&[b"ab", b"c"]));
    }
}
