//! Calls that wait for a place and give up, while the server stands still, leave nothing behind.
#![cfg(all(feature = "tokio", not(strait_loom)))]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use strait_rpc::{Client, Options};
use strait_transport::local;

/// A task, by what it holds.
struct Task {
    _held: Arc<()>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn calls_that_gave_up_without_a_slot_leave_no_waker() {
    let options = Options { max_in_flight: 1, ..Options::default() };
    let (ours, _silent) = local::pair(&options).unwrap();
    let client: Client<u64, u64> = Client::over(ours);
    let mut in_flight = pin!(client.call(&0));
    assert!(in_flight.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let held = Arc::new(());
    for number in 0..1000 {
        let waker = Waker::from(Arc::new(Task { _held: held.clone() }));
        let mut call = Box::pin(client.call(&number));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn calls_that_gave_up_without_room_leave_no_waker() {
    let options = Options { max_in_flight: 4096, ring_bytes: 4096, ..Options::default() };
    let (ours, _silent) = local::pair(&options).unwrap();
    let client: Client<[u8; 800], u64> = Client::over(ours);
    let mut in_flight = Vec::new();
    for _ in 0..8 {
        let mut call = Box::pin(client.call(&[0; 800]));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        in_flight.push(call);
    }
    let held = Arc::new(());
    for _ in 0..1000 {
        let waker = Waker::from(Arc::new(Task { _held: held.clone() }));
        let mut call = Box::pin(client.call(&[1; 800]));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&held), 1);
}
