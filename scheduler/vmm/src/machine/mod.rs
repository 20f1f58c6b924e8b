//! One virtual machine.
//!
//! ```text
//!             boot                       ┌─────── run ◄──────┐
//!  empty ──┬─────────► loaded ── run ──► waiting ── save ────┤
//!          │  bind        ▲                │  └──── reset ────┘
//!          └──────────────┘                └─ run: anything but `Next` ──► dead
//! ```
//!
//! *Waiting* is the one state in which a guest can be saved or reset: it stopped in the hypercall NEXT, where all its registers
//! are in memory. A guest that stopped anywhere else is dead; its machine is thrown away.

mod bind;
mod deadline;
mod reset;
mod run;
mod tick;
mod working_set;

use std::fs::File;
use std::os::fd::AsFd;

use kvm_bindings::{CpuId, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::{Cap, Kvm, SyncReg, VcpuFd, VmFd};
use mayfly_abi::layout::{IMAGE_STRIDE_BYTES, IMAGES_MAX, KernelHeader, LARGE_PAGE_BYTES, MAILBOX, image_base};
use rustix::mm::{MapFlags, ProtFlags};

use crate::dirty::DirtyPages;
use crate::error::Error;
use crate::kernel;
use crate::mailbox::Mailbox;
use crate::ram::Ram;
use crate::vcpu;

pub use deadline::Deadline;
pub use reset::ResetStats;
pub use run::{Stop, Usage};
pub use working_set::WorkingSet;

use bind::Segment;

const SLOT_MEMORY: u32 = 0;
const SLOT_MAILBOX: u32 = 1;
const SLOT_IMAGES: u32 = 2;

/// A file tree for guests, open.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    bytes: u64,
}

impl ImageFile {
    /// Opens an image.
    ///
    /// # Errors
    /// If it cannot be read or has an impossible length.
    pub fn open(path: &std::path::Path) -> Result<ImageFile, Error> {
        let problem = |problem: String| Error::File { path: path.to_owned(), problem };
        let file = File::open(path).map_err(|error| problem(error.to_string()))?;
        ImageFile::from_file(file).map_err(|error| problem(error.to_string()))
    }

    pub(crate) fn from_file(file: File) -> Result<ImageFile, Error> {
        let bytes = file.metadata().map_err(Error::host("looking at an image"))?.len();
        if bytes == 0 || !bytes.is_multiple_of(LARGE_PAGE_BYTES) || bytes > IMAGE_STRIDE_BYTES {
            return Err(Error::State("an image must be a multiple of 2 MiB long, and at most 1 GiB"));
        }
        Ok(ImageFile { file, bytes })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// An image in this process.
struct MappedImage {
    base: *mut libc::c_void,
    bytes: u64,
}

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
    ram: Option<Ram>,
    images: Vec<MappedImage>,
    dirty: DirtyPages,
    /// Where the snapshot's bytes of each range of memory are, to put them back.
    segments: Vec<Segment>,
    /// Mappings that `segments` point into.
    sources: Vec<bind::Source>,
    /// Ranges of memory that were private after the last reset, and the faults that had been taken then.
    private: Vec<std::ops::Range<u64>>,
    faults_seen: Option<u64>,
    base_identity: u64,
    /// Pages of the function snapshot that the guest was bound to.
    upper_pages: Vec<std::ops::Range<u64>>,
    tmp_bytes: u64,
    /// Generations so far, and the number of the present one. The mailbox has it too, but there the guest could change it.
    generations: u64,
    generation: u64,
    restored: bool,
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
            ram: None,
            images: Vec::new(),
            dirty: DirtyPages::open()?,
            segments: Vec::new(),
            sources: Vec::new(),
            private: Vec::new(),
            faults_seen: None,
            base_identity: 0,
            upper_pages: Vec::new(),
            tmp_bytes: 0,
            generations: 0,
            generation: 0,
            restored: false,
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

    /// All of the guest's memory and the mailbox's, for tests that compare it.
    ///
    /// # Errors
    /// If there is no guest.
    pub fn memory(&self) -> Result<&[u8], Error> {
        let ram = self.ram()?;
        ram.slice(0, ram.bytes())
    }

    /// Uses the search for dirty pages that works on kernels without `PAGEMAP_SCAN`.
    pub fn use_old_page_map(&mut self) -> Result<(), Error> {
        self.dirty = DirtyPages::open()?.without_scan();
        Ok(())
    }

    fn ram(&self) -> Result<&Ram, Error> {
        self.ram.as_ref().ok_or(Error::State("there is no guest in this machine"))
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

    fn map_images(&mut self, images: &[&ImageFile]) -> Result<(), Error> {
        if images.len() > IMAGES_MAX {
            return Err(Error::State("too many images"));
        }
        for (index, image) in images.iter().enumerate() {
            #[expect(unsafe_code, reason = "mapping a file")]
            // SAFETY: the kernel chooses the address. The mapping is only for the guest, never a Rust reference, so a file that
            // shrinks can hurt nobody but the guest.
            let base = unsafe {
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    image.bytes as usize,
                    ProtFlags::READ,
                    MapFlags::SHARED,
                    image.file.as_fd(),
                    0,
                )
            }
            .map_err(Error::errno("mapping an image"))?;
            self.images.push(MappedImage { base, bytes: image.bytes });
            self.slot(SLOT_IMAGES + index as u32, image_base(index), image.bytes, base as u64, KVM_MEM_READONLY)?;
        }
        Ok(())
    }

    fn image_bytes(&self) -> [u64; IMAGES_MAX] {
        let mut bytes = [0; IMAGES_MAX];
        for (slot, image) in bytes.iter_mut().zip(&self.images) {
            *slot = image.bytes;
        }
        bytes
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for image in &self.images {
            #[expect(unsafe_code, reason = "unmapping what `map_images` mapped")]
            // SAFETY: the mapping is ours and no reference into it exists; a guest can no longer run.
            let unmapped = unsafe { rustix::mm::munmap(image.base, image.bytes as usize) };
            debug_assert!(unmapped.is_ok());
        }
    }
}
