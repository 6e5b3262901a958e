//! A server that echoes to many, and its clients.

use std::thread;

use strait_transport::{Connection, Error, Listener, Options, Refusal};

use super::{eventually, receive, send};

/// Accepts for ever, one thread per client, until the process or the scratch ends.
pub fn serve(listener: Listener) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while let Ok(Some(incoming)) = listener.accept() {
            thread::spawn(move || {
                let Ok(mut connection) = incoming.handshake() else { return };
                while let Ok(message) = receive(&mut connection) {
                    send(&mut connection, &message).unwrap();
                }
            });
        }
    })
}

pub fn echoes(connection: &mut Connection) {
    send(connection, b"echo").unwrap();
    assert_eq!(*receive(connection).unwrap(), *b"echo");
}

/// Connects, trying again while the server has not noticed yet that others left.
pub fn connect_patiently(options: &Options) -> Connection {
    let mut connection = None;
    eventually("a place", || {
        match Connection::connect("pair", options) {
            Ok(made) => connection = Some(made),
            Err(Error::Refused(Refusal::Busy { .. })) => {}
            Err(other) => panic!("{other}"),
        }
        connection.is_some()
    });
    connection.unwrap()
}
