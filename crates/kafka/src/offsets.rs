//! Where groups start, and where they are moved to.

use polymq_core::broker::StartPosition;
use polymq_core::{Error, ErrorKind, Position, Result};

use crate::session::{Session, of_topic};

/// Commits where a new group starts, on every partition. A group that has committed anything is not new: then
/// nothing is done.
///
/// Of a position, which is one partition's, the others start at their ends.
pub(crate) fn begin(session: &Session, topic: &str, start: StartPosition) -> Result<()> {
    let partitions = session.existing(topic)?.partitions;
    // Before the group is asked for: when another process has begun it by the time of that question, what is
    // published after that lies behind these offsets, so that even committing them loses nothing.
    let ends = session.ends(topic, partitions)?;
    let mut offsets = ends.clone();
    for (partition, offset) in targets(session, topic, &ends, start)? {
        offsets[partition as usize] = offset;
    }
    let has_begun = || -> Result<bool> {
        Ok(session.committed(topic, partitions)?.iter().any(Option::is_some))
    };
    if has_begun()? {
        return Ok(());
    }
    match session.commit(topic, (0..).zip(offsets)) {
        // The members of a group come after its offsets: whose they are has committed them.
        Err(e) if e.kind() == ErrorKind::TopologyMismatch && has_begun()? => Ok(()),
        done => done,
    }
}

/// Moves a group that has no members. Of a position, which is one partition's, the others stay where they are.
///
/// # Errors
/// `TopologyMismatch` while the group has members; `NotFound` as [`targets`].
pub(crate) fn seek(session: &Session, topic: &str, to: StartPosition) -> Result<()> {
    let partitions = session.existing(topic)?.partitions;
    let ends = session.ends(topic, partitions)?;
    session.commit(topic, targets(session, topic, &ends, to)?)
}

/// The offsets that a position stands for: of every partition, or of the one that it names.
///
/// # Errors
/// `NotFound` for a partition that isn't there, or an offset outside its log.
pub(crate) fn targets(
    session: &Session,
    topic: &str,
    ends: &[i64],
    to: StartPosition,
) -> Result<Vec<(u32, i64)>> {
    let partitions = u32::try_from(ends.len()).unwrap_or(u32::MAX);
    let offsets = match to {
        StartPosition::Earliest => session.beginnings(topic, partitions)?,
        StartPosition::Timestamp(at) => {
            let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
            let found = session.at_time(topic, partitions, millis)?;
            found.into_iter().zip(ends).map(|(found, end)| found.unwrap_or(*end)).collect()
        }
        StartPosition::Position(at) => {
            let beginnings = session.beginnings(topic, partitions)?;
            return at_position(topic, &beginnings, ends, at).map(|target| vec![target]);
        }
        _ => ends.to_vec(),
    };
    Ok((0..).zip(offsets).collect())
}

fn at_position(topic: &str, beginnings: &[i64], ends: &[i64], at: Position) -> Result<(u32, i64)> {
    let partition = at.partition as usize;
    let Some((first, end)) = beginnings.get(partition).zip(ends.get(partition)) else {
        let error = Error::new(
            ErrorKind::NotFound,
            format!("there is no partition {}: the topic has {}", at.partition, ends.len()),
        );
        return Err(of_topic(error, topic).with_help("partitions are counted from 0"));
    };
    match i64::try_from(at.offset).ok().filter(|offset| (first..=end).contains(&offset)) {
        Some(offset) => Ok((at.partition, offset)),
        None => {
            let p = at.partition;
            let text =
                format!("there is no position {at}: the log holds {p}/{first} up to {p}/{end}");
            Err(of_topic(Error::new(ErrorKind::NotFound, text), topic).with_help(
                "choose a position within that range, `earliest`, `latest` or a timestamp",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: u32, offset: u64) -> Result<(u32, i64)> {
        at_position("t", &[5, 0], &[10, 0], Position { partition, offset })
    }

    #[test]
    fn a_position_lies_between_the_logs_ends() {
        assert_eq!(at(0, 5).unwrap(), (0, 5));
        assert_eq!(at(0, 10).unwrap(), (0, 10));
        assert_eq!(at(1, 0).unwrap(), (1, 0));
    }

    #[test]
    fn a_position_that_is_not_there_is_not_found_and_the_error_says_what_is() {
        for (partition, offset) in [(0, 4), (0, 11), (0, u64::MAX), (2, 0)] {
            assert_eq!(at(partition, offset).unwrap_err().kind(), ErrorKind::NotFound);
        }
        assert!(at(0, 4).unwrap_err().to_string().contains("0/5 up to 0/10"));
        assert!(at(2, 0).unwrap_err().to_string().contains("the topic has 2"));
    }
}
