//! From a way into the kernel to the thread that goes on.
//!
//! ```text
//! system call ──► serve ──┐
//! exception   ──► fault ──┼──► leave: who goes on? ──► its registers ──► its signals ──► program
//! tick        ────────────┘       ▲       │ nobody: sleep, or the next event
//!                                 └───────┘ a call is made again and waits again
//! ```

use mayfly_kernel::frame::{Frame, register};
use mayfly_kernel::signals::frame::Context;
use mayfly_kernel::signals::{Delivered, fault};
use mayfly_kernel::syscall::call::Resume;
use mayfly_kernel::system::{Action, Machine};
use mayfly_kernel::threads::{Next, Waiting};

use crate::machine::entry::ExceptionFrame;
use crate::machine::{device, hypercall, mailbox, stubs};
use crate::{Kernel, die};

impl Kernel {
    /// Makes the running thread's call.
    pub(crate) fn serve(&mut self) {
        self.spare_the_next_trap();
        self.make_call(false);
        self.leave();
    }

    /// Changes the place that makes this call, if it makes many.
    fn spare_the_next_trap(&mut self) {
        let frame = &self.system.threads.current().frame;
        let (rip, (number, _)) = (frame.rip, frame.system_call());
        if stubs::is_at(&self.hardware, rip, number)
            && self.system.space.is_unchanging_code(rip)
            && stubs::is_changeable(&mut self.hardware, rip)
            && let Some(index) = self.sites.count(rip)
        {
            stubs::patch(&mut self.hardware, rip, number, index);
        }
    }

    /// An exception of the program: its handler's business, or its end.
    pub(crate) fn fault(&mut self, exception: &ExceptionFrame) {
        let frame = &mut self.system.threads.current_mut().frame;
        frame.registers[..7].copy_from_slice(&exception.registers[..7]);
        frame.registers[8..].copy_from_slice(&exception.registers[7..]);
        frame.registers[register::RSP] = exception.rsp;
        (frame.rip, frame.rflags, frame.full) = (exception.rip, exception.rflags, 1);
        let &ExceptionFrame { vector, error_code, rip, .. } = exception;
        let signal = fault::info(vector, error_code, rip, 0).signal;
        if self.system.can_handle(signal) {
            let address = if fault::needs_address(vector) { hypercall::fault_address() } else { 0 };
            let info = fault::info(vector, error_code, rip, address);
            if self.system.deliver_fault(&mut self.hardware, &info, Context { error_code, vector, address }) {
                return self.leave();
            }
        }
        device::report_memory(&self.system);
        die(exception)
    }

    /// Lets a thread go on: the one that runs, unless it waits, has ended, or has had its turn.
    pub(crate) fn leave(&mut self) {
        let ticks = mailbox::host().ticks;
        let mut is_over = self.ticks != ticks;
        if is_over {
            self.ticks = ticks;
            self.let_time_pass();
        }
        loop {
            if is_over || !self.is_runnable() {
                is_over = false;
                self.choose();
                continue;
            }
            self.load_registers();
            match self.system.deliver(&mut self.hardware) {
                Delivered::End(status) => self.end(status),
                Delivered::GoOn if self.is_runnable() => break,
                Delivered::GoOn => {}
            }
        }
        self.ask_for_ticks();
    }

    fn is_runnable(&self) -> bool {
        !self.has_ended && self.system.threads.current().waiting == Waiting::Nothing
    }

    /// Finds a thread that can go on, waiting if there is none, and makes its call again if that is what it waited for.
    fn choose(&mut self) {
        loop {
            self.let_time_pass();
            match self.system.threads.next() {
                Next::Resume(index) => return self.run(index),
                Next::Retry(index) => {
                    self.run(index);
                    return self.make_call(true);
                }
                Next::Sleep(_) if self.system.threads.any_waits_for_event() => {
                    let start = self.system.now_ns(&self.hardware);
                    self.device.next(&mut self.system);
                    self.note_idle(start);
                    self.ticks = mailbox::host().ticks;
                    self.take_new_generation();
                    self.system.threads.happened();
                }
                Next::Sleep(until_ns) => self.sleep(until_ns.min(self.system.timers.next_ns().unwrap_or(u64::MAX))),
            }
        }
    }

    fn run(&mut self, index: usize) {
        self.has_ended = false;
        self.system.threads.run(index);
    }

    /// Ends waits and sends signals whose time has come.
    fn let_time_pass(&mut self) {
        let now = self.system.now_ns(&self.hardware);
        self.system.threads.expire(now);
        for expired in self.system.timers.expire(now) {
            // A target that is gone, or too many signals that nobody takes: there is nobody to tell.
            let _ = self.system.send(expired.target, expired.info);
        }
    }

    fn sleep(&mut self, until_ns: u64) {
        device::report_memory(&self.system);
        let until = if until_ns == u64::MAX { until_ns } else { self.system.clock.to_host_monotonic_ns(until_ns) };
        let start = self.system.now_ns(&self.hardware);
        hypercall::sleep_until(until);
        self.note_idle(start);
    }

    /// Nobody ran since `start`.
    fn note_idle(&mut self, start: u64) {
        let idle = self.system.now_ns(&self.hardware).saturating_sub(start);
        self.system.idle_ns = self.system.idle_ns.saturating_add(idle);
        // The turn of the thread that waits is longer by that, and so is what it does not count for.
        self.system.turn_ns = self.system.turn_ns.saturating_add(idle);
    }

    /// Makes the call in the running thread's registers. Afterwards it has a result, waits, or has ended.
    fn make_call(&mut self, is_retry: bool) {
        self.device.system_calls += 1;
        let thread = self.system.threads.current_mut();
        let (number, arguments) = thread.frame.system_call();
        thread.call = number;
        let result = match self.call(number, &arguments, is_retry) {
            Ok(Action::Value(value)) => value,
            Err(error) => (-i64::from(error.0)) as u64,
            Ok(Action::Resume) => return,
            Ok(Action::End(status)) => self.end(status),
            Ok(Action::Wait(waiting, until_ns)) if self.system.has_signal() => {
                return self.system.threads.interrupt_current(waiting, until_ns);
            }
            Ok(Action::Wait(waiting, until_ns)) => {
                if !matches!(waiting, Waiting::Io { .. } | Waiting::Signals { .. }) {
                    // The result of a wait that nothing interrupts; whoever wakes it may set another.
                    self.system.threads.current_mut().frame.registers[register::RAX] = 0;
                }
                return self.system.threads.block(waiting, until_ns);
            }
            Ok(Action::Yield) => {
                self.system.threads.current_mut().frame.registers[register::RAX] = 0;
                return self.choose();
            }
            Ok(Action::EndThread) => {
                self.system.pass_signals_on(true);
                self.system.threads.exit();
                (self.has_ended, self.loaded) = (true, None);
                return;
            }
        };
        let thread = self.system.threads.current_mut();
        thread.frame.registers[register::RAX] = result;
        thread.resume = Resume::default();
    }

    /// Registers that are not in a frame: to the thread that had them, from the one that goes on.
    fn load_registers(&mut self) {
        let id = self.system.threads.current().id;
        if self.loaded == Some(id) {
            return;
        }
        let now = self.system.now_ns(&self.hardware);
        let used = now.saturating_sub(core::mem::replace(&mut self.system.turn_ns, now));
        if let Some(old) = self.loaded.and_then(|old| self.system.threads.find_mut(old)) {
            old.used_ns = old.used_ns.saturating_add(used);
            (old.frame.fs_base, old.frame.gs_base) = (self.hardware.fs_base(), self.hardware.gs_base());
            self.hardware.save_vectors(&mut old.vectors);
        }
        let thread = self.system.threads.current();
        let Frame { fs_base, gs_base, .. } = *thread.frame;
        self.hardware.set_vectors(&thread.vectors);
        self.hardware.set_gs_base(gs_base);
        self.hardware.set_fs_base(fs_base);
        self.loaded = Some(id);
    }

    /// Tells the host whether time changes anything while the program runs.
    pub(crate) fn ask_for_ticks(&mut self) {
        let wants = self.system.threads.count() > 1 || self.system.timers.next_ns().is_some();
        mailbox::guest().wants_ticks = u64::from(wants);
    }

    fn end(&mut self, status: u64) -> ! {
        device::report_memory(&self.system);
        mailbox::guest().system_calls = self.device.system_calls;
        hypercall::exit(status)
    }
}
