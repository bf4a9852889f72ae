use std::sync::Arc;

use super::{Ledger, Receipt, Tally};

fn confirmed(ids: &[&str], key: Option<&[u8]>) -> Ledger {
    let ledger = Ledger::default();
    for id in ids {
        ledger.sent(id, key);
        ledger.confirmed(id);
    }
    ledger
}

#[test]
fn a_perfect_run_counts_every_id_once() {
    let ledger = confirmed(&["a", "b"], Some(b"k"));
    for id in ["a", "b"] {
        assert_eq!(ledger.received(id), Receipt::First);
    }
    let wanted = Tally { sent: 2, confirmed: 2, received: 2, distinct: 2, ..Tally::default() };
    assert_eq!(ledger.tally(), wanted);
}

#[test]
fn a_lost_message_is_not_made_up_for_by_a_duplicate() {
    let ledger = confirmed(&["a", "b"], None);
    ledger.received("a");
    assert_eq!(ledger.received("a"), Receipt::Duplicate);
    let tally = ledger.tally();
    assert_eq!((tally.received, tally.distinct), (2, 1));
    assert_eq!((tally.lost, tally.duplicated), (1, 1));
    assert_eq!(ledger.lost(), ["b"]);
}

#[test]
fn only_confirmed_messages_can_be_lost() {
    let ledger = Ledger::default();
    for id in ["unknown", "unconfirmed", "rejected"] {
        ledger.sent(id, None);
    }
    ledger.unconfirmed("unconfirmed");
    ledger.rejected("rejected");
    let tally = ledger.tally();
    assert_eq!((tally.sent, tally.unconfirmed, tally.rejected, tally.lost), (3, 1, 1, 0));
}

#[test]
fn a_rejected_message_that_arrives_is_unexpected() {
    let ledger = Ledger::default();
    ledger.sent("a", None);
    ledger.rejected("a");
    assert_eq!(ledger.received("a"), Receipt::Unexpected);
    assert_eq!(ledger.received("never-sent"), Receipt::Unexpected);
    let tally = ledger.tally();
    assert_eq!((tally.unexpected, tally.received, tally.distinct), (2, 2, 0));
}

#[test]
fn an_unconfirmed_message_that_arrives_is_expected() {
    let ledger = Ledger::default();
    ledger.sent("a", None);
    ledger.unconfirmed("a");
    assert_eq!(ledger.received("a"), Receipt::First);
}

#[test]
fn a_confirmation_is_not_taken_back() {
    let ledger = confirmed(&["a"], None);
    ledger.unconfirmed("a");
    assert_eq!(ledger.tally().confirmed, 1);
}

#[test]
fn order_counts_within_a_key_and_first_receipts_only() {
    let ledger = confirmed(&["a1", "a2", "a3"], Some(b"a"));
    for id in ["b1", "b2"] {
        ledger.sent(id, Some(b"b"));
        ledger.confirmed(id);
    }
    for id in ["a2", "b1", "a1", "a3", "a1", "b2"] {
        ledger.received(id);
    }
    let tally = ledger.tally();
    assert_eq!((tally.reordered, tally.duplicated), (1, 1), "a1 came after a2, and again");
}

#[test]
fn ids_without_a_key_have_no_order() {
    let ledger = confirmed(&["a", "b"], None);
    ledger.received("b");
    ledger.received("a");
    assert_eq!(ledger.tally().reordered, 0);
}

#[test]
fn a_resend_is_the_same_message() {
    let ledger = confirmed(&["a", "a"], Some(b"k"));
    assert_eq!(ledger.tally().sent, 1);
}

#[test]
fn threads_share_one_ledger() {
    let ledger = Arc::new(Ledger::default());
    let threads: Vec<_> = (0..4)
        .map(|t| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || {
                for n in 0..250 {
                    let id = format!("{t}-{n}");
                    ledger.sent(&id, None);
                    ledger.confirmed(&id);
                    ledger.received(&id);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let tally = ledger.tally();
    assert_eq!((tally.sent, tally.distinct, tally.lost), (1000, 1000, 0));
}

#[test]
fn a_tally_prints_as_one_line() {
    let ledger = confirmed(&["a", "b"], None);
    ledger.received("a");
    assert_eq!(
        ledger.tally().to_string(),
        "sent 2, confirmed 2, received 1, distinct 1, duplicated 0, reordered 0, lost 1"
    );
    ledger.sent("c", None);
    ledger.rejected("c");
    ledger.received("c");
    let line = ledger.tally().to_string();
    assert!(line.contains("rejected 1") && line.ends_with("unexpected 1"), "{line}");
}
