//! The list.

use super::{Dynamic, Entry, Kind, Synthetic};
use crate::files::device::Device;
use crate::files::proc::Generated;
use crate::files::tmp::Tmp;

// Directories, whose numbers are their places in the list.
pub(super) const ROOT: Synthetic = Synthetic(0);
pub(super) const DEV: Synthetic = Synthetic(1);
pub(super) const PROC: Synthetic = Synthetic(2);
pub(super) const PROC_SELF: Synthetic = Synthetic(3);
pub(super) const PROC_SELF_FD: Synthetic = Synthetic(4);
pub(super) const PROC_SELF_FD_INFO: Synthetic = Synthetic(5);
pub(super) const PROC_SELF_TASK: Synthetic = Synthetic(6);
const PROC_SYS: Synthetic = Synthetic(7);
const SYS_KERNEL: Synthetic = Synthetic(8);
const SYS_KERNEL_RANDOM: Synthetic = Synthetic(9);
const SYS_VM: Synthetic = Synthetic(10);
const SYS_FS: Synthetic = Synthetic(11);
const SYS_NET: Synthetic = Synthetic(12);
const SYS_NET_CORE: Synthetic = Synthetic(13);
const SYS_NET_IPV4: Synthetic = Synthetic(14);
const SYS_NET_UNIX: Synthetic = Synthetic(15);
const SYS: Synthetic = Synthetic(16);
const DEVICES: Synthetic = Synthetic(17);
const SYSTEM: Synthetic = Synthetic(18);
const CPU: Synthetic = Synthetic(19);
const CPU_0: Synthetic = Synthetic(20);
const CPU_0_TOPOLOGY: Synthetic = Synthetic(21);
const NODE: Synthetic = Synthetic(22);
const NODE_0: Synthetic = Synthetic(23);
const FS: Synthetic = Synthetic(24);
const SYS_KERNEL_DIRECTORY: Synthetic = Synthetic(26);
const MM: Synthetic = Synthetic(27);
const HUGE_PAGES: Synthetic = Synthetic(28);
const ETC: Synthetic = Synthetic(29);
const VAR: Synthetic = Synthetic(30);

const fn entry(parent: Synthetic, name: &'static str, kind: Kind) -> Entry {
    Entry { parent, name: name.as_bytes(), kind }
}

const fn text(parent: Synthetic, name: &'static str, text: &'static str) -> Entry {
    entry(parent, name, Kind::Text(text.as_bytes()))
}

const fn link(parent: Synthetic, name: &'static str, target: &'static str) -> Entry {
    entry(parent, name, Kind::Link(target.as_bytes()))
}

const fn made(parent: Synthetic, name: &'static str, what: Generated) -> Entry {
    entry(parent, name, Kind::Generated(what))
}

const fn device(name: &'static str, device: Device) -> Entry {
    entry(DEV, name, Kind::Device(device))
}

pub(super) static ENTRIES: &[Entry] = &[
    // Directories, in the order of their numbers.
    entry(ROOT, "", Kind::Directory),
    entry(ROOT, "dev", Kind::Sealed),
    entry(ROOT, "proc", Kind::Sealed),
    entry(PROC, "self", Kind::Sealed),
    entry(PROC_SELF, "fd", Kind::Sealed),
    entry(PROC_SELF, "fdinfo", Kind::Sealed),
    entry(PROC_SELF, "task", Kind::Sealed),
    entry(PROC, "sys", Kind::Sealed),
    entry(PROC_SYS, "kernel", Kind::Sealed),
    entry(SYS_KERNEL, "random", Kind::Sealed),
    entry(PROC_SYS, "vm", Kind::Sealed),
    entry(PROC_SYS, "fs", Kind::Sealed),
    entry(PROC_SYS, "net", Kind::Sealed),
    entry(SYS_NET, "core", Kind::Sealed),
    entry(SYS_NET, "ipv4", Kind::Sealed),
    entry(SYS_NET, "unix", Kind::Sealed),
    entry(ROOT, "sys", Kind::Sealed),
    entry(SYS, "devices", Kind::Sealed),
    entry(DEVICES, "system", Kind::Sealed),
    entry(SYSTEM, "cpu", Kind::Sealed),
    entry(CPU, "cpu0", Kind::Sealed),
    entry(CPU_0, "topology", Kind::Sealed),
    entry(SYSTEM, "node", Kind::Sealed),
    entry(NODE, "node0", Kind::Sealed),
    entry(SYS, "fs", Kind::Sealed),
    entry(FS, "cgroup", Kind::Sealed),
    entry(SYS, "kernel", Kind::Sealed),
    entry(SYS_KERNEL_DIRECTORY, "mm", Kind::Sealed),
    entry(MM, "transparent_hugepage", Kind::Sealed),
    entry(ROOT, "etc", Kind::Directory),
    entry(ROOT, "var", Kind::Directory),
    entry(VAR, "task", Kind::Directory),
    entry(ROOT, "opt", Kind::Directory),
    // / and /var
    entry(ROOT, "tmp", Kind::Mount(Tmp::ROOT)),
    link(VAR, "tmp", "/tmp"),
    // /dev
    device("null", Device::Null),
    device("zero", Device::Zero),
    device("full", Device::Full),
    device("random", Device::Random),
    device("urandom", Device::Random),
    device("tty", Device::Terminal),
    device("console", Device::Log),
    device("mayfly", Device::Events),
    entry(DEV, "shm", Kind::Mount(Tmp::SHARED_MEMORY)),
    link(DEV, "fd", "/proc/self/fd"),
    link(DEV, "stdin", "/proc/self/fd/0"),
    link(DEV, "stdout", "/proc/self/fd/1"),
    link(DEV, "stderr", "/proc/self/fd/2"),
    // /proc
    text(PROC, "cmdline", "\n"),
    made(PROC, "cpuinfo", Generated::CpuInfo),
    text(PROC, "filesystems", "nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\n\tsquashfs\n"),
    made(PROC, "loadavg", Generated::LoadAverage),
    made(PROC, "meminfo", Generated::MemInfo),
    link(PROC, "mounts", "self/mounts"),
    made(PROC, "stat", Generated::MachineStat),
    text(PROC, "swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    link(PROC, "thread-self", "self/task/1"),
    made(PROC, "uptime", Generated::Uptime),
    made(PROC, "version", Generated::Version),
    // /proc/self
    made(PROC_SELF, "cgroup", Generated::Cgroup),
    made(PROC_SELF, "cmdline", Generated::CommandLine),
    made(PROC_SELF, "comm", Generated::Command),
    entry(PROC_SELF, "cwd", Kind::Dynamic(Dynamic::WorkingDirectory)),
    made(PROC_SELF, "environ", Generated::Environment),
    entry(PROC_SELF, "exe", Kind::Dynamic(Dynamic::Executable)),
    made(PROC_SELF, "limits", Generated::Limits),
    made(PROC_SELF, "maps", Generated::Maps),
    made(PROC_SELF, "mountinfo", Generated::MountInfo),
    made(PROC_SELF, "mounts", Generated::Mounts),
    text(PROC_SELF, "oom_score", "0\n"),
    text(PROC_SELF, "oom_score_adj", "0\n"),
    link(PROC_SELF, "root", "/"),
    made(PROC_SELF, "stat", Generated::Stat),
    made(PROC_SELF, "statm", Generated::StatM),
    made(PROC_SELF, "status", Generated::Status),
    // /proc/sys
    text(SYS_KERNEL, "cap_last_cap", "40\n"),
    text(SYS_KERNEL, "domainname", "(none)\n"),
    text(SYS_KERNEL, "hostname", "mayfly\n"),
    text(SYS_KERNEL, "ngroups_max", "65536\n"),
    text(SYS_KERNEL, "osrelease", "5.15.0\n"),
    text(SYS_KERNEL, "ostype", "Linux\n"),
    text(SYS_KERNEL, "pid_max", "32768\n"),
    text(SYS_KERNEL, "threads-max", "1024\n"),
    text(SYS_KERNEL, "version", "#1 Mayfly guest kernel\n"),
    made(SYS_KERNEL_RANDOM, "boot_id", Generated::BootId),
    made(SYS_KERNEL_RANDOM, "uuid", Generated::Uuid),
    text(SYS_VM, "max_map_count", "65536\n"),
    text(SYS_VM, "overcommit_memory", "0\n"),
    text(SYS_VM, "swappiness", "0\n"),
    text(SYS_FS, "file-max", "1024\n"),
    text(SYS_FS, "nr_open", "1024\n"),
    text(SYS_FS, "pipe-max-size", "1048576\n"),
    text(SYS_NET_CORE, "rmem_max", "212992\n"),
    text(SYS_NET_CORE, "somaxconn", "1024\n"),
    text(SYS_NET_CORE, "wmem_max", "212992\n"),
    text(SYS_NET_IPV4, "ip_local_port_range", "32768\t60999\n"),
    text(SYS_NET_UNIX, "max_dgram_qlen", "512\n"),
    // /sys: one processor, one node, no large pages to ask for
    text(CPU, "kernel_max", "0\n"),
    text(CPU, "offline", "\n"),
    text(CPU, "online", "0\n"),
    text(CPU, "possible", "0\n"),
    text(CPU, "present", "0\n"),
    text(CPU_0, "online", "1\n"),
    text(CPU_0_TOPOLOGY, "core_cpus", "1\n"),
    text(CPU_0_TOPOLOGY, "core_cpus_list", "0\n"),
    text(CPU_0_TOPOLOGY, "core_id", "0\n"),
    text(CPU_0_TOPOLOGY, "core_siblings", "1\n"),
    text(CPU_0_TOPOLOGY, "core_siblings_list", "0\n"),
    text(CPU_0_TOPOLOGY, "physical_package_id", "0\n"),
    text(CPU_0_TOPOLOGY, "thread_siblings", "1\n"),
    text(CPU_0_TOPOLOGY, "thread_siblings_list", "0\n"),
    text(NODE, "online", "0\n"),
    text(NODE, "possible", "0\n"),
    text(NODE_0, "cpulist", "0\n"),
    text(NODE_0, "cpumap", "1\n"),
    text(HUGE_PAGES, "enabled", "always madvise [never]\n"),
    text(HUGE_PAGES, "hpage_pmd_size", "2097152\n"),
    // /etc, where no image has the file
    text(ETC, "group", "root:x:0:\nnogroup:x:65534:\n"),
    text(ETC, "host.conf", "multi on\n"),
    text(ETC, "hostname", "mayfly\n"),
    text(ETC, "hosts", "127.0.0.1 localhost mayfly\n::1 localhost ip6-localhost ip6-loopback\n"),
    entry(ETC, "localtime", Kind::Text(UTC)),
    text(ETC, "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"),
    text(ETC, "os-release", "NAME=\"Mayfly\"\nID=mayfly\nPRETTY_NAME=\"Mayfly\"\n"),
    text(ETC, "passwd", "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    text(ETC, "protocols", "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6 41 IPv6\nipv6-icmp 58 IPv6-ICMP\n"),
    text(ETC, "resolv.conf", ""),
    text(
        ETC,
        "services",
        "echo 7/tcp\necho 7/udp\ndiscard 9/tcp\ndiscard 9/udp\ndaytime 13/tcp\nqotd 17/tcp\nftp 21/tcp\nssh 22/tcp\n\
         telnet 23/tcp\nsmtp 25/tcp\ntime 37/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\npop3 110/tcp\nntp 123/udp\n\
         imap2 143/tcp imap\nldap 389/tcp\nhttps 443/tcp\nhttps 443/udp\nsyslog 514/udp\nldaps 636/tcp\nimaps 993/tcp\n\
         pop3s 995/tcp\npostgresql 5432/tcp\n",
    ),
    text(ETC, "timezone", "Etc/UTC\n"),
];

/// The time zone UTC as `tzfile(5)` has it: the short form, the long one, and the rule for all time.
const UTC: &[u8] =
    b"TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\0\0\0UTC\0\
    TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\0\0\0UTC\0\nUTC0\n";
