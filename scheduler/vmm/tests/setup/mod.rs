//! What the tests share: a guest that runs a probe, and what came of an event.
//!
//! They run virtual machines, so they need `/dev/kvm` and fail without it. Nothing is read from the source or build directory.
//! Where the deadline is not the point it is far away: these tests also run where a machine is emulated and slow.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use mayfly_abi::layout::{PAGE_BYTES, PAGE_TABLES, PAGE_TABLES_END};
use mayfly_abi::record::{INVOKE, RESPONSE};
use mayfly_vmm::{Answer, BadAnswer, Error, Host, ImageFile, Machine, Mailbox, Snapshot, Stop, Usage};

pub const MEMORY_BYTES: u64 = 128 << 20;
pub const TMP_BYTES: u64 = 16 << 20;
/// A deadline that no test means to reach.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The host, or a clear word about what is missing.
pub fn host() -> Host {
    Host::open().unwrap_or_else(|error| {
        panic!("this test runs virtual machines: it needs a readable and writable /dev/kvm ({error})")
    })
}

/// Whether a guest can see the page with that number. Its page tables it cannot, and they keep what it was given (`machine/parts.rs`).
pub fn is_visible(page: usize) -> bool {
    !(PAGE_TABLES..PAGE_TABLES_END).contains(&(page as u64 * PAGE_BYTES))
}

/// A copy of all of its memory.
pub fn memory(guest: &Guest) -> Vec<u8> {
    guest.machine.memory().expect("memory").to_vec()
}

/// Its memory is this, but for what no guest sees.
#[track_caller]
pub fn assert_same_memory(guest: &Guest, expected: &[u8]) {
    let now = guest.machine.memory().expect("memory");
    assert_eq!(now.len(), expected.len());
    // Not `assert_eq!`, which would print it all.
    let page = PAGE_BYTES as usize;
    let is_other = |at: &usize| now[at * page..][..page] != expected[at * page..][..page];
    let differ: Vec<usize> = (0..now.len() / page).filter(|at| is_visible(*at)).filter(is_other).collect();
    assert!(differ.is_empty(), "{} pages differ, the first is at {:#x}", differ.len(), differ[0] * page);
}

/// A file without a name, with these bytes.
pub fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("writing a temporary file");
    file
}

/// A path for an open file without a name.
pub fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// The image with the probes.
pub fn image() -> ImageFile {
    static FILE: OnceLock<File> = OnceLock::new();
    ImageFile::open(&path_of(FILE.get_or_init(|| file_with(&mayfly_probes::image())))).expect("the image")
}

/// A guest.
pub struct Guest {
    pub machine: Machine,
}

/// What came of an event.
#[derive(Debug)]
pub struct Outcome {
    pub stop: Stop,
    pub usage: Usage,
    pub answer: Result<Answer, BadAnswer>,
    pub log: String,
}

impl Guest {
    /// Boots a guest that runs this probe; it waits for its first event.
    pub fn new(probe: &str) -> Guest {
        let mut guest = Guest::loaded(probe);
        let outcome = guest.run(0, PATIENCE);
        assert_eq!(outcome.stop, Stop::Next, "the probe {probe} does not get to its first event: {}", outcome.log);
        guest
    }

    /// A guest that has not run yet.
    pub fn loaded(probe: &str) -> Guest {
        let mut machine = Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine");
        machine.mailbox().put_start(&[mayfly_probes::PROGRAM_PATH, probe], &["PROBE=yes"]).expect("start words");
        machine.boot(&[&image()], MEMORY_BYTES, TMP_BYTES).expect("boot");
        Guest { machine }
    }

    /// A guest bound to snapshots.
    pub fn bound(base: &Snapshot, top: Option<&Snapshot>) -> Guest {
        Guest::bound_with(base, top, MEMORY_BYTES).expect("bind")
    }

    /// The same with another size of memory.
    pub fn bound_with(base: &Snapshot, top: Option<&Snapshot>, memory_bytes: u64) -> Result<Guest, Error> {
        let mut machine = Machine::new(&host(), Mailbox::new()?)?;
        machine.bind(base, top, &[&image()], memory_bytes, TMP_BYTES, None)?;
        Ok(Guest { machine })
    }

    /// Binds its machine once more.
    pub fn bind_over(
        &mut self,
        base: &Snapshot,
        top: Option<&Snapshot>,
        images: &[&ImageFile],
        memory_bytes: u64,
    ) -> Result<(), Error> {
        self.machine.bind(base, top, images, memory_bytes, TMP_BYTES, None)
    }

    /// Hands it an event.
    pub fn invoke(&mut self, payload: &[u8]) -> Outcome {
        self.invoke_within(payload, PATIENCE)
    }

    /// Hands it an event with a deadline.
    pub fn invoke_within(&mut self, payload: &[u8], timeout: Duration) -> Outcome {
        let bytes = self.machine.mailbox().put_event(INVOKE, 0, b"{}", payload).expect("an event");
        self.run(bytes, timeout)
    }

    /// Runs it.
    pub fn run(&mut self, event_bytes: u64, timeout: Duration) -> Outcome {
        let mut log = Vec::new();
        let (stop, usage) = self.machine.run(event_bytes, timeout, &mut log).expect("a run");
        log.append(&mut self.machine.mailbox().take_log());
        let answer = self.machine.mailbox().answer();
        Outcome { stop, usage, answer, log: String::from_utf8_lossy(&log).into_owned() }
    }

    /// Writes a snapshot.
    pub fn save(&mut self) -> Snapshot {
        let file = tempfile::tempfile().expect("a temporary file");
        self.machine.save(&file).expect("save");
        Snapshot::open(&path_of(&file), &host().build()).expect("the snapshot that was just written")
    }

    /// It cannot go on.
    pub fn assert_ended(&mut self) {
        let state = |result: Result<(), Error>| assert!(matches!(result, Err(Error::State(_))), "{result:?}");
        state(self.machine.run(0, PATIENCE, &mut Vec::new()).map(|_| ()));
        state(self.machine.save(&tempfile::tempfile().expect("a temporary file")).map(|_| ()));
    }

    /// Nothing can be done with a guest that has failed, or was not bound and has ended.
    pub fn assert_dead(&mut self) {
        self.assert_ended();
        let state = |result: Result<(), Error>| assert!(matches!(result, Err(Error::State(_))), "{result:?}");
        state(self.machine.reset().map(|_| ()));
        state(self.machine.trim().map(|_| ()));
        state(self.machine.working_set().map(|_| ()));
        state(self.machine.boot(&[&image()], MEMORY_BYTES, TMP_BYTES));
    }
}

impl Outcome {
    /// The payload of a good answer.
    #[track_caller]
    pub fn payload(&self) -> &[u8] {
        assert_eq!(self.stop, Stop::Next, "log: {}", self.log);
        let answer = self.answer.as_ref().unwrap_or_else(|error| panic!("{error}; log: {}", self.log));
        assert_eq!(answer.kind, RESPONSE);
        &answer.payload
    }

    /// The word at `index` of a good answer.
    #[track_caller]
    pub fn word(&self, index: usize) -> u64 {
        let payload = self.payload();
        let bytes = payload.get(index * 8..index * 8 + 8).unwrap_or_else(|| panic!("a short answer: {payload:?}"));
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    }

    /// The program found everything as it should be.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert_eq!(String::from_utf8_lossy(self.payload()), "ok", "log: {}", self.log);
    }

    /// A signal ended the program, and the diagnosis says all of this.
    #[track_caller]
    pub fn assert_killed(&self, by: i32, parts: &[&str]) {
        let Stop::Killed { signal, diagnosis } = &self.stop else { panic!("{self:?}") };
        assert_eq!(i32::from(*signal), by, "{diagnosis}; log: {}", self.log);
        for part in parts {
            assert!(diagnosis.contains(part), "{part:?} is not in {diagnosis:?}");
        }
    }

    /// The guest was stopped for what it did.
    #[track_caller]
    pub fn assert_violation(&self, part: &str) {
        assert!(matches!(&self.stop, Stop::Violation(what) if what.contains(part)), "{self:?}");
    }
}

/// Words as bytes.
pub fn words<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}
