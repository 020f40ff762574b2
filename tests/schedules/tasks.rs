//! Is there a bad schedule for tasks? What a task leaves with the log, its waker, is used or goes with it;
//! and what a waker does is its own: it may be the one who drops the last handle, in the log's own thread.

use crate::{check, explore, options};
use cairnlog::{AppendOptions, Durability, Log, NewRecord, vfs::sim::SimFs};
use futures_util::{Stream, StreamExt};
use shuttle::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
};

/// What stands behind a waker of ours: it drops what it holds when it is called, and says when it goes.
struct Bell {
    held: Mutex<Option<Log>>,
    gone: Mutex<Sender<()>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let held = self.held.lock().unwrap().take();
        drop(held);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.gone.lock().unwrap().send(()).ok();
    }
}

fn bell(held: Option<Log>) -> (Waker, Receiver<()>) {
    let (gone, is_gone) = channel();
    let (held, gone) = (Mutex::new(held), Mutex::new(gone));
    (Waker::from(Arc::new(Bell { held, gone })), is_gone)
}

/// Streams that look once and go, and tickets and appends that nobody polls again, beside those who stay.
#[test]
fn tasks_that_go_leave_no_waker_and_those_that_stay_are_woken() {
    explore(|| {
        let disk = SimFs::new(31);
        let log = options(&disk).background(true).open("log").unwrap();
        let (waker, is_gone) = bell(None);
        let going = {
            let log = log.clone();
            thread::spawn(move || {
                let context = &mut Context::from_waker(&waker);
                let mut tail = log.tail(0).into_stream();
                drop(Pin::new(&mut tail).poll_next(context));
                drop(tail);
                let how = AppendOptions::new();
                let mut ticket = log.submit(&[NewRecord::value("b")], &how).unwrap();
                drop(Pin::new(&mut ticket).poll(context));
            })
        };
        let staying = {
            let seqs = log
                .tail(0)
                .into_stream()
                .map(|record| record.unwrap().seq());
            thread::spawn(|| {
                let seqs: Pin<Box<dyn Future<Output = Vec<u64>>>> =
                    Box::pin(seqs.take(2).collect());
                shuttle::future::block_on(seqs)
            })
        };
        log.append("a").unwrap();
        going.join().unwrap();
        assert_eq!(staying.join().unwrap(), [0, 1]);
        log.close().unwrap();
        drop(log);
        // Whoever has it in hand drops it; if it was left somewhere this waits for ever.
        is_gone.recv().unwrap();
    });
}

/// A full queue, and tasks that wait for room in it without a thread: each gets its turn, however the
/// worker is beside them.
#[test]
fn tasks_that_wait_for_room_are_all_woken() {
    use futures_util::SinkExt;
    explore(|| {
        let disk = SimFs::new(32);
        let log = (options(&disk).background(true).queue_bytes_max(80))
            .durability(Durability::Written)
            .open("log")
            .unwrap();
        let threads: Vec<_> = (0..2u8)
            .map(|name| {
                let log = log.clone();
                thread::spawn(move || {
                    let feed = async move {
                        let mut sink = log.sink(AppendOptions::new());
                        for number in 0..3u8 {
                            sink.feed([name, number, 0, 0]).await.unwrap();
                        }
                        sink.flush().await.unwrap();
                    };
                    shuttle::future::block_on(feed);
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(log.next_seq(), 6);
        log.close().unwrap();
    });
}

/// The last handle goes with a waker that the worker calls: it closes the log, and waits for everybody but
/// itself.
#[test]
fn the_worker_that_drops_the_last_handle_does_not_wait_for_itself() {
    explore(|| {
        let disk = SimFs::new(33);
        let log = options(&disk).background(true).open("log").unwrap();
        let mut tail = log.tail(1);
        let (waker, is_gone) = bell(Some(log.clone()));
        let how = AppendOptions::new();
        let mut ticket = log.submit(&[NewRecord::value(&[1, 2])], &how).unwrap();
        drop(Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)));
        drop((ticket, log));
        // If the worker was quick it is not called, and this is the last.
        drop(waker);
        is_gone.recv().unwrap();
        // Whoever drops it may still be closing.
        assert!(tail.next().is_none());
        check(&options(&disk).open("log").unwrap(), &[(0, vec![1, 2])]);
    });
}
