//! A place in an object store, asked by threads: each request has a deadline, is counted, and ends early
//! when who asks is stopped.
//!
//! INVARIANT: nothing is ever overwritten. What is put is put only if nothing has that name.

use crate::error::{Error, Result};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};
use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    time::Duration,
};
use tokio::runtime::Runtime;

/// How long an answer is waited for, unless asked otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Who waits for an answer looks this often whether he was stopped.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Where a copy of a log is kept: a store, and a prefix in it that belongs to this one log. Cheap to clone.
///
/// ```
/// use cairnlog_object_store::Store;
/// # let dir = tempfile::tempdir().unwrap();
/// let store = Store::open(dir.path().to_str().unwrap())?; // Or "s3://bucket/orders".
/// assert!(store.moments()?.is_empty());
/// # Ok::<(), cairnlog_object_store::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    timeout: Duration,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    put_bytes: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({}, {:?})", self.objects, self.prefix.as_ref())
    }
}

/// Stores are asked by tasks; these two threads run them, whoever waits.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cairn-store")
            .enable_all()
            .build()
            .expect("threads for the store")
    })
}

impl Store {
    /// A prefix in a store of whatever kind. The store has to put an object only if none has its name
    /// ([`PutMode::Create`]), and to give at once what was put; its lists may lag.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            objects,
            prefix,
            timeout: TIMEOUT,
            stop: Arc::default(),
            counts: Arc::default(),
        }
    }

    /// The place that a URL names: a directory (`file:///…`, or just a path, created if need be), or, as far as
    /// that was built, `s3://bucket/prefix`, `gs://…`, `az://…`, with credentials from the environment as the
    /// `object_store` crate takes them (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY`, …).
    ///
    /// # Errors
    /// `InvalidInput` for a URL that makes no sense or a store that was not built; `Store`; `Io`.
    pub fn open(url: &str) -> Result<Self> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let directory = match scheme {
            None => std::path::absolute(url).map_err(Error::io(std::path::Path::new(url)))?,
            Some("file") => url::Url::parse(url)
                .ok()
                .and_then(|url| url.to_file_path().ok())
                .ok_or_else(|| Error::InvalidInput(format!("{url} names no directory")))?,
            Some(_) => return Self::remote(url),
        };
        std::fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
        let objects = object_store::local::LocalFileSystem::new_with_prefix(&directory)
            .map_err(|error| refused(url, &error))?;
        // What was put has to survive a power cut like anything else that was told to be there.
        Ok(Self::new(
            Arc::new(objects.with_fsync(true)),
            Path::default(),
        ))
    }

    fn remote(url: &str) -> Result<Self> {
        let parsed = url::Url::parse(url).map_err(|error| refused(url, &error))?;
        let is_for_stores = |name: &str| {
            ["aws_", "google_", "azure_"]
                .iter()
                .any(|it| name.starts_with(it))
        };
        let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let settings = settings.filter(|(name, _)| is_for_stores(name));
        let (objects, prefix) = object_store::parse_url_opts(&parsed, settings)
            .map_err(|error| refused(url, &error))?;
        Ok(Self::new(objects.into(), prefix))
    }

    /// How long an answer to one request is waited for. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same place for somebody who may be stopped, and whose requests are counted by themselves.
    pub(crate) fn stoppable(&self, stop: Arc<AtomicBool>) -> Self {
        Self {
            stop,
            counts: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn request_count(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn put_bytes(&self) -> u64 {
        self.counts.put_bytes.load(Ordering::Relaxed)
    }

    fn path(&self, name: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(name.split('/').map(Into::into)))
    }

    /// Waits for a task of the store.
    fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        name: &str,
        task: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = sync_channel(1);
        let timeout = self.timeout;
        let task = runtime().spawn(async move {
            let outcome = tokio::time::timeout(timeout, task).await;
            // Who was stopped has left.
            tell.send(outcome).ok();
        });
        loop {
            match told.recv_timeout(LOOK_UP) {
                Ok(Ok(Ok(answer))) => return Ok(answer),
                Ok(Ok(Err(error))) => {
                    let path = name.to_owned();
                    let error = Arc::new(error);
                    return Err(Error::Store { what, path, error });
                }
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::TimedOut {
                        what,
                        path: name.to_owned(),
                        after: timeout,
                    });
                }
                Err(RecvTimeoutError::Timeout) if self.stop.load(Ordering::Relaxed) => {
                    task.abort();
                    return Err(Error::Stopped);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Puts an object if nothing has its name; false if something has. After an error it may be there or not.
    pub(crate) fn put_new(&self, name: &str, pieces: Vec<Bytes>) -> Result<bool> {
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let (objects, path) = (self.objects.clone(), self.path(name));
        let put = async move {
            let how = PutOptions::from(PutMode::Create);
            objects
                .put_opts(&path, PutPayload::from_iter(pieces), how)
                .await
        };
        let put = self.ask("put", name, put);
        self.counts.put_bytes.fetch_add(bytes, Ordering::Relaxed);
        match put {
            Ok(_) => Ok(true),
            Err(Error::Store { error, .. })
                if matches!(*error, object_store::Error::AlreadyExists { .. }) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// An object, and when it was put by the store's clock, in milliseconds since 1970. `None` if there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<(Bytes, i64)>> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        let get = async move {
            let found = objects.get(&path).await?;
            let put_ms = found.meta.last_modified.timestamp_millis();
            Ok((found.bytes().await?, put_ms))
        };
        found(self.ask("get", name, get))
    }

    /// A part of an object; `None` if there is no such object.
    pub(crate) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let (objects, path) = (self.objects.clone(), self.path(name));
        let get = async move { objects.get_range(&path, range).await };
        found(self.ask("get", name, get))
    }

    /// The names in a directory of the prefix, those behind `after` only; they may be of a moment ago.
    pub(crate) fn list(&self, directory: &str, after: Option<&str>) -> Result<Vec<String>> {
        let objects = self.objects.clone();
        let (prefix, after) = (self.path(directory), after.map(|name| self.path(name)));
        let list = async move {
            let stream = match &after {
                None => objects.list(Some(&prefix)),
                Some(after) => objects.list_with_offset(Some(&prefix), after),
            };
            let name = |meta: ObjectMeta| meta.location.filename().map(str::to_owned);
            let within = |meta: &ObjectMeta| meta.location.prefix_match(&prefix).is_some();
            let all: Vec<_> = stream.try_collect().await?;
            Ok(all.into_iter().filter(within).filter_map(name).collect())
        };
        self.ask("list", directory, list)
    }

    /// Removes objects; that one is not there is as good.
    pub(crate) fn delete(&self, names: &[String]) -> Result<()> {
        let Some(first) = names.first() else {
            return Ok(());
        };
        let objects = self.objects.clone();
        let paths: Vec<_> = names.iter().map(|name| Ok(self.path(name))).collect();
        let delete = async move {
            let mut done = objects.delete_stream(futures_util::stream::iter(paths).boxed());
            while let Some(one) = done.next().await {
                match one {
                    Err(object_store::Error::NotFound { .. }) | Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        self.ask("delete", first, delete)
    }
}

fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::Store { error, .. })
            if matches!(*error, object_store::Error::NotFound { .. }) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn refused(url: &str, error: &dyn fmt::Display) -> Error {
    Error::InvalidInput(format!("{url}: {error}"))
}
