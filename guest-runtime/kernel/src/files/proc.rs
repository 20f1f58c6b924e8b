//! The files of `/proc` whose text is made when they are opened.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::Files;
use super::environment::{Environment, MemoryFacts};
use super::limits::DESCRIPTORS_MAX;
use mayfly_abi::layout::MAIN_STACK;

/// Such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generated {
    BootId,
    Cgroup,
    Command,
    CommandLine,
    CpuInfo,
    Environment,
    Limits,
    LoadAverage,
    MachineStat,
    Maps,
    MemInfo,
    Mounts,
    Stat,
    StatM,
    Status,
    Uptime,
    Uuid,
    Version,
}

const PAGE_BYTES: u64 = 4096;
/// Clock ticks per second in `/proc`, as `sysconf(_SC_CLK_TCK)` has it.
const TICKS_PER_SECOND: u64 = 100;

impl Files {
    /// The text of a file at this moment.
    pub(crate) fn generate(&mut self, what: Generated, environment: &mut dyn Environment) -> Vec<u8> {
        let text = match what {
            Generated::BootId => {
                let id = *self.boot_id.get_or_insert_with(|| random_id(environment));
                uuid(id)
            }
            Generated::Uuid => uuid(random_id(environment)),
            Generated::Cgroup => "0::/\n".into(),
            Generated::CommandLine => return self.process.arguments.clone(),
            Generated::Environment => return self.process.environment.clone(),
            Generated::Command => format!("{}\n", self.command()),
            Generated::CpuInfo => cpu_info(),
            Generated::LoadAverage => format!("0.00 0.00 0.00 1/1 {}\n", self.process.id),
            Generated::Limits => limits(),
            Generated::Mounts => "mayfly / squashfs ro,nosuid 0 0\nproc /proc proc ro,nosuid 0 0\n\
                tmpfs /tmp tmpfs rw,nosuid 0 0\ntmpfs /dev/shm tmpfs rw,nosuid 0 0\n"
                .into(),
            Generated::Version => "Linux version 5.15.0 (mayfly) #1 Mayfly guest kernel\n".into(),
            Generated::Uptime | Generated::MachineStat => {
                times(what, environment.monotonic_ns(), environment.realtime_ns())
            }
            Generated::Maps => maps(&environment.facts()),
            Generated::MemInfo => memory_info(&environment.facts()),
            Generated::Stat => self.stat(&environment.facts(), environment.monotonic_ns()),
            Generated::StatM => {
                let pages = used_bytes(&environment.facts()) / PAGE_BYTES;
                format!("{pages} {pages} 0 0 0 {pages} 0\n")
            }
            Generated::Status => self.process_status(&environment.facts()),
        };
        text.into_bytes()
    }

    fn command(&self) -> String {
        const COMMAND_BYTES_MAX: usize = 15;
        let path = &self.process.executable;
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(b"");
        String::from_utf8_lossy(&name[..name.len().min(COMMAND_BYTES_MAX)]).into_owned()
    }

    fn stat(&self, facts: &MemoryFacts, now_ns: u64) -> String {
        let (id, command) = (self.process.id, self.command());
        let ticks = now_ns / (1_000_000_000 / TICKS_PER_SECOND);
        let (bytes, pages) = (used_bytes(facts), used_bytes(facts) / PAGE_BYTES);
        // Fields of proc(5): after the name 3 to 13, the times 14 to 17, 18 to 21, start, sizes, then 25 to 52.
        format!(
            "{id} ({command}) R 0 {id} {id} 0 -1 4194304 0 0 0 0 {ticks} 0 0 0 20 0 1 0 0 {bytes} {pages} {} \
             0 0 {} 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            u64::MAX,
            MAIN_STACK.top(),
        )
    }

    fn process_status(&self, facts: &MemoryFacts) -> String {
        let (id, used, peak) = (self.process.id, used_bytes(facts) >> 10, facts.peak_bytes >> 10);
        format!(
            "Name:\t{}\nUmask:\t{:04o}\nState:\tR (running)\nTgid:\t{id}\nPid:\t{id}\nPPid:\t0\nTracerPid:\t0\n\
             Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t{DESCRIPTORS_MAX}\n\
             VmPeak:\t{peak:8} kB\nVmSize:\t{used:8} kB\nVmHWM:\t{peak:8} kB\nVmRSS:\t{used:8} kB\nVmSwap:\t       0 kB\n\
             Threads:\t1\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n",
            self.command(),
            self.umask,
        )
    }
}

fn used_bytes(facts: &MemoryFacts) -> u64 {
    facts.total_bytes.saturating_sub(facts.free_bytes)
}

fn maps(facts: &MemoryFacts) -> String {
    let mut text = String::new();
    for mapping in &facts.mappings {
        let start = text.len();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:08x}-{:08x} {} 00000000 00:00 0", mapping.start, mapping.end, mapping.permissions);
        if !mapping.name.is_empty() {
            const NAME_COLUMN: usize = 73;
            let padding = NAME_COLUMN.saturating_sub(text.len() - start).max(1);
            let _ = write!(text, "{:padding$}{}", "", mapping.name);
        }
        text.push('\n');
    }
    text
}

fn memory_info(facts: &MemoryFacts) -> String {
    let (total, free) = (facts.total_bytes >> 10, facts.free_bytes >> 10);
    let mut text = String::new();
    for (name, kib) in [
        ("MemTotal:", total),
        ("MemFree:", free),
        ("MemAvailable:", free),
        ("Buffers:", 0),
        ("Cached:", 0),
        ("SwapCached:", 0),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
        ("Shmem:", 0),
    ] {
        let _ = writeln!(text, "{name:15} {kib:8} kB");
    }
    text
}

fn times(what: Generated, monotonic_ns: u64, realtime_ns: u64) -> String {
    if what == Generated::Uptime {
        let hundredths = monotonic_ns / 10_000_000;
        return format!("{0}.{1:02} {0}.{1:02}\n", hundredths / 100, hundredths % 100);
    }
    let ticks = monotonic_ns / (1_000_000_000 / TICKS_PER_SECOND);
    let booted_s = realtime_ns.saturating_sub(monotonic_ns) / 1_000_000_000;
    format!(
        "cpu  {ticks} 0 0 0 0 0 0 0 0 0\ncpu0 {ticks} 0 0 0 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime {booted_s}\nprocesses 1\n\
         procs_running 1\nprocs_blocked 0\n"
    )
}

/// One processor. Programs that want its features ask `cpuid`.
fn cpu_info() -> String {
    "processor\t: 0\nvendor_id\t: Mayfly\ncpu family\t: 6\nmodel\t\t: 0\nmodel name\t: Mayfly vCPU\nstepping\t: 0\n\
     physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\nflags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 syscall lm\n\n"
        .into()
}

fn limits() -> String {
    let mut text = format!("{:25} {:20} {:20} {:10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (name, limit, unit) in
        [("Max stack size", MAIN_STACK.bytes, "bytes"), ("Max open files", DESCRIPTORS_MAX as u64, "files")]
    {
        let _ = writeln!(text, "{name:25} {limit:<20} {limit:<20} {unit:10}");
    }
    text
}

/// Random bytes marked as a version 4 UUID.
fn random_id(environment: &mut dyn Environment) -> [u8; 16] {
    let mut id = [0; 16];
    environment.fill(&mut id);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

fn uuid(id: [u8; 16]) -> String {
    let mut text = String::new();
    for (index, byte) in id.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{dash}{byte:02x}");
    }
    text.push('\n');
    text
}
