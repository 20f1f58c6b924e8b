//! Ticks: a guest that runs for long is interrupted now and then, so that its kernel can let another thread run.
//!
//! No interrupt is injected. The vCPU is out of KVM_RUN anyway, so the host does what an interrupt would: it puts instruction pointer, stack
//! pointer and flags of the program into the mailbox and the kernel's into the registers. That needs no interrupt flag (a guest at CPL 3 cannot
//! set it again after an exception), no gate and no window, and is the same on all kinds of KVM. It is done only to a program: in the
//! kernel's text, where `syscall` may also be at CPL 0, the kernel looks at the tick itself before it returns to the program.
//!
//! A run that ends before the first tick pays nothing but a timer that is set anyway.

use std::mem::offset_of;
use std::time::{Duration, Instant};

use kvm_ioctls::SyncReg;
use mayfly_abi::layout::{KERNEL_DATA, KERNEL_STACK, KERNEL_TEXT, RFLAGS};
use mayfly_abi::mailbox::{HostWords, Interrupted};

use super::Machine;
use crate::error::Error;

/// Time from the start of a run to its first tick, and between ticks of a guest that has nothing to do with them.
pub(super) const FIRST: Duration = Duration::from_millis(10);
/// Time between ticks of a guest that wants them. CPython hands its lock over every 5 ms.
const NEXT: Duration = Duration::from_millis(5);

impl Machine {
    /// After the timer's signal.
    pub(super) fn tick(&mut self, deadline: Instant) -> Result<(), Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.mailbox.guest_words().wants_ticks == 0 {
            return self.deadline.arm(FIRST.min(left));
        }
        self.deadline.arm(NEXT.min(left))?;
        let ticks = self.mailbox.host_words().ticks;
        self.mailbox.set_host_word(offset_of!(HostWords, ticks), ticks.wrapping_add(1));
        let mut regs = self.vcpu.sync_regs().regs;
        if (KERNEL_TEXT..KERNEL_DATA).contains(&regs.rip) || self.is_delivering()? {
            return Ok(());
        }
        let interrupted = offset_of!(HostWords, interrupted);
        for (offset, value) in [
            (offset_of!(Interrupted, rip), regs.rip),
            (offset_of!(Interrupted, rsp), regs.rsp),
            (offset_of!(Interrupted, rflags), regs.rflags),
        ] {
            self.mailbox.set_host_word(interrupted + offset, value);
        }
        (regs.rip, regs.rsp, regs.rflags) = (self.kernel()?.tick, KERNEL_STACK.top(), RFLAGS);
        self.vcpu.sync_regs_mut().regs = regs;
        self.vcpu.set_sync_dirty_reg(SyncReg::Register);
        Ok(())
    }

    /// Whether an exception is on its way to the guest: it belongs to the registers that are there now.
    fn is_delivering(&self) -> Result<bool, Error> {
        let events = self.vcpu.get_vcpu_events().map_err(Error::kvm("reading the pending events"))?;
        let exception = events.exception.injected != 0 || events.exception.pending != 0;
        Ok(exception || events.interrupt.injected != 0 || events.nmi.injected != 0)
    }
}
