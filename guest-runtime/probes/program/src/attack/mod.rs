//! What only a hostile program does. Most of it never returns.

mod mailbox;
mod pointers;
mod processor;
mod signals;

use crate::Probe;

pub const PROBES: &[(&str, Probe)] = &[
    ("attack-read", Probe::Each(pointers::read)),
    ("attack-write", Probe::Each(pointers::write)),
    ("attack-touch", Probe::Each(pointers::touch)),
    ("attack-jump", Probe::Each(pointers::jump)),
    ("attack-stack", Probe::Each(pointers::use_up_the_stack)),
    ("attack-fill", Probe::Each(pointers::fill)),
    ("attack-execute", Probe::Each(processor::execute)),
    ("attack-stack-pointer", Probe::Each(processor::wild_stack_pointer)),
    ("attack-bases", Probe::Each(processor::wild_bases)),
    ("attack-selectors", Probe::Each(processor::selectors)),
    ("attack-flags", Probe::Each(processor::flags)),
    ("attack-trap-syscall", Probe::Each(processor::trap_in_a_system_call)),
    ("attack-return", Probe::Each(processor::return_to)),
    ("attack-faulting-handler", Probe::Each(signals::faulting_handler)),
    ("attack-storm", Probe::Each(signals::storm)),
    ("attack-sigreturn", Probe::Each(signals::forged_return)),
    ("attack-signal-stack", Probe::Each(signals::wild_stack)),
    ("attack-busy", Probe::Each(signals::busy_with_wild_registers)),
    ("attack-tick", Probe::Each(signals::false_tick)),
    ("attack-unmap", Probe::Each(signals::unmap_everything)),
    ("attack-next", Probe::Each(mailbox::forged_next)),
    ("attack-next-flags", Probe::Each(mailbox::next_with_flags)),
    ("attack-call-segment", Probe::Each(mailbox::call_from_segment)),
    ("attack-words", Probe::Each(mailbox::words)),
    ("attack-hypercall", Probe::Each(mailbox::hypercall_with)),
    ("attack-fault-address", Probe::Each(mailbox::fault_address)),
    ("attack-host-words", Probe::Each(mailbox::host_words)),
    ("attack-race", Probe::Each(mailbox::scribble)),
];
