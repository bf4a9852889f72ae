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
}
