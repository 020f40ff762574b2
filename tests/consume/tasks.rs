//! Consumers and queues of tasks: is nobody forgotten, and nothing kept that was dropped?

use crate::{PATIENCE, filled, gated::Gated, kind, on, sim};
use cairnlog::{
    AppendOptions, Backoff, ErrorKind, Log, NewRecord, OwnedRecord, Queue, QueueOptions,
    vfs::sim::{OpKind, SimFs},
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use std::{sync::Arc, time::Duration};

/// Runs a task on one thread, and does not wait for ever.
fn run<T>(task: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let patient = async { tokio::time::timeout(PATIENCE, task).await };
    runtime.block_on(patient).expect("it hangs")
}

/// What is dropped is there again at once.
fn queue(log: &Log, options: QueueOptions) -> Queue {
    let options = options.backoff(Backoff::none());
    log.consumer("work").unwrap().into_queue(options).unwrap()
}

/// A log with a worker in the background, on the simulated disk.
fn served(gated: &Gated, count: u64) -> Log {
    let options = on(&gated.disk).vfs(Arc::new(gated.clone()));
    filled(&options.background(true).segment_bytes(1 << 20), count)
}

/// The stream was dropped, and its acknowledgement on its way held the cursor: `Locked`, for some moments.
#[test]
fn can_a_cursor_be_opened_anew_while_an_acknowledgement_is_on_its_way() {
    let log = served(&Gated::new(&SimFs::new(1)), 200);
    for seq in 0..200 {
        let stream = log.consumer("mail").unwrap().into_stream();
        assert_eq!(stream.seq(), seq, "what was acknowledged counts");
        drop(stream.ack(seq));
        drop(stream);
    }
}

/// It was stored after the cursor was deleted, which was there again.
#[test]
fn does_an_acknowledgement_on_its_way_bring_back_a_deleted_cursor() {
    let gated = Gated::new(&SimFs::new(1));
    let log = served(&gated, 3);
    let stream = log.consumer("mail").unwrap().into_stream();
    let (one, two) = (stream.ack(0), stream.ack(1));
    drop(stream);
    log.set_cursor("mail", 1).unwrap();
    log.delete_cursor("mail").unwrap();
    run(async { (one.await.ok(), two.await.ok()) });
    log.sync().unwrap();
    assert!(log.cursors().unwrap().is_empty());
}

/// A stream ended with its first error, for good.
#[test]
fn does_a_stream_go_on_after_an_error() {
    let (_, options) = sim();
    let log = filled(&options, 30);
    let mut stream = log.consumer("mail").unwrap().into_stream();
    log.trim(20).unwrap();
    run(async {
        for _ in 0..3 {
            assert_eq!(kind(stream.next().await.unwrap()), ErrorKind::Trimmed);
        }
        stream.seek(25).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().seq(), 25);
        stream.ack(27).await.unwrap();
        assert_eq!(
            stream.next().await.unwrap().unwrap().seq(),
            28,
            "acknowledged unread"
        );
        assert_eq!((stream.seq(), stream.lag()), (28, 2));
        assert_eq!(kind(stream.seek(31).await), ErrorKind::InvalidInput);
        log.close().unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().seq(), 29);
        assert!(stream.next().await.is_none());
    });
}

#[test]
fn do_tasks_share_a_queue_as_threads_do() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let queue = queue(&log, QueueOptions::new().in_flight_max(2));
    let work = |name: usize| {
        let queue = queue.clone();
        async move {
            let mut done = Vec::new();
            while let Some(lease) = queue.next_async().await.unwrap() {
                let seq = lease.record().seq();
                if (seq + u64::from(lease.delivery_count())) % 3 == 0 {
                    continue; // Gives it back.
                }
                match name {
                    0 => drop(lease.append_async(vec![b"output".to_vec()]).await),
                    _ => lease.ack_async().await.unwrap(),
                }
                done.push(seq);
                if queue.seq() >= 30 && queue.lag() == 0 {
                    queue.interrupt_handle().interrupt();
                }
            }
            done
        }
    };
    let feed = async {
        for number in 0..30 {
            let value = [NewRecord::value(if number % 2 == 0 { "a" } else { "b" })];
            log.append_async(&value, &AppendOptions::new())
                .await
                .unwrap();
        }
    };
    let done = run(async {
        let (workers, ()) = tokio::join!(join_all((0..3).map(work)), feed);
        workers
    });
    let mut done: Vec<u64> = done.into_iter().flatten().collect();
    done.sort_unstable();
    assert_eq!(done, (0..log.next_seq()).collect::<Vec<_>>(), "each once");
}

/// What tasks appended together with an acknowledgement were values: no key could go along.
#[test]
fn does_the_output_of_tasks_have_keys_and_times() {
    let log = filled(&on(&SimFs::new(1)), 2);
    run(async {
        let paid = |key| vec![OwnedRecord::keyed(key, "paid").timestamp_ms(7)];
        let queue = queue(&log, QueueOptions::new());
        let lease = queue.next_async().await.unwrap().unwrap();
        assert_eq!(lease.append_async(paid("order 0")).await.unwrap(), 2..3);
        let mut stream = log.consumer("bills").unwrap().into_stream();
        let first = stream.next().await.unwrap().unwrap().seq();
        assert_eq!(stream.append(paid("order 1"), first).await.unwrap(), 3..4);
        assert_eq!(stream.append(vec!["a value"], 1).await.unwrap(), 4..5);
    });
    for (seq, key) in [(2, "order 0"), (3, "order 1")] {
        let record = log.get(seq).unwrap().unwrap();
        assert_eq!(
            (record.key(), record.timestamp_ms()),
            (Some(key.as_bytes()), 7)
        );
    }
}

/// Tasks bring no clock: somebody has to tell them that a lease ended.
#[test]
fn is_a_task_woken_by_the_end_of_a_lease() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append("job").unwrap();
    let queue = queue(&log, QueueOptions::new().lease(Duration::from_millis(30)));
    run(async {
        // The second waits from before the first has it.
        let (first, second) = tokio::join!(queue.next_async(), queue.next_async());
        let counts = [first, second].map(|it| it.unwrap().unwrap().delivery_count());
        assert_eq!(counts.iter().sum::<u32>(), 3, "{counts:?}");
    });
}

/// What a task was about to be given is another's when it goes.
#[test]
fn is_a_record_given_to_another_when_a_task_is_dropped() {
    let gated = Gated::new(&SimFs::new(1));
    let log = served(&gated, 1);
    let queue = queue(&log, QueueOptions::new());
    gated.hold(OpKind::Sync, ".seg");
    let mut first = Box::pin(queue.next_async());
    assert!((&mut first).now_or_never().is_none());
    gated.wait_until_held();
    drop(first);
    gated.release();
    let second = run(queue.next_async()).unwrap().unwrap();
    assert_eq!((second.record().seq(), second.delivery_count()), (0, 2));
    run(second.ack_async()).unwrap();
    assert_eq!(queue.seq(), 1);
    // And of a closed log there is nothing, for tasks as for threads.
    run(queue.seek_async(0)).unwrap();
    log.close().unwrap();
    assert!(run(queue.next_async()).unwrap().is_none());
}

#[test]
fn does_a_task_bury_what_nobody_gets_done() {
    let (_, options) = sim();
    let log = filled(&options, 2);
    let dead = options.clone().open("/dead").unwrap();
    let how = QueueOptions::new().deliveries_max(1).dead_letters(&dead);
    let queue = queue(&log, how);
    run(async {
        drop(queue.next_batch_async(9).await.unwrap());
        assert!(
            queue.next_async().now_or_never().is_none(),
            "nothing is left"
        );
    });
    assert_eq!((queue.seq(), dead.next_seq()), (2, 2));
}
