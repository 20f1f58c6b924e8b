//! One virtual machine.
//!
//! ```text
//!             boot                       ┌─────── run ◄──────┐
//!  empty ──┬─────────► loaded ── run ──► waiting ── save ────┤
//!          │  bind        ▲                │  ├──── trim ─────┤
//!          │              │                │  ├──── reset ────┤
//!          │              │                │  └ bind, after a ┘
//!          │              │                │    reset: a function over its runtime
//!          └──────────────┘                ├─ run: the program ended ──► ended ── reset ──► waiting
//!                                          └─ run: anything else ──► dead
//! ```
//!
//! *Waiting* is the one state in which a guest can be saved: it stopped in the hypercall NEXT, where all its registers
//! are in memory. A guest whose kernel said that the program has *ended* can be reset as well, for the snapshot has all registers, too.
//! A guest that stopped anywhere else is dead; its machine is thrown away.

mod bind;
mod deadline;
mod image;
mod lay;
mod parts;
mod reset;
mod run;
mod tick;
mod trim;
mod working_set;

use std::fs::File;

use kvm_bindings::{CpuId, kvm_userspace_memory_region};
use kvm_ioctls::{Cap, Kvm, SyncReg, VcpuFd, VmFd};
use mayfly_abi::layout::{IMAGES_MAX, KernelHeader, MAILBOX, image_base};

use crate::dirty::DirtyPages;
use crate::error::Error;
use crate::kernel;
use crate::mailbox::Mailbox;
use crate::memory::Memory;
use crate::vcpu;

pub use deadline::Deadline;
pub use image::ImageFile;
pub(crate) use image::{GuestImage, tables_of};
pub use reset::ResetStats;
pub(crate) use reset::faults;
pub use run::{Stop, Usage};
pub use working_set::WorkingSet;

use bind::Segment;
use lay::Top;

const SLOT_MAILBOX: u32 = 0;
/// The first one of the guest's memory.
const SLOT_MEMORY: u32 = 1;

/// What all machines of a process share: `/dev/kvm`, and the CPU that guests see.
pub struct Host {
    kvm: Kvm,
    cpuid: CpuId,
    xcr0: u64,
    build: [u8; 16],
}

impl Host {
    /// Opens `/dev/kvm` and looks at the host once.
    ///
    /// # Errors
    /// If KVM cannot be opened or is missing something.
    pub fn open() -> Result<Host, Error> {
        Host::new(Kvm::new().map_err(Error::kvm("opening /dev/kvm"))?)
    }

    /// Looks at the host once.
    ///
    /// # Errors
    /// If KVM is missing something.
    pub fn new(kvm: Kvm) -> Result<Host, Error> {
        if !kvm.check_extension(Cap::SyncRegs) {
            return Err(Error::Unsupported(
                "this host's KVM has no KVM_CAP_SYNC_REGS: Linux 4.17 or later is needed".into(),
            ));
        }
        let (cpuid, xcr0) = vcpu::cpuid(&kvm)?;
        let build = kernel::identity(&cpuid, xcr0);
        Ok(Host { kvm, cpuid, xcr0, build })
    }

    /// Identity of kernel, contract and CPU, which a snapshot must share.
    #[must_use]
    pub fn build(&self) -> [u8; 16] {
        self.build
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    /// Memory is in place, the vCPU has not run yet; the event, if any, is taken at the first entry.
    Loaded,
    Waiting,
    /// The program has ended, and the guest's kernel has said so.
    Ended,
    Dead,
}

/// A virtual machine with one vCPU. Must be made, used and dropped on one thread.
pub struct Machine {
    // Dropped in this order: the timer before the vCPU whose flag its signal sets, the VM before the memory that it uses.
    deadline: Deadline,
    /// Time that the guest of the present run has slept.
    slept: std::time::Duration,
    vcpu: VcpuFd,
    vm: VmFd,
    phase: Phase,
    kernel: Option<KernelHeader>,
    cpuid: CpuId,
    build: [u8; 16],
    xcr0: u64,
    tsc_offset: u64,
    ns_per_tick_q32: u64,
    mailbox: Mailbox,
    memory: Option<Memory>,
    /// How many slots of the memory KVM has been told of.
    slots_given: usize,
    /// Large pages that were given since the page tables were written.
    given_late: Vec<u64>,
    images: Vec<GuestImage>,
    dirty: DirtyPages,
    /// Where the snapshot's bytes of each range of memory are, to put them back.
    segments: Vec<Segment>,
    /// Mappings that `segments` point into.
    sources: Vec<bind::Source>,
    /// Ranges of memory that were private after the last reset, and the faults that had been taken then.
    private: Vec<std::ops::Range<u64>>,
    faults_seen: Option<u64>,
    /// Resets of many pages since the first one; none if the last one was of few.
    resets_of_many: Option<u32>,
    base_identity: u64,
    /// The function snapshot that the guest was bound to.
    top: Option<Top>,
    /// All that the bind has copied is still there: there has been no reset since.
    has_new_copies: bool,
    /// The guest has asked for the address of a page fault since it was bound or reset.
    has_faulted: bool,
    tmp_bytes: u64,
    /// Generations so far, and the number of the present one. The mailbox has it too, but there the guest could change it.
    generations: u64,
    generation: u64,
    restored: bool,
    /// The guest is what it was when it was bound.
    is_reset: bool,
    /// Where the log goes as it comes, instead of to whoever runs the guest.
    output: Option<File>,
}

impl Machine {
    /// Makes a VM with a vCPU and nothing in it: a shell.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn new(host: &Host, mailbox: Mailbox) -> Result<Machine, Error> {
        let vm = host.kvm.create_vm().map_err(Error::kvm("creating a VM"))?;
        let mut vcpu = vm.create_vcpu(0).map_err(Error::kvm("creating a vCPU"))?;
        let khz = vcpu.get_tsc_khz().map_err(Error::kvm("reading the TSC frequency"))?;
        vcpu.set_sync_valid_reg(SyncReg::Register);
        let deadline = Deadline::new(&mut vcpu)?;
        let machine = Machine {
            vcpu,
            vm,
            phase: Phase::Empty,
            kernel: None,
            cpuid: host.cpuid.clone(),
            build: host.build,
            xcr0: host.xcr0,
            tsc_offset: 0,
            ns_per_tick_q32: (1_000_000 << 32) / u64::from(khz.max(1)),
            deadline,
            slept: std::time::Duration::ZERO,
            mailbox,
            memory: None,
            slots_given: 0,
            given_late: Vec::new(),
            images: Vec::new(),
            dirty: DirtyPages::open()?,
            segments: Vec::new(),
            sources: Vec::new(),
            private: Vec::new(),
            faults_seen: None,
            base_identity: 0,
            top: None,
            resets_of_many: None,
            has_new_copies: false,
            has_faulted: false,
            tmp_bytes: 0,
            generations: 0,
            generation: 0,
            restored: false,
            is_reset: false,
            output: None,
        };
        machine.slot(SLOT_MAILBOX, MAILBOX, mayfly_abi::mailbox::BYTES, machine.mailbox.host_address(), 0)?;
        Ok(machine)
    }

    /// The mailbox.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Lets the log be written to `output` as it comes; there is no limit to it then. What the guest wrote last is still in the mailbox.
    pub fn write_log_to(&mut self, output: File) {
        self.output = Some(output);
    }

    /// All of the guest's RAM, for tests that compare it.
    ///
    /// # Errors
    /// If there is no guest.
    pub fn memory(&self) -> Result<&[u8], Error> {
        let memory = self.memory_of_guest()?;
        memory.slice(0, memory.bytes())
    }

    /// The guest's own view of an image, for tests that compare it; `None` if it cannot write to it.
    ///
    /// # Errors
    /// If there is no such image.
    pub fn image(&self, index: usize) -> Result<Option<&[u8]>, Error> {
        let image = self.images.get(index).ok_or(Error::State("there is no such image"))?;
        let is_writable = !image.ranges.is_empty();
        is_writable.then(|| self.memory_of_guest()?.slice(image_base(index), image.bytes)).transpose()
    }

    /// Uses the search for dirty pages that works on kernels without `PAGEMAP_SCAN`.
    pub fn use_old_page_map(&mut self) -> Result<(), Error> {
        self.dirty = DirtyPages::open()?.without_scan();
        Ok(())
    }

    fn memory_of_guest(&self) -> Result<&Memory, Error> {
        self.memory.as_ref().ok_or(Error::State("there is no guest in this machine"))
    }

    fn kernel(&self) -> Result<KernelHeader, Error> {
        self.kernel.ok_or(Error::State("there is no guest in this machine"))
    }

    fn slot(&self, slot: u32, guest: u64, bytes: u64, host: u64, flags: u32) -> Result<(), Error> {
        let region = kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr: guest,
            memory_size: bytes,
            userspace_addr: host,
        };
        #[expect(unsafe_code, reason = "giving memory to a guest")]
        // SAFETY: `host` is a mapping of that length, owned by this machine and unmapped only after the VM is closed.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(Error::kvm("giving memory to the guest"))
    }

    fn image_bytes(&self) -> [u64; IMAGES_MAX] {
        let mut bytes = [0; IMAGES_MAX];
        for (slot, image) in bytes.iter_mut().zip(&self.images) {
            *slot = image.bytes;
        }
        bytes
    }

    /// One bit for each image that can be used in place.
    fn images_in_place(&self) -> u64 {
        let images = self.images.iter().enumerate();
        images.fold(0, |bits, (index, image)| bits | u64::from(image.is_in_place) << index)
    }
}
