//! Two builds, in turns, and whether they differ.
//!
//! Both platforms are there all the time, and each round asks both for the same: a deploy, the new function's first invocation, warm ones and fresh ones.
//! Who is first changes from round to round. What the machine does beside that hits both alike: of each round only the ratio counts.

use std::{
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use clap::Args;
use mayfly_benches::{
    distribution::Distribution,
    http::{Client, invocations},
    paired::Ratios,
    platform::{Platform, Runtime},
    report::Machine,
};

use super::{
    Asked, Outcome,
    invocation::{HELLO, http::invoke},
};

/// Compares another build with this one, or with that of `--program`.
#[derive(Args)]
pub(super) struct Compare {
    /// The `mayfly` of the other build.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// Rounds; more of them find smaller differences [default: 30, with --quick 8].
    #[arg(long)]
    rounds: Option<usize>,
}

/// Warm and fresh invocations of a round: their median counts.
const INVOCATIONS: usize = 30;
/// For longer than it takes to replace a shell.
const PAUSE: Duration = Duration::from_millis(200);
const KINDS: [&str; 4] = ["deploy to Active", "first invocation, bound on demand", "`reuse`", "`fresh`, back to back"];

impl Compare {
    pub(super) fn measure(&self, asked: &Asked) -> Outcome<()> {
        let programs = [std::fs::canonicalize(&self.before)?, asked.program.clone()];
        let rounds = self.rounds.unwrap_or(if asked.quick { 8 } else { 30 });
        let runtime = Runtime::all().pop().ok_or("there is no runtime")?;
        println!(
            "before: {}\nafter:  {}\n{}, {rounds} rounds",
            programs[0].display(),
            programs[1].display(),
            runtime.name()
        );
        Machine::examine().lines().iter().for_each(|(what, is)| println!("  {what:<12} {is}"));
        let [before, after] = programs;
        let (mut before, mut after) = (Build::start(&before, runtime.clone())?, Build::start(&after, runtime)?);
        let mut ratios = KINDS.map(|_| Ratios::default());
        for round in 0..rounds {
            let (of_before, of_after) = if round % 2 == 0 {
                let first = before.round(round)?;
                (first, after.round(round)?)
            } else {
                let first = after.round(round)?;
                (before.round(round)?, first)
            };
            for ((ratios, before), after) in ratios.iter_mut().zip(of_before).zip(of_after) {
                ratios.add(before, after);
            }
            eprint!("\rround {} of {rounds}", round + 1);
        }
        eprintln!();
        println!("\n{:<36} {:>12} {:>12} {:>8} {:>16}", "p50 in µs", "before", "after", "ratio", "95 % interval");
        for (kind, ratios) in ratios.iter().enumerate() {
            let [of_before, of_after] = [&before, &after].map(|build| build.seen[kind].quantile_us(0.5));
            println!("{:<36} {of_before:>12.1} {of_after:>12.1} {}", KINDS[kind], verdict(ratios));
        }
        Ok(())
    }
}

fn verdict(ratios: &Ratios) -> String {
    let median = ratios.median();
    let Some((least, most)) = ratios.interval() else { return format!("{median:>8.3}   too few rounds to say more") };
    let verdict = match () {
        () if most < 1.0 => "faster",
        () if least > 1.0 => "slower",
        () => "no difference found",
    };
    format!("{median:>8.3}   {least:.3} to {most:.3}   {verdict}")
}

/// A platform, and what it showed.
struct Build {
    platform: Platform,
    client: Client,
    seen: [Distribution; KINDS.len()],
}

impl Build {
    fn start(program: &Path, runtime: Runtime) -> Outcome<Build> {
        let platform = Platform::start(program, runtime)?;
        // Not counted: the first waits until the interpreter is packed and has a snapshot.
        platform.deploy("reuse", HELLO, "reuse")?;
        platform.deploy("fresh", HELLO, "fresh")?;
        let mut client = platform.client()?;
        for function in ["reuse", "fresh"] {
            (0..INVOCATIONS).for_each(|_| invoke(&mut client, &invocations(function)));
        }
        Ok(Build { platform, client, seen: KINDS.map(|_| Distribution::default()) })
    }

    /// The median of each kind in µs.
    fn round(&mut self, round: usize) -> Outcome<[f64; KINDS.len()]> {
        let function = format!("round-{round}");
        let deploy = self.platform.deploy(&function, HELLO, "reuse")?;
        sleep(PAUSE);
        let mut of_round = KINDS.map(|_| Distribution::default());
        of_round[0].add(deploy);
        let calls = [(function.as_str(), 1), ("reuse", INVOCATIONS), ("fresh", INVOCATIONS)];
        for (seen, (function, runs)) in of_round[1..].iter_mut().zip(calls) {
            *seen = Distribution::measure(runs, || invoke(&mut self.client, &invocations(function)));
        }
        sleep(PAUSE);
        for (all, seen) in self.seen.iter_mut().zip(&of_round) {
            all.extend(seen);
        }
        Ok(of_round.map(|seen| seen.quantile_us(0.5)))
    }
}
