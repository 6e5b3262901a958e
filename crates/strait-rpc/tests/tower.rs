//! tower's layers around calls and handlers, with real servers.
#![cfg(all(feature = "tower", not(strait_loom)))]

mod support;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use strait_rpc::{
    Client, Code, Error, Options, Postcard, Raw, Request, Response, Server, ServerHandle, TransportKind,
    tower::CallService,
};
use support::{NAME, Scratch};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, retry, service_fn, timeout};

/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_secs(10);

type Served = JoinHandle<Result<(), Error>>;

fn serve<E, F, Fut>(options: &Options, handler: F) -> (ServerHandle, Served)
where
    E: std::fmt::Display + Send + 'static,
    F: Fn(Request<u64>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u64, E>> + Send + 'static,
{
    let server = Server::bind_with(NAME, options).unwrap();
    (server.handle(), tokio::spawn(server.serve(handler)))
}

async fn connect(options: &Options) -> CallService<u64, u64> {
    CallService::new(Client::connect_with(NAME, options).await.unwrap())
}

async fn ends(handle: ServerHandle, served: Served) {
    handle.shutdown();
    tokio::time::timeout(PATIENCE, served).await.expect("the server ends").unwrap().unwrap();
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Counts those that are there now, and the most that ever were.
#[derive(Clone, Default)]
struct Crowd {
    now: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
}

impl Crowd {
    fn enter(&self) -> Present {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Present(self.now.clone())
    }

    fn now(&self) -> u32 {
        self.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

struct Present(Arc<AtomicU32>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn service_and_its_future_can_be_sent_to_any_task() {
    fn needs<T: Send + Sync + Clone + 'static>() {}
    fn future_is_send<S: Service<Q, Future: Send + 'static>, Q>() {}
    needs::<CallService<u64, u64>>();
    needs::<CallService<String, Vec<u8>, Postcard>>();
    future_is_send::<CallService<u64, u64>, u64>();
    future_is_send::<CallService<Vec<u8>, Vec<u8>, Raw>, Vec<u8>>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_share_one_connection_and_each_reply_reaches_its_call() {
    let scratch = Scratch::new();
    let (handle, served) = serve(&scratch.options(), |number| async move { Ok::<u64, String>(number.to_native() * 2) });
    let service = connect(&scratch.options()).await;
    let mut calls = JoinSet::new();
    for number in 0..200u64 {
        let service = service.clone();
        calls.spawn(async move { assert_eq!(service.oneshot(number).await.unwrap().to_native(), 2 * number) });
    }
    while let Some(call) = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("nobody is forgotten") {
        call.unwrap();
    }
    assert_eq!(service.client().transport(), TransportKind::Shared);
    drop(service);
    ends(handle, served).await;
}

#[tokio::test]
async fn timeout_layer_cuts_a_call_off_and_cancels_its_handler() {
    for shared_memory in [true, false] {
        let scratch = Scratch::new();
        let options = Options { shared_memory, ..scratch.options() };
        let crowd = Crowd::default();
        let inside = crowd.clone();
        let (handle, served) = serve(&options, move |number| {
            let present = inside.enter();
            async move {
                if number.to_native() == 0 {
                    std::future::pending::<()>().await;
                }
                drop(present);
                Ok::<u64, String>(number.to_native())
            }
        });
        let mut service = ServiceBuilder::new().timeout(Duration::from_millis(300)).service(connect(&options).await);
        assert_eq!(service.ready().await.unwrap().call(7).await.unwrap().to_native(), 7);
        let endless = tokio::spawn(service.ready().await.unwrap().call(0));
        eventually("the handler runs", || crowd.now() == 1).await;
        let error = tokio::time::timeout(PATIENCE, endless).await.expect("it is cut off").unwrap().unwrap_err();
        assert!(error.is::<timeout::error::Elapsed>(), "{error}");
        eventually("the handler is dropped", || crowd.now() == 0).await;
        assert_eq!(service.ready().await.unwrap().call(8).await.unwrap().to_native(), 8, "the connection goes on");
        drop(service);
        ends(handle, served).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_limit_of_the_client_is_what_its_server_sees() {
    let scratch = Scratch::new();
    let (crowd, gate) = (Crowd::default(), Arc::new(Semaphore::new(0)));
    let (inside, door) = (crowd.clone(), gate.clone());
    let (handle, served) = serve(&scratch.options(), move |number| {
        let (present, door) = (inside.enter(), door.clone());
        async move {
            door.acquire().await.unwrap().forget();
            drop(present);
            Ok::<u64, String>(number.to_native())
        }
    });
    let service = ServiceBuilder::new().concurrency_limit(3).service(connect(&scratch.options()).await);
    let mut calls = JoinSet::new();
    for number in 0..12u64 {
        let service = service.clone();
        calls.spawn(async move { assert_eq!(service.oneshot(number).await.unwrap().to_native(), number) });
    }
    eventually("three run", || crowd.now() == 3).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(crowd.now(), 3, "the others wait in their own process");
    gate.add_permits(12);
    while let Some(call) = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("all get their turn") {
        call.unwrap();
    }
    assert_eq!(crowd.most(), 3);
    drop(service);
    ends(handle, served).await;
}

/// Tries again what the handler refused or the server was too busy for, a few times.
#[derive(Clone)]
struct Again(u32);

impl<Q: Clone> retry::Policy<Q, Response<u64>, Error> for Again {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Q, result: &mut Result<Response<u64>, Error>) -> Option<Self::Future> {
        let again = matches!(result, Err(Error::Call { code: Code::HANDLER | Code::BUSY, .. })) && self.0 > 0;
        again.then(|| {
            self.0 -= 1;
            std::future::ready(())
        })
    }

    fn clone_request(&mut self, request: &Q) -> Option<Q> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn retry_layer_makes_an_idempotent_call_again_until_it_succeeds_or_its_policy_gives_up() {
    let scratch = Scratch::new();
    let tries = Arc::new(AtomicU32::new(0));
    let count = tries.clone();
    let (handle, served) = serve(&scratch.options(), move |number| {
        let fails = u64::from(count.fetch_add(1, Ordering::SeqCst)) < number.to_native();
        async move { if fails { Err("not yet") } else { Ok(number.to_native()) } }
    });
    let service = ServiceBuilder::new().retry(Again(5)).service(connect(&scratch.options()).await);
    let reply = service.clone().oneshot(3).await.unwrap();
    assert_eq!((reply.to_native(), tries.swap(0, Ordering::SeqCst)), (3, 4));
    let error = service.clone().oneshot(100).await.unwrap_err();
    assert!(matches!(&error, Error::Call { code: Code::HANDLER, message } if &**message == "not yet"), "{error}");
    assert_eq!(tries.load(Ordering::SeqCst), 6, "the first and five more");
    drop(service);
    ends(handle, served).await;
}

#[tokio::test]
async fn service_is_ready_while_the_window_is_full_and_its_call_waits_inside() {
    let scratch = Scratch::new();
    let options = Options { max_in_flight: 1, ..scratch.options() };
    let crowd = Crowd::default();
    let inside = crowd.clone();
    let (handle, served) = serve(&options, move |number| {
        let present = inside.enter();
        async move {
            if number.to_native() == 0 {
                std::future::pending::<()>().await;
            }
            drop(present);
            Ok::<u64, String>(number.to_native())
        }
    });
    let mut service = connect(&options).await;
    let first = tokio::spawn(service.call(0));
    eventually("the first runs", || crowd.now() == 1).await;
    service.ready().await.expect("it is always ready");
    let second = tokio::spawn(service.call(1));
    sleep(Duration::from_millis(20)).await;
    assert!(!second.is_finished(), "the window is full");
    first.abort();
    let reply = tokio::time::timeout(PATIENCE, second).await.expect("the cancelled call makes room").unwrap();
    assert_eq!(reply.unwrap().to_native(), 1);
    drop(service);
    ends(handle, served).await;
}

#[tokio::test]
async fn lost_connection_is_an_error_of_the_call_and_passes_through_layers() {
    let scratch = Scratch::new();
    let (handle, served) = serve(&scratch.options(), |number| async move { Ok::<u64, String>(number.to_native()) });
    let service = ServiceBuilder::new().buffer(4).timeout(PATIENCE).service(connect(&scratch.options()).await);
    assert_eq!(service.clone().oneshot(1).await.unwrap().to_native(), 1);
    ends(handle, served).await;
    let error: BoxError = service.oneshot(2).await.unwrap_err();
    let error = error.downcast_ref::<Error>().unwrap_or_else(|| panic!("of another type: {error}"));
    assert!(matches!(error, Error::Transport(_) | Error::ShuttingDown), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_service_has_its_layers_shared_by_all_calls_and_answers_errors() {
    let scratch = Scratch::new();
    let crowd = Crowd::default();
    let inside = crowd.clone();
    let handler = service_fn(move |number: Request<u64>| {
        let present = inside.enter();
        async move {
            sleep(Duration::from_millis(5)).await;
            drop(present);
            match number.to_native() {
                13 => Err("unlucky"),
                number => Ok(number * 2),
            }
        }
    });
    let service = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(2)).service(handler);
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let served = tokio::spawn(server.serve_service(service));
    let (one, other) = (connect(&scratch.options()).await, connect(&scratch.options()).await);
    let mut calls = JoinSet::new();
    for number in 0..20u64 {
        let service = if number % 2 == 0 { one.clone() } else { other.clone() };
        calls.spawn(async move {
            match service.oneshot(number).await {
                Ok(reply) => assert_eq!(reply.to_native(), 2 * number),
                Err(Error::Call { code: Code::HANDLER, message }) => assert_eq!((number, &*message), (13, "unlucky")),
                Err(error) => panic!("{error}"),
            }
        });
    }
    while let Some(call) = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("nobody is forgotten") {
        call.unwrap();
    }
    assert_eq!(crowd.most(), 2, "over both connections");
    drop((one, other));
    ends(handle, served).await;
}
