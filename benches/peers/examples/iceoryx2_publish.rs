//! A number one way with iceoryx2: `publish` in one process, anything else in the other.

use std::time::Duration;

use iceoryx2::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = NodeBuilder::new().create::<ipc::Service>()?;
    let service = node.service_builder(&"numbers".try_into()?).publish_subscribe::<u64>().open_or_create()?;
    if std::env::args().nth(1).as_deref() == Some("publish") {
        let publisher = service.publisher_builder().create()?;
        for number in 0.. {
            publisher.loan_uninit()?.write_payload(number).send()?;
            node.wait(Duration::from_millis(100))?;
        }
    }
    let subscriber = service.subscriber_builder().create()?;
    loop {
        while let Some(number) = subscriber.receive()? {
            println!("{}", *number);
        }
        node.wait(Duration::from_millis(100))?;
    }
}
