//! How producers are found: by their ids, spread with a secret of the log's.
//!
//! Ids are the application's, which may have them from its users. Without the secret nobody can choose
//! many that are in each other's way; and there is no answer of the log's that would give it away. A product
//! folded in two is as much as that takes, and costs a tenth of a cryptographic hash.
//!
//! Called by the producers.

use std::hash::{BuildHasher, Hasher};

/// A secret to spread ids with. The default is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key {
    id: u64,
    factor: u64,
}

/// Digits of pi: so many ones in them that a secret of zeros does not matter.
const ODD: u64 = 0x243f_6a88_85a3_08d3;

impl Key {
    pub(super) fn of(secret: u64) -> Self {
        Self {
            id: secret,
            factor: secret.rotate_left(32),
        }
    }
}

impl BuildHasher for Key {
    type Hasher = Spread;

    #[inline]
    fn build_hasher(&self) -> Spread {
        Spread {
            state: self.id,
            factor: (self.factor ^ ODD) | 1,
        }
    }
}

#[derive(Debug)]
pub(super) struct Spread {
    state: u64,
    factor: u64,
}

impl Hasher for Spread {
    #[inline]
    fn write_u64(&mut self, id: u64) {
        let product = u128::from(self.state ^ id) * u128::from(self.factor);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        self.state = half(product) ^ half(product >> 64);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}
