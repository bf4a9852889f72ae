//! The cases, by what they are about.

mod admin;
mod atomic;
mod close;
mod content;
mod dead_letters;
mod dedup;
mod drain;
mod expiry;
mod flow;
mod groups;
mod handlers;
mod leases;
mod limits;
mod order;
mod publish;
mod replay;
mod restart;
mod retry;
mod schedule;
mod settle;
mod topology;

use super::Case;

/// Every case, in the order in which reports show them.
pub fn all() -> impl Iterator<Item = &'static Case> {
    const ALL: &[&[Case]] = &[
        flow::CASES,
        groups::CASES,
        content::CASES,
        publish::CASES,
        limits::CASES,
        order::CASES,
        settle::CASES,
        leases::CASES,
        close::CASES,
        drain::CASES,
        retry::CASES,
        handlers::CASES,
        schedule::CASES,
        expiry::CASES,
        dead_letters::CASES,
        dedup::CASES,
        atomic::CASES,
        replay::CASES,
        admin::CASES,
        topology::CASES,
        restart::CASES,
    ];
    ALL.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_guarantees_are_sentences() {
        let mut names = HashSet::new();
        for case in super::all() {
            assert!(names.insert(case.name), "{}", case.name);
            assert!(case.guarantee.ends_with('.'), "{}", case.name);
        }
    }

    /// The model is the test suite that Watermill's adapters pass: its tests are our floor.
    #[test]
    fn every_test_of_watermill_has_its_case() {
        let floor = [
            ("TestPublishSubscribe", "publish-subscribe"),
            ("TestConcurrentSubscribe", "concurrent-subscribe"),
            ("TestConcurrentSubscribeMultipleTopics", "many-channels"),
            ("TestResendOnError", "resend-on-error"),
            ("TestNoAck", "one-at-a-time"),
            ("TestContinueAfterSubscribeClose", "continue-after-close"),
            ("TestConcurrentClose", "concurrent-close"),
            ("TestContinueAfterErrors", "continue-after-errors"),
            ("TestPublishSubscribeInOrder", "in-order"),
            ("TestPublisherClose", "publisher-close"),
            ("TestTopic", "channel-isolation"),
            ("TestMessageCtx", "context-end"),
            ("TestNewSubscriberReceivesOldMessages", "late-subscriber"),
            ("TestReconnect", "reconnect"),
            ("TestConsumerGroups", "consumer-groups"),
        ];
        for (theirs, ours) in floor {
            assert!(super::all().any(|case| case.name == ours), "{theirs}: no case `{ours}`");
        }
    }
}
