//! When each request leaves, and for which function. Pure: the same seed, the same schedule.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::{
    profile::{Profile, Walk},
    trace::Entry,
};

/// How requests follow each other at a given rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// At equal distances.
    Even,
    /// As independent clients come: exponentially distributed distances.
    Poisson,
}

/// One request to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u64,
    /// When it is to leave, from the begin of the run.
    pub at: Duration,
    /// Index of its function.
    pub target: usize,
}

/// Arrivals in the order of their times.
pub struct Schedule<'a> {
    times: Times<'a>,
    picker: Picker,
    number: u64,
}

enum Times<'a> {
    Even { walk: Walk<'a> },
    Poisson { walk: Walk<'a>, arrivals: f64, random: Box<Random> },
    Trace(std::slice::Iter<'a, Entry>),
}

impl<'a> Schedule<'a> {
    /// Arrivals at the rates of a profile, each for a function drawn by weight.
    #[must_use]
    pub fn of_profile(profile: &'a Profile, spacing: Spacing, weights: &[f64], seed: u64) -> Schedule<'a> {
        let walk = Walk::new(profile);
        let times = match spacing {
            Spacing::Even => Times::Even { walk },
            Spacing::Poisson => {
                Times::Poisson { walk, arrivals: 0.0, random: Box::new(Random::new(seed, Stream::Times)) }
            }
        };
        Schedule { times, picker: Picker::new(weights, seed), number: 0 }
    }

    /// Arrivals of a trace. What names no function there is for one drawn by weight.
    #[must_use]
    pub fn of_trace(entries: &'a [Entry], weights: &[f64], seed: u64) -> Schedule<'a> {
        Schedule { times: Times::Trace(entries.iter()), picker: Picker::new(weights, seed), number: 0 }
    }
}

impl Iterator for Schedule<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (at, target) = match &mut self.times {
            // In the middle of its share of time: so the number of arrivals is the rounded mean, whatever rounding does.
            Times::Even { walk } => (Duration::from_secs_f64(walk.when(self.number as f64 + 0.5)?), None),
            // A Poisson process of any rate is one of rate 1, on a clock that runs at that rate.
            Times::Poisson { walk, arrivals, random } => {
                *arrivals += -(1.0 - random.unit()).ln();
                (Duration::from_secs_f64(walk.when(*arrivals)?), None)
            }
            Times::Trace(entries) => entries.next().map(|entry| (entry.at, entry.target))?,
        };
        let target = target.unwrap_or_else(|| self.picker.pick());
        let number = self.number;
        self.number += 1;
        Some(Arrival { number, at, target })
    }
}

/// Draws functions by weight.
pub(crate) struct Picker {
    /// Sums of the weights up to each function.
    sums: Vec<f64>,
    random: Random,
}

impl Picker {
    pub(crate) fn new(weights: &[f64], seed: u64) -> Picker {
        let add = |sum: &mut f64, weight: &f64| {
            *sum += weight;
            Some(*sum)
        };
        Picker { sums: weights.iter().scan(0.0, add).collect(), random: Random::new(seed, Stream::Targets) }
    }

    pub(crate) fn pick(&mut self) -> usize {
        let Some(last) = self.sums.len().checked_sub(1) else { return 0 };
        let drawn = self.random.unit() * self.sums[last];
        self.sums.partition_point(|&sum| sum <= drawn).min(last)
    }
}

/// What is drawn for what. Streams of one seed do not touch: functions are the same with even and with Poisson arrivals.
enum Stream {
    Times,
    Targets,
}

struct Random(ChaCha8Rng);

impl Random {
    fn new(seed: u64, stream: Stream) -> Random {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream as u64);
        Random(random)
    }

    /// From 0 to just below 1: 53 bits.
    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
