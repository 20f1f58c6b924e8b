//! Loading the program that a fresh guest starts, from an image into memory.

use alloc::vec;
use alloc::vec::Vec;

use mayfly_abi::image::Image;
use mayfly_abi::layout::{IMAGES_MAX, MAIN_STACK, PAGE_BYTES, PROGRAM, image_base};
use mayfly_abi::mailbox::HostWords;
use mayfly_kernel::clock::Clock;
use mayfly_kernel::elf::{Program, Start, auxiliary};
use mayfly_kernel::errno::Errno;
use mayfly_kernel::files::environment::Process;
use mayfly_kernel::files::{Bytes, Files};
use mayfly_kernel::frame::Frame;
use mayfly_kernel::memory::{AddressSpace, Span, protection};
use mayfly_kernel::random::Generator;
use mayfly_kernel::signals::Signals;
use mayfly_kernel::sites::Sites;
use mayfly_kernel::syscall::library::backing;
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

/// Longest path of an interpreter.
const PATH_BYTES_MAX: usize = 4096;

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
    let mut hardware = Hardware {
        memory_bytes: host.memory_bytes,
        images: [None; IMAGES_MAX],
        vector_sets: host.xcr0,
        vector_bytes: vector_bytes(host.xcr0),
    };
    set_images(&mut files, &mut hardware, host);
    let program = Placed::new(&files, &mut hardware, path, PROGRAM)?;
    let interpreter = match program.program.interpreter {
        Some((offset, bytes)) => {
            let mut path = vec![0; (bytes as usize).min(PATH_BYTES_MAX)];
            let length = program.file.copy(offset, &mut path);
            path.truncate(path[..length].iter().position(|&byte| byte == 0).unwrap_or(length));
            Some(Placed::new(&files, &mut hardware, &path, program.end)?)
        }
        None => None,
    };
    let first = interpreter.as_ref().unwrap_or(&program);
    let (end, entry) = (first.end, first.base + first.program.entry);
    let interpreter_base = interpreter.as_ref().map_or(0, |interpreter| interpreter.base);

    let mut random = Generator::new(host.generation, host.seed);
    let mut seed = [0; 16];
    random.fill(&mut seed);
    let auxiliary = [
        (auxiliary::HEADERS, program.base + program.program.headers_address),
        (auxiliary::HEADER_BYTES, 56),
        (auxiliary::HEADER_COUNT, program.program.headers),
        (auxiliary::PAGE_BYTES, 4096),
        (auxiliary::INTERPRETER, interpreter_base),
        (auxiliary::ENTRY, program.base + program.program.entry),
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
    let mut space = AddressSpace::new(end, host.memory_bytes);
    for placed in [Some(&program), interpreter.as_ref()].into_iter().flatten() {
        placed.note(&mut space);
    }
    let system = System {
        space,
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
        image_bytes: host.image_bytes,
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
pub(crate) fn set_images(files: &mut Files, hardware: &mut Hardware, host: &HostWords) {
    for (index, &bytes) in host.image_bytes.iter().enumerate() {
        let image = (bytes > 0).then(|| {
            // SAFETY: the host maps an image of that length there for the life of the guest. What of it can be written, the writable
            // ranges, holds no bytes of a file.
            let bytes = unsafe { core::slice::from_raw_parts(image_base(index) as *const u8, bytes as usize) };
            Image::new(bytes)
        });
        let is_in_place = host.images_in_place >> index & 1 != 0;
        let image = image.flatten().map(|image| if is_in_place { image } else { image.read_only() });
        hardware.images[index] = image;
        files.set_image(index, image);
    }
}

/// A program in memory: used where it is, in its image, or copied.
struct Placed {
    file: Bytes,
    program: Program,
    /// Load bias.
    base: u64,
    /// Where the program's memory goes on.
    end: u64,
    area: Option<Span>,
}

impl Placed {
    /// Puts a program to `free`, unless it is where it can be used already.
    fn new(files: &Files, hardware: &mut Hardware, path: &[u8], free: u64) -> Result<Placed, Errno> {
        let file = files.file_data(path).ok_or(Errno::NOENT)?;
        let program = Program::parse(file.piece(0), file.len())?;
        let (start, end) = program.extent();
        let area = file.area().filter(|area| program.relocatable && area.bytes() == end - start);
        if let Some(area) = area {
            let base = area.start - start;
            for part in program.parts.iter().filter(|part| part.memory_bytes > part.file_bytes) {
                // What follows in the file. All of the page, as on Linux: `ld.so` uses what is left of its own.
                let from = part.address + part.file_bytes;
                let to = from.next_multiple_of(PAGE_BYTES);
                hardware.write(base + from, to - from).map_err(|_| Errno::NOEXEC)?.fill(0);
            }
            return Ok(Placed { file, program, base, end: free, area: Some(area) });
        }
        let base = if program.relocatable { free.next_multiple_of(PAGE_BYTES) - start } else { 0 };
        for part in &program.parts {
            // Memory of a fresh guest is zero, so the rest of the part needs nothing.
            hardware.write(base + part.address, part.memory_bytes).map_err(|_| Errno::NOMEM)?;
            let target = hardware.write(base + part.address, part.file_bytes)?;
            file.copy(part.file_offset, target);
        }
        Ok(Placed { file, base, end: free.max(base + end), program, area: None })
    }

    /// Notes what of the address space it takes that is not below the heap.
    fn note(&self, space: &mut AddressSpace) {
        let Some(area) = self.area else { return };
        space.take_area(area, protection::NONE, area.end);
        for part in &self.program.parts {
            let (address, offset, bytes) = part.mapped();
            let start = self.base + address;
            let end = (self.base + part.address + part.memory_bytes).next_multiple_of(PAGE_BYTES);
            let backing = backing(&self.file, offset, bytes);
            space.settle_area(Span { start, end }, part.protection, backing);
        }
    }
}
