//! A store in memory that fails as told: what each request meets is decided by whoever made it.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// So many of the objects put last may be missing in a list.
const STALE: usize = 8;

/// What a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It fails, and nothing is done.
    Error,
    /// It is done, and fails all the same.
    DoneAndError,
    /// Nothing is done, and no answer comes.
    Lost,
    /// It is done, and no answer comes.
    DoneAndLost,
    Slow,
    /// Of a list: what was put last is not in it.
    Stale,
}

pub const FAULTS: [Fault; 6] = [
    Fault::Error,
    Fault::DoneAndError,
    Fault::Lost,
    Fault::DoneAndLost,
    Fault::Slow,
    Fault::Stale,
];

type Plan = Box<dyn FnMut(u64) -> Fault + Send>;

pub struct Faulty {
    inner: InMemory,
    plan: Mutex<Plan>,
    requests: AtomicU64,
    /// Whether it puts objects over others, whatever the condition.
    overwrites: AtomicBool,
    recent: Mutex<VecDeque<Path>>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    pub fn new(plan: impl FnMut(u64) -> Fault + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            plan: Mutex::new(Box::new(plan)),
            requests: AtomicU64::new(0),
            overwrites: AtomicBool::new(false),
            recent: Mutex::default(),
        })
    }

    /// Another with the same objects, which goes on by itself and fails nowhere.
    pub fn fork(&self) -> Arc<Self> {
        let other = Self::new(|_| Fault::None);
        Arc::new(Self {
            inner: self.inner.fork(),
            ..Arc::into_inner(other).expect("nobody has it yet")
        })
    }

    /// What requests meet from now on, by their numbers.
    pub fn plan(&self, plan: impl FnMut(u64) -> Fault + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// From now on no put is refused because there is an object of that name.
    pub fn overwrite(&self) {
        self.overwrites.store(true, Ordering::Relaxed);
    }

    pub fn request_count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Decides, and fails if nothing is to be done.
    async fn meet(&self) -> Result<Fault> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = (self.plan.lock().unwrap())(number);
        match fault {
            Fault::Error => Err(failure()),
            Fault::Lost => std::future::pending().await,
            Fault::Slow => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(fault)
            }
            fault => Ok(fault),
        }
    }

    async fn answer<T>(&self, fault: Fault, answer: Result<T>) -> Result<T> {
        match fault {
            Fault::DoneAndError => Err(failure()),
            Fault::DoneAndLost => std::future::pending().await,
            _ => answer,
        }
    }
}

fn failure() -> Error {
    Error::Generic {
        store: "Faulty",
        source: "as planned".into(),
    }
}

/// A store that is shared with the test that plans for it.
#[derive(Clone, Debug)]
pub struct Shared(pub Arc<Faulty>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Shared {
    async fn put_opts(
        &self,
        at: &Path,
        what: PutPayload,
        mut how: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.0.meet().await?;
        if self.0.overwrites.load(Ordering::Relaxed) {
            how.mode = PutMode::Overwrite;
        }
        let put = self.0.inner.put_opts(at, what, how).await;
        if put.is_ok() {
            let mut recent = self.0.recent.lock().unwrap();
            recent.push_back(at.clone());
            if recent.len() > STALE {
                recent.pop_front();
            }
        }
        self.0.answer(fault, put).await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unimplemented!("nobody asks for it")
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let fault = self.0.meet().await?;
        let got = self.0.inner.get_opts(at, how).await;
        self.0.answer(fault, got).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.0.clone();
        locations
            .then(move |at| {
                let store = store.clone();
                async move {
                    let fault = store.meet().await?;
                    let one = futures_util::stream::iter([at]).boxed();
                    let mut deleted = store.inner.delete_stream(one);
                    let answer = deleted.next().await.unwrap();
                    store.answer(fault, answer).await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.0.clone(), prefix.cloned());
        let all = async move {
            let fault = store.meet().await?;
            let listed: Result<Vec<_>> = store.inner.list(prefix.as_ref()).try_collect().await;
            let mut listed = store.answer(fault, listed).await?;
            if fault == Fault::Stale {
                let recent = store.recent.lock().unwrap();
                listed.retain(|meta| !recent.contains(&meta.location));
            }
            Ok::<_, Error>(futures_util::stream::iter(listed.into_iter().map(Ok)))
        };
        futures_util::stream::once(all).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unimplemented!("nobody asks for it")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unimplemented!("nobody asks for it")
    }
}
