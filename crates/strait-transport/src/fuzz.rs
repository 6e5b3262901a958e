//! Doors for the fuzz targets of this repository, and for nobody else: what a socket's bytes go through, without a name.

use std::{os::fd::OwnedFd, time::Instant};

use crate::{
    connect::Opening, connection::Connection, error::Error, handshake::frames::Control, observe, options::Options,
};

const SERVICE: &str = "fuzz";

/// Decodes a control frame's payload: refused, or the same again once it was encoded.
///
/// # Panics
///
/// Where what was accepted is not what it encodes to.
pub fn control_frame(bytes: &[u8]) {
    if let Ok(frame) = Control::decode(bytes) {
        let again = Control::decode(&frame.encode()).ok();
        assert_eq!(again.as_ref(), Some(&frame), "what is accepted encodes to the same frame");
    }
}

/// The layout hash of segments of that kind; 0 where there is no such kind.
pub fn layout_hash(kind: u32) -> u32 {
    observe::expected(kind).map_or(0, |expected| expected.layout_hash)
}

/// The server's side of a connection over `socket`, up to `Welcome`.
///
/// # Errors
///
/// As a listener's handshake.
pub fn serve(socket: OwnedFd, options: &Options) -> Result<Connection, Error> {
    let deadline = Instant::now() + options.limits.handshake_timeout;
    let mut opening = Opening::accepted(socket, false, SERVICE.into(), options.clone(), None)?;
    opening.block(deadline, Opening::advance_server)
}

/// The client's side of a connection over `socket`, up to `Welcome`.
///
/// # Errors
///
/// As [`Connection::connect`].
pub fn greet(socket: OwnedFd, options: &Options) -> Result<Connection, Error> {
    let deadline = Instant::now() + options.limits.handshake_timeout;
    let mut opening = Opening::greeting(socket, false, SERVICE.into(), options.clone())?;
    opening.block(deadline, Opening::advance_client)
}
