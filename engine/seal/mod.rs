//! Keys, and the door to the cipher: which key records are sealed under, and where an application keeps it.
//!
//! Pure but for what the provider does. What is sealed, and how it is stored: `format/sealed.rs`.

mod cipher;

pub use cipher::Cipher;
pub(crate) use cipher::{NONCE_BYTES, TAG_BYTES};

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The size of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// Which key something is sealed under. It stands in the log in the clear; the key does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key: 32 bytes that nobody can guess. Its memory is overwritten when it is dropped, and it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A key of these bytes, which should be random ones and serve nothing else.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        #[cfg(feature = "seal")]
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// Where the keys of a sealed log come from, see [`Options::keys`](crate::Options::keys).
///
/// It is asked for each batch that is written or read, and while others wait: it answers from memory, and
/// fetches keys beforehand. [`Keys`] is one.
pub trait KeyProvider: fmt::Debug + Send + Sync {
    /// The key under which records are sealed that are appended from now on. A new one holds from the next
    /// segment on; [`Log::rotate`](crate::Log::rotate) begins one.
    fn current(&self) -> KeyId;

    /// The key of this id; `None` if there is none, or none any more: what is sealed under it cannot be read.
    fn key(&self, id: KeyId) -> Option<Key>;
}

impl<T: KeyProvider + ?Sized> KeyProvider for Arc<T> {
    fn current(&self) -> KeyId {
        self.as_ref().current()
    }

    fn key(&self, id: KeyId) -> Option<Key> {
        self.as_ref().key(id)
    }
}

/// Keys that are kept in memory, or come from a file.
///
/// ```
/// use cairnlog::{Key, KeyId, Keys, Log};
/// # if cairnlog::Cipher::Aes256GcmSiv.is_built() {
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path().join("log");
/// let keys = Keys::new(KeyId(1), Key::new([7; 32])); // Take random bytes instead.
/// let log = Log::options().keys(keys.clone()).open(&dir)?;
/// log.append("nobody reads this on the disk")?;
///
/// // From now on there is a second one, and what is under the first is still read.
/// log.close()?;
/// let keys = keys.with(KeyId(2), Key::new([8; 32]));
/// let log = Log::options().keys(keys).open(&dir)?;
/// assert_eq!(&*log.get(0)?.expect("it is there"), b"nobody reads this on the disk");
/// # }
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    current: KeyId,
    keys: BTreeMap<KeyId, Key>,
}

impl Keys {
    /// One key, which is the current one.
    #[must_use]
    pub fn new(id: KeyId, key: Key) -> Self {
        Self {
            current: id,
            keys: BTreeMap::from([(id, key)]),
        }
    }

    /// With one more, which becomes the current one.
    #[must_use]
    pub fn with(mut self, id: KeyId, key: Key) -> Self {
        self.keys.insert(id, key);
        self.current = id;
        self
    }

    /// Without a key: what is sealed under it cannot be read any more.
    #[must_use]
    pub fn without(mut self, id: KeyId) -> Self {
        self.keys.remove(&id);
        self
    }
}

impl KeyProvider for Keys {
    fn current(&self) -> KeyId {
        self.current
    }

    fn key(&self, id: KeyId) -> Option<Key> {
        self.keys.get(&id).cloned()
    }
}

/// The provider that a log was opened with, if it was opened with one, and what has to be sealed.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRing {
    provider: Option<Arc<dyn KeyProvider>>,
    /// From this seq on nothing is in the clear that nobody has tampered with.
    sealed_from: Option<u64>,
}

impl KeyRing {
    pub(crate) fn with(mut self, provider: Arc<dyn KeyProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    pub(crate) fn sealed_from(mut self, seq: u64) -> Self {
        self.sealed_from = Some(seq);
        self
    }

    /// Whether records from this seq on may not be in the clear.
    #[inline]
    pub(crate) fn insists(&self, seq: u64) -> bool {
        self.sealed_from.is_some_and(|from| seq >= from)
    }

    /// Whether what is written is to be sealed.
    #[inline]
    pub(crate) fn seals(&self) -> bool {
        self.provider.is_some()
    }

    /// The key to seal under; `None` if nothing is sealed, or if the provider has not got it.
    pub(crate) fn current(&self) -> Option<(KeyId, Key)> {
        let provider = self.provider.as_ref()?;
        let id = provider.current();
        Some((id, provider.key(id)?))
    }

    /// The id of the key to seal under, whether it is to be had or not.
    pub(crate) fn current_id(&self) -> Option<KeyId> {
        self.provider.as_ref().map(|provider| provider.current())
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<Key> {
        self.provider.as_ref()?.key(id)
    }
}
