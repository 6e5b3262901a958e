//! From values to messages.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use strait_frame::{Codec, EncodeError, Sink};
use strait_transport::{Error, Options, SendError, Transport};

use crate::{
    SERVICE_RPC,
    error::Code,
    foreign::tame,
    header::{HEADER_BYTES, Header},
};

/// Encodes `value` behind `header`, straight into the transport, and takes it into the open batch.
///
/// `hint` is how long the last such body was: the first claim is at least that, and a second one is exact.
#[inline]
pub(crate) fn send_value<C, T>(
    transport: &mut impl Transport,
    header: Header,
    value: &T,
    hint: &mut usize,
) -> Result<(), SendError>
where
    C: Codec<T>,
    T: ?Sized,
{
    let max = transport.limits().max_send_bytes;
    let (trace, header) = (header.trace, header.encode());
    let head = HEADER_BYTES + trace.len();
    let mut body = 0;
    let mut fill = |span: &mut [u8]| {
        span[..HEADER_BYTES].copy_from_slice(&header);
        trace.write(&mut span[HEADER_BYTES..head]);
        let mut sink = Sink::new(&mut span[head..]);
        caught(|| C::encode(value, &mut sink))?;
        body = sink.len();
        Ok(head + body)
    };
    let expected = caught(|| Ok(C::size_hint(value))).map_err(|error| Error::Encode(Arc::new(error)))?;
    let claim = (head + expected.max(*hint)).min(max);
    let mut sent = transport.try_send(claim, &mut fill);
    if let Err(SendError::Short { .. }) = sent {
        let exact = caught(|| C::encoded_len(value)).map_err(|error| Error::Encode(Arc::new(error)))?;
        let need = head + exact;
        if need > max {
            return Err(Error::TooLarge { need, max }.into());
        }
        sent = transport.try_send(need, &mut fill);
        if let Err(SendError::Short { .. }) = sent {
            // An encoder that counts less than it writes: there is no size at which trying again would help.
            let error = EncodeError::TooLarge { need: exact + 1, capacity: exact };
            return Err(Error::Encode(Arc::new(error)).into());
        }
    }
    sent?;
    *hint = body;
    Ok(())
}

/// Runs a value's encoder, which is not ours: locks are held and room is claimed around it, so a panic ends here.
#[inline]
fn caught<R>(encode: impl FnOnce() -> Result<R, EncodeError>) -> Result<R, EncodeError> {
    catch_unwind(AssertUnwindSafe(encode)).unwrap_or_else(|_panic| {
        tracing::error!(target: "strait", "an encoder panicked");
        Err(EncodeError::Codec("its encoder panicked".into()))
    })
}

/// `value` behind `header`, encoded for later; at most `max` bytes in all.
pub(crate) fn encode_value<C, T>(header: Header, value: &T, max: usize) -> Result<Vec<u8>, Error>
where
    C: Codec<T>,
    T: ?Sized,
{
    let failed = |error| Error::Encode(Arc::new(error));
    let need = HEADER_BYTES + caught(|| C::encoded_len(value)).map_err(failed)?;
    if need > max {
        return Err(Error::TooLarge { need, max });
    }
    let mut message = vec![0; need];
    message[..HEADER_BYTES].copy_from_slice(&header.encode());
    let mut sink = Sink::new(&mut message[HEADER_BYTES..]);
    caught(|| C::encode(value, &mut sink)).map_err(failed)?;
    let body = sink.len();
    message.truncate(HEADER_BYTES + body);
    Ok(message)
}

/// Takes a header and a body that is bytes already into the open batch.
pub(crate) fn send_bytes(transport: &mut impl Transport, header: Header, body: &[u8]) -> Result<(), SendError> {
    let len = HEADER_BYTES + body.len();
    transport.try_send(len, &mut |span| {
        span[..HEADER_BYTES].copy_from_slice(&header.encode());
        span[HEADER_BYTES..len].copy_from_slice(body);
        Ok(len)
    })
}

/// Takes a header without a body into the open batch.
pub(crate) fn send_header(transport: &mut impl Transport, header: Header) -> Result<(), SendError> {
    send_bytes(transport, header, &[])
}

/// Longest text that travels with an error, in bytes.
const MAX_ERROR_BYTES: usize = 512;

/// The body of an `Error` answer, in a message of at most `max` bytes.
pub(crate) fn error_text(code: Code, text: &str, max: usize) -> Vec<u8> {
    let room = max.saturating_sub(HEADER_BYTES + 2);
    let mut end = text.len().min(MAX_ERROR_BYTES).min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut body = code.0.to_le_bytes().to_vec();
    body.extend_from_slice(&text.as_bytes()[..end]);
    body
}

/// Reads the body of an `Error` answer.
pub(crate) fn decode_error(body: &[u8]) -> Result<crate::Error, String> {
    let Some((code, text)) = body.split_first_chunk::<2>() else {
        return Err("an rpc error without its code".into());
    };
    let message = tame(&String::from_utf8_lossy(text)).into();
    Ok(crate::Error::Call { code: Code(u16::from_le_bytes(*code)), message })
}

/// The options with which a service of these types is offered or called.
pub(crate) fn identify<C, Req, Resp>(options: &Options) -> Options
where
    C: Codec<Req> + Codec<Resp>,
{
    let schema = if options.schema == 0 { schema::<C, Req, Resp>() } else { options.schema };
    Options {
        service: SERVICE_RPC,
        codec: <C as Codec<Req>>::ID,
        schema,
        trace_context: crate::CARRIES_TRACES,
        ..options.clone()
    }
}

/// The number by which two ends find out that their message types differ: over names, sizes and alignments of both types.
/// It catches mistakes and proves nothing.
pub fn schema<C, Req, Resp>() -> u64
where
    C: Codec<Req> + Codec<Resp>,
{
    let (request, reply) = (<C as Codec<Req>>::schema(), <C as Codec<Resp>>::schema());
    request.rotate_left(17) ^ reply
}
