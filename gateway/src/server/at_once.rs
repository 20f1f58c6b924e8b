//! A future that is woken while it is polled is polled again at once.
//!
//! hyper's connection wakes itself when a request's body has come. tokio takes that for work that another thread could do: it puts the task at the end
//! of its queue and wakes a thread that sleeps, on another core, for nothing: a system call, an interrupt and two context switches per request.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Polls in a row; then others have their turn.
const POLLS_MAX: usize = 8;

/// See the module.
pub(super) struct AtOnce<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// Who is told of a wake-up: whoever polls, if somebody does, else the task.
struct Wakes {
    state: AtomicU8,
    task: Mutex<Waker>,
}

/// Not being polled.
const RESTING: u8 = 0;
const POLLED: u8 = 1;
/// Woken since the poll began.
const WOKEN: u8 = 2;

impl<F: Future> AtOnce<F> {
    pub(super) fn new(future: F) -> AtOnce<F> {
        let wakes = Arc::new(Wakes { state: AtomicU8::new(RESTING), task: Mutex::new(Waker::noop().clone()) });
        AtOnce { future: Box::pin(future), waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    /// The future itself.
    pub(super) fn inner(&mut self) -> Pin<&mut F> {
        self.future.as_mut()
    }
}

impl<F: Future> Future for AtOnce<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Before the first poll: a wake-up from elsewhere that comes after it finds the task.
        this.wakes.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker());
        for _ in 0..POLLS_MAX {
            // Not a store: what was done before a wake-up that came until now is seen by this poll.
            this.wakes.state.swap(POLLED, Ordering::AcqRel);
            let polled = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
            if polled.is_ready() {
                return polled;
            }
            if this.wakes.state.compare_exchange(POLLED, RESTING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        this.wakes.state.store(RESTING, Ordering::Release);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // If it is being polled, that is noted, and it will be polled again.
        let noted = |state| Some(if state == RESTING { RESTING } else { WOKEN });
        if let Ok(RESTING) = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, noted) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls a future once that wakes itself `self_wakes` times before it is content: polls of it, wake-ups of the task, and it.
    fn poll_once(self_wakes: usize) -> (usize, usize, Waker) {
        let (task, polls) = (Arc::new(Counted::default()), Arc::new(AtomicUsize::new(0)));
        let kept = Arc::new(std::sync::Mutex::new(None));
        let future = poll_fn(|context| {
            *kept.lock().unwrap() = Some(context.waker().clone());
            if polls.fetch_add(1, Ordering::SeqCst) < self_wakes {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let mut at_once = AtOnce::new(future);
        let waker = Waker::from(Arc::clone(&task));
        assert!(Pin::new(&mut at_once).poll(&mut Context::from_waker(&waker)).is_pending());
        let woken = task.0.load(Ordering::SeqCst);
        let inner = kept.lock().unwrap().take().expect("it was polled");
        inner.wake_by_ref();
        assert_eq!(task.0.load(Ordering::SeqCst), woken + 1, "between polls the task is woken");
        (polls.load(Ordering::SeqCst), woken, inner)
    }

    #[test]
    fn what_wakes_itself_is_polled_again_and_nobody_else_is_woken() {
        assert_eq!(poll_once(0).0, 1);
        let (polls, woken, _) = poll_once(3);
        assert_eq!((polls, woken), (4, 0));
    }

    #[test]
    fn what_never_stops_lets_others_have_their_turn() {
        let (polls, woken, _) = poll_once(usize::MAX);
        assert_eq!((polls, woken), (POLLS_MAX, 1));
    }
}
