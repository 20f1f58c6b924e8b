//! Who was refused, or hung up while he waited, has not run: a function counts how often it ran, in its one machine.

use std::{thread, time::Duration};

use mayfly_benches::{
    platform::Platform,
    report::{Aim, Report},
};
use mayfly_load::{
    Pace, Profile, Spacing, Target,
    outcome::{Group, Outcome as Fate},
};

use super::{COUNT, ONE_MACHINE, Outcome, Stage, percent};

const TIMES: f64 = 10.0;
/// The machine is busy for so long, and who comes meanwhile hangs up after that.
const BUSY: &str = r#"{"s": 1.8}"#;
const HANG_UP: Duration = Duration::from_millis(30);
/// From the invocation that takes the machine to those that come behind it.
const HEAD_START: Duration = Duration::from_millis(300);

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    let platform = stage.start(&ONE_MACHINE, &[("count", COUNT)])?;
    let targets = [Target::new("count")];
    let capacity = stage.capacity(&platform, &targets)?;

    report.section("refused invocations");
    let before = runs(&platform)?;
    let length = stage.seconds(60.0);
    let load = stage.constant(&platform, &targets, capacity * TIMES, length, 1)?;
    // To be asked is to be run.
    let ran = runs(&platform)? - before - 1;
    let counts = &load.totals.counts;
    let notes = format!("in {} s", length.as_secs());
    report.amount("refusals", counts.group(Group::Refused) as f64, "", &notes);
    let unasked = ran.abs_diff(counts.of(Fate::Ok)) as f64;
    report.aim("invocations that ran without an answer", Aim::AtMost(0.0), unasked, "");

    report.section("clients who hang up while they wait");
    let before = runs(&platform)?;
    let mut client = platform.client()?;
    let first = thread::spawn(move || client.request("POST", INVOKE, "", BUSY.as_bytes()).map(|(status, _)| status));
    thread::sleep(HEAD_START);
    let profile = Profile::constant(capacity, Duration::from_secs(1));
    let pace = Pace::Open { profile, spacing: Spacing::Poisson };
    let load = stage.load(&platform, &targets, pace, 1, |setting| setting.hang_up_after = Some(HANG_UP))?;
    match first.join() {
        Ok(Ok(200)) => {}
        other => return Err(format!("the invocation before all others failed: {other:?}").into()),
    }
    let ran = runs(&platform)? - before - 2;
    let hung_up = load.totals.counts.group(Group::HungUp);
    report.amount("who hung up", hung_up as f64, "", &format!("of {} that came", load.totals.arrivals));
    let started = percent(ran.saturating_sub(load.totals.counts.of(Fate::Ok)), hung_up);
    report.aim("invocations of those that were started", Aim::AtMost(1.0), started, "%");
    Ok(())
}

const INVOKE: &str = "/2015-03-31/functions/count/invocations";

/// How often `count` has run on its machine, this time included.
fn runs(platform: &Platform) -> Outcome<u64> {
    let mut client = platform.client()?;
    let told = loop {
        let (status, body) = client.request("POST", INVOKE, "", b"{}")?;
        // A load that is over may still be in the line.
        if status != 429 {
            break String::from_utf8_lossy(&body).into_owned();
        }
        thread::sleep(HANG_UP);
    };
    told.parse().map_err(|_| format!("the function that counts answers {told}").into())
}
