//! What a hostile guest can try. Each attack may end its own guest and nothing else: it comes out as a [`Stop`], never as an
//! error of ours, and the next guest works.
//!
//! Where kinds of KVM differ (VMX and SVM run `syscall` at CPL 0, PVM at CPL 3; some forward an instruction, some do not), the test lists
//! what is allowed.

mod setup;

use std::time::Duration;

use mayfly_abi::hypercall;
use mayfly_abi::layout::{
    EXCEPTION_STACK, GDT, IDT, KERNEL_DATA, KERNEL_DATA_END, KERNEL_STACK, KERNEL_TEXT, LARGE_PAGE_BYTES, MAILBOX,
    MAIN_STACK, PAGE_TABLES, TSS, image_base, selector,
};
use mayfly_abi::record::{HEADER_BYTES, RESPONSE};
use mayfly_vmm::{BadAnswer, Mailbox, Stop};
use setup::{Guest, MEMORY_BYTES, Outcome, assert_same_memory, memory, words};

/// One attack in a guest of its own. Whatever comes of it, only `Next` leaves a living guest; and if the program ended, a reset takes all of it back.
fn attack(probe: &str, payload: &[u8]) -> Outcome {
    attack_within(probe, payload, setup::PATIENCE)
}

fn attack_within(probe: &str, payload: &[u8], timeout: Duration) -> Outcome {
    let mut guest = Guest::new(probe);
    let outcome = guest.invoke_within(payload, timeout);
    if outcome.stop != Stop::Next {
        guest.assert_dead();
    }
    if outcome.stop.is_end() {
        assert_put_back(probe, payload, timeout);
    }
    outcome
}

/// The same in a guest that was bound, twice, with a reset after each. What `int 14` does depends on where the last page fault was, so it may answer, too.
fn assert_put_back(probe: &str, payload: &[u8], timeout: Duration) {
    let mut guest = Guest::bound(&Guest::new(probe).save(), None);
    // To read all memory, time and again, takes too long where the processor is emulated: there it only has to go on.
    let compares = !cfg!(mayfly_emulated_svm);
    let before = compares.then(|| memory(&guest));
    for _ in 0..2 {
        let outcome = guest.invoke_within(payload, timeout);
        assert!(outcome.stop.is_end() || outcome.stop == Stop::Next, "{probe}: {outcome:?}");
        guest.machine.reset().expect("reset");
        before.iter().for_each(|before| assert_same_memory(&guest, before));
    }
}

/// Executes machine code.
fn execute(code: &[u8]) -> Outcome {
    attack("attack-execute", code)
}

// Memory.

#[test]
fn memory_that_is_not_there_faults() {
    let image_end = image_base(0) + mayfly_probes::image().len().next_multiple_of(LARGE_PAGE_BYTES as usize) as u64;
    for (what, address) in [
        ("null", 0),
        ("the null page", 0xff8),
        ("page tables", PAGE_TABLES),
        ("page tables", PAGE_TABLES + 0x2000),
        ("after the descriptors", GDT + 0x3000),
        ("below the program", 0x1f_fff8),
        ("below the kernel's stack", KERNEL_STACK.base - 8),
        ("below the exception stack", EXCEPTION_STACK.base - 8),
        ("the main stack's guard", MAIN_STACK.base - 8),
        ("after memory", MEMORY_BYTES),
        ("far after memory", 1 << 37),
        ("before the mailbox", MAILBOX - 8),
        ("after the mailbox", MAILBOX + mayfly_abi::mailbox::BYTES),
        ("before the images", image_base(0) - 8),
        ("after the image", image_end),
        ("an image that is not there", image_base(1)),
        ("the end of the lower half", (1 << 47) - 8),
    ] {
        for probe in ["attack-read", "attack-write", "attack-jump"] {
            let outcome = attack(probe, &words([address]));
            let fault = format!("page fault of the program at {address:#x} ");
            assert!(
                matches!(&outcome.stop, Stop::Killed { diagnosis, .. } if diagnosis.starts_with(&fault)),
                "{what}: {outcome:?}"
            );
        }
    }
    attack("attack-read", &words([8])).assert_killed(libc::SIGSEGV, &["null page"]);
}

#[test]
fn what_the_guest_may_only_read_cannot_be_written() {
    for address in
        [GDT, TSS, IDT, KERNEL_TEXT, KERNEL_TEXT + 0x2000, KERNEL_DATA - 8, image_base(0), image_base(0) + 0x5000]
    {
        attack("attack-read", &words([address])).payload();
        attack("attack-write", &words([address]))
            .assert_killed(libc::SIGSEGV, &[&format!("page fault of the program at {address:#x} "), "error code 0x7"]);
    }
}

#[test]
fn the_upper_half_cannot_be_reached() {
    for address in [1 << 47, 0xffff_8000_0000_0000, 0xffff_ffff_8000_0000, u64::MAX - 7] {
        for probe in ["attack-read", "attack-write", "attack-jump"] {
            attack(probe, &words([address])).assert_killed(libc::SIGSEGV, &[]);
        }
    }
}

#[test]
fn a_stack_that_is_used_up_says_so() {
    attack("attack-stack", b"").assert_killed(libc::SIGSEGV, &["the stack is used up"]);
}

/// Anywhere in the kernel's text: whatever it does there with a program's registers, it ends the guest or returns.
#[test]
fn jumping_into_the_kernel_harms_only_the_guest() {
    for page in 0..24_u64 {
        for offset in [0, 1, 7, 0x123, 0x800] {
            let address = KERNEL_TEXT + page * 0x1000 + offset;
            attack_within("attack-jump", &words([address]), Duration::from_millis(500));
        }
    }
}

/// The kernel's data is the program's to destroy; what follows ends this guest.
#[test]
fn a_destroyed_kernel_ends_its_guest() {
    for (start, end) in [(KERNEL_DATA, KERNEL_DATA_END), (KERNEL_STACK.base, KERNEL_STACK.top())] {
        for byte in [0, 0x41, 0xff] {
            let outcome = attack_within("attack-fill", &words([start, end, byte]), Duration::from_millis(500));
            let harmless = start == KERNEL_STACK.base && outcome.stop == Stop::Next;
            assert!(harmless || outcome.stop != Stop::Next, "{start:#x} {byte:#x}: {outcome:?}");
        }
    }
    let exception_stack = words([EXCEPTION_STACK.base, EXCEPTION_STACK.top(), 0xff]);
    assert_eq!(attack("attack-fill", &exception_stack).word(0), 1);
}

// Instructions.

#[test]
fn privileged_instructions_fault_in_the_guest() {
    let instructions: &[(&str, &[u8])] = &[
        ("cli", &[0xfa]),
        ("sti", &[0xfb]),
        ("hlt", &[0xf4]),
        ("rdmsr", &[0x0f, 0x32]),
        ("wrmsr", &[0x0f, 0x30]),
        ("mov rax, cr0", &[0x0f, 0x20, 0xc0]),
        ("mov rax, cr2", &[0x0f, 0x20, 0xd0]),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0]),
        ("mov cr3, rax", &[0x0f, 0x22, 0xd8]),
        ("mov cr4, rax", &[0x0f, 0x22, 0xe0]),
        ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0]),
        ("mov rax, dr7", &[0x0f, 0x21, 0xf8]),
        ("mov dr7, rax", &[0x0f, 0x23, 0xf8]),
        ("mov dr0, rax", &[0x0f, 0x23, 0xc0]),
        ("lgdt", &[0x0f, 0x01, 0x17]),
        ("lidt", &[0x0f, 0x01, 0x1f]),
        ("lldt", &[0x0f, 0x00, 0xd0]),
        ("ltr", &[0x0f, 0x00, 0xd8]),
        ("lmsw", &[0x0f, 0x01, 0xf0]),
        ("clts", &[0x0f, 0x06]),
        ("invlpg", &[0x0f, 0x01, 0x3f]),
        ("invd", &[0x0f, 0x08]),
        ("wbinvd", &[0x0f, 0x09]),
        ("swapgs", &[0x0f, 0x01, 0xf8]),
        ("sysretq", &[0x48, 0x0f, 0x07]),
        ("sysexit", &[0x0f, 0x35]),
        ("xsetbv", &[0x31, 0xc9, 0x0f, 0x01, 0xd1]),
        ("rdpmc", &[0x31, 0xc9, 0x0f, 0x33]),
        ("in al, 0x60", &[0xe4, 0x60]),
        ("in al, dx", &[0x66, 0xba, 0xf8, 0x03, 0xec]),
        ("out 0x6e, al", &[0xe6, 0x6e]),
        ("out 0x6c, al", &[0xe6, 0x6c]),
        ("out 0x80, al", &[0xe6, 0x80]),
        ("out 0x6d, ax", &[0x66, 0xe7, 0x6d]),
        ("out 0x6d, eax", &[0xe7, 0x6d]),
        ("out 0x66d, al", &[0x66, 0xba, 0x6d, 0x06, 0xee]),
        ("out 0xffff, al", &[0x66, 0xba, 0xff, 0xff, 0xee]),
        ("outsd", &[0x66, 0xba, 0x6d, 0x00, 0x6f]),
        ("rep outsb to another port", &[0x66, 0xba, 0x6e, 0x00, 0xb9, 0x10, 0x00, 0x00, 0x00, 0xf3, 0x6e]),
        ("far call to another ring", &[0x6a, 0x08, 0x6a, 0x00, 0x48, 0xff, 0x2c, 0x24]),
        ("mov ss, 0", &[0x31, 0xc0, 0x8e, 0xd0]),
        ("int 0x80", &[0xcd, 0x80]),
        ("int 0xff", &[0xcd, 0xff]),
        ("fxrstor of garbage", &[0x0f, 0xae, 0x0f]),
        ("xrstor of garbage", &[0xb8, 0xff, 0xff, 0xff, 0xff, 0x89, 0xc2, 0x48, 0x0f, 0xae, 0x2f]),
        ("ldmxcsr of garbage", &[0x0f, 0xae, 0x17]),
        ("wrfsbase of garbage", &[0x48, 0x8b, 0x07, 0x48, 0xc1, 0xe8, 0x01, 0xf3, 0x48, 0x0f, 0xae, 0xd0]),
        ("wrgsbase of garbage", &[0x48, 0x8b, 0x07, 0x48, 0xc1, 0xe8, 0x01, 0xf3, 0x48, 0x0f, 0xae, 0xd8]),
        ("iretq of garbage", &[0x48, 0x89, 0xfc, 0x48, 0xcf]),
    ];
    for (name, code) in instructions {
        let outcome = execute(code);
        // QEMU takes any MXCSR, and any segment base.
        let taken = ["fxrstor of garbage", "ldmxcsr of garbage", "wrfsbase of garbage", "wrgsbase of garbage"];
        if cfg!(mayfly_emulated_svm) && taken.contains(name) {
            continue;
        }
        let Stop::Killed { signal, diagnosis } = &outcome.stop else { panic!("{name}: {outcome:?}") };
        // Undefined where the processor, or KVM for this guest, does not have it.
        let undefined = i32::from(*signal) == libc::SIGILL;
        assert!(undefined || i32::from(*signal) == libc::SIGSEGV, "{name}: {diagnosis}");
        assert!(undefined || diagnosis.starts_with("general protection fault"), "{name}: {diagnosis}");
    }
}

#[test]
fn instructions_of_hypervisors_and_enclaves_harm_only_the_guest() {
    for code in [
        [0x0f, 0x01, 0xc0], // enclv
        [0x0f, 0x01, 0xc1], // vmcall
        [0x0f, 0x01, 0xc2], // vmlaunch
        [0x0f, 0x01, 0xc3], // vmresume
        [0x0f, 0x01, 0xc4], // vmxoff
        [0x0f, 0x01, 0xc8], // monitor
        [0x0f, 0x01, 0xc9], // mwait
        [0x0f, 0x01, 0xca], // clac
        [0x0f, 0x01, 0xcb], // stac
        [0x0f, 0x01, 0xcf], // encls
        [0x0f, 0x01, 0xd4], // vmfunc
        [0x0f, 0x01, 0xd7], // enclu
        [0x0f, 0x01, 0xd8], // vmrun
        [0x0f, 0x01, 0xd9], // vmmcall
        [0x0f, 0x01, 0xda], // vmload
        [0x0f, 0x01, 0xdb], // vmsave
        [0x0f, 0x01, 0xdc], // stgi
        [0x0f, 0x01, 0xdd], // clgi
        [0x0f, 0x01, 0xde], // skinit
        [0x0f, 0x01, 0xdf], // invlpga
        [0x0f, 0x01, 0xee], // rdpkru
        [0x0f, 0x01, 0xef], // wrpkru
        [0x0f, 0x01, 0xfa], // monitorx
        [0x0f, 0x01, 0xfb], // mwaitx
        [0x0f, 0x01, 0xfd], // rdpru
        [0x0f, 0xaa, 0x90], // rsm
        [0x0f, 0x37, 0x90], // getsec
        [0x0f, 0x34, 0x90], // sysenter
        [0x0f, 0x00, 0xc8], // str
        [0x0f, 0x01, 0xe0], // smsw
        [0x0f, 0xa2, 0x90], // cpuid
    ] {
        let outcome = attack_within("attack-execute", &code, Duration::from_secs(20));
        assert!(
            matches!(outcome.stop, Stop::Killed { .. } | Stop::Next | Stop::Violation(_)),
            "{code:x?}: {outcome:?}"
        );
    }
}

// Signals and ticks.

#[test]
fn handlers_that_fault_end_the_guest() {
    attack("attack-faulting-handler", &words([0])).assert_killed(libc::SIGSEGV, &["null page"]);
    attack("attack-faulting-handler", &words([libc::SA_NODEFER as u64])).assert_killed(libc::SIGSEGV, &[]);
}

#[test]
fn signal_storms_end_the_guest() {
    attack("attack-storm", &words([libc::SA_NODEFER as u64])).assert_killed(libc::SIGSEGV, &[]);
    // One after another, for ever: until the deadline.
    let outcome = attack_within("attack-storm", &words([0]), Duration::from_millis(300));
    assert_eq!(outcome.stop, Stop::TimedOut);
}

#[test]
fn forged_returns_from_handlers_harm_only_the_guest() {
    for value in [0, 0x41, u64::MAX, 1 << 47, KERNEL_TEXT, MAILBOX, 0x8000_0000_0000_0000, 0x7fff_ffff_ffff] {
        let outcome = attack_within("attack-sigreturn", &words([value, 0]), Duration::from_millis(500));
        assert_ne!(outcome.stop, Stop::Next, "{value:#x}: {outcome:?}");
    }
    for stack_pointer in [8, KERNEL_TEXT, KERNEL_DATA, MAILBOX, MEMORY_BYTES - 64, 1 << 47, u64::MAX - 500] {
        let outcome = attack_within("attack-sigreturn", &words([0, stack_pointer]), Duration::from_millis(500));
        assert_ne!(outcome.stop, Stop::Next, "{stack_pointer:#x}: {outcome:?}");
    }
}

#[test]
fn handlers_on_impossible_stacks_end_the_guest() {
    for base in [0, 0x1000, KERNEL_TEXT, MAILBOX, 1 << 46, 1 << 63, u64::MAX - (1 << 20)] {
        attack("attack-signal-stack", &words([base])).assert_killed(libc::SIGSEGV, &[]);
    }
}

/// The host interrupts a program whatever is in its registers, and gives all of it back.
#[test]
fn ticks_come_whatever_the_registers_hold() {
    const DIRECTION: u64 = 1 << 10;
    const NESTED: u64 = 1 << 14;
    const ALIGNMENT: u64 = 1 << 18;
    for wild in [0, 1, 0x7000_0001, KERNEL_STACK.top(), MAILBOX, 1 << 47, u64::MAX] {
        for flags in [0, DIRECTION, DIRECTION | ALIGNMENT | NESTED] {
            let outcome = attack_within("attack-busy", &words([wild, flags]), Duration::from_secs(20));
            outcome.assert_ok();
        }
    }
}

#[test]
fn a_false_tick_harms_only_the_guest() {
    let outcome = attack_within("attack-tick", b"", Duration::from_millis(500));
    assert_ne!(outcome.stop, Stop::Next, "{outcome:?}");
}

#[test]
fn unmapping_everything_harms_only_the_guest() {
    let outcome = attack_within("attack-unmap", b"", Duration::from_secs(5));
    assert!(matches!(outcome.stop, Stop::Killed { .. } | Stop::Next), "{outcome:?}");
}

#[test]
fn traps_are_told_by_name() {
    execute(&[0xcc]).assert_killed(libc::SIGTRAP, &["debug trap (vector 3)"]);
    // QEMU does not know this one.
    if !cfg!(mayfly_emulated_svm) {
        execute(&[0xf1]).assert_killed(libc::SIGTRAP, &["debug trap (vector 1)"]);
    }
    execute(&[0x0f, 0x0b]).assert_killed(libc::SIGILL, &["undefined instruction"]);
    execute(&[0x31, 0xc9, 0xf7, 0xf1]).assert_killed(libc::SIGFPE, &["division by zero"]);
    execute(&[0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d, 0x90, 0x90])
        .assert_killed(libc::SIGTRAP, &["debug trap (vector 1)"]);
}

/// `int n` through any gate: those that are there look like the exception, the others are protection faults. PVM answers some itself.
#[test]
fn software_interrupts_harm_only_the_guest() {
    for vector in (0..48).chain([0x80, 0xfe, 0xff]) {
        let outcome = execute(&[0xcd, vector]);
        assert!(matches!(outcome.stop, Stop::Killed { .. } | Stop::Next), "int {vector:#x}: {outcome:?}");
    }
}

#[test]
fn the_open_port_takes_bytes_out_and_nothing_else() {
    // Through DX it is the same instruction to the same port.
    let nop_through_dx = [0xb0, hypercall::NOP, 0x66, 0xba, 0x6d, 0x00, 0xee];
    execute(&nop_through_dx).payload();
    execute(&[0xe4, 0x6d]).assert_violation("unexpected exit");
    execute(&[0x66, 0xba, 0x6d, 0x00, 0x6c]).assert_violation("unexpected exit"); // insb
    let many = [0x66, 0xba, 0x6d, 0x00, 0xb9, 0x40, 0x00, 0x00, 0x00, 0x48, 0x89, 0xfe, 0xf3, 0x6e];
    let outcome = execute(&many); // rep outsb of 64 bytes of 0xff
    assert!(matches!(outcome.stop, Stop::Violation(_)), "{outcome:?}");
}

/// What a guest loads comes from its own table, or, on PVM, from that of a host that protects its own.
#[test]
fn selectors_of_other_rings_harm_only_the_guest() {
    for bad in
        [selector::KERNEL_CODE, selector::KERNEL_CODE | 3, selector::TASK_STATE, selector::TASK_STATE | 3, 0xfff8]
    {
        let outcome = attack("attack-selectors", &words([u64::from(bad)]));
        assert!(matches!(outcome.stop, Stop::Killed { .. } | Stop::Next), "{bad:#x}: {outcome:?}");
    }
    for good in [0, 3, selector::USER_DATA] {
        assert_eq!(attack("attack-selectors", &words([u64::from(good)])).word(0), 1);
    }
}

#[test]
fn iretq_leads_to_no_other_ring() {
    let (code, data) = (u64::from(selector::USER_CODE), u64::from(selector::USER_DATA));
    let stays = attack("attack-return", &words([code, data]));
    assert_eq!(stays.word(0) & 3, 3);
    for (cs, ss) in [
        (u64::from(selector::KERNEL_CODE), u64::from(selector::KERNEL_DATA)),
        (u64::from(selector::KERNEL_CODE), data),
        (code & !3, data & !3),
        (code, u64::from(selector::KERNEL_DATA)),
        (0, 0),
        (u64::from(selector::TASK_STATE) | 3, data),
    ] {
        let outcome = attack("attack-return", &words([cs, ss]));
        match outcome.stop {
            Stop::Killed { .. } => {}
            // A kernel between may put its own selectors in; the ring is what counts.
            Stop::Next => assert_eq!(outcome.word(0) & 3, 3, "{cs:#x} {ss:#x}"),
            _ => panic!("{cs:#x} {ss:#x}: {outcome:?}"),
        }
    }
}

#[test]
fn flags_of_other_rings_cannot_be_set() {
    const IOPL: u64 = 3 << 12;
    const INTERRUPTS: u64 = 1 << 9;
    // AC, NT, ID, IOPL, VIF, VIP, VM; not the trap flag.
    for bits in [1 << 18, 1 << 14, 1 << 21, IOPL, 1 << 19, 1 << 20, 1 << 17, 0x3f_fcff & !0x100] {
        let outcome = attack("attack-flags", &words([bits]));
        match outcome.stop {
            Stop::Next => {
                assert_eq!(outcome.word(0) & IOPL, 0, "{bits:#x}");
                assert_eq!(outcome.word(0) & INTERRUPTS, INTERRUPTS, "{bits:#x}");
            }
            Stop::Killed { .. } => {}
            _ => panic!("{bits:#x}: {outcome:?}"),
        }
    }
}

// System calls.

#[test]
fn a_wild_stack_pointer_does_not_matter_to_a_system_call() {
    for rsp in [0, 8, KERNEL_TEXT, KERNEL_STACK.base, GDT + 8, 1 << 46, u64::MAX, 0x8000_0000_0000] {
        assert_eq!(attack("attack-stack-pointer", &words([rsp])).word(0), 1, "{rsp:#x}");
    }
}

#[test]
fn wild_bases_do_not_matter_to_a_system_call() {
    for base in [0, 1, KERNEL_TEXT, (1 << 47) - 1, 0xffff_8000_0000_0000] {
        let outcome = attack("attack-bases", &words([base]));
        // A kernel between host and guest may keep the upper half for itself.
        let refused = base >> 63 == 1 && matches!(outcome.stop, Stop::Killed { .. });
        assert!(refused || outcome.word(0) == 1, "{base:#x}: {outcome:?}");
    }
}

#[test]
fn the_trap_flag_over_a_system_call_ends_the_program_at_worst() {
    let outcome = attack("attack-trap-syscall", b"");
    match &outcome.stop {
        Stop::Next => assert_eq!(outcome.word(0), 1),
        _ => outcome.assert_killed(libc::SIGTRAP, &["debug trap"]),
    }
}

// Time.

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let outcome = attack_within("attack-execute", &[0xeb, 0xfe], Duration::from_millis(300));
    assert_eq!(outcome.stop, Stop::TimedOut);
    assert!(outcome.usage.duration_ns >= 300_000_000);
}

/// The kernel faults on its own exception stack, for ever, without an exit.
#[test]
fn endless_faults_end_at_the_deadline() {
    let outcome =
        attack_within("attack-fill", &words([KERNEL_DATA, KERNEL_DATA_END, 0xff]), Duration::from_millis(500));
    assert_ne!(outcome.stop, Stop::Next);
}

#[test]
fn a_storm_of_hypercalls_ends_at_the_deadline_or_the_limit() {
    let nop_for_ever = [0xb0, hypercall::NOP, 0xe6, 0x6d, 0xeb, 0xfa];
    let outcome = attack_within("attack-execute", &nop_for_ever, Duration::from_millis(500));
    assert!(outcome.usage.exits > 100);
    match &outcome.stop {
        Stop::TimedOut => assert!(outcome.usage.duration_ns >= 500_000_000),
        _ => outcome.assert_violation("exits in one run"),
    }
}

#[test]
fn a_storm_of_log_hypercalls_is_bounded() {
    let log_for_ever = [0xb0, hypercall::LOG, 0xe6, 0x6d, 0xeb, 0xfa];
    let outcome = attack_within("attack-execute", &log_for_ever, Duration::from_millis(300));
    assert!(outcome.log.is_empty() && outcome.stop != Stop::Next);
    let outcome = attack_within("log", &words([64 << 20]), Duration::from_secs(60));
    assert!(outcome.log.len() < 5 << 20);
}

#[test]
fn cpuid_for_ever_ends_at_the_deadline() {
    let cpuid_for_ever = [0x31, 0xc0, 0x0f, 0xa2, 0xeb, 0xfa];
    let outcome = attack_within("attack-execute", &cpuid_for_ever, Duration::from_millis(300));
    assert_eq!(outcome.stop, Stop::TimedOut);
}

// Hypercalls and the mailbox.

#[test]
fn next_counts_only_from_the_kernel() {
    execute(&[0xb0, hypercall::NEXT, 0xe6, 0x6d]).assert_violation("hypercall NEXT from");
}

#[test]
fn unknown_hypercalls_end_the_guest() {
    execute(&[0xb0, hypercall::PAGE_FAULT, 0xe6, 0x6d]).payload();
    for number in [0, 8, 99, 255] {
        execute(&[0xb0, number, 0xe6, 0x6d]).assert_violation(&format!("unknown hypercall {number}"));
    }
}

#[test]
fn a_forged_exit_or_panic_says_nothing_impossible() {
    let forged = |number: u8, word: u64| {
        attack_within("attack-hypercall", &words([u64::from(number), word]), Duration::from_millis(300))
    };
    for word in [300, 0x141, u64::MAX] {
        // Memory was refused, the guest says: then it is out of memory.
        let outcome = forged(hypercall::EXIT, word);
        assert!(matches!(outcome.stop, Stop::OutOfMemory | Stop::Violation(_)), "{outcome:?}");
        let outcome = forged(hypercall::PANIC, word);
        assert!(matches!(outcome.stop, Stop::OutOfMemory | Stop::Killed { .. }), "{outcome:?}");
        assert!(outcome.usage.memory_peak_bytes <= MEMORY_BYTES);
    }
    assert_eq!(forged(hypercall::EXIT, 0).stop, Stop::Exited { status: 0 });
    assert!(matches!(forged(hypercall::PANIC, 0).stop, Stop::Killed { .. }));
    assert_eq!(forged(hypercall::SLEEP, u64::MAX).stop, Stop::TimedOut);
    assert_eq!(forged(hypercall::SLEEP, 1).payload(), b"returned");
    let outcome = forged(hypercall::LOG, u64::MAX);
    assert_eq!(outcome.payload(), b"returned");
    assert!(outcome.log.len() as u64 <= mayfly_abi::mailbox::LOG_BYTES);
}

#[test]
fn nonsense_in_the_guests_words_is_bounded() {
    for word in [1, u64::MAX, 1 << 63, 0x5555_5555_5555_5555] {
        let outcome = attack("attack-words", &words([word]));
        assert_eq!(outcome.payload(), b"answered");
        assert!(outcome.log.len() as u64 <= mayfly_abi::mailbox::LOG_BYTES);
        assert!(outcome.usage.memory_peak_bytes <= MEMORY_BYTES);
    }
}

/// The host's words belong to the host: a guest that changes them hurts itself only, and the next run finds them set again.
#[test]
fn nonsense_in_the_hosts_words_hurts_only_the_guest() {
    let mut healthy = Guest::new("event-echo");
    for word in [0, 1, u64::MAX, 1 << 40] {
        let mut guest = Guest::new("attack-host-words");
        let snapshot = guest.save();
        let mut guest = Guest::bound(&snapshot, None);
        guest.invoke_within(&words([word]), Duration::from_secs(5));
        if guest.machine.reset().is_ok() {
            guest.invoke_within(&words([word]), Duration::from_secs(5));
        }
        assert_eq!(healthy.invoke(b"still here").payload(), b"still here");
    }
}

/// A NEXT from the kernel's own instruction that the kernel did not make: the host cannot tell, and must not need to.
#[test]
fn a_forged_next_is_undone_by_a_reset() {
    const NO_FLAGS: u64 = 0;
    let header = |meta_bytes: u32, payload_bytes: u32| u64::from(meta_bytes) | u64::from(payload_bytes) << 32;
    let response = u64::from(RESPONSE);
    let mut guest = Guest::new("attack-next-flags");
    let snapshot = guest.save();
    let mut guest = Guest::bound(&snapshot, None);
    let before = guest.machine.memory().expect("memory").to_vec();
    let forge = |answer_bytes: u64, log_bytes: u64, header: u64| {
        words([answer_bytes, log_bytes, 0, response, header, NO_FLAGS, u64::from(hypercall::NEXT)])
    };
    for (payload, expected) in [
        (forge(0, 0, 0), Some(BadAnswer::Missing)),
        (forge(u64::MAX, u64::MAX, 0), Some(BadAnswer::Lengths)),
        (forge(15, 1 << 40, 0), Some(BadAnswer::Lengths)),
        (forge(HEADER_BYTES as u64, 1, header(u32::MAX, u32::MAX)), Some(BadAnswer::Lengths)),
        (forge(HEADER_BYTES as u64 + 8, 0, header(0, 9)), Some(BadAnswer::Lengths)),
        (forge(HEADER_BYTES as u64 + 8, 0, header(8, 0)), None),
    ] {
        let outcome = guest.invoke(&payload);
        assert_eq!(outcome.stop, Stop::Next);
        assert_eq!(outcome.answer.err(), expected);
        guest.machine.reset().expect("reset");
        assert!(guest.machine.memory().expect("memory") == before, "memory is not the snapshot's");
    }
    // And the guest works: the real way through the kernel.
    let outcome = guest.invoke(&forge(0, 0, 0));
    assert_eq!(outcome.stop, Stop::Next);
}

#[test]
fn a_guest_that_has_not_taken_its_seed_does_not_go_on() {
    for difference in [1, u64::MAX, 1 << 32] {
        let payload = words([0, 0, difference, 0, 0]);
        attack("attack-next", &payload).assert_violation("the guest has not taken its new seed");
    }
}

/// Flags are the one register that would outlive a reset: it must not be possible to leave a trap for the next caller.
#[test]
fn flags_do_not_outlive_a_reset() {
    const TRAP: u64 = 1 << 8;
    let echo_again = |flags: u64, call: u8| {
        let mut guest = Guest::new("attack-next-flags");
        let snapshot = guest.save();
        let mut guest = Guest::bound(&snapshot, None);
        let outcome = guest.invoke(&words([0, 0, 0, 0, 0, flags, u64::from(call)]));
        if outcome.stop == Stop::Next || outcome.stop.is_end() {
            guest.machine.reset().expect("reset");
            let next = guest.invoke(&words([0, 0, 0, 0, 0, 0, u64::from(hypercall::NEXT)]));
            assert_eq!(next.stop, Stop::Next, "flags {flags:#x} were left for the next invocation by {call}");
        }
        outcome
    };
    for call in [hypercall::NEXT, hypercall::EXIT, hypercall::PANIC] {
        let stop = echo_again(TRAP, call).stop;
        assert!(
            stop != Stop::Next && !stop.is_end(),
            "a guest that stops with the trap flag set is not one of ours: {stop:?}"
        );
    }
    // Direction, alignment check, nested task, arithmetic.
    for flags in [1 << 10, 1 << 18, 1 << 14, 0x8d5, 1 << 21] {
        echo_again(flags, hypercall::NEXT);
        echo_again(flags, hypercall::EXIT);
    }
}

/// Nor where a page fault was: the host tells a guest that, for only the host can read it.
#[test]
fn a_faults_address_does_not_outlive_a_reset() {
    const SECRET: u64 = 0x1234_5678_9000;
    let snapshot = Guest::new("attack-fault-address").save();
    let mut guest = Guest::bound(&snapshot, None);
    let asked = |guest: &mut Guest| {
        let outcome = guest.invoke(&words([0]));
        u64::from_le_bytes(outcome.payload().try_into().expect("a word"))
    };
    let before = asked(&mut guest);
    guest.machine.reset().expect("reset");
    let outcome = guest.invoke(&words([SECRET]));
    assert!(outcome.stop.is_end(), "{outcome:?}");
    guest.machine.reset().expect("reset");
    let after = asked(&mut guest);
    assert_ne!(after, SECRET, "first {before:#x}");
}

/// The same for the code segment, where a guest finds another one: PVM lets it use those of its host.
#[test]
fn segments_do_not_outlive_a_reset() {
    let forged_from = |segment: u64, call: u8| words([0, 0, 0, 0, 0, segment, u64::from(call)]);
    let snapshot = Guest::new("attack-call-segment").save();
    for (segment, call) in (0..=16).flat_map(|segment| [(segment, hypercall::NEXT), (segment, hypercall::EXIT)]) {
        let mut guest = Guest::bound(&snapshot, None);
        let outcome = guest.invoke(&forged_from((segment * 8) | 3, call));
        let is_end = outcome.stop.is_end();
        if outcome.stop == Stop::Next || is_end {
            if let Err(why) = guest.machine.reset() {
                assert!(is_end, "{why}: it had asked for the next event");
                assert!(why.to_string().contains("a code segment that is not its own"), "{why}");
                assert_ne!((segment * 8) | 3, u64::from(selector::USER_CODE), "{why}");
                continue;
            }
            let next = guest.invoke(&forged_from(u64::from(selector::USER_CODE), hypercall::NEXT));
            assert_eq!(next.stop, Stop::Next, "segment {segment} was left for the next invocation by {call}");
        }
    }
}

#[test]
fn scribbling_over_the_mailbox_changes_only_the_own_answer() {
    for byte in [0, 1, 0x7f, 0xff] {
        let outcome = attack_within("attack-race", &[byte], Duration::from_secs(20));
        if outcome.stop == Stop::Next {
            assert!(outcome.answer.is_err() || outcome.payload() == b"answered");
        }
    }
}

/// What host code reads may change under it at any moment. A thread stands for the guest.
#[test]
fn the_host_survives_a_mailbox_that_changes_while_it_looks() {
    use mayfly_abi::mailbox::{ANSWER, BYTES, Control};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let mailbox = Mailbox::new().expect("a mailbox");
    let file = std::fs::File::from(mailbox.file().try_clone_to_owned().expect("a descriptor"));
    let stop = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt;
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let guest = std::mem::offset_of!(Control, guest) as u64;
            // A limit, so that a failure of the other thread is a failure and no hang.
            while !stop.load(Ordering::Relaxed) && rounds.load(Ordering::Relaxed) < 50_000_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Lengths that fit each other now and then, among ones that do not.
                let (small, bit) = (state >> 40 & 0xff, state >> 39 & 1);
                let (at, value) = match state >> 60 & 7 {
                    0 | 1 => (ANSWER + 8, bit << 32),
                    2 | 3 => (guest + 8, HEADER_BYTES as u64 + bit),
                    4 => (ANSWER + 8, small << 56 | small),
                    5 => (guest + 8, BYTES - small),
                    6 => (guest + 16, BYTES - small),
                    _ => (guest + (small & 15) * 8, u64::MAX - small),
                };
                file.write_all_at(&value.to_le_bytes(), at).expect("the mailbox is a file");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut good = 0;
        let mut looks = 0;
        // On one CPU the other thread comes seldom.
        while looks < 2_000 || good == 0 || rounds.load(Ordering::Relaxed) < 10_000 {
            looks += 1;
            if let Ok(answer) = mailbox.answer() {
                assert!(answer.payload.len() <= mayfly_abi::mailbox::RECORD_MAX_BYTES - HEADER_BYTES);
                good += 1;
            }
            assert!(mailbox.take_log().len() as u64 <= mayfly_abi::mailbox::LOG_BYTES);
            let _ = mailbox.guest_words();
        }
        stop.store(true, Ordering::Relaxed);
    });
}
