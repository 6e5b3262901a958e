//! Servers that their first client starts: the client dies or stops in the middle of the start, or the server does.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use strait::{
    rpc::{
        Error, Launch, LaunchError, Request,
        blocking::{Client, Server},
    },
    transport::Blame,
};

use super::{Role, inherit::is_this_program};
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    place::{NAME, Place},
    plan::Plan,
    victim::Victim,
};

pub(super) const ROLES: &[Role] = &[Role { name: "starter", play: start, survive: outlive_a_starter }];

type Calls = Client<u64, u64>;

const STARTED: &str = "started";
/// Ends the server.
const STOP: u64 = u64::MAX;
/// How long a server may take to start, and others wait for whoever starts it.
const START: Duration = Duration::from_secs(2);

fn launch(place: &Place) -> Launch {
    let place = place.clone();
    Launch::new(move || match Victim::command(("launch", "server"), &place, &Plan::Trace, "trace of the server") {
        Ok(command) => command,
        Err(why) => panic!("{why}"),
    })
    .timeout(START)
}

/// Helper: the server, until it is called with `STOP`.
pub(super) fn serve(place: &Place) -> Outcome {
    Journal::open(&place.data(), STARTED)?.note(STARTED, std::process::id().into())?;
    std::thread::spawn(|| {
        // Should everybody be gone.
        std::thread::sleep(4 * PATIENCE);
        std::process::exit(1);
    });
    let server = Server::bind_with(NAME, &place.options(8192)).told("binding")?;
    let handle = Arc::new(OnceLock::new());
    let _ = handle.set(server.handle());
    server
        .serve(move |request: Request<u64>| {
            if request.to_native() == STOP
                && let Some(handle) = handle.get()
            {
                handle.shutdown();
            }
            Ok::<u64, String>(request.to_native())
        })
        .told("serving")
}

/// Connects, starts the server if it has to, calls, and ends it: three times.
fn start(place: &Place) -> Outcome {
    let (mut rounds, begun) = (0, Instant::now());
    while rounds < 3 {
        let called = Calls::connect_or_launch(NAME, &place.options(8192), &launch(place))
            .and_then(|client| client.call(&rounds).map(|reply| (client, reply.to_native())));
        match called {
            Ok((client, reply)) if reply == rounds => {
                stop(&client);
                rounds += 1;
            }
            Ok(_) => return Err("another call's answer".into()),
            // The conductor ends servers too.
            Err(error) if error.blame() == Blame::Peer && begun.elapsed() < PATIENCE => {}
            Err(error) => return Err(format!("connect and call: {error}")),
        }
    }
    Ok(())
}

/// The answer may not come any more.
fn stop(client: &Calls) {
    let _ = client.call_timeout(&STOP, CALL);
}

fn outlive_a_starter(case: &mut Case) -> Outcome {
    let options = case.place.options(8192);
    case.each(|case| {
        while !case.is_over() {
            case.patience("starting")?;
            // One for another client's start, one for the own, and the last handshake.
            let connected = case.within("connect_or_launch", 2 * START + Place::HANDSHAKE, || {
                Calls::connect_or_launch(NAME, &options, &launch(&case.place))
            })?;
            match connected {
                Ok(client) => match case.within("call", CALL, || client.call_timeout(&7, CALL))? {
                    Ok(reply) if reply.to_native() == 7 => {}
                    Ok(_) => return Err("another call's answer".into()),
                    // The victim ends the servers that it starts, and calls take no longer than they may.
                    Err(error) if error.blame() == Blame::Peer => {}
                    Err(error) => return Err(format!("call: {error}")),
                },
                Err(Error::Launch(why)) if matches!(*why, LaunchError::Busy { .. }) => {}
                Err(error) if error.blame() == Blame::Peer => {}
                Err(error) => return Err(format!("connect_or_launch: {error}")),
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        // Whoever was killed with the lock in its hands: the next one starts the server.
        launch_and_stop(case)
    })?;
    // A start takes the lock's file along that a dead starter has left.
    launch_and_stop(case)
}

/// Connects, to a server that is started where there is none, and ends it.
fn launch_and_stop(case: &Case) -> Outcome {
    let (options, begun) = (case.place.options(8192), Instant::now());
    loop {
        let connected = case.within("connect_or_launch", 2 * START, || {
            Calls::connect_or_launch(NAME, &options, &launch(&case.place))
        })?;
        match connected {
            Ok(client) => {
                stop(&client);
                break;
            }
            // The server of the one before is about to end.
            Err(error) if error.blame() == Blame::Peer && begun.elapsed() < PATIENCE => {}
            Err(error) => return Err(format!("connect_or_launch after the starter's end: {error}")),
        }
    }
    until_all_ended(case)
}

fn until_all_ended(case: &Case) -> Outcome {
    let begun = Instant::now();
    for pid in Journal::read(&case.place.data(), STARTED, STARTED) {
        while is_this_program(pid) {
            // One that came too late to be ended with the others.
            if let Ok(client) = Calls::connect_with(NAME, &case.place.options(8192)) {
                stop(&client);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("server {pid} does not end"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}
