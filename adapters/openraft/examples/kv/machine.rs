//! The state: a map in memory. A snapshot of it is a file, and the newest is the one that the store's mark names: the
//! file is there, durably, before the mark says so, and older ones go afterwards.

use crate::{Types, wire::Put};
use cairnlog_openraft::v09::LogReader;
use openraft_09::{
    BasicNode, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, OptionalSend,
    RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError, StoredMembership,
    storage::RaftStateMachine,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Cursor, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

type Failure = StorageError<u64>;
type Meta = SnapshotMeta<u64, BasicNode>;
type Members = StoredMembership<u64, BasicNode>;

#[derive(Clone)]
pub struct Machine {
    dir: PathBuf,
    /// Of the store, for the note of the newest snapshot.
    store: LogReader<Types>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    applied: Option<LogId<u64>>,
    members: Members,
    values: BTreeMap<String, String>,
}

fn failed(verb: ErrorVerb) -> impl FnOnce(io::Error) -> Failure {
    move |error| StorageError::from_io_error(ErrorSubject::Snapshot(None), verb, error)
}

impl Machine {
    /// The state of the newest snapshot.
    pub fn open(dir: &Path, store: LogReader<Types>) -> io::Result<Self> {
        let (dir, state) = (dir.to_owned(), Arc::default());
        let machine = Self { dir, store, state };
        if let Some(meta) = machine.store.snapshot_meta()? {
            machine.become_snapshot(&meta, &fs::read(machine.file(&meta))?)?;
        }
        Ok(machine)
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.state.lock().unwrap().values.get(key).cloned()
    }

    fn file(&self, meta: &Meta) -> PathBuf {
        self.dir.join(format!("snapshot-{}", meta.snapshot_id))
    }

    fn become_snapshot(&self, meta: &Meta, bytes: &[u8]) -> io::Result<()> {
        let values = postcard::from_bytes(bytes).map_err(io::Error::other)?;
        let (applied, members) = (meta.last_log_id, meta.last_membership.clone());
        *self.state.lock().unwrap() = State {
            applied,
            members,
            values,
        };
        Ok(())
    }

    /// Makes it the newest, durably.
    async fn keep(&self, meta: &Meta, bytes: &[u8]) -> io::Result<()> {
        let (path, new) = (self.file(meta), self.dir.join("new"));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.dir)?.sync_all()?;
        self.store.save_snapshot_meta(meta).await?;
        for entry in fs::read_dir(&self.dir)? {
            let other = entry?.path();
            let name = other.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("snapshot-") && other != path {
                fs::remove_file(&other)?;
            }
        }
        Ok(())
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let (meta, bytes) = {
            let state = self.state.lock().unwrap();
            let index = state.applied.map_or(0, |log_id| log_id.index);
            let meta = Meta {
                last_log_id: state.applied,
                last_membership: state.members.clone(),
                snapshot_id: format!("{index:020}"),
            };
            (
                meta,
                postcard::to_allocvec(&state.values).map_err(io::Error::other),
            )
        };
        let bytes = bytes.map_err(failed(ErrorVerb::Write))?;
        self.keep(&meta, &bytes)
            .await
            .map_err(failed(ErrorVerb::Write))?;
        let snapshot = Box::new(Cursor::new(bytes));
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, Members), Failure> {
        let state = self.state.lock().unwrap();
        Ok((state.applied, state.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.state.lock().unwrap();
        let mut replies = Vec::new();
        for entry in entries {
            state.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(Put { key, value }) => {
                    state.values.insert(key, value);
                }
                EntryPayload::Membership(members) => {
                    state.members = Members::new(Some(entry.log_id), members);
                }
                EntryPayload::Blank => {}
            }
            replies.push(());
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Failure> {
        let bytes = snapshot.into_inner();
        self.keep(meta, &bytes)
            .await
            .map_err(failed(ErrorVerb::Write))?;
        self.become_snapshot(meta, &bytes)
            .map_err(failed(ErrorVerb::Read))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let read = || -> io::Result<_> {
            let Some(meta) = self.store.snapshot_meta()? else {
                return Ok(None);
            };
            let snapshot = Box::new(Cursor::new(fs::read(self.file(&meta))?));
            Ok(Some(Snapshot { meta, snapshot }))
        };
        read().map_err(failed(ErrorVerb::Read))
    }
}
