//! Runs the probe that the first argument names.
//!
//! Each probe is a function from an event's payload to the payload of an answer. It panics when it finds something wrong;
//! that ends the program by SIGABRT, with the reason in the log.

mod attack;
mod canaries;
mod device;
mod ending;
mod events;
mod files;
mod library;
mod log;
mod memory;
mod pipes;
mod randomness;
mod registers;
mod signal_waits;
mod signals;
mod sites;
mod sockets;
mod system;
mod system_calls;
mod threads;
mod time;
mod timers;

use device::Device;

/// What a probe is.
pub enum Probe {
    /// Called for each event.
    Each(fn(&[u8]) -> Vec<u8>),
    /// Speaks with the event device by itself.
    Own(fn(Device)),
}

const FAMILIES: &[&[(&str, Probe)]] = &[
    attack::PROBES,
    canaries::PROBES,
    ending::PROBES,
    events::PROBES,
    files::PROBES,
    library::PROBES,
    log::PROBES,
    memory::PROBES,
    pipes::PROBES,
    randomness::PROBES,
    registers::PROBES,
    sites::PROBES,
    sockets::PROBES,
    signal_waits::PROBES,
    signals::PROBES,
    system_calls::PROBES,
    threads::PROBES,
    time::PROBES,
    timers::PROBES,
];

fn main() {
    let wanted = std::env::args().nth(1).expect("the first argument names a probe");
    let found = FAMILIES.iter().copied().flatten().find(|(name, _)| *name == wanted);
    let (_, probe) = found.unwrap_or_else(|| panic!("there is no probe {wanted}"));
    let mut device = Device::open();
    match probe {
        Probe::Own(run) => run(device),
        Probe::Each(answer) => loop {
            let event = device.read();
            device.answer(&answer(&event));
        },
    }
}

/// The word at the start of a payload.
pub fn word(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().expect("the test sends 8 bytes"))
}
