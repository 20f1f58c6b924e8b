//! The C library's allocator, from which all of Python's objects come.
//!
//! A snapshot makes pages precious: each one that an invocation writes to is copied when the snapshot is bound and again
//! when the machine is reset. These settings keep invocations on few pages, and away from system calls for memory.

/// Tells the allocator to keep what it was given.
///
/// By default it returns and asks again for memory around every large event: system calls, and pages that are new and
/// so must be faulted in anew each time.
pub(crate) fn keep() {
    const KEPT_BYTES: libc::c_int = 64 << 20;
    const MAPPED_ALONE_BYTES: libc::c_int = 4 << 20;
    const GROWTH_BYTES: libc::c_int = 1 << 20;
    let parameters = [
        (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
        (libc::M_MMAP_THRESHOLD, MAPPED_ALONE_BYTES),
        (libc::M_TOP_PAD, GROWTH_BYTES),
        // One vCPU: threads gain nothing from heaps of their own, each of which reserves 64 MiB of addresses.
        (libc::M_ARENA_MAX, 1),
    ];
    for (parameter, value) in parameters {
        #[expect(unsafe_code, reason = "there is no other way to talk to the allocator")]
        // SAFETY: mallopt takes two integers; nothing else runs yet. It fails only for values out of range.
        unsafe {
            libc::mallopt(parameter, value)
        };
    }
}

/// Takes the free memory between what is in use out of service, so that what comes next lies close together.
///
/// After a snapshot, each page that is written costs a copy at bind and another at reset. An invocation makes and drops
/// hundreds of small objects. Put into the holes that imports left all over the heap, they would write to twice as many
/// pages (measured for a small handler). What is taken is never returned: about 2 MiB.
#[expect(unsafe_code, reason = "there is no other way to talk to the allocator")]
pub(crate) fn fill_holes() {
    const STEP_BYTES: usize = 16;
    const LARGEST_BYTES: usize = 32 << 10;
    /// More would mean that the top of the heap was misjudged.
    const TAKEN_BYTES_MAX: usize = 8 << 20;
    // SAFETY: both only report; a null increment changes nothing.
    let (statistics, end) = unsafe { (libc::mallinfo2(), libc::sbrk(0) as usize) };
    let untouched = end - statistics.keepcost;
    let mut taken_bytes = 0;
    let mut bytes = LARGEST_BYTES;
    while bytes >= STEP_BYTES && taken_bytes < TAKEN_BYTES_MAX {
        // Eight bytes of each chunk are the allocator's own.
        // SAFETY: any size may be asked for; null is answered when there is none.
        let chunk = unsafe { libc::malloc(bytes - 8) };
        if chunk.is_null() {
            return;
        }
        if (chunk as usize) < untouched {
            taken_bytes += bytes;
            continue;
        }
        // SAFETY: it is the chunk from above, and nothing refers to it.
        unsafe { libc::free(chunk) };
        bytes = if bytes > 1024 { bytes / 2 } else { bytes - STEP_BYTES };
    }
}
