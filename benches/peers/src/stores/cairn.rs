//! Cairn, by its adapter as it is.

use super::{Entry, Flushed, Store, Types};
use anyhow::Result;
use cairnlog_openraft::v010::LogStore;
use openraft::storage::RaftLogStorage;
use std::{io, path::Path};

pub fn open(dir: &Path) -> Result<impl Store> {
    Ok(LogStore::<Types>::open(dir.join("log"))?)
}

impl Store for LogStore<Types> {
    async fn append(&mut self, entry: Entry, flushed: Flushed) -> io::Result<()> {
        RaftLogStorage::append(self, [entry], flushed).await
    }
}
