//! iceoryx2: request-response and publish-subscribe, polled, and request-response with its events to sleep on.

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use iceoryx2::{
    port::{listener::Listener, notifier::Notifier},
    prelude::*,
};
use strait_benches::{Call, Meeting, OneWay, Outcome, RoundTrip, Send, Take};

pub(crate) fn round_trips() -> Vec<RoundTrip> {
    vec![
        RoundTrip { name: "iceoryx2-request", max_clients: 1, serve: serve_requests, connect: connect_requests },
        RoundTrip {
            name: "iceoryx2-request-event",
            max_clients: MAX_CLIENTS,
            serve: serve_events,
            connect: connect_events,
        },
        RoundTrip { name: "iceoryx2-publish", max_clients: 1, serve: serve_published, connect: connect_published },
    ]
}

/// Clients that the server with events is configured for.
const MAX_CLIENTS: usize = 64;

/// All that it keeps in files and in shared memory bears a prefix of this run's own.
fn node(meeting: &Meeting<'_>) -> Outcome<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(meeting.dir.as_os_str().as_bytes())?);
    config.global.prefix = FileName::new(prefix(meeting).as_bytes())?;
    Ok(NodeBuilder::new().config(&config).create::<ipc::Service>()?)
}

fn prefix(meeting: &Meeting<'_>) -> String {
    let dir = meeting.dir.file_name().unwrap_or_else(|| OsStr::new("bench"));
    format!("{}_", dir.to_string_lossy())
}

/// The prefix of what the killed server leaves in shared memory, where this process was its client.
static LEFT: OnceLock<String> = OnceLock::new();

/// Removes that, once this process has done its work; before, other connections of it still use it.
pub(crate) fn sweep() {
    let Some(prefix) = LEFT.get() else { return };
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    for path in entries.map(|entry| entry.path()).filter(ours) {
        let _ = std::fs::remove_file(path);
    }
}

/// What a client connects by; what it leaves is swept.
fn client_node(meeting: &Meeting<'_>) -> Outcome<Node<ipc::Service>> {
    LEFT.get_or_init(|| prefix(meeting));
    node(meeting)
}

/// Polls until there is something; gives up after a while that no live peer takes.
fn poll<T>(mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let mut patience = None;
    loop {
        for _ in 0..100_000 {
            if let Some(found) = look()? {
                return Ok(found);
            }
            std::hint::spin_loop();
        }
        if Instant::now() > *patience.get_or_insert_with(|| Instant::now() + Duration::from_secs(5)) {
            return Err("no answer for 5 s".into());
        }
    }
}

fn wait_until(met: impl Fn() -> bool) -> Outcome<()> {
    let patience = Instant::now() + Duration::from_secs(10);
    while !met() {
        if Instant::now() > patience {
            return Err("the other process did not come".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn serve_requests(meeting: &Meeting<'_>) -> Outcome<()> {
    let node = node(meeting)?;
    let service = node.service_builder(&"bench".try_into()?).request_response::<[u8], [u8]>().open_or_create()?;
    let server = service.server_builder().initial_max_slice_len(meeting.payload_bytes).create()?;
    loop {
        let Some(request) = server.receive()? else {
            std::hint::spin_loop();
            continue;
        };
        let mut room = [0; 8];
        let bytes = meeting.answer.to(request.payload(), &mut room);
        request.loan_slice_uninit(bytes.len())?.write_from_slice(bytes).send()?;
    }
}

fn connect_requests(meeting: &Meeting<'_>) -> Outcome<Call> {
    let node = client_node(meeting)?;
    let service = node.service_builder(&"bench".try_into()?).request_response::<[u8], [u8]>().open_or_create()?;
    let client = service.client_builder().initial_max_slice_len(meeting.payload_bytes).create()?;
    wait_until(|| service.dynamic_config().number_of_servers() > 0)?;
    Ok(Box::new(move |payload, reply| {
        let _held = (&node, &service);
        let pending = client.loan_slice_uninit(payload.len())?.write_from_slice(payload).send()?;
        reply(poll(|| Ok(pending.receive()?))?.payload());
        Ok(())
    }))
}

type Event = iceoryx2::service::port_factory::event::PortFactory<ipc::Service>;
type Requests = iceoryx2::service::port_factory::request_response::PortFactory<ipc::Service, [u8], u64, [u8], ()>;

/// What wakes the server.
const ASK: &str = "ask";

/// What wakes the client of this number, which its requests bear in their headers.
fn answer(client: u64) -> String {
    format!("answer-{client}")
}

fn event(node: &Node<ipc::Service>, name: &str) -> Outcome<Event> {
    let event = node.service_builder(&name.try_into()?).event();
    Ok(event.max_nodes(MAX_CLIENTS + 1).max_notifiers(MAX_CLIENTS).open_or_create()?)
}

fn requests(node: &Node<ipc::Service>) -> Outcome<Requests> {
    let service = node.service_builder(&"bench".try_into()?).request_response::<[u8], [u8]>();
    let service = service.request_user_header::<u64>().max_nodes(MAX_CLIENTS + 1).max_clients(MAX_CLIENTS);
    Ok(service.open_or_create()?)
}

fn sleep(listener: &Listener<ipc::Service>) -> Outcome<()> {
    listener.blocking_wait(|_| ())?;
    Ok(())
}

fn serve_events(meeting: &Meeting<'_>) -> Outcome<()> {
    let node = node(meeting)?;
    let asked = event(&node, ASK)?.listener_builder().create()?;
    let service = requests(&node)?;
    let server = service.server_builder().initial_max_slice_len(meeting.payload_bytes).create()?;
    let mut clients: HashMap<u64, Notifier<ipc::Service>> = HashMap::new();
    loop {
        while let Some(request) = server.receive()? {
            let mut room = [0; 8];
            let bytes = meeting.answer.to(request.payload(), &mut room);
            request.loan_slice_uninit(bytes.len())?.write_from_slice(bytes).send()?;
            match clients.entry(*request.user_header()) {
                Entry::Occupied(client) => client.get().notify()?,
                Entry::Vacant(new) => {
                    let answered = event(&node, &answer(*new.key()))?.notifier_builder().create()?;
                    new.insert(answered).notify()?
                }
            };
        }
        sleep(&asked)?;
    }
}

fn connect_events(meeting: &Meeting<'_>) -> Outcome<Call> {
    let node = client_node(meeting)?;
    static CLIENTS: AtomicU64 = AtomicU64::new(0);
    // ORDERING: Relaxed; a number that no other has.
    let number = u64::from(std::process::id()) << 16 | CLIENTS.fetch_add(1, Ordering::Relaxed);
    let ask = event(&node, ASK)?.notifier_builder().create()?;
    let answered = event(&node, &answer(number))?.listener_builder().create()?;
    let service = requests(&node)?;
    let client = service.client_builder().initial_max_slice_len(meeting.payload_bytes).create()?;
    wait_until(|| service.dynamic_config().number_of_servers() > 0)?;
    Ok(Box::new(move |payload, reply| {
        let _held = (&node, &service);
        let mut request = client.loan_slice_uninit(payload.len())?;
        *request.user_header_mut() = number;
        let pending = request.write_from_slice(payload).send()?;
        ask.notify()?;
        let response = loop {
            match pending.receive()? {
                Some(response) => break response,
                None => sleep(&answered)?,
            }
        };
        reply(response.payload());
        Ok(())
    }))
}

fn serve_published(meeting: &Meeting<'_>) -> Outcome<()> {
    let node = node(meeting)?;
    let ask = node.service_builder(&"ask".try_into()?).publish_subscribe::<[u8]>().open_or_create()?;
    let answer = node.service_builder(&"answer".try_into()?).publish_subscribe::<[u8]>().open_or_create()?;
    let publisher = answer.publisher_builder().initial_max_slice_len(meeting.payload_bytes).create()?;
    let subscriber = ask.subscriber_builder().create()?;
    loop {
        let Some(request) = subscriber.receive()? else {
            std::hint::spin_loop();
            continue;
        };
        let mut room = [0; 8];
        let bytes = meeting.answer.to(&request, &mut room);
        publisher.loan_slice_uninit(bytes.len())?.write_from_slice(bytes).send()?;
    }
}

fn connect_published(meeting: &Meeting<'_>) -> Outcome<Call> {
    let node = client_node(meeting)?;
    let ask = node.service_builder(&"ask".try_into()?).publish_subscribe::<[u8]>().open_or_create()?;
    let answer = node.service_builder(&"answer".try_into()?).publish_subscribe::<[u8]>().open_or_create()?;
    let publisher = ask.publisher_builder().initial_max_slice_len(meeting.payload_bytes).create()?;
    let subscriber = answer.subscriber_builder().create()?;
    wait_until(|| {
        ask.dynamic_config().number_of_subscribers() > 0 && answer.dynamic_config().number_of_publishers() > 0
    })?;
    Ok(Box::new(move |payload, reply| {
        let _held = (&node, &ask, &answer);
        publisher.loan_slice_uninit(payload.len())?.write_from_slice(payload).send()?;
        reply(&poll(|| Ok(subscriber.receive()?))?);
        Ok(())
    }))
}

pub(crate) fn one_way() -> Vec<OneWay> {
    vec![OneWay {
        name: "iceoryx2-publish",
        produce: |meeting| produce(meeting, false),
        consume: |meeting| consume(meeting, false),
    }]
}

/// As it is by default: what a slow subscriber has no room for takes the place of its oldest.
pub(crate) fn lossy() -> Vec<OneWay> {
    vec![OneWay {
        name: "iceoryx2-publish-overflow",
        produce: |meeting| produce(meeting, true),
        consume: |meeting| consume(meeting, true),
    }]
}

/// There once the subscriber has opened its connection to the publisher: one that waits for room gives up on a subscriber that has not.
const READY: &str = "ready";

type Stream = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u8], ()>;

/// As much as the rings of the other engines hold: 256 KiB, and at least four messages.
fn buffered(meeting: &Meeting<'_>) -> usize {
    ((256 << 10) / meeting.payload_bytes).clamp(4, 4096)
}

fn stream(node: &Node<ipc::Service>, meeting: &Meeting<'_>, overflow: bool) -> Outcome<Stream> {
    let service = node.service_builder(&"stream".try_into()?).publish_subscribe::<[u8]>();
    let service = service.enable_safe_overflow(overflow).subscriber_max_buffer_size(buffered(meeting));
    Ok(service.max_publishers(1).max_subscribers(1).open_or_create()?)
}

fn produce(meeting: &Meeting<'_>, overflow: bool) -> Outcome<Send> {
    let node = node(meeting)?;
    let service = stream(&node, meeting, overflow)?;
    let publisher = service
        .publisher_builder()
        .initial_max_slice_len(meeting.payload_bytes)
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()?;
    wait_until(|| meeting.dir.join(READY).exists())?;
    Ok(Box::new(move |message| {
        let _held = (&node, &service);
        publisher.loan_slice_uninit(message.len())?.write_from_slice(message).send()?;
        Ok(())
    }))
}

fn consume(meeting: &Meeting<'_>, overflow: bool) -> Outcome<Take> {
    let node = client_node(meeting)?;
    let service = stream(&node, meeting, overflow)?;
    let subscriber = service.subscriber_builder().create()?;
    wait_until(|| service.dynamic_config().number_of_publishers() > 0)?;
    subscriber.has_samples()?;
    std::fs::write(meeting.dir.join(READY), "")?;
    Ok(Box::new(move |look| {
        let _held = (&node, &service);
        look(&poll(|| Ok(subscriber.receive()?))?);
        Ok(())
    }))
}
