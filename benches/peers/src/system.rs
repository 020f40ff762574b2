//! What the standard library has no call for. All `unsafe` of this program is here.
#![allow(unsafe_code)]

use anyhow::{Result, ensure};
use std::{fs::File, io, os::fd::AsRawFd, sync::atomic::AtomicU32, time::Duration};

/// Maps a file that nobody changes while it is mapped.
pub fn map(file: &File) -> Result<memmap2::Mmap> {
    // SAFETY: the file belongs to this child alone, and its writer is finished.
    Ok(unsafe { memmap2::Mmap::map(file)? })
}

/// Opens LMDB's environment, large enough for everything that is measured.
#[cfg(feature = "heed")]
pub fn open_lmdb(path: &std::path::Path, flags: heed::EnvFlags) -> Result<heed::Env> {
    let mut options = heed::EnvOpenOptions::new();
    options.map_size(64 << 30);
    // SAFETY: nobody else opens or changes these files, and a torn page after a crash of the machine
    // is not read here: the directory is fresh.
    Ok(unsafe { options.flags(flags).open(path)? })
}

/// CPU time of this process, all threads, user and system.
pub fn cpu() -> Result<Duration> {
    usage(libc::RUSAGE_SELF)
}

/// CPU time of all children that have ended.
pub fn cpu_of_children() -> Result<Duration> {
    usage(libc::RUSAGE_CHILDREN)
}

fn usage(whose: libc::c_int) -> Result<Duration> {
    // SAFETY: all zeros is a valid value, and the call fills it in.
    let (code, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(whose, &raw mut usage), usage)
    };
    ensure!(code == 0, "getrusage failed");
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec as u64) + Duration::from_micros(it.tv_usec as u64)
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// Writes out everything that the file system of this file still has in memory.
pub fn sync_file_system(file: &File) -> Result<()> {
    // SAFETY: the descriptor is open.
    ensure!(
        unsafe { libc::syncfs(file.as_raw_fd()) } == 0,
        "syncfs failed"
    );
    Ok(())
}

/// Lets the allocator return what is free, so that what is left is in use.
pub fn return_free_memory() {
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

/// The clock that all processes share, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is valid; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Ends this process as `kill -9` does: nothing is dropped, nothing written out.
pub fn kill_self() -> ! {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    std::process::abort()
}

/// Waits in the kernel as long as the word is this, until it is woken. False: time ran out.
pub fn wait_while(word: &AtomicU32, value: u32, limit: Duration) -> bool {
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: limit.subsec_nanos().into(),
    };
    let call = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the time outlive the call, which writes to neither.
    let code = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            call,
            value,
            &raw const limit,
        )
    };
    code == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
}

/// Wakes all that wait for the word, with one call.
pub fn wake_all(word: &AtomicU32) {
    let call = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call, which only takes its address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), call, i32::MAX) };
}
