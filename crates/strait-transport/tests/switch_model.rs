//! The switch under any order of calls: whatever both ends do while it is under way, each message arrives once and in order.
#![cfg(not(strait_loom))]

mod support;

use proptest::prelude::*;
use strait_transport::{Connection, Error, Interest, Options, Transport};
use support::{Scratch, connected, end_of, in_place, is_shared, pattern, raw};

/// One call at one of the ends.
#[derive(Clone, Copy, Debug)]
enum Call {
    Send(usize),
    Stage(usize),
    Publish,
    Receive,
    Look(bool),
    Sleep(bool),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (0usize..4_080).prop_map(Call::Send),
        1 => (0usize..200).prop_map(Call::Stage),
        1 => Just(Call::Publish),
        4 => Just(Call::Receive),
        1 => any::<bool>().prop_map(Call::Look),
        2 => any::<bool>().prop_map(Call::Sleep),
    ]
}

/// An end and what it has sent and received so far.
struct Played {
    connection: Connection,
    sent: Vec<usize>,
    received: usize,
}

impl Played {
    fn play(&mut self, call: Call, peers: &[usize]) {
        let number = self.sent.len() as u64;
        match call {
            Call::Send(len) => {
                if self.connection.send(&pattern(number, len)).is_ok() {
                    self.sent.push(len);
                }
            }
            Call::Stage(len) => {
                let mut fill = |span: &mut [u8]| {
                    span.copy_from_slice(&pattern(number, len));
                    Ok(len)
                };
                if self.connection.try_send(len, &mut fill).is_ok() {
                    self.sent.push(len);
                }
            }
            Call::Publish => self.connection.publish().unwrap(),
            Call::Receive => drop(self.receive(peers)),
            Call::Look(space) => drop(self.connection.is_ready(Interest::data_and(space))),
            Call::Sleep(space) => {
                let interest = if space { Interest::SPACE } else { Interest::DATA };
                self.connection.wait_ready(interest, Some(std::time::Instant::now())).unwrap();
            }
        }
    }

    fn receive(&mut self, peers: &[usize]) -> bool {
        let Some(message) = self.connection.try_recv().unwrap() else { return false };
        assert_eq!(*message, *pattern(self.received as u64, peers[self.received]), "message {}", self.received);
        self.received += 1;
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Both ends in one thread, so that each order of calls is a possible one of two processes.
    #[test]
    fn no_order_of_calls_across_the_switch_loses_doubles_or_reorders_a_message(
        calls in proptest::collection::vec((any::<bool>(), call()), 0..120),
        small in any::<bool>(),
    ) {
        let scratch = Scratch::new();
        let options = Options { ring_bytes: raw::RING, receive: if small { in_place() } else { Default::default() }, ..scratch.options() };
        let (client, server) = connected(&options, &options);
        let played = |connection| Played { connection, sent: Vec::new(), received: 0 };
        let (mut client, mut server) = (played(client), played(server));
        for (at_client, call) in calls {
            match at_client {
                true => client.play(call, &server.sent),
                false => server.play(call, &client.sent),
            }
        }
        // The rest arrives by itself, and the switch completes.
        client.play(Call::Send(1), &server.sent);
        for _ in 0..1_000 {
            client.play(Call::Publish, &server.sent);
            server.play(Call::Publish, &client.sent);
            let moved = client.receive(&server.sent) | server.receive(&client.sent);
            let all = client.received == server.sent.len() && server.received == client.sent.len();
            if !moved && all && is_shared(&client.connection) && is_shared(&server.connection) {
                break;
            }
        }
        prop_assert_eq!((client.received, server.received), (server.sent.len(), client.sent.len()));
        prop_assert!(is_shared(&server.connection));
        prop_assert_eq!(client.connection.stats().sent_messages, client.sent.len() as u64);
        prop_assert_eq!(server.connection.stats().received_messages, server.received as u64);
        client.connection.close();
        prop_assert!(matches!(end_of(&mut server.connection), Error::Closed));
    }
}
