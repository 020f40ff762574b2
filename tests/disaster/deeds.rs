//! What a history may hold beside plain appends: appends that name their producer, consumers, backups.

use crate::{
    history::{DIR, Run, borrowed},
    shadow::{Rec, Shadow},
    steps::{Backup, Consume, Deed, Named, New, Step, TILL, Which, Who},
    told::{Answer, ask},
};
use cairnlog::{
    AppendOptions, BackupOptions, Consumer, ConsumerOptions, Durability, ErrorKind, Log, Producer,
    Result, Seq,
    vfs::{Vfs, sim::SimFs},
};
use std::{ops::Range, path::Path, sync::Arc};

/// A backup that was begun.
pub struct Copy {
    pub path: String,
    /// What it is if it is whole.
    pub shadow: Shadow,
    /// Whether that was reported.
    pub reported: bool,
}

impl Run {
    /// Appends under a number that may be in use; gives what the log may be meanwhile.
    pub fn named(&mut self, log: &Log, step: &Step) -> Shadow {
        let mut during = self.shadow.clone();
        let Named {
            id,
            which,
            level,
            news,
        } = step
        else {
            unreachable!("only these are given here")
        };
        let by = self.producer(*id, *which);
        // A repeat has as many records as the original.
        let count = self.shadow.told[0]
            .count_of(by)
            .unwrap_or(news.len() as u64);
        let news: Vec<New> = news.iter().cycle().take(count as usize).cloned().collect();
        let recs = self.make(&news, log.next_seq());
        let answer = ask(log, by, count);
        let how = AppendOptions::new().durability(*level).producer(by);
        let next_seq = log.next_seq();
        if answer == Some(Answer::New) {
            self.shadow.recall(|told| told.tried(by));
            during.appends(by, &recs);
        }
        let end_seq = match (log.append_records(&borrowed(&recs, &news), &how), answer) {
            (Ok(seqs), Some(Answer::New)) => {
                assert_eq!(seqs, span(&recs));
                self.shadow.appends(by, &recs);
                seqs.end
            }
            (Ok(seqs), Some(Answer::Repeat(original))) => {
                assert_eq!(seqs, original, "{by:?} again");
                assert_eq!(log.next_seq(), next_seq, "a repeat appends nothing");
                seqs.end
            }
            (Ok(seqs), answer) => panic!("{answer:?} became {seqs:?}"),
            (Err(error), Some(Answer::Refused(kind))) => {
                assert_eq!(error.kind(), kind);
                return during;
            }
            (Err(error), answer) => {
                if error.kind() == ErrorKind::Indeterminate && answer == Some(Answer::New) {
                    self.shadow.appends(by, &recs);
                }
                self.failed(step, error);
                return during;
            }
        };
        if *level == Durability::Durable {
            // A repeat makes sure of the original, and of no more than that.
            assert!(log.durable_seq() >= end_seq, "{by:?}");
            self.shadow.synced_to(log.durable_seq());
        }
        during
    }

    fn producer(&self, id: u64, which: Which) -> Producer {
        let (epoch, last) = self.shadow.told[0].last(id);
        let next = last.map_or(0, |last| last + 1);
        let (epoch, number) = match which {
            Which::Next { skip } => (epoch, next + skip),
            Which::Again { back } => (epoch, next.saturating_sub(back)),
            Which::TakeOver => (epoch + 1, 0),
        };
        Producer { id, epoch, number }
    }

    /// A consumer does something; gives what the log may be meanwhile.
    pub fn consume(&mut self, log: &Log, who: Who, deed: &Deed) -> Shadow {
        let mut during = self.shadow.clone();
        let step = Consume(who, deed.clone());
        let consumer = match self.consumers.remove(who) {
            Some(consumer) => consumer,
            None => {
                let head = log.head_seq();
                let seen = |told: &mut crate::told::Told| {
                    let at = told.at(who, Seq::MAX).unwrap_or(head);
                    told.stored(who, at);
                };
                during.may_recall(seen);
                let how = ConsumerOptions::new().holds(who == TILL);
                let Some(mut consumer) = self.told(&step, log.consumer_with(who, &how)) else {
                    self.shadow.may_recall(seen);
                    return during;
                };
                self.found(log, who, &mut consumer);
                consumer
            }
        };
        let end_seq = log.durable_seq();
        let ahead_by = |ahead: u64| {
            let left = end_seq
                .checked_sub(consumer.seq())
                .filter(|left| *left > 0)?;
            Some(consumer.seq() + ahead % left)
        };
        match deed {
            Deed::Leave => return during,
            Deed::Ack { ahead } => {
                if let Some(seq) = ahead_by(*ahead) {
                    self.goes(&step, who, seq + 1, consumer.ack(seq), &mut during);
                }
                self.consumers.insert(who, consumer);
            }
            Deed::Seek { to } => {
                let (to, mut consumer) = (to % (end_seq + 1), consumer);
                let went = consumer.seek(to);
                self.goes(&step, who, to, went, &mut during);
                self.consumers.insert(who, consumer);
            }
            Deed::Output { ahead, news } => {
                if let Some(seq) = ahead_by(*ahead) {
                    self.output(&step, log, &consumer, seq, news, &mut during);
                }
                self.consumers.insert(who, consumer);
            }
        }
        during
    }

    /// A consumer was opened: it stands where it may stand, durably, and reads on from there.
    fn found(&mut self, log: &Log, who: Who, consumer: &mut Consumer) {
        let at = consumer.seq();
        let head = log.head_seq();
        let told = &mut self.shadow.told;
        told.retain(|told| told.at(who, Seq::MAX).unwrap_or(head) == at);
        assert!(!told.is_empty(), "{who} stands at {at}");
        self.shadow.recall(|told| told.stored(who, at));
        if self.reads_fail || !self.shadow.may_lack.is_empty() {
            return;
        }
        let first = match consumer.try_next() {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Trimmed, "{error}");
                assert!(at < head && error.resume_seq() == Some(head), "{error}");
                return;
            }
            Ok(first) => first,
        };
        assert!(
            at >= head,
            "{who} at {at} is not told that {head} is the head"
        );
        let there = at..log.durable_seq();
        let mut all = self
            .shadow
            .certain
            .iter()
            .chain(self.shadow.maybe.iter().flatten());
        let want = all.find(|rec| there.contains(&rec.seq));
        assert_eq!(first.is_some(), want.is_some(), "{who} at {at}");
        assert!(first.iter().zip(want).all(|(first, want)| want.is(first)));
    }

    /// What became of replacing a cursor's file.
    fn goes(&mut self, step: &Step, who: Who, to: Seq, went: Result<()>, during: &mut Shadow) {
        during.may_recall(|told| told.stored(who, to));
        match self.told(step, went) {
            Some(()) => self.shadow.recall(|told| told.stored(who, to)),
            None => self.shadow.may_recall(|told| told.stored(who, to)),
        }
    }

    fn output(
        &mut self,
        step: &Step,
        log: &Log,
        consumer: &Consumer,
        seq: Seq,
        news: &[New],
        during: &mut Shadow,
    ) {
        let Consume(who, _) = *step else {
            unreachable!("only these are given here")
        };
        let first_seq = log.next_seq();
        let recs = self.make(news, first_seq);
        let new_records = borrowed(&recs, news);
        during.outputs(who, &recs, seq + 1);
        match consumer.append(&new_records, seq, &AppendOptions::new()) {
            Ok(seqs) => {
                assert_eq!(seqs, span(&recs));
                assert_eq!(consumer.seq(), seq + 1);
                self.shadow.outputs(who, &recs, seq + 1);
                self.shadow.synced();
                let again = consumer.append(&new_records, seq, &AppendOptions::new());
                let error = again.expect_err("it was done before");
                assert_eq!(error.kind(), ErrorKind::Duplicate, "{error}");
                assert_eq!(log.next_seq(), seqs.end);
            }
            Err(error) => {
                if error.kind() == ErrorKind::Indeterminate {
                    self.shadow.outputs(who, &recs, seq + 1);
                }
                self.failed(step, error);
            }
        }
    }

    /// Copies the log; what the copy has to be is checked by [`check_copies`](Self::check_copies).
    pub fn backup(&mut self, log: &Log, copy: bool) {
        let path = format!("/backup {}", self.serial());
        self.make(&[crate::steps::plain(1)], 0); // The next has another path.
        let mut shadow = self.shadow.clone();
        shadow.heads = vec![log.head_seq()];
        let made = log.backup_with(&path, &BackupOptions::new().copy(copy));
        let made = self.told(&Backup { copy }, made);
        if let Some(report) = &made {
            assert_eq!(report.head_seq, log.head_seq());
            assert!(report.next_seq >= log.durable_seq());
            shadow.synced_to(report.next_seq);
            shadow.maybe.clear();
            shadow.next_min = report.next_seq;
            shadow.recall(|told| told.undone(report.next_seq));
        }
        self.copies.push(Copy {
            path,
            shadow,
            reported: made.is_some(),
        });
    }

    /// Every backup is whole, or it was not reported and is none.
    pub fn check_copies(&mut self) {
        for copy in &self.copies {
            let options = &self.options;
            let log = open_copy(&self.disk.snapshot(), options, &copy.path);
            let Some(log) = log else {
                assert!(!copy.reported, "{} is no log", copy.path);
                continue;
            };
            if let Err(what) = copy.shadow.check(&log) {
                panic!("{} of {DIR}: {what}", copy.path);
            }
            let (next, reported) = (log.next_seq(), copy.shadow.next_min);
            assert!(!copy.reported || next == reported, "{next}, not {reported}");
        }
    }
}

impl Shadow {
    fn appends(&mut self, by: Producer, recs: &[Rec]) {
        self.maybe.push(recs.to_vec());
        self.recall(|told| told.appended(by, span(recs)));
    }

    fn outputs(&mut self, who: Who, recs: &[Rec], to: Seq) {
        self.maybe.push(recs.to_vec());
        self.recall(|told| told.moved(who, span(recs).start, to));
    }
}

fn span(recs: &[Rec]) -> Range<Seq> {
    let first = recs.first().expect("no append is empty").seq;
    first..first + recs.len() as u64
}

/// Opens a backup as an application does that creates its log if there is none; `None` if it is none.
pub fn open_copy(disk: &SimFs, options: &cairnlog::Options, path: &str) -> Option<Log> {
    let files = disk.list(Path::new(path)).unwrap_or_default();
    let options = options.clone().vfs(Arc::new(disk.clone()));
    match options.clone().open(path) {
        // An empty directory is nobody's, and so is one that is not there.
        Ok(log) if files.is_empty() => {
            assert_eq!(log.next_seq(), 0);
            None
        }
        Ok(log) => Some(log),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(error.to_string().contains("never finished"), "{error}");
            let read = options.open_reader(path).unwrap_err();
            assert_eq!(read.kind(), ErrorKind::Damaged, "{read}");
            None
        }
    }
}
