//! What a run was: everything that one needs to do it again.

use std::time::SystemTime;

use aws_smithy_types::{DateTime, date_time::Format};
use serde::Serialize;

use crate::{
    duration,
    machine::Machine,
    profile::{Phase, Profile},
    run::{Pace, Plan},
    schedule::Spacing,
};

/// What was done, where and when.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// The tool.
    pub version: &'static str,
    /// How it was called.
    pub command: String,
    /// When, in UTC.
    pub started: String,
    /// Where the requests went.
    pub endpoint: String,
    /// Whether the requests were signed.
    pub is_signed: bool,
    /// When they left, in words.
    pub pace: String,
    /// Whether clients waited for answers.
    pub is_closed: bool,
    /// Whether the user ended it early.
    pub was_stopped: bool,
    /// What was drawn, was drawn from that.
    pub seed: u64,
    /// Most connections that were allowed.
    pub connections_max: usize,
    /// Longest wait for an answer.
    pub timeout_s: f64,
    /// When clients hung up.
    pub hang_up_after_s: Option<f64>,
    /// How often a client asked before it gave up.
    pub attempts: u32,
    /// CPUs of the threads that sent; empty: any.
    pub cpus: Vec<usize>,
    /// Whether the server is on this machine.
    pub is_local: bool,
    /// The machine that sent.
    pub machine: Machine,
    /// What else the user must know.
    pub notes: Vec<String>,
}

impl About {
    pub(crate) fn new(
        plan: &Plan,
        machine: Machine,
        started: SystemTime,
        notes: Vec<String>,
        was_stopped: bool,
    ) -> About {
        let setting = &plan.setting;
        About {
            version: env!("CARGO_PKG_VERSION"),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            started: utc(started),
            endpoint: plan.endpoint.url().to_owned(),
            is_signed: plan.credentials.is_some(),
            pace: pace(&plan.pace),
            is_closed: matches!(plan.pace, Pace::Closed { .. }),
            was_stopped,
            seed: plan.seed,
            connections_max: setting.connections,
            timeout_s: setting.timeout.as_secs_f64(),
            hang_up_after_s: setting.hang_up_after.map(|limit| limit.as_secs_f64()),
            attempts: setting.attempts,
            cpus: setting.cpus.clone(),
            is_local: plan.endpoint.is_loopback(),
            machine,
            notes,
        }
    }
}

/// To the second.
fn utc(time: SystemTime) -> String {
    DateTime::from_secs(DateTime::from(time).secs()).fmt(Format::DateTime).unwrap_or_default()
}

/// The pace in words.
fn pace(pace: &Pace) -> String {
    match pace {
        Pace::Open { profile, spacing } => {
            let spacing = if *spacing == Spacing::Poisson { "Poisson arrivals" } else { "even arrivals" };
            format!("{spacing}, {}", rates(profile))
        }
        Pace::Replay(trace) => {
            let end = duration::show(trace.duration().as_nanos() as u64);
            format!("replay of {} requests in {end}", trace.entries.len())
        }
        Pace::Closed { clients, duration } => {
            let clients = if *clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
            format!("closed loop of {clients} for {}", duration::show(duration.as_nanos() as u64))
        }
    }
}

/// Most phases that are told one by one.
const PHASES_TOLD: usize = 6;

fn rates(profile: &Profile) -> String {
    let told = |phase: &Phase| {
        let seconds = duration::show((phase.seconds * 1e9) as u64);
        if (phase.from - phase.to).abs() < f64::EPSILON {
            format!("{}/s for {seconds}", rate(phase.from))
        } else {
            format!("{}/s to {}/s in {seconds}", rate(phase.from), rate(phase.to))
        }
    };
    if profile.phases().len() <= PHASES_TOLD {
        return profile.phases().iter().map(told).collect::<Vec<_>>().join(", then ");
    }
    let highest = profile.phases().iter().map(|phase| phase.from.max(phase.to)).fold(0.0, f64::max);
    let seconds = duration::show((profile.seconds() * 1e9) as u64);
    format!("{} phases of up to {}/s in {seconds}", profile.phases().len(), rate(highest))
}

/// A rate without digits that say nothing.
pub(crate) fn rate(rate: f64) -> String {
    let text = match rate {
        ..10.0 => format!("{rate:.2}"),
        ..1000.0 => format!("{rate:.1}"),
        _ => return format!("{rate:.0}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn paces_in_words() {
        let profile = |text| Profile::parse(text, Duration::from_secs(10)).expect("a profile");
        assert_eq!(rates(&profile("500,0..1500:1s")), "500/s for 10.0 s, then 0/s to 1500/s in 1.00 s");
        let spikes = profile("10:100s").with_spikes(crate::Spike::parse("2000:1s/10s").expect("a spike"));
        assert_eq!(rates(&spikes.expect("not too many")), "19 phases of up to 2000/s in 100 s");
        assert_eq!([0.0, 0.5, 5.0, 120.0, 333.33, 1200.0].map(rate), ["0", "0.5", "5", "120", "333.3", "1200"]);
    }
}
