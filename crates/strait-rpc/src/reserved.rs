//! The methods that every server has, whatever its service: they ask about the service itself.

use strait_transport::Error as TransportError;

use crate::{
    description::Description,
    error::Code,
    header::{Header, Kind, METHOD_DESCRIBE, METHOD_HEALTH, METHODS_RESERVED},
    json,
    outbox::Outbox,
};

/// Answers a call of a reserved method; `false` where it is for the service.
#[inline]
pub(crate) fn answer(header: &Header, description: &Description, out: &mut Outbox) -> Result<bool, TransportError> {
    if header.method < METHODS_RESERVED {
        return Ok(false);
    }
    let reply = Header { json: true, ..Header::of(Kind::Reply, header.call) };
    match header.method {
        _ if header.stream => out.error(header.call, Code::BAD_REQUEST, "a reserved method is no stream")?,
        METHOD_DESCRIBE => json::send(out, reply, description)?,
        METHOD_HEALTH => {
            let health = out.client.counters().health();
            json::send(out, reply, &health)?;
        }
        unknown => {
            let text = format!("method {unknown:#06x} is reserved, and not known to this version");
            out.error(header.call, Code::UNKNOWN_METHOD, &text)?;
        }
    }
    Ok(true)
}
