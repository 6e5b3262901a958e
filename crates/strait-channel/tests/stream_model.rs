//! A stream against a queue that anyone can understand.

use std::collections::VecDeque;

use proptest::prelude::*;
use strait_channel::{
    Options,
    stream::{self, Backpressure, Config, Error, Postcard, Raw, Rkyv, Sent},
};

#[derive(Clone, Debug)]
enum Step {
    TrySend(usize),
    Send(usize),
    SendBatch(Vec<usize>),
    SendWith(usize),
    Recv(usize),
    RecvBatch(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = 0usize..900;
    let step = prop_oneof![
        len.clone().prop_map(Step::TrySend),
        len.clone().prop_map(Step::Send),
        proptest::collection::vec(len.clone(), 0..12).prop_map(Step::SendBatch),
        len.prop_map(Step::SendWith),
        (1usize..6).prop_map(Step::Recv),
        (1usize..6).prop_map(Step::RecvBatch),
    ];
    proptest::collection::vec(step, 0..120)
}

fn message(sequence: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|index| (sequence * 31 + index * 7) as u8).collect()
}

/// What was sent and not received yet: number and bytes.
#[derive(Default)]
struct Model {
    queue: VecDeque<(u64, Vec<u8>)>,
    sequence: u64,
    dropped: u64,
    received: u64,
    next: u64,
}

impl Model {
    fn sent(&mut self, bytes: Vec<u8>) {
        self.queue.push_back((self.sequence, bytes));
        self.sequence += 1;
    }

    fn dropped(&mut self) {
        self.sequence += 1;
        self.dropped += 1;
    }

    fn outcome(&mut self, bytes: Vec<u8>, sent: Result<Sent, Error>, drops: bool) {
        match sent {
            Ok(Sent::Queued) => self.sent(bytes),
            Ok(Sent::Dropped) => {
                assert!(drops && !self.queue.is_empty());
                self.dropped();
            }
            Err(Error::Full) => assert!(!drops && !self.queue.is_empty()),
            Err(error) => panic!("{error}"),
        }
    }

    fn received(&mut self, message: &stream::Received<[u8], Raw>) {
        let (sequence, bytes) = self.queue.pop_front().expect("a message that nobody sent");
        assert_eq!((message.sequence(), &**message), (sequence, &*bytes));
        assert_eq!(message.lost_before(), sequence - self.next);
        self.next = sequence + 1;
        self.received += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_a_queue_whose_losses_are_counted(steps in steps(), drops in any::<bool>()) {
        let backpressure = if drops { Backpressure::DropNewest } else { Backpressure::Fail };
        let options = Options { ring_bytes: 4096, ..Options::default() };
        let config = Config { options, backpressure, ..Config::default() };
        let (mut producer, mut consumer) = stream::local::<[u8], Raw>(&config).unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::TrySend(len) => {
                    let bytes = message(model.sequence, len);
                    match producer.try_send(&bytes) {
                        Ok(()) => model.sent(bytes),
                        Err(Error::Full) => prop_assert!(!model.queue.is_empty()),
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Send(len) => {
                    let bytes = message(model.sequence, len);
                    let sent = producer.send(&bytes);
                    model.outcome(bytes, sent, drops);
                }
                Step::SendWith(len) => {
                    let bytes = message(model.sequence, len);
                    let sent = producer.send_with(len, |span| {
                        span.copy_from_slice(&bytes);
                        len
                    });
                    model.outcome(bytes, sent, drops);
                }
                Step::SendBatch(lens) => {
                    let batch: Vec<_> = (model.sequence..).zip(&lens).map(|(number, len)| message(number, *len)).collect();
                    let before = producer.stats();
                    let taken = match producer.send_batch(batch.iter().map(|bytes| &bytes[..])) {
                        Ok(taken) => taken,
                        Err(Error::Full) => 0,
                        Err(error) => panic!("{error}"),
                    };
                    let all = taken == batch.len();
                    prop_assert!(all || (!drops && taken < batch.len()));
                    let after = producer.stats();
                    let (sent, dropped) = ((after.sent - before.sent) as usize, (after.dropped - before.dropped) as usize);
                    prop_assert_eq!(sent + dropped, taken);
                    if dropped == 0 {
                        batch.into_iter().take(taken).for_each(|bytes| model.sent(bytes));
                    } else {
                        // Which of them were dropped shows at the consumer: take all out and see that the rest is in order.
                        let mut number = model.sequence;
                        while let Ok(Some(received)) = consumer.try_recv() {
                            if model.queue.is_empty() {
                                let index = (received.sequence() - model.sequence) as usize;
                                prop_assert!(received.sequence() >= number);
                                prop_assert_eq!(&*received, &batch[index][..]);
                                prop_assert_eq!(received.lost_before(), received.sequence() - model.next);
                                number = received.sequence() + 1;
                                model.next = number;
                                model.received += 1;
                            } else {
                                model.received(&received);
                            }
                        }
                        model.sequence += taken as u64;
                        model.dropped += dropped as u64;
                    }
                }
                Step::Recv(count) => for _ in 0..count {
                    match consumer.try_recv() {
                        Ok(received) => model.received(&received.unwrap()),
                        Err(Error::Empty) => prop_assert!(model.queue.is_empty()),
                        Err(error) => panic!("{error}"),
                    }
                },
                Step::RecvBatch(max) => if !model.queue.is_empty() {
                    let waiting = model.queue.len();
                    let taken = consumer.recv_batch(max, |received| model.received(&received)).unwrap();
                    prop_assert_eq!(taken, waiting.min(max));
                },
            }
            prop_assert_eq!(producer.stats().sent + producer.stats().dropped, model.sequence);
            prop_assert_eq!(producer.stats().dropped, model.dropped);
        }
        drop(producer);
        while let Some(received) = consumer.recv().unwrap() {
            model.received(&received);
        }
        prop_assert!(model.queue.is_empty());
        let stats = consumer.stats();
        prop_assert_eq!(stats.received, model.received);
        prop_assert_eq!(stats.lost, model.next - model.received);
        prop_assert_eq!(stats.lost, stats.lost_by_choice);
    }
}

#[derive(Clone, Debug, PartialEq, rkyv::Archive, rkyv::Serialize)]
struct Order {
    symbol: String,
    prices: Vec<u64>,
}

#[test]
fn values_travel_through_codecs_and_grow_beyond_their_hint() {
    let (mut producer, mut consumer) = stream::local::<Order, Rkyv>(&Config::default()).unwrap();
    let (mut words, mut heard) = stream::local::<(u64, String), Postcard>(&Config::default()).unwrap();
    for count in [0, 3, 1000, 2, 5000] {
        producer.send(&Order { symbol: "a rather long symbol".into(), prices: (0..count).collect() }).unwrap();
        let order = consumer.recv().unwrap().unwrap();
        assert_eq!((order.symbol.as_str(), order.prices.len()), ("a rather long symbol", count as usize));
        let value = (count, "x".repeat(count as usize));
        words.send(&value).unwrap();
        assert_eq!(*heard.recv().unwrap().unwrap(), value);
    }
}

#[test]
fn what_does_not_fit_at_all_is_refused_and_the_stream_goes_on() {
    let (mut producer, mut consumer) = stream::local::<[u8], Raw>(&Config::default()).unwrap();
    let max = producer.max_message_bytes();
    let error = producer.send(&vec![1; max + 1]).unwrap_err();
    assert!(matches!(error, Error::Connection(strait_channel::Error::TooLarge { .. })), "{error}");
    producer.send(&vec![2; max]).unwrap();
    let received = consumer.recv().unwrap().unwrap();
    assert_eq!((received.len(), received.sequence()), (max, 0));
    assert!(received.age().unwrap() < std::time::Duration::from_secs(10));
}

#[test]
fn both_sides_of_a_duplex_send_at_will() {
    let (mut left, mut right) = stream::local_duplex::<[u8], Raw>(&Config::default()).unwrap();
    for number in 0..100u8 {
        left.send(&[number]).unwrap();
        right.send(&[number, number]).unwrap();
        right.send(&[]).unwrap();
    }
    for number in 0..100u8 {
        assert_eq!(&*right.recv().unwrap().unwrap(), &[number]);
        assert_eq!(&*left.recv().unwrap().unwrap(), &[number, number]);
        assert!(left.recv().unwrap().unwrap().is_empty());
    }
    left.finish(std::time::Duration::from_secs(1)).unwrap();
    right.send(b"sent before the end was read").unwrap();
    assert!(right.recv().unwrap().is_none());
    assert!(right.send(b"sent after it").unwrap_err().is_peer_gone());
    assert_eq!(left.recv().unwrap().unwrap().len(), 28);
}
