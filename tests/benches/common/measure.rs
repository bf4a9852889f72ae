//! Measurements, and their ratios.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// What one run over all messages took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// Of this process: the client's, not the broker's.
    pub(crate) cpu: Duration,
}

/// A measurement that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    wall: Instant,
    cpu: ProcessTime,
}

impl Start {
    pub(crate) fn now() -> Self {
        Self { wall: Instant::now(), cpu: ProcessTime::now() }
    }

    pub(crate) fn sample(self) -> Sample {
        Sample { wall: self.wall.elapsed(), cpu: self.cpu.elapsed() }
    }
}

/// An operation, ours beside the raw client's, round by round.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) operation: &'static str,
    pub(crate) raw: &'static str,
    rounds: Vec<(Sample, Sample)>,
}

/// The median of the rounds' ratios, with the least and the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Row {
    pub(crate) fn new(operation: &'static str, raw: &'static str) -> Self {
        Self { operation, raw, rounds: Vec::new() }
    }

    pub(crate) fn push(&mut self, raw: Sample, ours: Sample) {
        self.rounds.push((raw, ours));
    }

    /// Our rate in parts of the raw client's.
    pub(crate) fn rate(&self) -> Spread {
        self.spread(|raw, ours| raw.wall.as_secs_f64() / ours.wall.as_secs_f64())
    }

    /// Our CPU time in parts of the raw client's.
    pub(crate) fn cpu(&self) -> Spread {
        self.spread(|raw, ours| ours.cpu.as_secs_f64() / raw.cpu.as_secs_f64())
    }

    fn spread(&self, ratio: impl Fn(&Sample, &Sample) -> f64) -> Spread {
        let mut ratios: Vec<f64> = self.rounds.iter().map(|(raw, ours)| ratio(raw, ours)).collect();
        ratios.sort_by(f64::total_cmp);
        Spread {
            median: ratios[ratios.len() / 2],
            least: ratios[0],
            most: ratios[ratios.len() - 1],
        }
    }
}
