//! Whose pages an invocation changes: those that a reset puts back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use mayfly_abi::layout::{
    EXCEPTION_STACK, IMAGES, KERNEL_DATA, KERNEL_DATA_END, KERNEL_END, KERNEL_STACK, MAIN_STACK, PAGE_BYTES, image_base,
};
use mayfly_abi::record::INVOKE;
use mayfly_benches::platform::{Platform, Runtime};
use mayfly_benches::report::Report;
use mayfly_vmm::{Host, ImageFile, Machine, Mailbox, Snapshot, Stop};

use super::vmm::{META, find_files, run};
use crate::figures::{Asked, Outcome};

/// Hello, which can also say where its memory is.
const SOURCE: &str = "def handler(event, context):\n    if 'maps' in event:\n        return open('/proc/self/maps').read()\n    return {'message': 'hello ' + event.get('name', 'world')}\n";
/// Before it is looked at: then the next is like the one before.
const WARM_UP: usize = 20;

pub(super) fn measure(asked: &Asked, runtime: Runtime, report: &mut Report) -> Outcome<()> {
    // A platform with this function alone.
    let platform = Platform::start(&asked.program, runtime)?;
    platform.deploy("owners", SOURCE, "fresh")?;
    let host = Host::open()?;
    let files = find_files(&platform.data_dir(), &host)?;
    let (base, top) = (Snapshot::open(&files.runtime, &host.build())?, Snapshot::open(&files.function, &host.build())?);
    let images = files.images.iter().map(|path| ImageFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    let images: Vec<&ImageFile> = images.iter().collect();
    let mut machine = Machine::new(&host, Mailbox::new()?)?;
    let header = top.header();
    machine.bind(&base, Some(&top), &images, header.memory_bytes, header.tmp_bytes, None)?;
    let maps = Maps::ask(&mut machine)?;
    for _ in 0..WARM_UP {
        machine.reset()?;
        run(&mut machine)?;
    }
    let copied = machine.reset()?.copied_pages;
    let before = Memory::of(&machine, images.len())?;
    run(&mut machine)?;
    let after = Memory::of(&machine, images.len())?;
    let mut owners = BTreeMap::<&str, u64>::new();
    before.changed(&after).for_each(|address| *owners.entry(maps.owner(address)).or_default() += 1);
    let mut sorted: Vec<_> = owners.into_iter().collect();
    sorted.sort_by_key(|&(owner, pages)| (std::cmp::Reverse(pages), owner));
    let mut text = String::from("| owner | pages |\n|---|---|\n");
    for (owner, pages) in &sorted {
        let _ = writeln!(text, "| {owner} | {pages} |");
    }
    let all: u64 = sorted.iter().map(|(_, pages)| pages).sum();
    let _ = writeln!(text, "| all; what the reset before copied | {all}; {copied} |");
    report.table("whose pages an invocation changes", &text);
    Ok(())
}

/// RAM, then images as the guest sees them: address and content.
struct Memory(Vec<(u64, Vec<u8>)>);

impl Memory {
    fn of(machine: &Machine, images: usize) -> Outcome<Memory> {
        let mut regions = vec![(0, machine.memory()?.to_vec())];
        for index in 0..images {
            if let Some(image) = machine.image(index)? {
                regions.push((image_base(index), image.to_vec()));
            }
        }
        Ok(Memory(regions))
    }

    /// Addresses of pages that are not the same in `other`.
    fn changed<'a>(&'a self, other: &'a Memory) -> impl Iterator<Item = u64> + 'a {
        self.0.iter().zip(&other.0).flat_map(|((start, left), (_, right))| {
            let pages = left.chunks(PAGE_BYTES as usize).zip(right.chunks(PAGE_BYTES as usize)).enumerate();
            pages.filter(|(_, (left, right))| left != right).map(move |(page, _)| start + page as u64 * PAGE_BYTES)
        })
    }
}

/// What is where in the guest: its `/proc/self/maps`.
struct Maps(Vec<(u64, u64, String)>);

impl Maps {
    fn ask(machine: &mut Machine) -> Outcome<Maps> {
        let bytes = machine.mailbox().put_event(INVOKE, 0, META, br#"{"maps": true}"#)?;
        let (stop, _) = machine.run(bytes, Duration::from_secs(10), &mut Vec::new())?;
        assert_eq!(stop, Stop::Next);
        let text: String = serde_json::from_slice(&machine.mailbox().answer()?.payload)?;
        let _ = machine.mailbox().take_log();
        let line = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let name = fields.nth(4).unwrap_or_default();
            let address = |text| u64::from_str_radix(text, 16).ok();
            Some((address(start)?, address(end)?, name.rsplit('/').next().unwrap_or_default().to_owned()))
        };
        Ok(Maps(text.lines().filter_map(line).collect()))
    }

    fn owner(&self, address: u64) -> &str {
        let stacks = KERNEL_STACK.base..EXCEPTION_STACK.base + EXCEPTION_STACK.bytes;
        match address {
            KERNEL_DATA..KERNEL_DATA_END => return "guest kernel: data",
            _ if stacks.contains(&address) => return "guest kernel: stacks",
            KERNEL_DATA_END..KERNEL_END => return "guest kernel: else",
            _ if (MAIN_STACK.base..MAIN_STACK.base + MAIN_STACK.bytes).contains(&address) => return "main stack",
            _ => {}
        }
        let name = self.0.iter().find(|(start, end, _)| (*start..*end).contains(&address)).map(|(.., name)| &name[..]);
        match name {
            Some("") => "anonymous: the interpreter's arenas, thread stacks",
            Some(name) => name,
            None if address >= IMAGES => "data of libraries, in their image",
            None => "unknown",
        }
    }
}
