//! Who is served, who waits, who is refused: decisions without locks, time or machines.

use std::time::Duration;

/// A lane, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Instances that wait for an event.
    pub(crate) idle: usize,
    /// All instances, those that are being bound included.
    pub(crate) instances: usize,
    /// Those that are being bound.
    pub(crate) binding: usize,
    /// Most instances.
    pub(crate) instances_max: usize,
    /// Invocations that wait.
    pub(crate) waiting: usize,
    /// Most that may wait.
    pub(crate) waiting_max: usize,
}

/// What becomes of an invocation that has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It gets an idle instance.
    Serve,
    /// It waits for one.
    Wait,
    /// It is refused.
    Refuse,
}

/// First come, first served: nobody overtakes those who wait.
pub(crate) fn admit(load: Load) -> Decision {
    if load.idle > 0 && load.waiting == 0 {
        Decision::Serve
    } else if load.waiting < load.waiting_max && load.instances_max > 0 {
        Decision::Wait
    } else {
        Decision::Refuse
    }
}

/// Whether one more instance would serve those who wait sooner than those that are there.
///
/// `service` is how long an invocation takes, if any has run; `bind` how long it takes to make an instance; `aged` says that one has
/// waited that long already. Without this, a burst of short invocations would make as many instances as there are callers,
/// and each would wait for a bind that takes ten times as long as the queue in front of it.
pub(crate) fn wants_bind(load: Load, service: Option<Duration>, bind: Duration, aged: bool) -> bool {
    if load.waiting <= load.binding || load.instances >= load.instances_max {
        return false;
    }
    let serving = load.instances - load.binding;
    let Some(service) = service.filter(|_| serving > 0) else { return true };
    aged || service.saturating_mul(load.waiting as u32) / serving as u32 > bind
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { idle: 0, instances: 0, binding: 0, instances_max: 10, waiting: 0, waiting_max: 5 };

    #[test]
    fn admissions() {
        let cases = [
            (LOAD, Decision::Wait),
            (Load { idle: 1, instances: 1, ..LOAD }, Decision::Serve),
            (Load { idle: 1, instances: 1, waiting: 1, ..LOAD }, Decision::Wait),
            (Load { instances: 10, waiting: 4, ..LOAD }, Decision::Wait),
            (Load { instances: 10, waiting: 5, ..LOAD }, Decision::Refuse),
            (Load { waiting_max: 0, ..LOAD }, Decision::Refuse),
            (Load { idle: 1, instances: 1, waiting_max: 0, ..LOAD }, Decision::Serve),
            (Load { instances_max: 0, ..LOAD }, Decision::Refuse),
        ];
        for (load, wanted) in cases {
            assert_eq!(admit(load), wanted, "{load:?}");
        }
    }

    #[test]
    fn binds() {
        let (ms, bind) = (Duration::from_millis, Duration::from_millis(5));
        let cases = [
            ("nobody waits", LOAD, None, false, false),
            ("the first", Load { waiting: 1, ..LOAD }, None, false, true),
            ("one is being made for it", Load { waiting: 1, instances: 1, binding: 1, ..LOAD }, None, false, false),
            (
                "a second waits for a first bind",
                Load { waiting: 2, instances: 1, binding: 1, ..LOAD },
                Some(ms(1)),
                false,
                true,
            ),
            ("full", Load { waiting: 3, instances: 10, ..LOAD }, None, true, false),
            ("short work", Load { waiting: 4, instances: 1, ..LOAD }, Some(ms(1)), false, false),
            ("short work that is not", Load { waiting: 4, instances: 1, ..LOAD }, Some(ms(1)), true, true),
            ("a long queue of short work", Load { waiting: 6, instances: 1, ..LOAD }, Some(ms(1)), false, true),
            ("the same with two to serve it", Load { waiting: 6, instances: 2, ..LOAD }, Some(ms(1)), false, false),
            ("long work", Load { waiting: 1, instances: 3, ..LOAD }, Some(ms(100)), false, true),
            ("nothing has run yet", Load { waiting: 1, instances: 1, ..LOAD }, None, false, true),
        ];
        for (what, load, service, aged, wanted) in cases {
            assert_eq!(wants_bind(load, service, bind, aged), wanted, "{what}");
        }
    }
}
