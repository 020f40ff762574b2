//! The program of the guide's first hour: `cargo run --example first_hour`.

use cairnlog::{Log, Result};

fn main() -> Result<()> {
    let log = Log::open("orders.log")?; // Creates the log, or recovers what is there.
    println!("{}", log.recovery()); // What opening found.

    let number = log.next_seq() + 1;
    let seq = log.append(format!("order {number}"))?; // Durable when it returns.
    println!("appended seq {seq}");

    for record in log.scan(..)? {
        let record = record?; // Every read is verified.
        println!("{}: {}", record.seq(), String::from_utf8_lossy(&record));
    }

    let mut mailer = log.consumer("mailer")?; // Goes on where it was acknowledged last.
    while let Some(order) = mailer.try_next()? {
        println!("mail about {}", String::from_utf8_lossy(&order));
        mailer.ack(order.seq())?; // Durable: this order is never given again.
    }
    log.close()
}
