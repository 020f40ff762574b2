//! Is what is printed of a log short, and do its errors travel as those of files?
//!
//! `{:?}` of a log printed half a megabyte: everything that it holds in memory.

use crate::sim;
use cairnlog::{AppendOptions, Error, ErrorKind, Log, NewRecord, Producer};
use std::io;

#[test]
fn is_what_is_printed_of_a_log_short() {
    let (_, options) = sim();
    let log = options.open("/log").unwrap();
    for id in 0..300 {
        let producer = Producer {
            id,
            epoch: 0,
            number: 0,
        };
        let how = AppendOptions::new().producer(producer);
        log.append_with(("key", "some value"), &how).unwrap();
    }
    let ticket = log.submit(&["x".into()], &AppendOptions::new()).unwrap();
    let printed = [
        format!("{log:?}"),
        format!("{ticket:?}"),
        format!("{:?}", log.reader()),
        format!("{:?}", log.tail(0)),
        format!("{:?}", log.scan(..).unwrap()),
        format!("{:?}", log.consumer("c").unwrap()),
        format!("{:?}", log.get(0).unwrap()),
        format!("{:?}", log.stats()),
        format!("{:?}", log.recovery()),
    ];
    ticket.wait().unwrap();
    for text in printed {
        assert!(text.len() < 600, "{} bytes: {text:.600}", text.len());
    }
    assert!(format!("{log:?}").contains("/log"));
}

#[test]
fn are_errors_also_those_of_files() {
    let open = |path: &str| -> io::Result<Log> { Ok(Log::options().create(false).open(path)?) };
    let error = open("/no/such/log").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let inside = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(inside.kind(), ErrorKind::NotFound);
    let (_, options) = sim();
    let log = options.open("/log").unwrap();
    let none = [NewRecord::value("no key").timestamp_ms(1)];
    log.append_records(&none, &AppendOptions::new()).unwrap();
    let error = log.append(vec![0; 5000]).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    log.close().unwrap();
    let error = log.append_tombstone("k").unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
}

#[test]
fn what_does_each_way_of_appending_one_record_append() {
    let (_, options) = sim();
    let log = options.open("/log").unwrap();
    let how = AppendOptions::new();
    assert_eq!(log.append_keyed("k", b"v").unwrap(), 0);
    assert_eq!(log.append_tombstone("k").unwrap(), 1);
    assert_eq!(log.append_with("v", &how).unwrap(), 2);
    assert_eq!(log.append_with(&vec![b'v'], &how).unwrap(), 3);
    let both = (&String::from("k"), b"v");
    assert_eq!(log.append_with(both, &how).unwrap(), 4);
    let shown: Vec<_> = (log.scan(..).unwrap().map(Result::unwrap))
        .map(|it| (it.key().is_some(), it.value().map(<[u8]>::to_vec)))
        .collect();
    let v = Some(b"v".to_vec());
    let wanted = [
        (true, v.clone()),
        (true, None),
        (false, v.clone()),
        (false, v.clone()),
        (true, v),
    ];
    assert_eq!(shown, wanted);
}
