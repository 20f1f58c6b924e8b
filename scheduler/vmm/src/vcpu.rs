//! The vCPU's fixed state: 64-bit user mode, from the first instruction on.

use kvm_bindings::{CpuId, Msrs, kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment, kvm_xcrs};
use kvm_ioctls::{Kvm, VcpuFd};
use mayfly_abi::layout::{GDT, IDT, KERNEL_STACK, KernelHeader, RFLAGS, TSS, selector};

use crate::error::Error;
use crate::tables::{CR3, GDT_LIMIT, IDT_LIMIT, TSS_LIMIT};

const CR0: u64 = 0x8001_0033; // PG WP NE ET MP PE
const CR4: u64 = 0x5_0620; // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PAE
const EFER: u64 = 0xd01; // NXE LMA LME SCE

const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_SYSCALL_MASK: u32 = 0xc000_0084;
const MSR_TSC: u32 = 0x10;
/// `syscall` clears TF, IF, DF, NT, AC.
const SYSCALL_MASK: u64 = 0x100 | 0x200 | 0x400 | 0x4000 | 0x4_0000;

/// A busy 64-bit task state, as the task register always holds; VMX insists on it. QEMU's emulation of SVM looks at the I/O
/// bitmap only of one that is not busy, which no CPU has: `.ci/svm` builds for that.
const TASK_STATE_TYPE: u8 = if cfg!(mayfly_emulated_svm) { 9 } else { 11 };

/// x87, SSE, AVX, AVX-512: what a kernel save area has room for.
const XCR0_WANTED: u64 = 0xe7;
const XCR0_ALWAYS: u64 = 0x3;

/// The CPU that guests see: what KVM offers, less what a CPL-3 guest could use to keep state that is not in memory or in
/// the save area (protection keys, AMX tiles, shadow stacks) or has no use for.
pub(crate) fn cpuid(kvm: &Kvm) -> Result<(CpuId, u64), Error> {
    let mut cpuid = kvm
        .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .map_err(Error::kvm("reading the supported CPUID"))?;
    let mut xcr0 = XCR0_ALWAYS;
    for entry in cpuid.as_mut_slice() {
        match (entry.function, entry.index) {
            (1, _) => {
                entry.ebx &= 0x00ff_ffff; // APIC id 0
                entry.ecx &= !(1 << 3 | 1 << 21 | 1 << 24); // MONITOR, x2APIC, TSC deadline
            }
            // Topology: of the core that this process happens to run on. A guest has one CPU.
            (0xb | 0x1f, _) => (entry.ecx, entry.edx) = (entry.ecx & 0xff, 0),
            (0x8000_001e, _) => (entry.eax, entry.ebx, entry.ecx) = (0, 0, 0),
            (7, 0) => {
                entry.ecx &= !(1 << 3 | 1 << 7 | 1 << 16); // PKU, CET_SS, LA57
                entry.edx &= !(1 << 20 | 1 << 22 | 1 << 24 | 1 << 25); // CET_IBT, AMX
            }
            (0xd, 0) => {
                entry.eax &= XCR0_WANTED as u32;
                entry.edx = 0;
                xcr0 = u64::from(entry.eax) | XCR0_ALWAYS;
            }
            (0xd, 1) => entry.eax &= !(1 << 3 | 1 << 4), // XSAVES, XFD
            _ => {}
        }
    }
    Ok((cpuid, xcr0))
}

/// Sets everything that stays the same for the life of the vCPU. No guest can change any of it.
pub(crate) fn set_up(vcpu: &VcpuFd, kernel: &KernelHeader, cpuid: &CpuId, xcr0: u64) -> Result<(), Error> {
    vcpu.set_cpuid2(cpuid).map_err(Error::kvm("setting the CPUID"))?;
    let mut sregs = vcpu.get_sregs().map_err(Error::kvm("reading the system registers"))?;
    sregs.cr0 = CR0;
    sregs.cr3 = CR3;
    sregs.cr4 = CR4;
    sregs.efer = EFER;
    sregs.gdt = kvm_dtable { base: GDT, limit: GDT_LIMIT, ..Default::default() };
    sregs.idt = kvm_dtable { base: IDT, limit: IDT_LIMIT, ..Default::default() };
    let segment = |selector: u16, code: bool| kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_: if code { 11 } else { 3 },
        present: 1,
        dpl: 3,
        db: u8::from(!code),
        s: 1,
        l: u8::from(code),
        g: 1,
        ..Default::default()
    };
    let data = segment(selector::USER_DATA, false);
    sregs.cs = segment(selector::USER_CODE, true);
    (sregs.ss, sregs.ds, sregs.es, sregs.fs, sregs.gs) = (data, data, data, data, data);
    sregs.tr = kvm_segment {
        base: TSS,
        limit: TSS_LIMIT,
        selector: selector::TASK_STATE,
        type_: TASK_STATE_TYPE,
        present: 1,
        ..Default::default()
    };
    sregs.ldt = kvm_segment { unusable: 1, ..Default::default() };
    vcpu.set_sregs(&sregs).map_err(Error::kvm("setting the system registers"))?;
    let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
    xcrs.xcrs[0].value = xcr0;
    vcpu.set_xcrs(&xcrs).map_err(Error::kvm("setting XCR0"))?;
    let star = u64::from(selector::KERNEL_CODE) << 32 | u64::from(selector::KERNEL_DATA) << 48;
    set_msrs(vcpu, &[(MSR_STAR, star), (MSR_LSTAR, kernel.syscall_entry), (MSR_SYSCALL_MASK, SYSCALL_MASK)])
}

/// Lets the vCPU go on at `rip`. Nothing else counts: the kernel loads every register from memory.
pub(crate) fn set_start(vcpu: &VcpuFd, rip: u64) -> Result<(), Error> {
    let regs = kvm_regs { rip, rsp: KERNEL_STACK.top(), rflags: RFLAGS, ..Default::default() };
    vcpu.set_regs(&regs).map_err(Error::kvm("setting the registers"))
}

/// The same for a vCPU that has run, wherever it stopped.
///
/// # Errors
/// If its code segment is not the one that it began with, which is no register that the kernel loads: a guest cannot come from there, but one on
/// PVM can use segments of its host.
pub(crate) fn go_on_at(vcpu: &VcpuFd, rip: u64) -> Result<(), Error> {
    let sregs = vcpu.get_sregs().map_err(Error::kvm("reading the system registers"))?;
    if (sregs.cs.l, sregs.cs.dpl, sregs.cs.selector & 3) != (1, 3, 3) {
        return Err(Error::State("the guest has ended in a code segment that is not its own"));
    }
    set_start(vcpu, rip)
}

/// Forgets the address of the last page fault: the one register that a guest does not load, and learns from the host.
pub(crate) fn forget_fault(vcpu: &VcpuFd) -> Result<(), Error> {
    let mut sregs = vcpu.get_sregs().map_err(Error::kvm("reading the system registers"))?;
    sregs.cr2 = 0;
    // Some KVMs say that it is busy, which an emulated SVM does not take.
    sregs.tr.type_ = TASK_STATE_TYPE;
    vcpu.set_sregs(&sregs).map_err(Error::kvm("setting the system registers"))
}

/// How far the guest's time stamp counter is ahead of the host's.
///
/// On PVM the guest reads the host's counter whatever KVM believes; there the offset that KVM reports is not applied.
pub(crate) fn tsc_offset(vcpu: &VcpuFd) -> Result<u64, Error> {
    let mut msrs = Msrs::from_entries(&[kvm_msr_entry { index: MSR_TSC, ..Default::default() }])
        .map_err(|_| Error::State("one MSR entry does not fit"))?;
    let before = host_tsc();
    vcpu.get_msrs(&mut msrs).map_err(Error::kvm("reading the TSC"))?;
    let after = host_tsc();
    let middle = before + (after - before) / 2;
    Ok(msrs.as_slice()[0].data.wrapping_sub(middle))
}

/// The host's time stamp counter.
pub(crate) fn host_tsc() -> u64 {
    #[expect(unsafe_code, reason = "reading the time stamp counter is an intrinsic")]
    // SAFETY: `rdtsc` has no precondition; a host that forbade it to user space (CR4.TSD) would not run a C library either.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

fn set_msrs(vcpu: &VcpuFd, values: &[(u32, u64)]) -> Result<(), Error> {
    let entries: Vec<_> =
        values.iter().map(|&(index, data)| kvm_msr_entry { index, data, ..Default::default() }).collect();
    let msrs = Msrs::from_entries(&entries).map_err(|_| Error::State("too many MSRs"))?;
    let set = vcpu.set_msrs(&msrs).map_err(Error::kvm("setting the MSRs"))?;
    if set != entries.len() {
        return Err(Error::Unsupported(format!(
            "KVM accepts only {set} of the {} MSRs that the guest needs",
            entries.len()
        )));
    }
    Ok(())
}
