//! Properties of schedules: whatever the rates, requests come in order, as many as they should, where they should, and the same
//! again with the same seed.

use std::time::Duration;

use mayfly_load::{
    Profile, Spacing, Spike, Target, Trace,
    schedule::{Arrival, Schedule},
};
use proptest::prelude::*;

/// Probability with which a true property may fail: a Poisson count is within so many standard deviations of its mean.
const DEVIATIONS: f64 = 6.0;

fn profiles() -> impl Strategy<Value = Profile> {
    let rate = prop_oneof![Just(0.0), 0.1..300.0f64];
    let phase = (rate.clone(), rate, 0.1..8.0f64);
    let phases = prop::collection::vec(phase, 1..6);
    phases.prop_filter_map("a rate above 0", |phases| {
        let texts = phases.iter().map(|(from, to, seconds)| format!("{from}..{to}:{seconds}s"));
        Profile::parse(&texts.collect::<Vec<_>>().join(","), Duration::from_secs(1)).ok()
    })
}

fn spacings() -> impl Strategy<Value = Spacing> {
    prop_oneof![Just(Spacing::Even), Just(Spacing::Poisson)]
}

fn arrivals(profile: &Profile, spacing: Spacing, weights: &[f64], seed: u64) -> Vec<Arrival> {
    Schedule::of_profile(profile, spacing, weights, seed).collect()
}

/// Expected number of arrivals before a time, by adding up small pieces: another way than the one under test.
fn expected(profile: &Profile, until: f64) -> f64 {
    const PIECES: u32 = 4_000;
    let width = until / f64::from(PIECES);
    (0..PIECES).map(|piece| profile.rate_at((f64::from(piece) + 0.5) * width) * width).sum()
}

fn before(arrivals: &[Arrival], seconds: f64) -> f64 {
    arrivals.iter().filter(|arrival| arrival.at.as_secs_f64() < seconds).count() as f64
}

proptest! {
    #[test]
    fn in_order_within_the_profile_and_numbered(profile in profiles(), spacing in spacings(), seed: u64) {
        let arrivals = arrivals(&profile, spacing, &[1.0], seed);
        prop_assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
        prop_assert!(arrivals.iter().all(|arrival| arrival.at.as_secs_f64() <= profile.seconds() + 1e-6));
        prop_assert!(arrivals.iter().enumerate().all(|(position, arrival)| arrival.number == position as u64));
    }

    #[test]
    fn even_arrivals_follow_the_rate_to_the_request(profile in profiles(), part in 0.0..1.0f64) {
        let arrivals = arrivals(&profile, Spacing::Even, &[1.0], 0);
        prop_assert!((arrivals.len() as f64 - profile.arrivals()).abs() <= 0.500_001);
        let until = part * profile.seconds();
        let (found, wanted) = (before(&arrivals, until), expected(&profile, until));
        // Half a request for where they are in their share, the rest for the edges of phases in the sum.
        prop_assert!((found - wanted).abs() <= 1.0 + profile.seconds() * 300.0 / 4_000.0, "{found} {wanted}");
    }

    #[test]
    fn poisson_arrivals_follow_the_rate_on_average(profile in profiles(), part in 0.2..1.0f64, seed: u64) {
        let arrivals = arrivals(&profile, Spacing::Poisson, &[1.0], seed);
        let until = part * profile.seconds();
        let (found, wanted) = (before(&arrivals, until), expected(&profile, until));
        let tolerance = DEVIATIONS * wanted.sqrt() + 12.0 + profile.seconds() * 300.0 / 4_000.0;
        prop_assert!((found - wanted).abs() <= tolerance, "{found} {wanted}");
    }

    #[test]
    fn the_seed_decides(profile in profiles(), spacing in spacings(), seed: u64) {
        let weights = [1.0, 2.0];
        let first = arrivals(&profile, spacing, &weights, seed);
        prop_assert_eq!(&first, &arrivals(&profile, spacing, &weights, seed));
        let targets = |arrivals: &[Arrival]| arrivals.iter().map(|arrival| arrival.target).collect::<Vec<_>>();
        if first.len() > 200 {
            prop_assert_ne!(targets(&first), targets(&arrivals(&profile, spacing, &weights, seed.wrapping_add(1))));
        }
    }

    #[test]
    fn functions_are_drawn_by_weight(weights in prop::collection::vec(0.1..10.0f64, 1..6), seed: u64) {
        let profile = Profile::constant(1000.0, Duration::from_secs(2));
        let arrivals = arrivals(&profile, Spacing::Even, &weights, seed);
        let sum: f64 = weights.iter().sum();
        for (target, weight) in weights.iter().enumerate() {
            let share = weight / sum;
            let wanted = share * arrivals.len() as f64;
            let found = arrivals.iter().filter(|arrival| arrival.target == target).count() as f64;
            let deviation = (wanted * (1.0 - share)).sqrt();
            prop_assert!((found - wanted).abs() <= DEVIATIONS * deviation + 1e-6, "{target}: {found} {wanted}");
        }
    }

    #[test]
    fn spikes_are_where_they_should_be(base in 1.0..50.0f64, factor in 10.0..100.0f64, length in 0.5..1.5f64, spacing in spacings(), seed: u64) {
        let text = format!("{}:{length}s/4s", base * factor);
        let spike = Spike::parse(&text).expect("a spike");
        let profile = Profile::constant(base, Duration::from_secs(10)).with_spikes(spike).expect("not too many");
        let arrivals = arrivals(&profile, spacing, &[1.0], seed);
        for (from, to, rate) in [(0.0, 4.0, base), (4.0, 4.0 + length, base * factor), (4.0 + length, 8.0, base), (8.0, 8.0 + length, base * factor)] {
            let (found, wanted) = (before(&arrivals, to) - before(&arrivals, from), (to - from) * rate);
            prop_assert!((found - wanted).abs() <= DEVIATIONS * wanted.sqrt() + 12.0, "{from} to {to}: {found} {wanted}");
        }
    }

    #[test]
    fn a_trace_is_replayed_exactly(times in prop::collection::vec((0u64..10_000_000_000, 0usize..3), 1..200)) {
        let line = |(ns, function): &(u64, usize)| format!("{}.{:09},f{function}", ns / 1_000_000_000, ns % 1_000_000_000);
        let text = times.iter().map(line).collect::<Vec<_>>().join("\n");
        let mut targets = Vec::new();
        let trace = Trace::parse(&text, 1.0, &mut targets, &Target::new("")).expect("a trace");
        let mut wanted = times;
        wanted.sort_by_key(|(ns, _)| *ns);
        let arrivals: Vec<Arrival> = Schedule::of_trace(&trace.entries, &[], 1).collect();
        prop_assert_eq!(arrivals.len(), wanted.len());
        for (arrival, (ns, function)) in arrivals.iter().zip(wanted) {
            prop_assert_eq!(arrival.at.as_nanos() as u64, ns);
            prop_assert_eq!(&targets[arrival.target].function, &format!("f{function}"));
        }
    }
}
