//! Touches every re-export, so that a broken one fails here, and runs the two example programs against each other.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use strait::{
    HonestPeer, Options, TransportKind, ValidArchives,
    rkyv::{Archive, Serialize},
    rpc::{Request, blocking},
};

#[derive(Archive, Serialize)]
#[rkyv(crate = strait::rkyv)]
struct Order {
    id: u64,
}

#[test]
fn rpc_works_through_the_facade() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { runtime_dir: Some(dir.path().join("run")), ..Options::default() };
    let server = blocking::Server::bind_with("facade", &options).unwrap();
    let handle = server.handle();
    let serve = move || server.serve(|order: Request<Order>| Ok::<u64, String>(order.id.to_native() + 1));
    let thread = std::thread::spawn(serve);
    let client: blocking::Client<Order, u64> = blocking::Client::connect_with("facade", &options).unwrap();
    let reply = client.call(&Order { id: 6 }).unwrap();
    assert_eq!(reply.to_native(), 7);
    assert!(matches!(reply.transport(), TransportKind::Socket | TransportKind::Shared));
    drop(client);
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn the_async_ends_work_through_the_facade() {
    use strait::rpc::{Client, Server};

    let dir = tempfile::tempdir().unwrap();
    let options = Options { runtime_dir: Some(dir.path().join("run")), ..Options::default() };
    let server = Server::bind_with("facade", &options).unwrap();
    let handle = server.handle();
    let served =
        tokio::spawn(server.serve(|order: Request<Order>| async move { Ok::<u64, String>(order.id.to_native() + 1) }));
    let client: Client<Order, u64> = Client::connect_with("facade", &options).await.unwrap();
    assert_eq!(client.call(&Order { id: 6 }).await.unwrap().to_native(), 7);
    handle.shutdown();
    served.await.unwrap().unwrap();
}

#[test]
fn each_floor_can_be_reached() {
    assert_eq!(strait::frame::checksum(b"123456789"), 0xcbf4_3926);
    assert_eq!(strait::transport::check_name("a-name").ok(), Some(()));
    let (mut left, mut right) = strait::transport::local::pair(&Options::default()).unwrap();
    left.send(b"hello").unwrap();
    assert_eq!(&*strait::transport::Transport::try_recv(&mut right).unwrap().unwrap(), b"hello");
    let (mut producer, mut consumer) = strait::spsc::records::channel(4096).unwrap();
    producer.try_claim(8).unwrap().commit(8, strait::spsc::records::Meta::default());
    assert_eq!(consumer.next().unwrap().unwrap().len(), 8);
    let queue = strait::mpmc::Queue::new(2).unwrap();
    queue.try_push(7).unwrap();
    assert_eq!(queue.try_pop().ok(), Some(7));
    assert_eq!(strait::seqlock::SeqLock::new(7u64).read(), 7);
    assert_eq!(strait::sync::Words::load(&strait::sync::Heap::zeroed(128), 0), 0);
    assert_eq!(size_of::<strait::HonestPeer>(), size_of::<HonestPeer>());
    assert_eq!(size_of::<ValidArchives>(), 0);
    let _: Option<strait::region::OwnRegion> = None;
}

/// An example's program; cargo builds the examples before it runs the tests.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// Runs a client against a server; what the client said.
fn run_pair(server: &str, client: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let start = |name| {
        let mut command = Command::new(example(name));
        command.env("XDG_RUNTIME_DIR", dir.path()).stdout(Stdio::piped());
        command
    };
    let mut server = start(server).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut line).unwrap();
    let client = start(client).output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(line.starts_with("serving at "), "{line}");
    assert!(client.status.success());
    String::from_utf8(client.stdout).unwrap()
}

#[test]
fn the_first_programs_run_against_each_other() {
    let said = run_pair("doubler_server", "doubler_client");
    assert!(said.starts_with("1 doubled is 2, over ") && said.contains("21 doubled is 42"), "{said}");
    assert!(said.ends_with("18446744073709551615: too large to double\n"), "{said}");
}

#[test]
fn the_programs_that_poll_run_against_each_other() {
    assert_eq!(run_pair("polling", "polling_client"), "42\n");
}
