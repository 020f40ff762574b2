//! The calls of a disk that lies over another one, and changes only some of what that one does.
//!
//! Inside an `impl Vfs` or an `impl VfsFile`: which field is the one below, and what is left to it.

macro_rules! unchanged {
    ($below:tt: $($call:ident),*) => {
        $($crate::unchanged::unchanged!(@$call $below);)*
    };
    (@create_dir $below:tt) => {
        fn create_dir(&self, path: &std::path::Path) -> std::io::Result<bool> {
            self.$below.create_dir(path)
        }
    };
    (@list $below:tt) => {
        fn list(&self, path: &std::path::Path) -> std::io::Result<Vec<cairnlog::vfs::DirEntry>> {
            self.$below.list(path)
        }
    };
    (@create_new $below:tt) => {
        fn create_new(
            &self,
            path: &std::path::Path,
        ) -> std::io::Result<std::sync::Arc<dyn cairnlog::vfs::VfsFile>> {
            self.$below.create_new(path)
        }
    };
    (@open $below:tt) => {
        fn open(
            &self,
            path: &std::path::Path,
            access: cairnlog::vfs::Access,
        ) -> std::io::Result<std::sync::Arc<dyn cairnlog::vfs::VfsFile>> {
            self.$below.open(path, access)
        }
    };
    (@rename $below:tt) => {
        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
            self.$below.rename(from, to)
        }
    };
    (@remove $below:tt) => {
        fn remove(&self, path: &std::path::Path) -> std::io::Result<()> {
            self.$below.remove(path)
        }
    };
    (@sync_dir $below:tt) => {
        fn sync_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            self.$below.sync_dir(path)
        }
    };
    (@watch $below:tt) => {
        fn watch(
            &self,
            path: &std::path::Path,
        ) -> std::io::Result<Option<Box<dyn cairnlog::vfs::Watch>>> {
            self.$below.watch(path)
        }
    };
    (@try_lock $below:tt) => {
        fn try_lock(&self, dir: &std::path::Path) -> std::io::Result<cairnlog::vfs::LockAttempt> {
            self.$below.try_lock(dir)
        }
    };
    (@unix_time_ms $below:tt) => {
        fn unix_time_ms(&self) -> i64 {
            self.$below.unix_time_ms()
        }
    };
    (@monotonic $below:tt) => {
        fn monotonic(&self) -> std::time::Duration {
            self.$below.monotonic()
        }
    };
    (@sleep $below:tt) => {
        fn sleep(&self, time: std::time::Duration) {
            self.$below.sleep(time);
        }
    };
    (@random $below:tt) => {
        fn random(&self) -> u64 {
            self.$below.random()
        }
    };
    (@read_at $below:tt) => {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
            self.$below.read_at(buf, offset)
        }
    };
    (@write_at $below:tt) => {
        fn write_at(&self, buf: &[u8], offset: u64) -> std::io::Result<usize> {
            self.$below.write_at(buf, offset)
        }
    };
    (@len $below:tt) => {
        fn len(&self) -> std::io::Result<u64> {
            self.$below.len()
        }
    };
    (@set_len $below:tt) => {
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.$below.set_len(len)
        }
    };
}

pub(crate) use unchanged;
