//! The ways into the kernel: start, `syscall`, exceptions, and the return from the one hypercall at which a guest can be
//! saved. Everything here runs at CPL 3, but for the first instructions of `syscall_entry` on VMX and SVM.

use core::arch::global_asm;

use mayfly_abi::hypercall::{MEMORY_GIVEN, PAGE_FAULT, PORT};
use mayfly_abi::layout::{
    EXCEPTION_STACK, KERNEL_DATA, KERNEL_MAGIC, KERNEL_STACK, KERNEL_TEXT, KernelHeader, MAILBOX, RFLAGS, VECTORS,
};
use mayfly_abi::mailbox::{Control, HostWords};

/// Where the host answers PAGE_FAULT. Above 2 GiB: reached through a register.
const FAULT_ADDRESS: u64 =
    MAILBOX + (core::mem::offset_of!(Control, host) + core::mem::offset_of!(HostWords, fault_address)) as u64;
/// Where the host tells which program it interrupted.
const INTERRUPTED: u64 =
    MAILBOX + (core::mem::offset_of!(Control, host) + core::mem::offset_of!(HostWords, interrupted)) as u64;

// RCX points to a frame: the kernel is compiled with SSE and would clobber these.
global_asm!(
    ".macro save_vectors",
    "movaps [rcx +   0], xmm0",
    "movaps [rcx +  16], xmm1",
    "movaps [rcx +  32], xmm2",
    "movaps [rcx +  48], xmm3",
    "movaps [rcx +  64], xmm4",
    "movaps [rcx +  80], xmm5",
    "movaps [rcx +  96], xmm6",
    "movaps [rcx + 112], xmm7",
    "movaps [rcx + 128], xmm8",
    "movaps [rcx + 144], xmm9",
    "movaps [rcx + 160], xmm10",
    "movaps [rcx + 176], xmm11",
    "movaps [rcx + 192], xmm12",
    "movaps [rcx + 208], xmm13",
    "movaps [rcx + 224], xmm14",
    "movaps [rcx + 240], xmm15",
    ".endm",
);

// `syscall` puts the return address into RCX and the flags into R11. On VMX and SVM it enters CPL 0; on PVM it stays at CPL 3.
// From CPL 0 the stub drops to CPL 3 at once: `sysretq` to its own continuation, with the program's flags.
// At CPL 0 it touches one fixed address and nothing else, and no interrupt can arrive (SFMASK clears IF).
global_asm!(
    ".section .text.syscall_entry, \"ax\"",
    ".global syscall_entry",
    "syscall_entry:",
    "mov [{return_rip}], rcx",
    "mov ecx, cs",
    "test cl, 3",
    "jnz 2f",
    "lea rcx, [rip + 2f]",
    "sysretq",
    // Where a site without a trap comes in (`stubs.rs`): everything as after `syscall`, but for the flags, which C code does not keep over a call.
    ".global quick_entry",
    "quick_entry:",
    "mov [{return_rip}], rcx",
    "mov r11d, {rflags}",
    "2:",
    "mov rcx, [{current}]",
    "mov [rcx + 256 +   0], rax",
    "mov [rcx + 256 +   8], rbx",
    "mov [rcx + 256 +  24], rdx",
    "mov [rcx + 256 +  32], rsi",
    "mov [rcx + 256 +  40], rdi",
    "mov [rcx + 256 +  48], rbp",
    "mov [rcx + 256 +  56], rsp",
    "mov [rcx + 256 +  64], r8",
    "mov [rcx + 256 +  72], r9",
    "mov [rcx + 256 +  80], r10",
    "mov [rcx + 256 +  96], r12",
    "mov [rcx + 256 + 104], r13",
    "mov [rcx + 256 + 112], r14",
    "mov [rcx + 256 + 120], r15",
    "mov [rcx + 392], r11",
    "mov qword ptr [rcx + 416], 0",
    "mov rax, [{return_rip}]",
    "mov [rcx + 384], rax",
    "mov esp, {kernel_stack}",
    "cld",
    "save_vectors",
    "call {system_call}",
    // Falls through. Also where a new thread starts: everything comes from the current frame.
    ".global return_to_program",
    "return_to_program:",
    "mov rcx, [{current}]",
    "movaps xmm0, [rcx +   0]",
    "movaps xmm1, [rcx +  16]",
    "movaps xmm2, [rcx +  32]",
    "movaps xmm3, [rcx +  48]",
    "movaps xmm4, [rcx +  64]",
    "movaps xmm5, [rcx +  80]",
    "movaps xmm6, [rcx +  96]",
    "movaps xmm7, [rcx + 112]",
    "movaps xmm8, [rcx + 128]",
    "movaps xmm9, [rcx + 144]",
    "movaps xmm10, [rcx + 160]",
    "movaps xmm11, [rcx + 176]",
    "movaps xmm12, [rcx + 192]",
    "movaps xmm13, [rcx + 208]",
    "movaps xmm14, [rcx + 224]",
    "movaps xmm15, [rcx + 240]",
    "cmp qword ptr [rcx + 416], 0",
    "jne 3f",
    "mov rax, [rcx + 256 +   0]",
    "mov rbx, [rcx + 256 +   8]",
    "mov rdx, [rcx + 256 +  24]",
    "mov rsi, [rcx + 256 +  32]",
    "mov rdi, [rcx + 256 +  40]",
    "mov rbp, [rcx + 256 +  48]",
    "mov rsp, [rcx + 256 +  56]",
    "mov r8,  [rcx + 256 +  64]",
    "mov r9,  [rcx + 256 +  72]",
    "mov r10, [rcx + 256 +  80]",
    "mov r12, [rcx + 256 +  96]",
    "mov r13, [rcx + 256 + 104]",
    "mov r14, [rcx + 256 + 112]",
    "mov r15, [rcx + 256 + 120]",
    "mov r11, [rcx + 392]",
    "mov rcx, [rcx + 384]",
    "jmp rcx",
    // The thread did not stop at a `syscall`: all registers, by the one instruction that needs none and leaves the program's stack alone.
    "3:",
    "push {user_data}",
    "push [rcx + 256 +  56]",
    "push [rcx + 392]",
    "push {user_code}",
    "push [rcx + 384]",
    "mov rax, [rcx + 256 +   0]",
    "mov rbx, [rcx + 256 +   8]",
    "mov rdx, [rcx + 256 +  24]",
    "mov rsi, [rcx + 256 +  32]",
    "mov rdi, [rcx + 256 +  40]",
    "mov rbp, [rcx + 256 +  48]",
    "mov r8,  [rcx + 256 +  64]",
    "mov r9,  [rcx + 256 +  72]",
    "mov r10, [rcx + 256 +  80]",
    "mov r11, [rcx + 256 +  88]",
    "mov r12, [rcx + 256 +  96]",
    "mov r13, [rcx + 256 + 104]",
    "mov r14, [rcx + 256 + 112]",
    "mov r15, [rcx + 256 + 120]",
    "mov rcx, [rcx + 256 +  16]",
    "iretq",
    return_rip = sym RETURN_RIP,
    rflags = const RFLAGS,
    current = sym CURRENT,
    kernel_stack = const KERNEL_STACK.top(),
    system_call = sym crate::system_call_entered,
    user_data = const mayfly_abi::layout::selector::USER_DATA,
    user_code = const mayfly_abi::layout::selector::USER_CODE,
);

// Where the host lets an interrupted program go on: on the kernel's stack and with the kernel's flags, all else is the program's.
global_asm!(
    ".section .text.tick_entry, \"ax\"",
    ".global tick_entry",
    "tick_entry:",
    "push rcx",
    "mov rcx, [{current}]",
    "mov [rcx + 256 +   0], rax",
    "mov [rcx + 256 +   8], rbx",
    "mov [rcx + 256 +  24], rdx",
    "mov [rcx + 256 +  32], rsi",
    "mov [rcx + 256 +  40], rdi",
    "mov [rcx + 256 +  48], rbp",
    "mov [rcx + 256 +  64], r8",
    "mov [rcx + 256 +  72], r9",
    "mov [rcx + 256 +  80], r10",
    "mov [rcx + 256 +  88], r11",
    "mov [rcx + 256 +  96], r12",
    "mov [rcx + 256 + 104], r13",
    "mov [rcx + 256 + 112], r14",
    "mov [rcx + 256 + 120], r15",
    "pop rax",
    "mov [rcx + 256 +  16], rax",
    "movabs rdx, {interrupted}",
    "mov rax, [rdx]",
    "mov [rcx + 384], rax",
    "mov rax, [rdx + 8]",
    "mov [rcx + 256 +  56], rax",
    "mov rax, [rdx + 16]",
    "mov [rcx + 392], rax",
    "mov qword ptr [rcx + 416], 1",
    "save_vectors",
    "mov esp, {kernel_stack}",
    "call {ticked}",
    "jmp return_to_program",
    current = sym CURRENT,
    interrupted = const INTERRUPTED,
    kernel_stack = const KERNEL_STACK.top(),
    ticked = sym crate::ticked,
);

// First instruction of a fresh guest. The host set a stack already; it is set again so that nothing depends on it.
global_asm!(
    ".section .text.kernel_entry, \"ax\"",
    ".global kernel_entry",
    "kernel_entry:",
    "mov esp, {kernel_stack}",
    "xor ebp, ebp",
    "call {start}",
    "jmp return_to_program",
    kernel_stack = const KERNEL_STACK.top(),
    start = sym crate::started,
);

// The hypercall NEXT. All registers that the guest can change go to memory first, so that whoever puts the memory back has put
// the registers back; after `next_out` nothing is taken from a register. The host may therefore enter at `resume_guest` with
// any register contents.
global_asm!(
    ".section .text.next_event, \"ax\"",
    ".global next_event",
    "next_event:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "rdfsbase rax",
    "push rax",
    "rdgsbase rax",
    "push rax",
    "mov [{saved_rsp}], rsp",
    "mov eax, [{xcr0}]",
    "mov edx, [{xcr0} + 4]",
    "xsave64 [{xsave_area}]",
    "mov al, {next}",
    ".global next_out",
    "next_out:",
    "out {port}, al",
    ".global resume_guest",
    "resume_guest:",
    "mov rsp, [{saved_rsp}]",
    "push {rflags}",
    "popfq",
    // Selectors before bases: loading FS or GS clears the base. The null selector, as Linux has it in all four; any other is
    // emulated by PVM, at 7 us each.
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov eax, [{xcr0}]",
    "mov edx, [{xcr0} + 4]",
    "xrstor64 [{xsave_area}]",
    "pop rax",
    "wrgsbase rax",
    "pop rax",
    "wrfsbase rax",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    saved_rsp = sym SAVED_RSP,
    xcr0 = sym XCR0,
    xsave_area = sym XSAVE_AREA,
    next = const mayfly_abi::hypercall::NEXT,
    port = const mayfly_abi::hypercall::PORT,
    rflags = const RFLAGS,
);

// Exceptions arrive on a stack of their own (IST 1), so the program's red zone and a bad stack pointer do not matter.
// One stub per vector brings them to the same shape: error code, vector, registers. One of the program is then handled like a system
// call, on the kernel's stack; one of the kernel ends the guest. But a page fault of either may be about memory that the host has not given
// yet. Then it does so now, and the instruction is tried again: nobody notices, for nothing but the kernel's data is touched on this stack.
global_asm!(
    ".section .text.vectors, \"ax\"",
    ".altmacro",
    ".macro vector_stub number",
    "vector_\\number:",
    // Vectors for which the CPU pushes an error code by itself.
    ".if \\number == 8 || (\\number >= 10 && \\number <= 14) || \\number == 17 || \\number == 21 || \\number == 29 || \\number == 30",
    ".else",
    "push 0",
    ".endif",
    "push \\number",
    "jmp exception_common",
    ".endm",
    ".set number, 0",
    ".rept {vectors}",
    "vector_stub %number",
    ".set number, number + 1",
    ".endr",
    "exception_common:",
    "push r15",
    "push r14",
    "push r13",
    "push r12",
    "push r11",
    "push r10",
    "push r9",
    "push r8",
    "push rbp",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rbx",
    "push rax",
    "cmp qword ptr [rsp + 120], {page_fault}",
    "jne 5f",
    "mov al, {page_fault_call}",
    "out {port}, al",
    "movabs rcx, {fault_address}",
    "mov rax, [rcx]",
    "btc rax, {given_bit}",
    "test rax, rax",
    "jnz 5f",
    "pop rax",
    "pop rbx",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "pop rbp",
    "pop r8",
    "pop r9",
    "pop r10",
    "pop r11",
    "pop r12",
    "pop r13",
    "pop r14",
    "pop r15",
    "add rsp, 16",
    "iretq",
    "5:",
    "cld",
    "mov rdi, rsp",
    "mov rax, [rsp + 136]",
    "sub rax, {kernel_text}",
    "cmp rax, {kernel_text_bytes}",
    "jb 4f",
    "mov rcx, [{current}]",
    "save_vectors",
    "mov esp, {kernel_stack}",
    "call {program_fault}",
    "jmp return_to_program",
    "4:",
    "and rsp, -16",
    "call {kernel_fault}",
    "ud2",
    ".macro vector_address number",
    ".quad vector_\\number",
    ".endm",
    ".section .kernel_header, \"a\"",
    ".quad {magic}",
    ".quad {version}",
    ".quad kernel_entry",
    ".quad next_out",
    ".quad resume_guest",
    ".quad syscall_entry",
    ".quad tick_entry",
    ".set number, 0",
    ".rept {vectors}",
    "vector_address %number",
    ".set number, number + 1",
    ".endr",
    vectors = const VECTORS,
    page_fault = const 14,
    page_fault_call = const PAGE_FAULT,
    port = const PORT,
    fault_address = const FAULT_ADDRESS,
    given_bit = const MEMORY_GIVEN.trailing_zeros(),
    current = sym CURRENT,
    kernel_stack = const KERNEL_STACK.top(),
    kernel_text = const KERNEL_TEXT,
    kernel_text_bytes = const KERNEL_DATA - KERNEL_TEXT,
    program_fault = sym crate::program_fault,
    kernel_fault = sym crate::kernel_fault,
    magic = const KERNEL_MAGIC,
    version = const mayfly_abi::VERSION,
);

const _: () = assert!(core::mem::size_of::<KernelHeader>() == (7 + VECTORS) * 8);
const _: () = assert!(EXCEPTION_STACK.top().is_multiple_of(16));

/// What an exception stub leaves on its stack.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ExceptionFrame {
    /// rax rbx rcx rdx rsi rdi rbp r8 … r15.
    pub(crate) registers: [u64; 15],
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// Room for all register sets up to AVX-512; the host offers no larger ones.
pub(crate) const XSAVE_BYTES: usize = 4096;

#[repr(C, align(64))]
pub(crate) struct XsaveArea(pub(crate) [u8; XSAVE_BYTES]);

static mut RETURN_RIP: u64 = 0;
static mut SAVED_RSP: u64 = 0;
/// The frame of the running thread.
pub(crate) static mut CURRENT: *mut mayfly_kernel::frame::Frame = core::ptr::null_mut();
/// Register sets to save.
pub(crate) static mut XCR0: u64 = 0;
static mut XSAVE_AREA: XsaveArea = XsaveArea([0; XSAVE_BYTES]);

unsafe extern "C" {
    /// Where stubs of sites lead. Not to be called.
    pub(crate) safe fn quick_entry();
    /// Tells the host that the answer is ready and waits for the next event.
    pub(crate) fn next_event();
}
