//! Writing to a file past the page cache: whole blocks, from memory that is aligned.
//!
//! A write begins where the one before ended, in the middle of a block. So the bytes of that block
//! are kept and written again as they are, and the rest of the last block is written as zeros, which
//! it was. It is what the kernel does with every page of its cache; `format.md`, "What is assumed of
//! disks", says what that takes.
//!
//! INVARIANT: bytes below the written end never change, so what is kept of the last block stays true.
//! Used by `space`.

use crate::{
    sync::Mutex,
    vfs::{BLOCK_BYTES, VfsFile, read_full_at},
};
use std::{io, sync::Arc};

/// At most so much is copied and written at once.
const PIECE_BYTES: usize = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// A second handle of a file, and what it writes from.
#[derive(Debug)]
pub(super) struct Direct {
    file: Arc<dyn VfsFile>,
    last: Mutex<Last>,
}

/// Where the last write ended; before that, from its block on, the first bytes of the buffer.
#[derive(Debug, Default)]
struct Last {
    buffer: Aligned,
    end: Option<u64>,
}

impl Direct {
    pub(super) fn new(file: Arc<dyn VfsFile>) -> Self {
        let last = Mutex::new(Last::default());
        Self { file, last }
    }

    /// The end of the blocks that a write up to `end` takes.
    pub(super) fn padded(end: u64) -> u64 {
        end.next_multiple_of(BLOCK)
    }

    /// Writes `bytes` at `offset`; `file` is the same file by way of the page cache. What follows up
    /// to the end of the block must be zeros or nothing. On an error part of it may be there.
    pub(super) fn write(
        &self,
        file: &dyn VfsFile,
        mut bytes: &[u8],
        mut offset: u64,
    ) -> io::Result<()> {
        let mut last = self.last.lock();
        if last.end.take() != Some(offset) {
            let kept = within_block(offset);
            let block = last.buffer.first(BLOCK_BYTES);
            let block = block.get_mut(..kept).unwrap_or_default();
            if read_full_at(file, block, offset - kept as u64)? < kept {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        while !bytes.is_empty() {
            let most = PIECE_BYTES - within_block(offset);
            let (piece, rest) = bytes.split_at(most.min(bytes.len()));
            self.write_piece(&mut last.buffer, piece, offset)?;
            bytes = rest;
            offset += piece.len() as u64;
        }
        last.end = Some(offset);
        Ok(())
    }

    fn write_piece(&self, buffer: &mut Aligned, bytes: &[u8], offset: u64) -> io::Result<()> {
        let kept = within_block(offset);
        let used = kept + bytes.len();
        let blocks = buffer.first(used.next_multiple_of(BLOCK_BYTES));
        if let Some(to) = blocks.get_mut(kept..used) {
            to.copy_from_slice(bytes);
        }
        blocks.get_mut(used..).unwrap_or_default().fill(0);
        self.write_blocks(blocks, offset - kept as u64)?;
        // The block in which the next write begins comes to the front.
        blocks.copy_within(used / BLOCK_BYTES * BLOCK_BYTES..used, 0);
        Ok(())
    }

    /// Fills with zeros from one block's end to another's.
    pub(super) fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let bytes = usize::try_from(to - from).unwrap_or(usize::MAX);
        self.write_blocks(Aligned::default().first(bytes), from)
    }

    fn write_blocks(&self, mut blocks: &[u8], mut offset: u64) -> io::Result<()> {
        while !blocks.is_empty() {
            match self.file.write_at(blocks, offset) {
                // What is short of a block is written again with its block.
                Ok(written) if written >= BLOCK_BYTES => {
                    let whole = written / BLOCK_BYTES * BLOCK_BYTES;
                    blocks = blocks.get(whole..).unwrap_or_default();
                    offset += whole as u64;
                }
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Memory that starts where a block may.
#[derive(Debug, Default)]
struct Aligned {
    bytes: Vec<u8>,
    skip: usize,
}

impl Aligned {
    /// So many bytes of it, zeros at first. Where it has to grow, the first block stays as it is.
    fn first(&mut self, count: usize) -> &mut [u8] {
        if self.bytes.len() < self.skip + count {
            let mut bytes = vec![0; count + BLOCK_BYTES];
            let skip = bytes.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
            let old = self.bytes.get(self.skip..self.skip + BLOCK_BYTES);
            if let (Some(old), Some(new)) = (old, bytes.get_mut(skip..skip + BLOCK_BYTES)) {
                new.copy_from_slice(old);
            }
            *self = Self { bytes, skip };
        }
        let range = self.skip..self.skip + count;
        self.bytes.get_mut(range).unwrap_or_default()
    }
}

/// How far inside its block an offset lies, in bytes.
fn within_block(offset: u64) -> usize {
    usize::try_from(offset % BLOCK).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a test may fail"
    )]
    use super::{BLOCK_BYTES, Direct};
    use crate::{sync::Mutex, vfs::VfsFile};
    use std::{io, sync::Arc};

    /// A file in memory that takes at most so many bytes at once, and only whole blocks.
    #[derive(Debug)]
    struct Picky(Mutex<Vec<u8>>, usize);

    impl VfsFile for Picky {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let bytes = self.0.lock();
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
            assert!(buf.as_ptr().align_offset(BLOCK_BYTES) == 0 && offset.is_multiple_of(4096));
            assert!(buf.len().is_multiple_of(BLOCK_BYTES));
            let (mut bytes, start) = (self.0.lock(), offset as usize);
            let count = buf.len().min(self.1);
            let len = bytes.len().max(start + count);
            bytes.resize(len, 0);
            bytes[start..start + count].copy_from_slice(&buf[..count]);
            Ok(count)
        }
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.lock().len() as u64)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn sync(&self) -> io::Result<()> {
            unreachable!()
        }
    }

    #[test]
    fn are_writes_of_all_sizes_joined_whatever_the_file_takes_at_once() {
        let text: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251 + 1) as u8).collect();
        for most in [4096, 5000, 70_000, usize::MAX] {
            // It begins in the middle of a block that somebody else wrote.
            let file = Arc::new(Picky(Mutex::new(text[..5_000].to_vec()), most));
            let direct = Direct::new(file.clone());
            let mut at = 5_000;
            for size in [0, 1, 100, 4096, 2_291, 9_000, 300_000, 2_300_000, 7] {
                let piece = &text[at..at + size];
                direct.write(&*file, piece, at as u64).unwrap();
                at += size;
                let bytes = file.0.lock();
                assert!(bytes[..at] == text[..at], "{size} bytes, at most {most}");
                assert!(bytes[at..].iter().all(|byte| *byte == 0));
            }
            let end = Direct::padded(at as u64);
            direct.fill(end, end + 8192).unwrap();
            assert_eq!(file.len().unwrap(), end + 8192);
        }
    }

    #[test]
    fn is_a_file_that_takes_less_than_a_block_an_error() {
        let file = Arc::new(Picky(Mutex::default(), 512));
        let error = Direct::new(file.clone()).write(&*file, b"x", 0);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
