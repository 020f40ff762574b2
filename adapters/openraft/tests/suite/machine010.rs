//! The smallest state machine of openraft 0.10: it remembers what it was given last, and has snapshots in memory.

use futures_util::{Stream, TryStreamExt};
use openraft_010::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf},
    storage::{EntryResponder, RaftStateMachine},
};
use std::{
    io,
    sync::{Arc, Mutex},
};

openraft_010::declare_raft_types!(pub Types: R = ());

#[derive(Clone, Debug, Default)]
pub struct Machine(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    applied: Option<LogIdOf<Types>>,
    members: StoredMembershipOf<Types>,
    last: String,
    snapshot: Option<SnapshotOf<Types, Vec<u8>>>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, Vec<u8>>> {
        let mut state = self.0.lock().unwrap();
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: state.applied,
            last_membership: state.members.clone(),
        };
        let snapshot = state.last.clone().into_bytes();
        let snapshot = Snapshot { meta, snapshot };
        state.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        let state = self.0.lock().unwrap();
        Ok((state.applied, state.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            {
                let mut state = self.0.lock().unwrap();
                state.applied = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Normal(text) => state.last = text,
                    EntryPayload::Membership(members) => {
                        state.members =
                            StoredMembershipOf::<Types>::new(Some(entry.log_id), members);
                    }
                    EntryPayload::Blank => {}
                }
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: Vec<u8>,
    ) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        (state.applied, state.members) = (meta.last_log_id, meta.last_membership.clone());
        state.last = String::from_utf8(snapshot.clone()).unwrap();
        let meta = meta.clone();
        state.snapshot = Some(Snapshot { meta, snapshot });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, Vec<u8>>>> {
        Ok(self.0.lock().unwrap().snapshot.clone())
    }
}
