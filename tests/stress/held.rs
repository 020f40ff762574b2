//! What this process holds: what was allocated and not freed, and not what the allocator keeps of what was, which
//! grows for hours as the pieces that are in use come to lie apart from each other.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs::read_dir,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

#[global_allocator]
static COUNTED: Counted = Counted;

/// Bytes in use.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
struct Counted;

// SAFETY: every call is the system's, with the caller's own arguments; beside it a number changes.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub descriptors: usize,
    pub threads: usize,
    /// Mappings of files.
    pub mappings: usize,
    /// Bytes that were allocated and not freed.
    pub bytes: usize,
    /// What the system says, with all that the allocator keeps: to be told, not judged.
    pub resident_kib: u64,
}

impl Held {
    /// The least that is held within a while: threads that nobody needs any more end within a second.
    pub fn settled() -> Self {
        let mut least = Self::now();
        for _ in 0..30 {
            std::thread::sleep(Duration::from_millis(50));
            let now = Self::now();
            least = Self {
                descriptors: least.descriptors.min(now.descriptors),
                threads: least.threads.min(now.threads),
                mappings: least.mappings.min(now.mappings),
                bytes: least.bytes.min(now.bytes),
                resident_kib: least.resident_kib.min(now.resident_kib),
            };
        }
        least
    }

    fn now() -> Self {
        let count = |path| read_dir(path).expect("a list").count();
        let text = |path| std::fs::read_to_string(path).expect("what the system tells");
        let (status, maps) = (text("/proc/self/status"), text("/proc/self/maps"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Self {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            mappings: maps.lines().filter(|line| line.contains(".seg")).count(),
            bytes: BYTES.load(Ordering::Relaxed),
            resident_kib: kib.expect("its memory"),
        }
    }
}
