//! The three trust levels: what is right is read alike under all of them; what is not is refused wherever it is validated.
#![cfg(not(strait_loom))]

mod support;

use rkyv::{Archive, Deserialize, Serialize, rancor};
use strait_frame::{Codec, StableBytes};
use strait_rpc::{
    Code, Error, HonestPeer, Options, Postcard, Receive, Request, Response, Rkyv, TransportKind, ValidArchives,
    blocking::Client,
};
use strait_transport::{Connection, Listener, Message, local};
use support::{NAME, REPLY, Scratch, call_of, frame, receive, send, serve, serve_as};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
struct Order {
    id: u64,
    wide: u128,
    note: String,
    legs: Vec<(String, Option<u32>)>,
}

impl Order {
    fn new(id: u64) -> Self {
        let leg = |leg: u64| ("leg ".repeat(leg as usize % 9), (leg % 3 != 1).then_some(leg as u32));
        Self {
            id,
            wide: u128::from(id) << 90,
            note: "note ".repeat(id as usize % 7),
            legs: (0..id % 5).map(leg).collect(),
        }
    }

    fn read(archived: &ArchivedOrder) -> Self {
        rkyv::deserialize::<Self, rancor::Error>(archived).unwrap()
    }
}

/// The levels, and whether each reads in place.
fn levels() -> [(Receive, bool); 3] {
    // SAFETY: both ends of every connection in this file are this process, and go by the protocol.
    let honest = unsafe { HonestPeer::assume() };
    // SAFETY: as above; what is sent by hand to an end with this token is a valid archive, or refused for its size or alignment.
    let valid = unsafe { ValidArchives::assume() };
    [(Receive::Copied, false), (Receive::InPlace(honest), true), (Receive::InPlaceUnvalidated(honest, valid), true)]
}

#[test]
fn calls_return_the_same_under_every_level_on_every_way() {
    for (receive, in_place) in levels() {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = Options { receive, shared_memory, ..scratch.options() };
            let _server = serve(&options, |order: Request<Order>| Ok::<Order, String>(Order::read(&order)));
            let client: Client<Order, Order> = Client::connect_with(NAME, &options).unwrap();
            let mut ways = [0; 2];
            for id in 0..200 {
                let order = Order::new(id);
                let reply = client.call(&order).unwrap();
                assert_eq!(Order::read(&reply), order, "{receive:?} over {}", reply.transport());
                let is_shared = reply.transport() == TransportKind::Shared;
                assert_eq!(reply.is_zero_copy(), is_shared && in_place);
                ways[usize::from(is_shared)] += 1;
            }
            assert!(shared_memory == (ways[1] > 0) && ways[0] > 0, "both ways where there are two: {ways:?}");
        }
    }
}

/// A client and, by hand, the server of its connection, in this process.
fn by_hand(receive: Receive) -> (Client<u64, Order>, Connection) {
    let (ours, theirs) = local::pair(&Options { receive, ..Options::default() }).unwrap();
    (Client::over(ours), theirs)
}

/// One call, answered with `body`.
fn answered(receive: Receive, body: Vec<u8>) -> Result<Response<Order>, Error> {
    let (client, mut server) = by_hand(receive);
    let server = std::thread::spawn(move || {
        let request = self::receive(&mut server).unwrap();
        send(&mut server, &frame(REPLY, call_of(&request), &body)).unwrap();
        server
    });
    let reply = client.call(&1);
    drop(server.join().unwrap());
    reply
}

fn archive(order: &Order) -> Vec<u8> {
    rkyv::to_bytes::<rancor::Error>(order).unwrap().to_vec()
}

#[test]
fn replies_inside_the_process_are_the_same_under_every_level() {
    for (receive, in_place) in levels() {
        let reply = answered(receive, archive(&Order::new(9))).unwrap();
        assert_eq!(Order::read(&reply), Order::new(9));
        assert_eq!((reply.transport(), reply.is_zero_copy()), (TransportKind::Local, in_place));
    }
}

#[test]
fn corrupted_archive_is_refused_by_the_levels_that_validate() {
    let mut corrupted = archive(&Order::new(9));
    let root = corrupted.len() - size_of::<ArchivedOrder>();
    // Whatever field this was: a pointer or a length that leads out of the archive.
    corrupted[root..].fill(0xEE);
    for (receive, _) in &levels()[..2] {
        let error = answered(*receive, corrupted.clone()).unwrap_err();
        assert!(matches!(error, Error::Decode(_)), "{error}");
    }
}

#[test]
fn archive_that_is_too_short_is_refused_by_every_level() {
    for (receive, _) in levels() {
        for len in [0, 1, size_of::<ArchivedOrder>() - 1] {
            let error = answered(receive, vec![0; len]).unwrap_err();
            assert!(matches!(error, Error::Decode(_)), "{error}");
        }
    }
}

#[test]
fn archive_of_odd_length_is_refused_by_every_level() {
    for (receive, _) in levels() {
        let mut archive = archive(&Order::new(9));
        archive.push(0);
        let error = answered(receive, archive).unwrap_err();
        assert!(matches!(error, Error::Decode(_)), "the root would not be aligned: {error}");
    }
}

#[test]
fn replies_that_are_copied_because_too_much_is_held_are_read_alike() {
    let (receive, _) = levels()[2];
    let scratch = Scratch::new();
    let options = Options { receive, ring_bytes: 4096, ..scratch.options() };
    let _server = serve(&options, |order: Request<Order>| Ok::<Order, String>(Order::read(&order)));
    let client: Client<Order, Order> = Client::connect_with(NAME, &options).unwrap();
    while client.transport() != TransportKind::Shared {
        client.call(&Order::new(1)).unwrap();
    }
    let long = Order { note: "x".repeat(500), ..Order::new(13) };
    let held: Vec<_> = (0..5).map(|_| client.call(&long).unwrap()).collect();
    assert!(held[0].is_zero_copy() && !held[4].is_zero_copy(), "half the ring is held, and no more");
    held.iter().for_each(|reply| assert_eq!(Order::read(reply), long));
}

#[test]
fn postcard_and_raw_are_decoded_and_checked_as_ever() {
    let (receive, _) = levels()[2];
    let scratch = Scratch::new();
    let options = Options { receive, ..scratch.options() };
    let server =
        serve_as::<Postcard, _, _, _>(&options, |word: Request<String, Postcard>| Ok::<_, String>(word.len() as u64));
    let client: Client<String, u64, Postcard> = Client::connect_with(NAME, &options).unwrap();
    for _ in 0..20 {
        assert_eq!(*client.call(&"seven!!".to_owned()).unwrap(), 7);
    }
    drop(client);
    server.stop().unwrap();
    // Bytes that are no string: the server's codec says so, token or not.
    let options = Options { schema: 7, ..options };
    let _server =
        serve_as::<Postcard, _, _, _>(&options, |word: Request<String, Postcard>| Ok::<_, String>(word.len() as u64));
    let client: Client<Vec<u8>, u64, Postcard> = Client::connect_with(NAME, &options).unwrap();
    for _ in 0..5 {
        let error = client.call(&vec![0xFF; 9]).unwrap_err();
        assert!(matches!(error, Error::Call { code: Code::BAD_REQUEST, .. }), "{error}");
    }
}

/// Two ends over a listener.
fn connected(options: &Options) -> (Connection, Connection) {
    let listener = Listener::bind("raw", options, None).unwrap();
    let accept = std::thread::spawn(move || listener.accept().unwrap().unwrap().handshake().unwrap());
    (Connection::connect("raw", options).unwrap(), accept.join().unwrap())
}

#[test]
fn token_is_on_every_message_of_its_connection_whatever_way_it_came_and_on_no_other() {
    for (receive, in_place) in levels() {
        let expected = matches!(receive, Receive::InPlaceUnvalidated(..));
        let scratch = Scratch::new();
        let options = Options { receive, ring_bytes: 4096, ..scratch.options() };
        let mut ways = Vec::new();
        for (mut left, mut right) in [connected(&options), local::pair(&options).unwrap()] {
            let mut held = Vec::new();
            for number in 0..40 {
                send(&mut left, &archive(&Order::new(number))).unwrap();
                let message = self::receive(&mut right).unwrap();
                assert_eq!(message.valid_archives().is_some(), expected, "{message:?}");
                let own = Message::from_bytes(&message, 0, message.transport());
                assert!(own.valid_archives().is_none(), "it was made here");
                ways.push((message.transport(), message.is_in_place()));
                held.push(message);
                held.drain(..held.len().saturating_sub(8));
                // So that the switch to shared memory takes its steps on both sides.
                send(&mut right, &archive(&Order::new(number))).unwrap();
                assert_eq!(self::receive(&mut left).unwrap().valid_archives().is_some(), expected);
            }
            for message in held.drain(..) {
                <Rkyv as Codec<Order>>::open(message).unwrap();
            }
        }
        for kind in [TransportKind::Socket, TransportKind::Shared, TransportKind::Local] {
            assert!(ways.contains(&(kind, false)) || in_place, "{kind}: {ways:?}");
            assert!(ways.contains(&(kind, in_place && kind != TransportKind::Socket)), "{kind}: {ways:?}");
        }
    }
}
