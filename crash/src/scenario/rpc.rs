//! Calls: a server that dies or stops under its clients, and a client under its server.

use std::time::Duration;

use strait::{
    frame::Raw,
    rpc::{
        Code, Error, Request,
        blocking::{Client, Reconnecting, Server},
    },
    transport::{Blame, Error as TransportError, Options},
};

use super::{Role, until_told};
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    pattern::{number, pattern},
    place::{NAME, Place},
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "server", play: serve, survive: call_a_server },
    Role { name: "client", play: call, survive: serve_a_client },
];

const CALLS: u64 = 40;
const EXECUTED: &str = "executed";

type Bytes = Vec<u8>;

fn options(place: &Place) -> Options {
    // Large enough for records that send the producer back to the start of the ring.
    place.options(1 << 20)
}

/// Now and then one that is worth going back to the start of the ring for.
fn request(call: u64) -> Bytes {
    pattern(call, if call.is_multiple_of(2) { 40_000 } else { 16 + (call as usize * 97) % 3000 })
}

/// Notes each request, and answers it with itself.
fn serve(place: &Place) -> Outcome {
    let executed = Journal::open(&place.data(), EXECUTED)?;
    let server = Server::<Raw>::bind_as(NAME, &options(place)).told("binding")?;
    let handle = server.handle();
    std::thread::spawn(move || {
        until_told();
        handle.shutdown();
    });
    server
        .serve(move |request: Request<Bytes, Raw>| {
            executed.note("call", number(&request)?)?;
            Ok::<_, String>(request.to_vec())
        })
        .told("serving")
}

/// What a call came to, to a client that goes on.
enum Met {
    Answer,
    /// Late, or not executed: the connection stays.
    Nothing,
    /// The server is gone, or says that it goes.
    End(String),
}

fn met(outcome: Result<impl std::ops::Deref<Target = [u8]>, Error>, call: u64) -> Outcome<Met> {
    match outcome {
        Ok(reply) if number(&reply)? == call => Ok(Met::Answer),
        Ok(_) => Err(format!("call {call} got another one's answer")),
        Err(Error::Deadline | Error::Call { code: Code::DEADLINE | Code::CANCELLED, .. }) => Ok(Met::Nothing),
        Err(error @ (Error::ShuttingDown | Error::Call { code: Code::SHUTTING_DOWN, .. })) => {
            Ok(Met::End(error.to_string()))
        }
        Err(error) if error.blame() == Blame::Peer => Ok(Met::End(error.to_string())),
        Err(error) => Err(format!("call {call}: {error}")),
    }
}

/// Connects, unless the server is not there yet or any more.
fn connect(case: &Case) -> Outcome<Option<Client<Bytes, Bytes, Raw>>> {
    let connected = case.within("connect", Place::HANDSHAKE, || Client::connect_with(NAME, &options(&case.place)))?;
    match connected {
        Ok(client) => Ok(Some(client)),
        Err(Error::Transport(TransportError::NoServer { .. } | TransportError::TimedOut { .. })) => Ok(None),
        Err(error) if error.blame() == Blame::Peer => {
            // In the middle of the handshake it died, or ends.
            case.gone("a client that connects", &error).map(|()| None)
        }
        Err(error) => Err(format!("connect: {error}")),
    }
}

fn call_a_server(case: &mut Case) -> Outcome {
    // The socket of a server that was killed before.
    let stale = case.place.runtime_dir().join(format!("{NAME}.sock"));
    drop(std::os::unix::net::UnixListener::bind(stale).told("a stale socket")?);
    let (mut calls, mut answered) = (0, Vec::new());
    case.each(|case| {
        let (mut client, first) = (None, calls);
        while !case.is_over() {
            case.patience("calling")?;
            let Some(connected) = &client else {
                client = connect(case)?;
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            if calls - first == CALLS {
                // From here on the server finishes what it has, and refuses the rest.
                case.tell();
            }
            calls += 1;
            let request = request(calls);
            let outcome = case.within("call", CALL, || connected.call_timeout(&request, CALL))?;
            match met(outcome, calls)? {
                Met::Answer => answered.push(calls),
                Met::Nothing => {}
                Met::End(why) => {
                    client = None;
                    if calls - first <= CALLS {
                        case.gone("a client", &why)?;
                    }
                }
            }
            if calls.is_multiple_of(3) {
                // Longer than anybody spins.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    })?;
    let mut executed = Journal::read(&case.place.data(), EXECUTED, "call");
    if let Some(call) = answered.iter().find(|call| !executed.contains(call)) {
        return Err(format!("call {call} was answered and never executed"));
    }
    let count = executed.len();
    executed.sort_unstable();
    executed.dedup();
    if executed.len() != count {
        return Err(format!("{} calls were executed twice", count - executed.len()));
    }
    if answered.len() < 10 {
        return Err(format!("only {} of {calls} calls were answered", answered.len()));
    }
    Ok(())
}

/// Calls on a connection that is made anew where it is lost, with all the time that there is.
fn call(place: &Place) -> Outcome {
    // One that leaves before it has said anything, so that it ends on the socket.
    drop(Client::<Bytes, Bytes, Raw>::connect_with(NAME, &options(place)).told("connect")?);
    let batches: Client<Bytes, Bytes, Raw> = Client::connect_with(NAME, &options(place)).told("connect")?;
    for first in [1, 101, 201] {
        let batch: Vec<Bytes> = (first..first + 4).map(request).collect();
        for (reply, call) in batches.call_batch(&batch).into_iter().zip(first..) {
            if number(&reply.told("a call of a batch")?)? != call {
                return Err(format!("call {call} of a batch got another one's answer"));
            }
        }
    }
    drop(batches);
    let client: Reconnecting<Bytes, Bytes, Raw> = Reconnecting::new(NAME, &options(place));
    for call in 1..=CALLS {
        let request = request(call);
        let reply = client.call_idempotent(&request).told("a call")?;
        if number(&reply)? != call {
            return Err(format!("call {call} got another one's answer"));
        }
        if call.is_multiple_of(3) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

fn serve_a_client(case: &mut Case) -> Outcome {
    let place = case.place.clone();
    let server = Server::<Raw>::bind_as(NAME, &options(&place)).told("binding")?;
    let handle = server.handle();
    let serving = std::thread::spawn(move || {
        server.serve(|request: Request<Bytes, Raw>| number(&request).map(|_| request.to_vec()))
    });
    // A neighbour, who must not notice.
    let neighbour: Client<Bytes, Bytes, Raw> =
        Client::connect_with(NAME, &options(&place)).told("the neighbour's connect")?;
    let mut calls = 1 << 32;
    case.each(|case| {
        while !case.is_over() {
            case.patience("the client's work")?;
            calls += 1;
            let request = request(calls);
            match met(case.within("a neighbour's call", CALL, || neighbour.call_timeout(&request, CALL))?, calls)? {
                Met::Answer | Met::Nothing => {}
                Met::End(why) => return Err(format!("a neighbour lost its server: {why}")),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })?;
    drop(neighbour);
    let begun = std::time::Instant::now();
    while handle.stats().active_on_socket + handle.stats().active_in_memory > 0 {
        if begun.elapsed() > PATIENCE {
            return Err(format!("the server still has clients: {:?}", handle.stats()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    handle.shutdown();
    case.within("the server's end", Duration::from_secs(2), || serving.join())?
        .map_err(|_| "the server panicked".to_owned())?
        .told("serving")
}
