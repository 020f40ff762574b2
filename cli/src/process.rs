//! What only the system can tell: what a process is handed at its start, how it ends when there is no more
//! memory, whether that does for a thread more, and what is free on a disk.
//!
//! The runtime opens `/dev/null` in place of a standard stream that is closed, and takes a write to one
//! that is open for reading only for a success: afterwards nobody can tell that output goes nowhere. So
//! it is looked at before the runtime begins. And it ends a process for which there is no memory with
//! SIGABRT, which looks like a bug of the tool; here it ends with a sentence and an exit code.
//!
//! The place of `unsafe` in the tool: calls into the C library with numbers and strings that live until it
//! returns, and an allocator that hands everything on to the system's.
#![expect(unsafe_code, reason = "see the card")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

/// One bit for each of the three standard streams: it is closed, or open the wrong way round.
static UNUSABLE: AtomicU8 = AtomicU8::new(0);

/// Whether this standard stream (0 to 2) was closed when the process began, or cannot be used as such.
pub fn is_closed(stream: u8) -> bool {
    UNUSABLE.load(Ordering::Relaxed) & (1 << stream) != 0
}

#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[used]
static BEFORE_THE_RUNTIME: extern "C" fn() = look;

extern "C" fn look() {
    for (stream, wrong_way) in [
        (0, libc::O_WRONLY),
        (1, libc::O_RDONLY),
        (2, libc::O_RDONLY),
    ] {
        // SAFETY: see the card; asking for the flags changes nothing.
        let flags = unsafe { libc::fcntl(stream, libc::F_GETFL) };
        if flags == -1 || flags & libc::O_ACCMODE == wrong_way {
            UNUSABLE.fetch_or(1 << stream, Ordering::Relaxed);
        }
    }
}

/// What a thread takes before it runs, in bytes: its stack, and about as much as the runtime wants beside it.
const THREAD_BYTES: usize = (2 << 20) + (512 << 10);

/// A thread to be begun, if there is room for one more: the runtime ends the process if a thread that it has
/// begun does not find what it needs beside its stack.
pub fn thread() -> io::Result<thread::Builder> {
    let (kind, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANON,
    );
    // SAFETY: see the card; what is mapped is nobody else's, and let go at once.
    unsafe {
        let bytes = libc::mmap(std::ptr::null_mut(), THREAD_BYTES, kind, flags, -1, 0);
        if bytes == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::munmap(bytes, THREAD_BYTES);
    }
    Ok(thread::Builder::new())
}

/// Bytes that are free on the disk under a directory, for this user.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let path = CString::new(dir.as_os_str().as_bytes()).ok()?;
    let mut told = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: see the card; the path ends in a zero, and what is told is filled in if that went well.
    let told = unsafe {
        if libc::statvfs(path.as_ptr(), told.as_mut_ptr()) != 0 {
            return None;
        }
        told.assume_init()
    };
    #[allow(
        clippy::useless_conversion,
        reason = "the types differ between systems"
    )]
    let (blocks, block_bytes) = (u64::from(told.f_bavail), u64::from(told.f_frsize));
    blocks.checked_mul(block_bytes)
}

#[global_allocator]
static ALLOCATOR: OrEnd = OrEnd;

/// The system's allocator, or the end.
struct OrEnd;

impl OrEnd {
    fn check(bytes: *mut u8) -> *mut u8 {
        if bytes.is_null() {
            let text =
                b"cairn: out of memory: the system, or a limit of this process, has no more\n";
            // SAFETY: see the card. Nothing here allocates, takes a lock or comes back.
            unsafe {
                libc::write(2, text.as_ptr().cast(), text.len());
                libc::_exit(i32::from(crate::exit::ERROR));
            }
        }
        bytes
    }
}

// SAFETY: all is the system allocator's; what is given back is what it gave, and never null.
unsafe impl GlobalAlloc for OrEnd {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        Self::check(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        Self::check(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, bytes: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        Self::check(unsafe { System.realloc(bytes, layout, size) })
    }

    unsafe fn dealloc(&self, bytes: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(bytes, layout) }
    }
}
