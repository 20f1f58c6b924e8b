//! The report for programs that draw: a line per piece of time, or per request.

use std::io::{self, Write};

use super::Report;
use crate::outcome::{Group, Outcome};

/// The timeline. Counts are per piece, not per second.
///
/// # Errors
/// It cannot be written.
pub fn timeline(report: &Report, out: &mut impl Write) -> io::Result<()> {
    write!(out, "at_s,interval_s,offered,sent,ok,function_error,refused,error,hung_up,unsent")?;
    write!(out, ",p50_ms,p90_ms,p99_ms,p999_ms,max_ms,in_flight_max,lateness_max_ms")?;
    let refusals: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| outcome.group() == Group::Refused).collect();
    for outcome in &refusals {
        write!(out, ",{}", outcome.name())?;
    }
    writeln!(out)?;
    for point in &report.timeline.points {
        write!(out, "{:.3},{},{},{}", point.at_s, report.timeline.interval_s, point.offered, point.sent)?;
        for group in [Group::Ok, Group::FunctionError, Group::Refused, Group::Error, Group::HungUp, Group::Unsent] {
            write!(out, ",{}", point.done.group(group))?;
        }
        match &point.latency {
            Some(q) => {
                for ns in [q.p50_ns, q.p90_ns, q.p99_ns, q.p999_ns, q.max_ns] {
                    write!(out, ",{:.3}", ms(ns))?;
                }
            }
            None => write!(out, ",,,,,")?,
        }
        write!(out, ",{},{:.3}", point.in_flight_max, ms(point.lateness_max_ns))?;
        for outcome in &refusals {
            write!(out, ",{}", point.done.of(*outcome))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Every request, in the order in which they ended. `mayfly load --replay` reads it, too.
///
/// # Errors
/// It cannot be written.
pub fn requests(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "number,attempt,at_s,function,lateness_ms,latency_ms,outcome")?;
    for sample in &report.requests {
        let function = &report.functions[sample.target].function;
        let (at_s, lateness_ns) = (sample.intended_ns as f64 / 1e9, sample.begun_ns.saturating_sub(sample.due_ns));
        let (lateness, latency) = (ms(lateness_ns), ms(sample.done_ns - sample.intended_ns));
        let (number, attempt, outcome) = (sample.number, sample.attempt, sample.outcome.name());
        writeln!(out, "{number},{attempt},{at_s:.9},{function},{lateness:.3},{latency:.3},{outcome}")?;
    }
    Ok(())
}

fn ms(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
