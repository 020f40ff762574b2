//! Do values come back as they went in, and do those that cannot say so and hide nothing else?
#![cfg(feature = "typed")]

use cairnlog::{AppendOptions, Codec, ErrorKind, Log, Op, Typed, TypedRecord};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    Created { id: u64, items: Vec<String> },
    Paid { id: u64, cents: u32 },
}

fn orders(count: u64) -> Vec<Order> {
    let order = |id| match id % 2 {
        0 => Order::Created {
            id,
            items: vec!["apple".into(); 3],
        },
        _ => Order::Paid { id, cents: 250 },
    };
    (0..count).map(order).collect()
}

#[test]
fn do_values_come_back_in_order_from_either_end() {
    let dir = tempfile::tempdir().unwrap();
    let log: Typed<Order> = Typed::new(Log::open(dir.path().join("log")).unwrap());
    let orders = orders(20);
    assert_eq!(log.append(&orders[0]).unwrap(), 0);
    assert_eq!(log.append_batch(&orders[1..]).unwrap(), 1..20);
    let shown: Vec<Order> = log
        .scan(..)
        .unwrap()
        .map(|it| it.unwrap().into_value().unwrap())
        .collect();
    assert_eq!(shown, orders);
    let last = log.scan(..).unwrap().next_back().unwrap().unwrap();
    assert_eq!((last.seq(), last.value()), (19, Some(&orders[19])));
    assert_eq!(log.get(7).unwrap().unwrap().value(), Some(&orders[7]));
    assert!(log.get(20).unwrap().is_none());
}

#[test]
fn is_a_value_that_does_not_decode_an_error_with_its_seq_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let log: Typed<Order> = Typed::new(Log::open(dir.path().join("log")).unwrap());
    let orders = orders(2);
    log.append(&orders[0]).unwrap();
    log.log().append("not an order").unwrap();
    // A value with something behind it is not one either.
    let longer = [&postcard::to_allocvec(&orders[1]).unwrap()[..], b"!"].concat();
    log.log().append(longer).unwrap();
    log.append(&orders[1]).unwrap();
    let mut scan = log.scan(..).unwrap();
    assert_eq!(scan.next().unwrap().unwrap().value(), Some(&orders[0]));
    for seq in [1, 2] {
        let error = scan.next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.op()), (ErrorKind::Codec, Op::Decode));
        assert_eq!(error.place().seq, Some(seq));
        assert!(
            error
                .to_string()
                .starts_with(&format!("decode: seq {seq}: ")),
            "{error}"
        );
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(scan.next().unwrap().unwrap().value(), Some(&orders[1]));
    assert!(scan.next().is_none());
    assert_eq!(log.get(1).unwrap_err().kind(), ErrorKind::Codec);
}

#[test]
fn do_keys_and_tombstones_pass_through() {
    let dir = tempfile::tempdir().unwrap();
    let log: Typed<u32> = Typed::new(Log::open(dir.path().join("log")).unwrap());
    log.append_keyed("apples", Some(&3)).unwrap();
    log.append_keyed("apples", None).unwrap();
    let shown: Vec<_> = log.scan(..).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        (shown[0].key(), shown[0].value()),
        (Some(&b"apples"[..]), Some(&3))
    );
    assert!(shown[1].is_tombstone() && shown[1].value().is_none());
}

#[test]
fn do_tail_and_consumer_give_values_and_pass_what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let log: Typed<Order> = Typed::new(Log::open(dir.path().join("log")).unwrap());
    let orders = orders(3);
    log.append(&orders[0]).unwrap();
    log.log().append("not an order").unwrap();
    let how = AppendOptions::new().expected_seq(2);
    assert_eq!(log.append_batch_with(&orders[1..], &how).unwrap(), 2..4);
    assert_eq!(
        kind(log.append_with(&orders[0], &how)),
        ErrorKind::SeqMismatch
    );
    let mut tail = log.tail(0);
    let mut consumer = log.consumer("mail").unwrap();
    assert_eq!(tail.try_next().unwrap().unwrap().value(), Some(&orders[0]));
    assert_eq!(consumer.next().unwrap().unwrap().value(), Some(&orders[0]));
    assert_eq!(kind(tail.try_next()), ErrorKind::Codec);
    assert_eq!(kind(consumer.try_next()), ErrorKind::Codec);
    assert_eq!(tail.next().unwrap().unwrap().value(), Some(&orders[1]));
    let rest = consumer.next_batch(9, Duration::ZERO).unwrap();
    let rest: Vec<Order> = rest
        .into_iter()
        .map(|it| it.unwrap().into_value().unwrap())
        .collect();
    assert_eq!(rest, orders[1..]);
    consumer.ack(3).unwrap();
    assert_eq!((consumer.seq(), tail.next_seq()), (4, 3));
    consumer.seek(2).unwrap();
    let again = consumer.next_timeout(Duration::ZERO).unwrap().unwrap();
    assert_eq!(again.value(), Some(&orders[1]));
    log.log().close().unwrap();
    assert_eq!(tail.next().unwrap().unwrap().value(), Some(&orders[2]));
    assert!(tail.next().is_none() && tail.is_finished());
}

#[test]
fn is_the_latest_value_of_a_key_the_newest_and_none_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let log: Typed<u32> = Typed::new(Log::open(dir.path().join("log")).unwrap());
    let latest = || {
        log.latest("apples")
            .unwrap()
            .and_then(TypedRecord::into_value)
    };
    assert_eq!(latest(), None);
    for price in [120, 130] {
        log.append_keyed("apples", Some(&price)).unwrap();
        log.append_keyed("pears", Some(&1)).unwrap();
        assert_eq!(latest(), Some(price));
    }
    log.append_keyed("apples", None).unwrap();
    assert_eq!(latest(), None);
}

#[cfg(feature = "async")]
#[test]
fn do_streams_give_values_and_pass_what_is_none() {
    use futures_util::StreamExt;
    let dir = tempfile::tempdir().unwrap();
    let log: Typed<Order> = Typed::new(Log::open(dir.path().join("log")).unwrap());
    let orders = orders(2);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let how = AppendOptions::new();
        assert_eq!(log.append_async(&orders[0], &how).await.unwrap(), 0);
        log.log().append("not an order").unwrap();
        log.append_async(&orders[1], &how).await.unwrap();
        let mut tail = log.tail(0).into_stream();
        let mut mail = log.consumer("mail").unwrap().into_stream();
        assert_eq!(
            tail.next().await.unwrap().unwrap().value(),
            Some(&orders[0])
        );
        assert_eq!(
            mail.next().await.unwrap().unwrap().value(),
            Some(&orders[0])
        );
        assert_eq!(kind(tail.next().await.unwrap()), ErrorKind::Codec);
        assert_eq!(kind(mail.next().await.unwrap()), ErrorKind::Codec);
        assert_eq!(
            tail.next().await.unwrap().unwrap().value(),
            Some(&orders[1])
        );
        assert_eq!(
            mail.next().await.unwrap().unwrap().value(),
            Some(&orders[1])
        );
        mail.ack(2).await.unwrap();
        assert_eq!((mail.seq(), tail.next_seq()), (3, 3));
    });
}

fn kind<T: std::fmt::Debug>(result: cairnlog::Result<T>) -> ErrorKind {
    result.expect_err("it is refused").kind()
}

/// Text, and only even numbers.
#[derive(Clone)]
struct EvenText;

impl Codec<u32> for EvenText {
    type Error = std::io::Error;

    fn encode(&self, value: &u32) -> Result<Vec<u8>, Self::Error> {
        match value % 2 {
            0 => Ok(value.to_string().into_bytes()),
            _ => Err(std::io::Error::other("odd")),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32, Self::Error> {
        let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        text.parse().map_err(std::io::Error::other)
    }
}

#[test]
fn does_a_codec_of_ones_own_work_and_refuse_before_anything_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let log = Typed::with_codec(Log::open(dir.path().join("log")).unwrap(), EvenText);
    log.append(&8).unwrap();
    let error = log.append_batch(&[2, 3]).unwrap_err();
    assert_eq!((error.kind(), error.op()), (ErrorKind::Codec, Op::Encode));
    assert_eq!(log.log().next_seq(), 1, "not even the first of the batch");
    assert_eq!(&**log.get(0).unwrap().unwrap().record(), b"8");
    assert_eq!(log.clone().get(0).unwrap().unwrap().into_value(), Some(8));
}
