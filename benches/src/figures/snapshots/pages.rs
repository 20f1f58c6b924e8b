//! What pages cost without a guest: the floor under a reset and a bind.

use std::{
    hint::black_box,
    io, ptr,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

pub(super) const PAGE_BYTES: usize = 4096;

/// Measures on a thread of its own: the thread of a machine that took faults for something else would have to search for pages at the next reset.
pub(super) struct Floor {
    pages: Sender<[usize; 2]>,
    times: Receiver<io::Result<Times>>,
}

/// What pages cost.
pub(super) struct Times {
    pub(super) copy: Duration,
    pub(super) drop: Duration,
    pub(super) fault: Duration,
}

impl Floor {
    pub(super) fn new() -> Floor {
        let (pages, asked) = channel::<[usize; 2]>();
        let (tell, times) = channel();
        thread::spawn(move || {
            for [copied, dropped] in asked {
                let copy = copy(copied);
                let times = drop_and_fault(dropped).map(|[drop, fault]| Times { copy, drop, fault });
                if tell.send(times).is_err() {
                    return;
                }
            }
        });
        Floor { pages, times }
    }

    /// Of so many pages that are copied, and so many that are dropped and touched.
    pub(super) fn measure(&self, copied: usize, dropped: usize) -> io::Result<Times> {
        self.pages.send([copied, dropped]).map_err(io::Error::other)?;
        self.times.recv().map_err(io::Error::other)?
    }
}

/// One copy of so many pages; both sides are there.
fn copy(pages: usize) -> Duration {
    let (from, mut to) = (vec![1_u8; pages * PAGE_BYTES], vec![2_u8; pages * PAGE_BYTES]);
    let begun = Instant::now();
    to.copy_from_slice(black_box(&from));
    black_box(&mut to);
    begun.elapsed()
}

/// Private memory of so many pages is given back with `MADV_DONTNEED`; then each is written to again. What both take.
#[expect(unsafe_code, reason = "memory that is given back has to be mapped by hand")]
pub(super) fn drop_and_fault(pages: usize) -> io::Result<[Duration; 2]> {
    let bytes = pages * PAGE_BYTES;
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping, wherever there is room.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }?;
    let touch = || {
        for page in 0..pages {
            // SAFETY: within the mapping, which is writable and has no other user.
            unsafe { memory.cast::<u8>().add(page * PAGE_BYTES).write_volatile(1) };
        }
    };
    // SAFETY: the mapping is ours; huge pages would make this another figure than that of guests.
    unsafe { madvise(memory, bytes, Advice::LinuxNoHugepage) }?;
    touch();
    let begun = Instant::now();
    // SAFETY: the mapping is ours, and nothing in it is needed.
    unsafe { madvise(memory, bytes, Advice::LinuxDontNeed) }?;
    let dropped = begun.elapsed();
    touch();
    let touched = begun.elapsed() - dropped;
    // SAFETY: the mapping is ours, and not used after this.
    unsafe { munmap(memory, bytes) }?;
    Ok([dropped, touched])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_copied_dropped_and_touched() {
        assert!(copy(256) > Duration::ZERO);
        let [dropped, touched] = drop_and_fault(256).unwrap();
        assert!(dropped > Duration::ZERO && touched > Duration::ZERO);
    }
}
