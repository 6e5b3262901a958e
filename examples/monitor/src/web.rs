//! The web shell: the same state as a live page, by server-sent events.

use std::{
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use tiny_http::{Header, Request, Response, Server};

use crate::{Error, Monitor};

const PAGE: &str = include_str!("page.html");

/// Serves the page at `address` until it is killed; each browser has a shell and a thread of its own.
pub(crate) fn run(monitor: &Monitor, address: &str) -> Result<(), Error> {
    let server = Server::http(address).map_err(io::Error::other)?;
    println!("http://{}/", server.server_addr());
    io::stdout().flush()?;
    for request in server.incoming_requests() {
        let monitor = monitor.clone();
        thread::spawn(move || {
            // A browser that has left ends its thread.
            let _ = answer(&monitor, request);
        });
    }
    Ok(())
}

fn answer(monitor: &Monitor, request: Request) -> Result<(), Error> {
    match request.url() {
        "/" => {
            let html: Header =
                "Content-Type: text/html; charset=utf-8".parse().map_err(|()| io::Error::other("a header"))?;
            Ok(request.respond(Response::from_string(PAGE).with_header(html))?)
        }
        "/events" => events(monitor, request),
        _ => Ok(request.respond(Response::from_string("not found").with_status_code(404))?),
    }
}

/// One event per change, and one every second in any case, so that a browser that has left is noticed.
fn events(monitor: &Monitor, request: Request) -> Result<(), Error> {
    let mut shell = monitor.connect()?;
    let mut out = request.into_writer();
    out.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
    )?;
    loop {
        let deadline = Instant::now() + Duration::from_secs(1);
        if let Ok(value) = shell.read(deadline) {
            let stale = value.stale_since().is_some();
            write!(out, "data: {{\"stale\":{stale},\"sample\":{}}}\n\n", serde_json::to_string(&*value)?)?;
            out.flush()?;
        }
        let _ = shell.changed(deadline);
    }
}
