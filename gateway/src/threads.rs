//! The server's threads, and when they step back.
//!
//! A thread that wakes up is usually put before one that has been computing: good for an answer that somebody waits for. In a flood of requests
//! that are refused it is bad: each one interrupts a machine that works, to say no, and thousands of them a second take a fifth of a processor from
//! the machines. So while many are refused, the server's threads ask the kernel to be treated as `SCHED_BATCH`: they get as much of the processors
//! as before, but no longer at once where a machine runs. They wake up fewer times, and each time refuse many. Answers come later by as much
//! as a machine's time slice, a few milliseconds, where invocations wait for their turn anyway.
//!
//! A better priority for the server than for the machines was tried: the same number of interruptions, and no more answers.

use std::{
    cell::RefCell,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

/// So often a thread looks, at most.
const PERIOD: Duration = Duration::from_millis(50);
/// Many: so many refusals in a period.
const MANY: u32 = 10;

/// Refusals since the start. Threads belong to the process, and so does this.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Takes note of a refusal.
pub fn refused() {
    REFUSED.fetch_add(1, Ordering::Relaxed);
}

/// Starts the threads.
///
/// # Errors
/// There are no more threads to have.
pub fn start() -> io::Result<Runtime> {
    thread_local!(static WATCH: RefCell<Watch> = RefCell::new(Watch::new(Instant::now())));
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    if is_usual() {
        // What a thread starts is treated as it is itself.
        builder.on_thread_start(|| treat(false));
        // Before it sleeps: that is when it matters how it will wake up.
        builder.on_thread_park(|| {
            let change = WATCH.with_borrow_mut(|watch| watch.look(Instant::now(), REFUSED.load(Ordering::Relaxed)));
            if let Some(steps_back) = change {
                treat(steps_back);
            }
        });
    }
    builder.build()
}

/// Decides when to step back.
struct Watch {
    looked: Instant,
    refused: u64,
    steps_back: bool,
}

impl Watch {
    fn new(now: Instant) -> Watch {
        Watch { looked: now, refused: 0, steps_back: false }
    }

    /// Given the refusals so far; says whether to step back from now on, if that has changed.
    fn look(&mut self, now: Instant, refused: u64) -> Option<bool> {
        let elapsed = now.saturating_duration_since(self.looked);
        if elapsed < PERIOD {
            return None;
        }
        let many = f64::from(MANY) * elapsed.as_secs_f64() / PERIOD.as_secs_f64();
        let steps_back = (refused - self.refused) as f64 >= many;
        (self.looked, self.refused) = (now, refused);
        (std::mem::replace(&mut self.steps_back, steps_back) != steps_back).then_some(steps_back)
    }
}

/// Whether this thread is treated as most are. Who has asked for something else gets that.
#[expect(unsafe_code, reason = "no safe crate of ours has this call")]
fn is_usual() -> bool {
    // SAFETY: it reads a number of the calling thread.
    unsafe { libc::sched_getscheduler(0) == libc::SCHED_OTHER }
}

/// Has the calling thread treated as batch work, or as usual. If the kernel refuses, all stays as it is.
#[expect(unsafe_code, reason = "no safe crate of ours has this call")]
fn treat(as_batch: bool) {
    let policy = if as_batch { libc::SCHED_BATCH } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: it changes the policy of the calling thread, and reads `parameters` only before it returns.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_and_back() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        // Milliseconds since the start, refusals so far, what changes.
        for (ms, refused, expected) in [
            (10, 1_000, None),
            (49, 2_000, None),
            (50, 2_000, Some(true)),
            (60, 2_000, None),
            (100, 2_010, None),
            (150, 2_019, Some(false)),
            (200, 2_020, None),
            // A thread that has slept for long saw few a period, though many in sum.
            (10_200, 3_000, None),
            (10_250, 3_010, Some(true)),
            (20_000, 3_010, Some(false)),
        ] {
            let said = watch.look(start + Duration::from_millis(ms), refused);
            assert_eq!(said, expected, "at {ms} ms, {refused} refused");
        }
    }

    /// Of the calling thread.
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("this is Linux");
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        // The 41st field of all, and the 39th after the name.
        fields.split_ascii_whitespace().nth(38).and_then(|field| field.parse().ok()).expect("a policy")
    }

    #[test]
    fn threads_step_back_in_a_flood_and_others_do_not() {
        let runtime = start().expect("threads");
        runtime.block_on(async {
            for (is_flood, wanted) in [(true, libc::SCHED_BATCH), (false, libc::SCHED_OTHER)] {
                // On one of the threads, and not here; until it is so.
                let changes = async move {
                    while policy() != wanted {
                        (0..if is_flood { 10_000 } else { 0 }).for_each(|_| refused());
                        tokio::time::sleep(PERIOD).await;
                    }
                    tokio::task::spawn_blocking(policy).await.expect("no panic")
                };
                let blocking = tokio::spawn(changes).await.expect("no panic");
                assert_eq!(blocking, libc::SCHED_OTHER, "who only blocks is treated as usual");
            }
        });
    }
}
