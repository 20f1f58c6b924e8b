//! The files of `/proc` whose text is made when they are opened.

mod machine;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::Files;
use super::description::flag;
use super::environment::{Environment, MemoryFacts};
use super::limits::DESCRIPTORS_MAX;
use super::place::Place;
use super::status::IMAGES_DEVICE;
use crate::errno::Errno;
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
    MountInfo,
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
            Generated::CpuInfo => machine::cpu_info(),
            Generated::LoadAverage => format!("0.00 0.00 0.00 1/1 {}\n", self.process.id),
            Generated::Limits => limits(),
            Generated::Mounts => MOUNTS.iter().fold(String::new(), |text, (kind, path, options)| {
                let source = if *path == "/" { "mayfly" } else { kind };
                text + &format!("{source} {path} {kind} {options} 0 0\n")
            }),
            Generated::MountInfo => mount_info(),
            Generated::Version => "Linux version 5.15.0 (mayfly) #1 Mayfly guest kernel\n".into(),
            Generated::Uptime => machine::uptime(environment.monotonic_ns()),
            Generated::MachineStat => machine::machine_stat(environment.monotonic_ns(), environment.realtime_ns()),
            Generated::Maps => maps(&environment.facts()),
            Generated::MemInfo => machine::memory_info(&environment.facts()),
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
        let (id, command, threads) = (self.process.id, self.command(), facts.threads.max(1));
        let ticks = now_ns / (1_000_000_000 / TICKS_PER_SECOND);
        let (bytes, pages) = (used_bytes(facts), used_bytes(facts) / PAGE_BYTES);
        // Fields of proc(5): after the name 3 to 13, the times 14 to 17, 18 to 21, start, sizes, then 25 to 52.
        format!(
            "{id} ({command}) R 0 {id} {id} 0 -1 4194304 0 0 0 0 {ticks} 0 0 0 20 0 {threads} 0 0 {bytes} {pages} {} \
             0 0 {} 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            u64::MAX,
            MAIN_STACK.top(),
        )
    }

    fn process_status(&self, facts: &MemoryFacts) -> String {
        let (id, used, peak) = (self.process.id, used_bytes(facts) >> 10, facts.peak_bytes >> 10);
        let (threads, stack) = (facts.threads.max(1), MAIN_STACK.bytes >> 10);
        format!(
            "Name:\t{}\nUmask:\t{:04o}\nState:\tR (running)\nTgid:\t{id}\nNgid:\t0\nPid:\t{id}\nPPid:\t0\nTracerPid:\t0\n\
             Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t{DESCRIPTORS_MAX}\nGroups:\t0 \nNStgid:\t{id}\nNSpid:\t{id}\n\
             VmPeak:\t{peak:8} kB\nVmSize:\t{used:8} kB\nVmLck:\t       0 kB\nVmPin:\t       0 kB\nVmHWM:\t{peak:8} kB\n\
             VmRSS:\t{used:8} kB\nRssAnon:\t{used:8} kB\nRssFile:\t       0 kB\nRssShmem:\t       0 kB\nVmData:\t{used:8} kB\n\
             VmStk:\t{stack:8} kB\nVmExe:\t       0 kB\nVmLib:\t       0 kB\nVmPTE:\t       0 kB\nVmSwap:\t       0 kB\n\
             Threads:\t{threads}\nSeccomp:\t0\nCpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
             voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
            self.command(),
            self.umask,
        )
    }

    /// `/proc/self/fdinfo/N`.
    pub(crate) fn descriptor_info(&self, fd: u32) -> Result<Vec<u8>, Errno> {
        let description = self.description(u64::from(fd))?;
        let closes = if self.closes_on_exec(u64::from(fd))? { flag::CLOSE_ON_EXEC } else { 0 };
        let mount = description.place.map_or(0, mount_id);
        let inode = self.status_of_description(description)?.inode;
        let (position, flags) = (description.position, description.flags | flag::LARGE | closes);
        Ok(format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{inode}\n").into_bytes())
    }
}

/// What is mounted where: kind, path, options.
const MOUNTS: [(&str, &str, &str); 5] = [
    ("squashfs", "/", "ro,nosuid"),
    ("proc", "/proc", "ro,nosuid"),
    ("sysfs", "/sys", "ro,nosuid"),
    ("tmpfs", "/tmp", "rw,nosuid"),
    ("tmpfs", "/dev/shm", "rw,nosuid"),
];
/// Number of the first of them in `mountinfo`.
const FIRST_MOUNT: usize = 20;

fn mount_info() -> String {
    let mut text = String::new();
    for (index, (kind, path, options)) in MOUNTS.iter().enumerate() {
        let (id, parent) = (FIRST_MOUNT + index, if index == 0 { 1 } else { FIRST_MOUNT });
        let source = if index == 0 { "mayfly" } else { kind };
        let device = IMAGES_DEVICE + index as u64;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{id} {parent} 0:{device} / {path} {options} - {kind} {source} {options}");
    }
    text
}

fn mount_id(place: Place) -> usize {
    FIRST_MOUNT
        + match place {
            Place::Tmp(_) => 3,
            Place::Descriptor(_) | Place::DescriptorInfo(_) => 1,
            _ => 0,
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
