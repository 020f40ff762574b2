//! The cipher: bytes to bytes that say nothing without the key, and a tag that tells whether they, and what
//! stands beside them in the clear, are still the same.
//!
//! Another crate's, behind the cargo feature `seal`. AES-GCM-SIV, because a nonce that comes twice, as after
//! a virtual machine was resumed twice, tells no more than that two texts are equal (RFC 8452).

use super::Key;
use std::fmt;

/// The size of a nonce in bytes.
pub(crate) const NONCE_BYTES: usize = 12;
/// The size of a tag in bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// What records are sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-256-GCM-SIV (RFC 8452). Needs the cargo feature `seal`.
    Aes256GcmSiv,
}

impl Cipher {
    /// Whether this program was built with it.
    #[must_use]
    pub fn is_built(self) -> bool {
        cfg!(feature = "seal")
    }

    pub(crate) fn id(self) -> u8 {
        match self {
            Self::Aes256GcmSiv => 1,
        }
    }

    pub(crate) fn of(id: u8) -> Option<Self> {
        (id == Self::Aes256GcmSiv.id()).then_some(Self::Aes256GcmSiv)
    }

    /// Seals a text in its place, and what stands beside it in the clear with it; gives the tag. `None` if it
    /// is not built, or the text is longer than 64 GiB.
    pub(crate) fn seal(
        self,
        key: &Key,
        nonce: &[u8; NONCE_BYTES],
        clear: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        #[cfg(feature = "seal")]
        {
            use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit};
            let cipher = Aes256GcmSiv::new(key.bytes().into());
            let tag = cipher.encrypt_inout_detached(nonce.into(), clear, text.into());
            tag.ok().map(Into::into)
        }
        #[cfg(not(feature = "seal"))]
        {
            let _unused = (key.bytes(), nonce, clear, text);
            None
        }
    }

    /// Opens a text in its place; false if it, the tag or what stands beside it is not what was sealed, or
    /// under this key, or it is not built.
    #[must_use]
    pub(crate) fn open(
        self,
        key: &Key,
        nonce: &[u8; NONCE_BYTES],
        clear: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        #[cfg(feature = "seal")]
        {
            use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit};
            let cipher = Aes256GcmSiv::new(key.bytes().into());
            let opened =
                cipher.decrypt_inout_detached(nonce.into(), clear, text.into(), tag.into());
            opened.is_ok()
        }
        #[cfg(not(feature = "seal"))]
        {
            let _unused = (key.bytes(), nonce, clear, text, tag);
            false
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes256GcmSiv => "aes-256-gcm-siv",
        })
    }
}
