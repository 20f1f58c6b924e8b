//! Throughput through HTTP against the number of connections.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use mayfly_benches::{
    http::{Client, invocations},
    platform::Platform,
    plot::{self, Look, Plot, Series},
    report::{Aim, Report},
};

use super::{EVENT, HELLO};
use crate::figures::Outcome;

/// Answers per second on so many connections.
pub(super) type Curve = (String, Vec<(f64, f64)>);

const CONNECTIONS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// A request, over and over.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
}

pub(super) fn measure(platform: &Platform, report: &mut Report, is_quick: bool) -> Outcome<Vec<Curve>> {
    platform.deploy("through", HELLO, "reuse")?;
    platform.deploy("through-fresh", HELLO, "fresh")?;
    let (connections, seconds): (&[f64], f64) = if is_quick { (&[1.0, 8.0, 64.0], 1.0) } else { (&CONNECTIONS, 5.0) };
    let (reuse, fresh) = (invocations("through"), invocations("through-fresh"));
    let kinds = [
        ("gateway's echo", Request { method: "GET", path: "/healthz", body: b"" }),
        ("reuse", Request { method: "POST", path: &reuse, body: EVENT }),
        ("fresh", Request { method: "POST", path: &fresh, body: EVENT }),
    ];
    let mut curves: Vec<Curve> = kinds.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    let connect = || platform.client();
    // Each kind in turn at each number, so that what disturbs the machine disturbs all of them.
    for &count in connections {
        for ((name, request), (_, points)) in kinds.iter().zip(&mut curves) {
            rate(&connect, count as usize, Duration::from_millis(300), *request)?;
            let (rate, others) = rate(&connect, count as usize, Duration::from_secs_f64(seconds), *request)?;
            let notes = if others > 0 { format!("{others} were refused") } else { String::new() };
            report.amount(&format!("{name}, connections: {count}"), rate, "/s", &notes);
            points.push((count, rate));
        }
    }
    let best = |at: usize| curves[at].1.iter().map(|point| point.1).fold(0.0, f64::max);
    let [echo, reuse, fresh] = [0, 1, 2].map(best);
    report.aim("greatest throughput of `fresh`", Aim::AtLeast(50.0), fresh * 100.0 / reuse, "% of that of `reuse`");
    report.aim("greatest throughput of `reuse`", Aim::AtLeast(40.0), reuse * 100.0 / echo, "% of the gateway's echo");
    report.aim("greatest throughput of `fresh`", Aim::AtLeast(2000.0), fresh, "/s");
    Ok(curves)
}

/// Successful answers per second, and how many other answers there were.
pub(super) fn rate(
    connect: &(impl Fn() -> io::Result<Client> + Sync),
    connections: usize,
    duration: Duration,
    request: Request<'_>,
) -> io::Result<(f64, u64)> {
    let start = Instant::now();
    let client = || -> io::Result<(u64, u64)> {
        let (mut client, mut good, mut other) = (connect()?, 0, 0);
        while start.elapsed() < duration {
            match client.request(request.method, request.path, "", request.body)?.0 {
                200 => good += 1,
                _ => other += 1,
            }
        }
        Ok((good, other))
    };
    let counts = thread::scope(|scope| {
        let clients: Vec<_> = (0..connections).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect::<io::Result<Vec<_>>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((counts.iter().map(|count| count.0).sum::<u64>() as f64 / seconds, counts.iter().map(|count| count.1).sum()))
}

pub(super) fn plot(curves: Vec<Curve>) -> Plot {
    let series: Vec<Series> = curves.into_iter().map(|(name, points)| Series::new(&name, Look::Line, points)).collect();
    Plot {
        title: "Throughput of hello".into(),
        x: plot::log_of("connections (log scale)", &CONNECTIONS),
        y: plot::log("answers per second (log scale)", &series, |point| point.1),
        series,
    }
}
