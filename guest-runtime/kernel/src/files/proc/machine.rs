//! Texts about the machine: memory, times, the processor.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::fmt::Write;

use super::{MemoryFacts, TICKS_PER_SECOND};

/// `/proc/meminfo`.
pub(super) fn memory_info(facts: &MemoryFacts) -> String {
    let (total, free) = (facts.total_bytes >> 10, facts.free_bytes >> 10);
    let used = total.saturating_sub(free);
    let mut text = String::new();
    for (name, kib) in [
        ("MemTotal:", total),
        ("MemFree:", free),
        ("MemAvailable:", free),
        ("Buffers:", 0),
        ("Cached:", 0),
        ("SwapCached:", 0),
        ("Active:", used),
        ("Inactive:", 0),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
        ("Dirty:", 0),
        ("Writeback:", 0),
        ("AnonPages:", used),
        ("Mapped:", 0),
        ("Shmem:", 0),
        ("Slab:", 0),
        ("SReclaimable:", 0),
        ("SUnreclaim:", 0),
        ("CommitLimit:", total),
        ("Committed_AS:", used),
        ("VmallocTotal:", 0),
        ("VmallocUsed:", 0),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:15} {kib:8} kB");
    }
    text
}

/// `/proc/uptime`.
pub(super) fn uptime(monotonic_ns: u64) -> String {
    let hundredths = monotonic_ns / 10_000_000;
    format!("{0}.{1:02} {0}.{1:02}\n", hundredths / 100, hundredths % 100)
}

/// `/proc/stat`: one processor, all of whose time was the program's.
pub(super) fn machine_stat(monotonic_ns: u64, realtime_ns: u64) -> String {
    let ticks = monotonic_ns / (1_000_000_000 / TICKS_PER_SECOND);
    let booted_s = realtime_ns.saturating_sub(monotonic_ns) / 1_000_000_000;
    format!(
        "cpu  {ticks} 0 0 0 0 0 0 0 0 0\ncpu0 {ticks} 0 0 0 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime {booted_s}\nprocesses 1\n\
         procs_running 1\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
    )
}

/// `/proc/cpuinfo`: one processor, and of it what `cpuid` says.
pub(super) fn cpu_info() -> String {
    let (first, signature) = (__cpuid(0), __cpuid(1));
    let vendor = text(&[first.ebx, first.edx, first.ecx]);
    let (base_family, extended_family) = (signature.eax >> 8 & 0xf, signature.eax >> 20 & 0xff);
    let family = if base_family == 0xf { base_family + extended_family } else { base_family };
    let (base_model, extended_model) = (signature.eax >> 4 & 0xf, signature.eax >> 16 & 0xf);
    let model = if matches!(base_family, 6 | 0xf) { extended_model << 4 | base_model } else { base_model };
    let flags: Vec<&str> = FLAGS.iter().filter(|flag| flag.is_set()).map(|flag| flag.name).collect();
    format!(
        "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {}\nstepping\t: {}\n\
         physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\nfpu\t\t: yes\nflags\t\t: {}\n\
         clflush size\t: {}\naddress sizes\t: 48 bits physical, 48 bits virtual\n\n",
        brand(),
        signature.eax & 0xf,
        flags.join(" "),
        (signature.ebx >> 8 & 0xff) * 8,
    )
}

fn brand() -> String {
    const FIRST: u32 = 0x8000_0002;
    if __cpuid(0x8000_0000).eax < FIRST + 2 {
        return "Mayfly vCPU".into();
    }
    let words: Vec<u32> = (FIRST..FIRST + 3)
        .flat_map(|leaf| {
            let CpuidResult { eax, ebx, ecx, edx } = __cpuid(leaf);
            [eax, ebx, ecx, edx]
        })
        .collect();
    text(&words)
}

/// Text in registers, without zeros and spaces around it.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).filter(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim().into()
}

/// A register of a `cpuid` leaf.
#[derive(Debug, Clone, Copy)]
enum Register {
    /// Leaf 1.
    OneEdx,
    OneEcx,
    /// Leaf 7.
    SevenEbx,
    SevenEcx,
    /// Leaf 0x8000_0001.
    ExtendedEdx,
    ExtendedEcx,
}

/// A flag of `/proc/cpuinfo` (Linux's `cpufeatures.h`), of those that programs look for.
struct Flag {
    register: Register,
    bit: u32,
    name: &'static str,
}

impl Flag {
    fn is_set(&self) -> bool {
        let word = match self.register {
            Register::OneEdx => __cpuid(1).edx,
            Register::OneEcx => __cpuid(1).ecx,
            Register::SevenEbx if __cpuid(0).eax >= 7 => __cpuid_count(7, 0).ebx,
            Register::SevenEcx if __cpuid(0).eax >= 7 => __cpuid_count(7, 0).ecx,
            Register::SevenEbx | Register::SevenEcx => 0,
            Register::ExtendedEdx => __cpuid(0x8000_0001).edx,
            Register::ExtendedEcx => __cpuid(0x8000_0001).ecx,
        };
        word >> self.bit & 1 != 0
    }
}

macro_rules! flags {
    ($($register:ident: $($bit:literal $name:literal),*;)*) => {
        &[$($(Flag { register: Register::$register, bit: $bit, name: $name }),*),*]
    };
}

static FLAGS: &[Flag] = flags! {
    OneEdx: 0 "fpu", 4 "tsc", 5 "msr", 6 "pae", 8 "cx8", 15 "cmov", 19 "clflush", 23 "mmx", 24 "fxsr", 25 "sse", 26 "sse2", 28 "ht";
    ExtendedEdx: 11 "syscall", 20 "nx", 26 "pdpe1gb", 27 "rdtscp", 29 "lm";
    OneEcx: 0 "pni", 1 "pclmulqdq", 9 "ssse3", 12 "fma", 13 "cx16", 19 "sse4_1", 20 "sse4_2", 22 "movbe", 23 "popcnt", 25 "aes",
        26 "xsave", 28 "avx", 29 "f16c", 30 "rdrand", 31 "hypervisor";
    ExtendedEcx: 0 "lahf_lm", 5 "abm", 6 "sse4a";
    SevenEbx: 0 "fsgsbase", 3 "bmi1", 5 "avx2", 8 "bmi2", 9 "erms", 16 "avx512f", 17 "avx512dq", 18 "rdseed", 19 "adx",
        21 "avx512ifma", 23 "clflushopt", 24 "clwb", 28 "avx512cd", 29 "sha_ni", 30 "avx512bw", 31 "avx512vl";
    SevenEcx: 1 "avx512vbmi", 6 "avx512_vbmi2", 8 "gfni", 9 "vaes", 10 "vpclmulqdq", 11 "avx512_vnni", 12 "avx512_bitalg",
        14 "avx512_vpopcntdq";
};
