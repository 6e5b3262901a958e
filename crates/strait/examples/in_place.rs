//! No copies: requests and replies are read in the ring, where the peer wrote them.

use strait::{
    HonestPeer, Options, TransportKind,
    rpc::{
        Error, Receive, Request,
        blocking::{Client, Server},
    },
};

fn main() -> Result<(), Error> {
    // SAFETY: both ends are this very program, which never writes a message again once it is sent.
    let trust = unsafe { HonestPeer::assume() };
    let options = Options { receive: Receive::InPlace(trust), ring_bytes: 8 << 20, ..Options::default() };
    let server = Server::bind_with("in-place-example", &options)?;
    let handle = server.handle();
    let sum = |numbers: Request<Vec<u64>>| {
        println!("server: reads {} numbers in the ring: {}", numbers.len(), numbers.is_zero_copy());
        Ok::<u64, String>(numbers.iter().map(|number| number.to_native()).sum())
    };
    let thread = std::thread::spawn(move || server.serve(sum));

    let client: Client<Vec<u64>, u64> = Client::connect_with("in-place-example", &options)?;
    let numbers: Vec<u64> = (0..100_000).collect();
    for _ in 0..3 {
        let reply = client.call(&numbers)?; // the first goes over the socket, and is copied
        assert_eq!(reply.to_native(), 4_999_950_000);
        println!("client: over {}, in place: {}", reply.transport(), reply.is_zero_copy());
    }
    assert_eq!(client.transport(), TransportKind::Shared);

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
