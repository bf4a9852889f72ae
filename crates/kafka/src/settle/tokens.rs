//! Tokens: which hand-out of which message of which assignment.

use polymq_core::broker::Token;

/// The sequence number's share of a slot; the rest numbers the assignments of partitions.
const SEQUENCE_BITS: u32 = 40;

const SEQUENCE: u64 = (1 << SEQUENCE_BITS) - 1;

/// The largest number of an assignment; the next one is 0 again.
pub(super) const LAST_TRACK: u32 = (1 << (64 - SEQUENCE_BITS)) - 1;

/// The token of a hand-out. Partitions come and go one by one, so there are no epochs.
pub(super) fn pack(consumer: u32, track: u32, sequence: u64, generation: u32) -> Token {
    let slot = (u64::from(track) << SEQUENCE_BITS) | (sequence & SEQUENCE);
    Token { consumer, epoch: 0, slot, generation }
}

/// The number of the assignment, and the sequence number in it.
pub(super) fn unpack(token: Token) -> (u32, u64) {
    ((token.slot >> SEQUENCE_BITS) as u32, token.slot & SEQUENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_assignment_and_the_place_in_it() {
        for (track, sequence) in [(0, 0), (1, SEQUENCE), (LAST_TRACK, 7)] {
            assert_eq!(unpack(pack(3, track, sequence, 9)), (track, sequence));
        }
    }
}
