//! The timer of a run: its signal takes the vCPU thread out of KVM_RUN, for a tick or at the deadline.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use kvm_ioctls::VcpuFd;

use crate::error::Error;

/// The signal. Its handler does nothing but set a flag that KVM looks at before it enters the guest, so that a signal which
/// comes too early is not lost.
const SIGNAL: libc::c_int = libc::SIGUSR1;

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// A timer for one vCPU thread. Dropped on the thread that made it.
pub struct Deadline {
    timer: libc::timer_t,
    flag: *mut u8,
}

impl Deadline {
    pub(super) fn new(vcpu: &mut VcpuFd) -> Result<Deadline, Error> {
        let flag = &raw mut vcpu.get_kvm_run().immediate_exit;
        IMMEDIATE_EXIT.set(flag);
        install_handler()?;
        let mut event = MaybeUninit::<libc::sigevent>::zeroed();
        let mut timer = ptr::null_mut();
        #[expect(unsafe_code, reason = "a per-thread timer has no safe wrapper")]
        // SAFETY: the event is zeroed, and the fields that the kernel reads are set; `timer` is ours.
        let made = unsafe {
            let event = event.assume_init_mut();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            event.sigev_notify_thread_id = libc::gettid();
            libc::timer_create(libc::CLOCK_MONOTONIC, event, &raw mut timer)
        };
        if made != 0 {
            return Err(Error::host("making a timer")(std::io::Error::last_os_error()));
        }
        Ok(Deadline { timer, flag })
    }

    /// Kicks the vCPU out after `timeout`, once; a timer that was set before is replaced.
    pub(super) fn arm(&mut self, timeout: Duration) -> Result<(), Error> {
        // A thread may own several machines, and runs one.
        IMMEDIATE_EXIT.set(self.flag);
        self.forget_kick();
        self.set(timeout.max(Duration::from_nanos(1)))
    }

    /// No kick any more: a process that waits for its next command shall not be disturbed.
    pub(super) fn disarm(&mut self) -> Result<(), Error> {
        self.set(Duration::ZERO)
    }

    fn set(&mut self, timeout: Duration) -> Result<(), Error> {
        let value =
            libc::timespec { tv_sec: timeout.as_secs() as libc::time_t, tv_nsec: timeout.subsec_nanos().into() };
        let setting = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        #[expect(unsafe_code, reason = "a per-thread timer has no safe wrapper")]
        // SAFETY: the timer is ours, and the setting is a local that the call only reads.
        let set = unsafe { libc::timer_settime(self.timer, 0, &raw const setting, ptr::null_mut()) };
        if set != 0 {
            return Err(Error::host("setting a timer")(std::io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Forgets a kick that was noticed. It may have come from a timeout that was replaced; so whoever calls this must look at the
    /// clock afterwards, not before.
    pub(super) fn forget_kick(&mut self) {
        #[expect(unsafe_code, reason = "the flag is in KVM's shared page")]
        // SAFETY: the flag lives in the page that `VcpuFd` maps, which outlives this value in `Machine`.
        unsafe {
            self.flag.write_volatile(0);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if IMMEDIATE_EXIT.get() == self.flag {
            IMMEDIATE_EXIT.set(ptr::null_mut());
        }
        #[expect(unsafe_code, reason = "a per-thread timer has no safe wrapper")]
        // SAFETY: the timer is ours and is not used again.
        unsafe {
            libc::timer_delete(self.timer);
        }
    }
}

extern "C" fn kick(_: libc::c_int) {
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        #[expect(unsafe_code, reason = "a signal handler that writes one byte")]
        // SAFETY: the flag is that of a live vCPU of this thread: `Deadline` clears the cell before the vCPU goes away.
        unsafe {
            flag.write_volatile(1);
        }
    }
}

fn install_handler() -> Result<(), Error> {
    #[expect(unsafe_code, reason = "installing a signal handler")]
    // SAFETY: the handler only touches a thread-local cell without destructor and one byte: it is safe in a signal.
    let installed = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = kick as *const () as usize;
        libc::sigaction(SIGNAL, &raw const action, ptr::null_mut())
    };
    if installed != 0 {
        return Err(Error::host("installing a signal handler")(std::io::Error::last_os_error()));
    }
    Ok(())
}
