//! Vector registers in memory, as XSAVE writes them.

/// Room for the sets up to AVX-512; the host offers no larger ones.
const AREA_BYTES: usize = 4032;
/// MXCSR, the bits of it that can be set, and its value after a start.
const MXCSR: usize = 24;
const MXCSR_MASK: u32 = 0xffff;
const MXCSR_START: u32 = 0x1f80;
/// Control word of the old floating point unit after a start.
const CONTROL_WORD_START: u16 = 0x37f;
const XMM: usize = 160;
/// The header: sets that are there, and words that must be zero.
const HEADER: usize = 512;
const HEADER_END: usize = 576;
const SOFTWARE: usize = 464;
const SOFTWARE_MAGIC: [u8; 4] = 0x4650_5853_u32.to_le_bytes();
/// x87 and SSE, the sets of the first 512 bytes.
const LEGACY_SETS: u64 = 3;
const SSE: u64 = 2;

/// All vector registers of a thread that is not running. One page, so that threads do not share any.
#[repr(C, align(64))]
#[derive(Debug, Clone)]
pub struct VectorState {
    area: [u8; AREA_BYTES],
    /// Sets that the CPU has (XCR0).
    pub sets: u64,
    bytes: u64,
    reserved: [u64; 6],
}

const _: () = assert!(core::mem::size_of::<VectorState>() == 4096);

impl Default for VectorState {
    fn default() -> VectorState {
        VectorState::clean(LEGACY_SETS, HEADER_END)
    }
}

impl VectorState {
    /// The registers as they are at the start of a program, on a CPU with those sets, which take `bytes`.
    #[must_use]
    pub fn clean(sets: u64, bytes: usize) -> VectorState {
        assert!((HEADER_END..=AREA_BYTES).contains(&bytes), "the host offers no larger sets");
        let mut state = VectorState { area: [0; AREA_BYTES], sets, bytes: bytes as u64, reserved: [0; 6] };
        state.area[..2].copy_from_slice(&CONTROL_WORD_START.to_le_bytes());
        state.area[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_START.to_le_bytes());
        state
    }

    /// Where XSAVE writes and XRSTOR reads.
    pub fn area_mut(&mut self) -> *mut u8 {
        self.area.as_mut_ptr()
    }

    /// Where XRSTOR reads.
    #[must_use]
    pub fn area(&self) -> *const u8 {
        self.area.as_ptr()
    }

    /// Takes note of what the CPU writes.
    pub fn set_kind(&mut self, sets: u64, bytes: usize) {
        (self.sets, self.bytes) = (sets, bytes.clamp(HEADER_END, AREA_BYTES) as u64);
    }

    /// The bytes in use.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.area[..(self.bytes as usize).clamp(HEADER_END, AREA_BYTES)]
    }

    /// XMM0 to XMM15.
    #[must_use]
    pub fn xmm(&self) -> [u128; 16] {
        let mut registers = [0; 16];
        if self.sets_there() & SSE != 0 {
            for (register, bytes) in registers.iter_mut().zip(self.area[XMM..].chunks_exact(16)) {
                *register = bytes.try_into().map_or(0, u128::from_le_bytes);
            }
        }
        registers
    }

    /// Sets XMM0 to XMM15.
    pub fn set_xmm(&mut self, registers: &[u128; 16]) {
        for (register, bytes) in registers.iter().zip(self.area[XMM..].chunks_exact_mut(16)) {
            bytes.copy_from_slice(&register.to_le_bytes());
        }
        let sets = self.sets_there() | SSE;
        self.area[HEADER..HEADER + 8].copy_from_slice(&sets.to_le_bytes());
    }

    /// Takes what a program says they are, such that the CPU accepts it. Without the mark that Linux puts into signal frames, only the
    /// first sets count.
    pub fn load(&mut self, bytes: &[u8]) {
        let used = bytes.len().min(self.bytes().len());
        self.area[..used].copy_from_slice(&bytes[..used]);
        let has_mark = self.area[SOFTWARE..SOFTWARE + 4] == SOFTWARE_MAGIC;
        let sets = if has_mark { self.sets_there() & self.sets } else { LEGACY_SETS };
        self.area[HEADER..HEADER_END].fill(0);
        self.area[HEADER..HEADER + 8].copy_from_slice(&sets.to_le_bytes());
        let mut mxcsr = [0; 4];
        mxcsr.copy_from_slice(&self.area[MXCSR..MXCSR + 4]);
        let mxcsr = u32::from_le_bytes(mxcsr) & MXCSR_MASK;
        self.area[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
    }

    fn sets_there(&self) -> u64 {
        crate::syscall::call::word_at(&self.area, HEADER)
    }
}
