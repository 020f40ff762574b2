//! The bytes of one simulated file: sparse pages, shared until somebody writes to one of them.
//!
//! INVARIANT: a page that is absent reads as zeros, and every byte at or beyond `len` is zero, so
//! growing a file never uncovers anything. Cloning costs one reference count; a write to a clone
//! copies the pages that it touches. Used by `file_node` (live and durable content).

use std::{collections::BTreeMap, sync::Arc};

const PAGE: usize = 4096;
const PAGE_BYTES: u64 = PAGE as u64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    len: u64,
    pages: Arc<BTreeMap<u64, Arc<[u8; PAGE]>>>,
}

impl Content {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Copies what there is at `offset` into `buf`; the count is short only at the end.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(buf.len());
        for (page, start, from, take) in pieces(offset, count) {
            let Some(to) = buf.get_mut(from..from + take) else {
                break;
            };
            match self
                .pages
                .get(&page)
                .and_then(|page| page.get(start..start + take))
            {
                Some(bytes) => to.copy_from_slice(bytes),
                None => to.fill(0),
            }
        }
        count
    }

    /// Writes `bytes`, extending the file as needed.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (page, start, from, take) in pieces(offset, bytes.len()) {
            let Some(bytes) = bytes.get(from..from + take) else {
                break;
            };
            // Zeros over a hole change nothing; a preallocated file stays as cheap as an empty one.
            if !self.pages.contains_key(&page) && bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let slot = Arc::make_mut(&mut self.pages)
                .entry(page)
                .or_insert_with(|| Arc::new([0; PAGE]));
            if let Some(to) = Arc::make_mut(slot).get_mut(start..start + take) {
                to.copy_from_slice(bytes);
            }
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset.saturating_add(bytes.len() as u64));
        }
    }

    /// Cuts or extends with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let start = (len % PAGE_BYTES) as usize;
            let first_gone = len.div_ceil(PAGE_BYTES);
            if self.pages.range(first_gone..).next().is_some() {
                drop(Arc::make_mut(&mut self.pages).split_off(&first_gone));
            }
            if start > 0 && self.pages.contains_key(&(len / PAGE_BYTES)) {
                let page = Arc::make_mut(&mut self.pages).get_mut(&(len / PAGE_BYTES));
                if let Some(tail) = page.and_then(|page| Arc::make_mut(page).get_mut(start..)) {
                    tail.fill(0);
                }
            }
        }
        self.len = len;
    }

    /// All of it, or `None` if it would not fit into memory.
    pub(super) fn to_vec(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = usize::try_from(self.len).ok()?;
        bytes.try_reserve_exact(len).ok()?;
        bytes.resize(len, 0);
        self.read(0, &mut bytes);
        Some(bytes)
    }

    /// Turns one bit over. False if there is no such byte.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u32) -> bool {
        let mut byte = [0];
        if self.read(offset, &mut byte) == 0 {
            return false;
        }
        self.write(offset, &byte.map(|byte| byte ^ (1 << (bit % 8))));
        true
    }
}

/// The parts of a range that lie in one page each: page, start in it, start in the range, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset.checked_add(done as u64)?;
        let start = (at % PAGE_BYTES) as usize;
        let take = (PAGE - start).min(len - done);
        let from = done;
        done += take;
        (take > 0).then_some((at / PAGE_BYTES, start, from, take))
    })
}
