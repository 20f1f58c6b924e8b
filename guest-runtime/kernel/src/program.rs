//! Loading the program that a fresh guest starts, from an image into memory.

use alloc::vec::Vec;

use mayfly_abi::image::Image;
use mayfly_abi::layout::{IMAGES_MAX, MAIN_STACK, PROGRAM, image_base};
use mayfly_abi::mailbox::HostWords;
use mayfly_kernel::clock::Clock;
use mayfly_kernel::elf::{Program, Start, auxiliary};
use mayfly_kernel::errno::Errno;
use mayfly_kernel::files::Files;
use mayfly_kernel::files::environment::Process;
use mayfly_kernel::frame::Frame;
use mayfly_kernel::memory::AddressSpace;
use mayfly_kernel::random::Generator;
use mayfly_kernel::signals::Signals;
use mayfly_kernel::sites::Sites;
use mayfly_kernel::system::{Machine, System};
use mayfly_kernel::threads::{PROCESS_ID, Threads};
use mayfly_kernel::timers::Timers;
use mayfly_kernel::user::UserMemory;

use crate::Kernel;
use crate::machine::device::Device;
use crate::machine::{Hardware, mailbox};

/// FSGSBASE, as Linux tells it in `AT_HWCAP2`.
const CAN_SET_FS: u64 = 2;
/// Ticks of `times` per second.
const TICKS: u64 = 100;
/// Room for a signal frame with AVX-512 state.
const SIGNAL_STACK_BYTES: u64 = 3632;

/// Builds the kernel's state and puts the program into memory.
pub(crate) fn load() -> Result<Kernel, Errno> {
    let host = mailbox::host();
    let start = &host.start;
    let strings = start.strings.get(..start.strings_bytes as usize).ok_or(Errno::TOOBIG)?;
    let path = strings.split(|&byte| byte == 0).next().unwrap_or(&[]);
    let arguments_bytes: usize =
        strings.split_inclusive(|&byte| byte == 0).take(start.arguments as usize).map(<[u8]>::len).sum();
    let process = Process {
        id: PROCESS_ID,
        executable: path.to_vec(),
        arguments: strings[..arguments_bytes].to_vec(),
        environment: strings[arguments_bytes..].to_vec(),
    };
    let mut files = Files::new(host.tmp_bytes, process);
    set_images(&mut files, host);

    let mut hardware = Hardware {
        memory_bytes: host.memory_bytes,
        image_end: image_ends(host),
        vector_sets: host.xcr0,
        vector_bytes: vector_bytes(host.xcr0),
    };
    let file = files.file_data(path).ok_or(Errno::NOENT)?;
    let program = Program::parse(file)?;
    let base = place(&mut hardware, &program, file, PROGRAM)?;
    let mut end = base + program.extent().1;
    let mut entry = base + program.entry;
    let mut interpreter_base = 0;
    if let Some(path) = program.interpreter {
        let file = files.file_data(path).ok_or(Errno::NOENT)?;
        let interpreter = Program::parse(file)?;
        interpreter_base = place(&mut hardware, &interpreter, file, end)?;
        end = interpreter_base + interpreter.extent().1;
        entry = interpreter_base + interpreter.entry;
    }

    let mut random = Generator::new(host.generation, host.seed);
    let mut seed = [0; 16];
    random.fill(&mut seed);
    let auxiliary = [
        (auxiliary::HEADERS, base + program.headers_address),
        (auxiliary::HEADER_BYTES, 56),
        (auxiliary::HEADER_COUNT, program.headers),
        (auxiliary::PAGE_BYTES, 4096),
        (auxiliary::INTERPRETER, interpreter_base),
        (auxiliary::ENTRY, base + program.entry),
        (auxiliary::CAPABILITIES, u64::from(core::arch::x86_64::__cpuid(1).edx)),
        (auxiliary::CAPABILITIES2, CAN_SET_FS),
        (auxiliary::TICKS, TICKS),
        (auxiliary::SECURE, 0),
        (auxiliary::SIGNAL_STACK, SIGNAL_STACK_BYTES),
    ];
    let start = Start {
        strings,
        arguments: start.arguments as usize,
        environment: start.environment as usize,
        auxiliary: &auxiliary,
        random: seed,
    };
    let (stack, stack_pointer) = start.stack(MAIN_STACK.top());
    hardware.write(stack_pointer, stack.len() as u64)?.copy_from_slice(&stack);

    let mut clock = Clock::default();
    clock.rebase(host);
    let started_ns = clock.monotonic_ns(hardware.tsc());
    let system = System {
        space: AddressSpace::new(end, host.memory_bytes),
        threads: Threads::new(Frame::starting_at(entry, stack_pointer)),
        clock,
        random,
        signals: Signals::default(),
        timers: Timers::default(),
        name: [0; 16],
        started_ns,
        idle_ns: 0,
        turn_ns: started_ns,
        groups: Vec::new(),
    };
    let loaded = Some(system.threads.current().id);
    let ticks = host.ticks;
    let device = Device::default();
    Ok(Kernel {
        system,
        files,
        hardware,
        device,
        reported: [0; 8],
        sites: Sites::default(),
        loaded,
        has_ended: false,
        ticks,
    })
}

/// Bytes that XSAVE writes for these sets.
fn vector_bytes(sets: u64) -> usize {
    /// x87, SSE and the header.
    const FIRST: usize = 576;
    let end_of = |set: u32| {
        let found = core::arch::x86_64::__cpuid_count(0xd, set);
        (found.eax + found.ebx) as usize
    };
    (2..63).filter(|set| sets >> set & 1 == 1).map(end_of).fold(FIRST, usize::max)
}

/// Shows the files of all images that the host has mapped.
pub(crate) fn set_images(files: &mut Files, host: &HostWords) {
    for (index, &bytes) in host.image_bytes.iter().enumerate() {
        let image = (bytes > 0).then(|| {
            // SAFETY: the host maps an image of that length there, read-only, for the life of the guest.
            let bytes = unsafe { core::slice::from_raw_parts(image_base(index) as *const u8, bytes as usize) };
            Image::new(bytes)
        });
        files.set_image(index, image.flatten());
    }
}

/// End address of each image.
pub(crate) fn image_ends(host: &HostWords) -> [u64; IMAGES_MAX] {
    let mut ends = [0; IMAGES_MAX];
    for (index, (end, &bytes)) in ends.iter_mut().zip(&host.image_bytes).enumerate() {
        *end = image_base(index) + bytes;
    }
    ends
}

/// Copies the parts of a program to where they belong; returns the load bias.
fn place(hardware: &mut Hardware, program: &Program<'_>, file: &[u8], free: u64) -> Result<u64, Errno> {
    let base = if program.relocatable { free.next_multiple_of(4096) - program.extent().0 } else { 0 };
    for part in &program.parts {
        let source = &file[part.file_offset as usize..(part.file_offset + part.file_bytes) as usize];
        // Memory of a fresh guest is zero, so the rest of the part needs nothing.
        hardware.write(base + part.address, part.memory_bytes).map_err(|_| Errno::NOMEM)?;
        hardware.write(base + part.address, part.file_bytes)?.copy_from_slice(source);
    }
    Ok(base)
}
