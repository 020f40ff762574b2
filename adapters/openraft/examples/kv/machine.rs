//! The state: a map in memory. A snapshot of it is a file, and the newest is the one that the store's mark names: the
//! file is there, durably, before the mark says so, and older ones go afterwards.

use crate::{
    version::{Entry, EntryPayload, LogId, LogReader, Members, Meta},
    wire::{Put, Types},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

#[derive(Clone)]
pub struct Machine {
    dir: PathBuf,
    /// Of the store, for the note of the newest snapshot.
    store: LogReader<Types>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    applied: Option<LogId>,
    members: Members,
    values: BTreeMap<String, String>,
}

impl Machine {
    /// The state of the newest snapshot.
    pub fn open(dir: &Path, store: LogReader<Types>) -> io::Result<Self> {
        let (dir, state) = (dir.to_owned(), Arc::default());
        let machine = Self { dir, store, state };
        if let Some((meta, bytes)) = machine.newest()? {
            machine.become_snapshot(&meta, &bytes)?;
        }
        Ok(machine)
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.state.lock().unwrap().values.get(key).cloned()
    }

    pub fn applied(&self) -> (Option<LogId>, Members) {
        let state = self.state.lock().unwrap();
        (state.applied, state.members.clone())
    }

    pub fn apply(&self, entry: Entry) {
        let mut state = self.state.lock().unwrap();
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
    }

    /// The state as bytes, and of what it is.
    pub fn state(&self) -> io::Result<(Option<LogId>, Members, Vec<u8>)> {
        let state = self.state.lock().unwrap();
        let bytes = postcard::to_allocvec(&state.values).map_err(io::Error::other)?;
        Ok((state.applied, state.members.clone(), bytes))
    }

    /// The newest snapshot, if there is one.
    pub fn newest(&self) -> io::Result<Option<(Meta, Vec<u8>)>> {
        let Some(meta) = self.store.snapshot_meta()? else {
            return Ok(None);
        };
        let bytes = fs::read(self.file(&meta))?;
        Ok(Some((meta, bytes)))
    }

    fn file(&self, meta: &Meta) -> PathBuf {
        let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
        self.dir.join(format!("snapshot-{index:020}"))
    }

    pub fn become_snapshot(&self, meta: &Meta, bytes: &[u8]) -> io::Result<()> {
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
    pub async fn keep(&self, meta: &Meta, bytes: &[u8]) -> io::Result<()> {
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
