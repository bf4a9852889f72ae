use std::collections::{BTreeMap, HashSet};

use polymq_tests::real::{Deed, Note};

/// So much of a key's story is told on either side of a problem.
const AROUND: usize = 6;

/// How many messages a process has begun and not handled.
pub(super) fn in_hand(notes: &[Note], process: u32) -> usize {
    let count = |deed| notes.iter().filter(|n| n.pid == process && n.deed == deed).count();
    count(Deed::Began) - count(Deed::Handled)
}

/// What happened to the messages of each key, as all processes wrote it down together.
pub(super) struct Trace<'a> {
    keys: BTreeMap<&'a str, Vec<(usize, &'a Note)>>,
    /// The process that was killed, if one was: what it had begun may come again.
    killed: Option<u32>,
    /// So may what was handed over.
    handovers_repeat: bool,
}

impl<'a> Trace<'a> {
    pub(super) fn of(notes: &'a [Note], killed: Option<u32>, handovers_repeat: bool) -> Self {
        let mut keys = BTreeMap::<_, Vec<_>>::new();
        for note in notes {
            let (key, number) = note.id.rsplit_once('-').unwrap();
            keys.entry(key).or_default().push((number.parse().unwrap(), note));
        }
        Self { keys, killed, handovers_repeat }
    }

    pub(super) fn assert_ordered(&self) {
        let problems = self.keys.iter().filter_map(|(key, notes)| {
            let (at, problem) = self.check(notes).err()?;
            let around = &notes[at.saturating_sub(AROUND)..notes.len().min(at + AROUND)];
            let story: Vec<_> = around.iter().map(|(n, note)| (n, note.pid, note.deed)).collect();
            Some(format!("{key}: {problem}: {story:?}"))
        });
        let problems: Vec<_> = problems.collect();
        assert!(problems.is_empty(), "{:?} was killed; {problems:#?}", self.killed);
    }

    /// A message begins when the one before has been handled and none of its key is with a process;
    /// only what the killed process had begun, or what was handed over, begins again.
    fn check(&self, notes: &[(usize, &Note)]) -> Result<(), (usize, String)> {
        let mut running: Option<(usize, u32)> = None;
        let (mut next, mut handled, mut begun_by_killed) = (0, HashSet::new(), HashSet::new());
        for (at, &(n, note)) in notes.iter().enumerate() {
            let refuse = |problem| Err((at, problem));
            match note.deed {
                Deed::Began => {
                    if let Some((other, _)) = running.filter(|(_, pid)| Some(*pid) != self.killed) {
                        return refuse(format!("{n} began while {other} was running"));
                    }
                    if n > next || (n == next && n > 0 && !handled.contains(&(n - 1))) {
                        return refuse(format!("{n} began before the one before it was handled"));
                    }
                    if n < next && !begun_by_killed.contains(&n) && !self.handovers_repeat {
                        return refuse(format!("{n} came again"));
                    }
                    next = next.max(n + 1);
                    running = Some((n, note.pid));
                    if Some(note.pid) == self.killed {
                        begun_by_killed.insert(n);
                    }
                }
                Deed::Handled => {
                    handled.insert(n);
                    running = None;
                }
                deed => return refuse(format!("{deed:?} of {n}")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KILLED: Option<u32> = Some(9);

    fn check(story: &[(u32, Deed, usize)]) -> Result<(), (usize, String)> {
        let note = |&(pid, deed, n)| Note {
            pid,
            deed,
            id: format!("k-{n}"),
            at: Duration::ZERO,
            attempt: 1,
        };
        let notes: Vec<_> = story.iter().map(note).collect();
        let trace = Trace::of(&notes, KILLED, false);
        trace.keys.values().try_for_each(|notes| trace.check(notes))
    }

    #[test]
    fn only_what_the_killed_process_had_begun_may_come_again() {
        use Deed::{Began, Handled};
        let handed_over = [(1, Began, 0), (1, Handled, 0), (2, Began, 1), (2, Handled, 1)];
        assert_eq!(check(&handed_over), Ok(()));
        let after_a_kill = [
            (9, Began, 0),
            (9, Handled, 0),
            (9, Began, 1),
            (2, Began, 0),
            (2, Handled, 0),
            (2, Began, 1),
        ];
        assert_eq!(check(&after_a_kill), Ok(()));
        assert!(check(&[(1, Began, 0), (1, Handled, 0), (2, Began, 0)]).is_err(), "again");
        assert!(check(&[(1, Began, 0), (2, Began, 1)]).is_err(), "at once");
        assert!(check(&[(9, Began, 0), (2, Began, 1)]).is_err(), "overtaken");
        assert!(check(&[(1, Began, 1)]).is_err(), "skipped");
    }
}
