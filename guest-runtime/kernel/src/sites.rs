//! System calls without a trap.
//!
//! Under PVM a `syscall` instruction costs more than a microsecond, for a trap into the host's kernel that only leads back into the guest. A
//! C library makes nearly all of its calls in one form, and a place that makes many can do without:
//!
//! ```text
//! site:  b8 N N N N   mov eax, N             e9 d d d d   jmp stub        stub:  mov eax, N
//!        0f 05        syscall         ──►    0f 05        syscall                mov rcx, site + 7     where `syscall` returns to
//!                                                                                jmp the kernel's entry
//! ```
//!
//! A jump reaches 2 GiB: stubs of code in an image are in that image, where room was left for them, others in the kernel's data.
//!
//! The `syscall` stays: whoever jumps to it, or was interrupted just before it, still makes it. Only code that came from an image is changed, in the
//! guest's private copy of it. On VMX and SVM, where `syscall` is fast, this is a little faster still.

use alloc::boxed::Box;

/// Bytes of a site, up to where its `syscall` returns to.
pub const SITE_BYTES: usize = 7;
/// Bytes of a site that change.
pub const PATCH_BYTES: usize = 5;
/// Bytes that a stub has.
pub const STUB_BYTES: usize = 32;
/// Most sites. A C library has a few hundred.
pub const SITES_MAX: usize = 1024;
/// Calls that a site makes before it is changed: each changed page of a library is one that a snapshot does not share.
const CALLS_MIN: u8 = 16;
const COUNTERS: usize = 512;

const MOV_EAX: u8 = 0xb8;
/// `mov rcx, imm64`
const MOV_RCX: [u8; 2] = [0x48, 0xb9];
/// `jmp [rip]`: to the address that follows.
const JMP_TO: [u8; 6] = [0xff, 0x25, 0, 0, 0, 0];
const JMP: u8 = 0xe9;
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Which sites are worth it.
#[derive(Debug)]
pub struct Sites {
    used: usize,
    calls: Box<[u8; COUNTERS]>,
}

impl Default for Sites {
    fn default() -> Sites {
        Sites { used: 0, calls: Box::new([0; COUNTERS]) }
    }
}

impl Sites {
    /// A site that returns to `rip` has made a call. The index of its stub once it has made enough of them.
    pub fn count(&mut self, rip: u64) -> Option<usize> {
        if self.used >= SITES_MAX {
            return None;
        }
        let calls = &mut self.calls[(rip ^ rip >> 9) as usize % COUNTERS];
        *calls = calls.saturating_add(1);
        if *calls < CALLS_MIN {
            return None;
        }
        *calls = 0;
        self.used += 1;
        Some(self.used - 1)
    }
}

/// Is this a site in its first form, with that call?
#[must_use]
pub fn is_site(bytes: &[u8], number: u64) -> bool {
    let imm = u32::try_from(number).map(u32::to_le_bytes);
    bytes.len() == SITE_BYTES && bytes[0] == MOV_EAX && bytes[5..] == SYSCALL && imm.is_ok_and(|imm| bytes[1..5] == imm)
}

/// The stub of a site that returns to `rip`. `None` if there is no such call.
#[must_use]
pub fn stub(number: u64, rip: u64, entry: u64) -> Option<[u8; STUB_BYTES]> {
    let mut bytes = [0xcc; STUB_BYTES];
    bytes[0] = MOV_EAX;
    bytes[1..5].copy_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
    bytes[5..7].copy_from_slice(&MOV_RCX);
    bytes[7..15].copy_from_slice(&rip.to_le_bytes());
    bytes[15..21].copy_from_slice(&JMP_TO);
    bytes[21..29].copy_from_slice(&entry.to_le_bytes());
    Some(bytes)
}

/// `jmp` at `from` to `to`.
#[must_use]
pub fn jump(from: u64, to: u64) -> Option<[u8; PATCH_BYTES]> {
    let distance = i32::try_from(to.wrapping_sub(from.wrapping_add(PATCH_BYTES as u64)) as i64).ok()?;
    let mut bytes = [JMP; PATCH_BYTES];
    bytes[1..].copy_from_slice(&distance.to_le_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_form_is_a_site() {
        let site = [0xb8, 39, 0, 0, 0, 0x0f, 0x05];
        assert!(is_site(&site, 39));
        assert!(!is_site(&site, 40), "the number came from elsewhere");
        assert!(!is_site(&site, 39 | 1 << 32));
        assert!(!is_site(&[0xb9, 39, 0, 0, 0, 0x0f, 0x05], 39));
        assert!(!is_site(&[0xb8, 39, 0, 0, 0, 0x0f, 0x34], 39));
        assert!(!is_site(&site[..6], 39));
    }

    #[test]
    fn stubs_lead_to_the_entry_with_the_right_return() {
        let bytes = stub(39, 0x50_0040_1007, 0x700_0200).unwrap();
        assert_eq!(bytes[..15], [0xb8, 39, 0, 0, 0, 0x48, 0xb9, 0x07, 0x10, 0x40, 0, 0x50, 0, 0, 0]);
        assert_eq!(bytes[15..29], [0xff, 0x25, 0, 0, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0]);
        assert_eq!(stub(1 << 32, 0x40_1007, 0x700_0200), None);
        assert_eq!(jump(0, 1 << 32), None);
        assert_eq!(jump(0x1000, 0x1005), Some([0xe9, 0, 0, 0, 0]));
    }

    #[test]
    fn a_site_has_to_earn_its_stub() {
        let mut sites = Sites::default();
        let found = (0..40).filter_map(|_| sites.count(0x40_1007)).collect::<alloc::vec::Vec<_>>();
        assert_eq!(found, [0, 1]);
        for site in 0..100_000 {
            sites.count(site);
        }
        assert_eq!(sites.count(7), None, "there are only so many");
    }
}
