//! A rate of arrivals over time: pieces of straight lines.
//!
//! Constant, stepped, ramped and spiked load are all of this one form, and it can be integrated and inverted exactly:
//! [`Walk`] turns "the u-th request" into "when", which makes even arrivals and Poisson arrivals the same few lines.

use std::time::Duration;

use crate::duration;

/// Most pieces.
const PHASES_MAX: usize = 10_000;
/// Highest rate per second: beyond what any one machine sends.
const RATE_MAX: f64 = 1e6;

/// A piece: the rate per second goes from one value to another in that time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// Rate at its begin.
    pub from: f64,
    /// Rate at its end.
    pub to: f64,
    /// Its length.
    pub seconds: f64,
}

/// Rate of arrivals over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    phases: Vec<Phase>,
}

/// A higher rate that comes again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spike {
    /// Rate per second while it lasts.
    pub rate: f64,
    /// How long it lasts.
    pub seconds: f64,
    /// How much later the next begins. The first begins after that time, too.
    pub every_seconds: f64,
}

impl Phase {
    fn arrivals(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds
    }

    fn rate_at(&self, seconds: f64) -> f64 {
        self.from + (self.to - self.from) * (seconds / self.seconds).clamp(0.0, 1.0)
    }
}

impl Profile {
    /// One rate.
    #[must_use]
    pub fn constant(rate: f64, duration: Duration) -> Profile {
        Profile { phases: vec![Phase { from: rate, to: rate, seconds: duration.as_secs_f64() }] }
    }

    /// Reads `RATE[..RATE][:DURATION]`, several of them with commas between; those without a duration last `default`.
    ///
    /// # Errors
    /// It is something else. One sentence.
    pub fn parse(text: &str, default: Duration) -> Result<Profile, String> {
        let phases = text.split(',').map(|phase| parse_phase(phase, default)).collect::<Result<Vec<_>, _>>()?;
        if phases.len() > PHASES_MAX {
            return Err(format!("the load has {} phases; {PHASES_MAX} are the most", phases.len()));
        }
        if phases.iter().all(|phase| phase.from == 0.0 && phase.to == 0.0) {
            return Err("the rate is 0 all the time; give one like 100, or 0..1000 for a ramp".to_owned());
        }
        Ok(Profile { phases })
    }

    /// The pieces.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// Length.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// Number of arrivals on average.
    #[must_use]
    pub fn arrivals(&self) -> f64 {
        self.phases.iter().map(Phase::arrivals).sum()
    }

    /// Rate per second at a time; at an edge that of the later piece.
    #[must_use]
    pub fn rate_at(&self, seconds: f64) -> f64 {
        let mut left = seconds;
        for phase in &self.phases {
            if left < phase.seconds {
                return phase.rate_at(left);
            }
            left -= phase.seconds;
        }
        self.phases.last().map_or(0.0, |phase| phase.to)
    }

    /// The same after `duration` at the rate with which it begins.
    #[must_use]
    pub fn after(mut self, duration: Duration) -> Profile {
        let rate = self.phases[0].from;
        self.phases.insert(0, Phase { from: rate, to: rate, seconds: duration.as_secs_f64() });
        self
    }

    /// The same with the rate of a spike wherever there is one.
    ///
    /// # Errors
    /// There are too many of them.
    pub fn with_spikes(self, spike: Spike) -> Result<Profile, String> {
        let end = self.seconds();
        let count = (end / spike.every_seconds).floor();
        if count * 2.0 + self.phases.len() as f64 > PHASES_MAX as f64 {
            return Err(format!("there would be {count} spikes; let them come less often"));
        }
        let begins = (1..=count as u32).map(|k| f64::from(k) * spike.every_seconds).filter(|&begin| begin < end);
        let windows: Vec<(f64, f64)> = begins.map(|begin| (begin, (begin + spike.seconds).min(end))).collect();
        let mut phases = Vec::new();
        let mut begin = 0.0;
        for phase in &self.phases {
            let phase_end = begin + phase.seconds;
            let edges = windows.iter().flat_map(|&(from, to)| [from, to]);
            let mut cuts: Vec<f64> = edges.filter(|&edge| edge > begin && edge < phase_end).collect();
            cuts.push(phase_end);
            let mut from = begin;
            for to in cuts {
                let is_spike = windows.iter().any(|&(low, high)| low <= from && to <= high);
                let rate = |at: f64| if is_spike { spike.rate } else { phase.rate_at(at - begin) };
                phases.push(Phase { from: rate(from), to: rate(to), seconds: to - from });
                from = to;
            }
            begin = phase_end;
        }
        Ok(Profile { phases })
    }
}

impl Spike {
    /// Reads `RATE:LENGTH/EVERY`.
    ///
    /// # Errors
    /// It is something else. One sentence.
    pub fn parse(text: &str) -> Result<Spike, String> {
        let parts = text.split_once(':').and_then(|(rate, times)| Some((rate, times.split_once('/')?)));
        let Some((rate, (length, every))) = parts else {
            return Err(format!("'{text}' is not a spike; write one like 2000:5s/30s: rate, length, how often"));
        };
        let (seconds, every_seconds) = (duration::parse(length)?.as_secs_f64(), duration::parse(every)?.as_secs_f64());
        if seconds >= every_seconds {
            return Err(format!("the spike '{text}' ends after the next has begun; make it shorter than {every}"));
        }
        Ok(Spike { rate: parse_rate(rate)?, seconds, every_seconds })
    }
}

fn parse_phase(text: &str, default: Duration) -> Result<Phase, String> {
    let (rates, length) = match text.split_once(':') {
        Some((rates, length)) => (rates, duration::parse(length)?),
        None => (text, default),
    };
    let (from, to) = match rates.split_once("..") {
        Some((from, to)) => (parse_rate(from)?, parse_rate(to)?),
        None => (parse_rate(rates)?, parse_rate(rates)?),
    };
    Ok(Phase { from, to, seconds: length.as_secs_f64() })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.trim().trim_end_matches("/s").parse::<f64>().unwrap_or(f64::NAN);
    if (0.0..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("'{text}' is not a rate; write requests per second, like 500, 0..1000:30s or 100:10s,200:10s"))
    }
}

/// Finds when the expected number of arrivals reaches a value. The values must not fall.
pub(crate) struct Walk<'a> {
    phases: std::slice::Iter<'a, Phase>,
    phase: Option<&'a Phase>,
    /// Where the phase begins, in time and in arrivals.
    seconds: f64,
    arrivals: f64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(profile: &'a Profile) -> Walk<'a> {
        let mut phases = profile.phases.iter();
        let phase = phases.next();
        Walk { phases, phase, seconds: 0.0, arrivals: 0.0 }
    }

    /// Seconds from the begin, or nothing if the profile ends before that.
    pub(crate) fn when(&mut self, arrivals: f64) -> Option<f64> {
        loop {
            let phase = self.phase?;
            let inside = arrivals - self.arrivals;
            if inside < phase.arrivals() {
                return Some(self.seconds + within(phase, inside));
            }
            self.seconds += phase.seconds;
            self.arrivals += phase.arrivals();
            self.phase = self.phases.next();
        }
    }
}

/// Solves `from·t + (to − from)/(2·length)·t² = arrivals` for t, in the form that loses no digits and knows no special case.
fn within(phase: &Phase, arrivals: f64) -> f64 {
    let slope = (phase.to - phase.from) / phase.seconds;
    let root = (phase.from * phase.from + 2.0 * slope * arrivals).max(0.0).sqrt();
    let divisor = phase.from + root;
    // Nothing has come before a ramp from 0 begins.
    if divisor == 0.0 { 0.0 } else { (2.0 * arrivals / divisor).min(phase.seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn phase(from: f64, to: f64, seconds: f64) -> Phase {
        Phase { from, to, seconds }
    }

    #[test]
    fn what_is_read() {
        let cases = [
            ("500", vec![phase(500.0, 500.0, 10.0)]),
            ("100, 200/s", vec![phase(100.0, 100.0, 10.0), phase(200.0, 200.0, 10.0)]),
            ("0..1000:60s,5:1m", vec![phase(0.0, 1000.0, 60.0), phase(5.0, 5.0, 60.0)]),
        ];
        for (text, phases) in cases {
            assert_eq!(Profile::parse(text, TEN), Ok(Profile { phases }), "{text}");
        }
        for text in ["", "x", "-1", "1..", "1:2:3", "0", "1e9", "5,", "nan"] {
            assert!(Profile::parse(text, TEN).is_err(), "{text}");
        }
    }

    #[test]
    fn spikes_replace_the_rate_where_they_are() {
        let spike = Spike::parse("2000:1s/4s").expect("a spike");
        let profile = Profile::parse("0..100", TEN).expect("a profile").with_spikes(spike).expect("not too many");
        let rates = [(0.0, 0.0), (3.99, 39.9), (4.0, 2000.0), (4.99, 2000.0), (5.0, 50.0), (8.5, 2000.0), (9.5, 95.0)];
        for (at, rate) in rates {
            assert!((profile.rate_at(at) - rate).abs() < 1e-6, "{at}: {}", profile.rate_at(at));
        }
        assert!((profile.seconds() - 10.0).abs() < 1e-9);
        for text in ["2000", "2000:5s", "2000:5s/5s", "x:1s/2s"] {
            assert!(Spike::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_walk_inverts_the_rate() {
        let profile = Profile::parse("0..10:10s,0:5s,10:1s", TEN).expect("a profile");
        let mut walk = Walk::new(&profile);
        // Half of a ramp's arrivals have come after 1/√2 of its time; nothing comes while the rate is 0.
        let expected = [(0.0, 0.0), (25.0, 50.0f64.sqrt()), (50.0, 15.0), (55.0, 15.5)];
        for (arrivals, seconds) in expected {
            let when = walk.when(arrivals).expect("within");
            assert!((when - seconds).abs() < 1e-9, "{arrivals}: {when}");
        }
        assert_eq!(walk.when(60.0), None);
    }
}
