//! Ten times the load that can be carried out: who runs, and who must not have.

use std::collections::HashSet;

use super::*;

/// What became of a caller.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    /// He hung up, and whether he had begun to be served by then.
    HungUp {
        had_begun: bool,
    },
}

/// Those whose invocations have begun.
fn begun(log: &FunctionLog) -> HashSet<String> {
    let lines = log.after(0, limits::FUNCTION_LOG_LINES);
    let starts = lines.iter().filter_map(|line| line.text.strip_prefix("START RequestId: "));
    starts.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
}

/// One event of 10 ms every millisecond on one processor, from callers who hang up after so many milliseconds.
async fn flood(fixture: &Fixture, callers: u64, hangs_up_after: impl Fn(u64) -> u64) -> Vec<Fate> {
    let mut tasks = Vec::new();
    for caller in 0..callers {
        ms(1).await;
        let id = format!("caller-{caller}");
        let invocation = fixture.invoke(json!({"ms": 10, "id": id}));
        let (log, patience) = (fixture.log.clone(), Duration::from_millis(hangs_up_after(caller)));
        tasks.push(tokio::spawn(async move {
            match tokio::time::timeout(patience, invocation).await {
                Ok(Ok(_)) => Fate::Answered,
                Ok(Err(Refusal::Throttled { .. })) => Fate::Refused,
                Ok(Err(other)) => panic!("{other:?}"),
                Err(_) => Fate::HungUp { had_begun: begun(&log).contains(&id) },
            }
        }));
    }
    let mut fates = Vec::new();
    for task in tasks {
        fates.push(task.await.expect("no panic"));
    }
    // What had begun is finished.
    ms(1000).await;
    fates
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_or_hung_up_while_he_waited_has_not_run() {
    let fixture = fixture(host(), Bounds { processors: 1.0, queue_per_function: 1000, ..BOUNDS }).await;
    // Some leave at once, some wait for longer than anybody has to.
    let fates = flood(&fixture, 2000, |caller| 3 + caller * 7 % 150).await;
    let begun = begun(&fixture.log);
    let (mut answered, mut refused, mut gone) = (0, 0, 0);
    for (caller, fate) in fates.iter().enumerate() {
        let has_begun = begun.contains(&format!("caller-{caller}"));
        let should_have = match fate {
            Fate::Answered => true,
            Fate::Refused => false,
            Fate::HungUp { had_begun } => *had_begun,
        };
        assert_eq!(has_begun, should_have, "{caller}: {fate:?}");
        answered += usize::from(*fate == Fate::Answered);
        refused += usize::from(*fate == Fate::Refused);
        gone += usize::from(*fate == Fate::HungUp { had_begun: false });
    }
    assert_eq!(begun.len(), fixture.count(|c| &c.runs), "all of them are known");
    assert!(answered > 100 && refused > 500 && gone > 100, "{answered} answered, {refused} refused, {gone} gone");
    assert_eq!((fixture.concurrency.in_flight(), fixture.dispatcher.turns.load().waiting), (0, 0));
}
