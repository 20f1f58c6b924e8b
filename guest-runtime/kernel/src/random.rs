//! Randomness: ChaCha20, keyed by the host anew at each bind and reset.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// The guest's only source of randomness.
#[derive(Debug, Clone)]
pub struct Generator {
    generation: u64,
    cipher: ChaCha20Rng,
}

impl Generator {
    /// A generator for the first entry.
    #[must_use]
    pub fn new(generation: u64, seed: [u8; 32]) -> Generator {
        Generator { generation, cipher: ChaCha20Rng::from_seed(seed) }
    }

    /// The generation whose seed is in use.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes the seed of a new generation. The old state is thrown away: every clone of a snapshot has the same.
    /// Returns whether the generation was new.
    pub fn reseed(&mut self, generation: u64, seed: [u8; 32]) -> bool {
        let new = generation != self.generation;
        if new {
            *self = Generator::new(generation, seed);
        }
        new
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.cipher.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_differ_once_they_have_their_seed() {
        let snapshot = Generator::new(1, [7; 32]);
        let draw = |generation, seed| {
            let mut clone = snapshot.clone();
            assert!(clone.reseed(generation, [seed; 32]));
            let mut bytes = [0; 16];
            clone.fill(&mut bytes);
            bytes
        };
        assert_ne!(draw(2, 1), draw(3, 2));
    }
}
