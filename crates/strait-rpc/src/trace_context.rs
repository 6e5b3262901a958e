//! Which trace a call belongs to.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    num::{NonZeroU64, NonZeroU128},
    pin::pin,
    str::FromStr,
};

/// Which trace a call belongs to, and which span of it makes the call: a [W3C trace context](https://www.w3.org/TR/trace-context/).
///
/// A client with the feature `spans` sends the context of each call's span along, and the server's span has it for a parent. The ids are
/// those of the OpenTelemetry layer where there is one (feature `opentelemetry`), else drawn here: the trace's where a call is made
/// outside of any other, the span's for each. `tracestate` is not carried.
///
/// ```
/// use strait_rpc::TraceContext;
///
/// let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert_eq!(context.span_id(), 0xb7ad_6b71_6920_3331);
/// assert!(context.is_sampled());
/// context.in_scope(|| assert_eq!(TraceContext::current(), Some(context))); // calls made in here belong to that trace
/// # Ok::<(), strait_rpc::TraceparentError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: NonZeroU128,
    span_id: NonZeroU64,
    sampled: bool,
}

thread_local! {
    /// Of the call that this thread executes.
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// The bit of the trace flags that is carried.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// Length on the wire.
    pub(crate) const BYTES: usize = 32;

    /// A context of these ids; `None` where one of them is zero, which means that there is none.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        Some(Self { trace_id: NonZeroU128::new(trace_id)?, span_id: NonZeroU64::new(span_id)?, sampled })
    }

    /// The trace's id, 128 bits; never zero.
    pub fn trace_id(&self) -> u128 {
        self.trace_id.get()
    }

    /// The id of the span within the trace, 64 bits; never zero.
    pub fn span_id(&self) -> u64 {
        self.span_id.get()
    }

    /// Whether whoever began the trace keeps it.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The context of the call that this thread executes, or that was [entered](Self::in_scope): what calls that are made here
    /// belong to.
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Runs `work` as part of this trace: for one that came some other way, such as in a header of HTTP, or that goes on in another
    /// thread. With an OpenTelemetry layer, the current span decides instead.
    pub fn in_scope<R>(self, work: impl FnOnce() -> R) -> R {
        let _scope = Scope::enter(Some(self));
        work()
    }

    /// As [`in_scope`](Self::in_scope), for a future: one that a handler spawns leaves the handler's scope without it.
    ///
    /// ```
    /// # async fn f(client: std::sync::Arc<strait_rpc::Client<u64, u64>>) {
    /// use strait_rpc::TraceContext;
    ///
    /// let work = async move { client.call(&1).await };
    /// match TraceContext::current() {
    ///     Some(context) => tokio::spawn(context.scope(work)),
    ///     None => tokio::spawn(work),
    /// };
    /// # }
    /// ```
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| self.in_scope(|| future.as_mut().poll(cx))).await
    }

    /// A new span of a new trace; `None` where the system has no random bytes.
    pub(crate) fn root() -> Option<Self> {
        let bytes: [u8; 24] = random()?;
        let (trace, span) = bytes.split_first_chunk()?;
        Self::new(u128::from_be_bytes(*trace), u64::from_be_bytes(*span.first_chunk()?), true)
    }

    /// A new span of the same trace.
    pub(crate) fn child(self) -> Option<Self> {
        Self::new(self.trace_id(), u64::from_be_bytes(random()?), self.sampled)
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace_id().to_be_bytes());
        bytes[16..24].copy_from_slice(&self.span_id().to_be_bytes());
        bytes[24] = if self.sampled { SAMPLED } else { 0 };
        bytes
    }

    /// Strict: no id may be zero, and whatever is reserved must be.
    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (trace, rest) = bytes.split_first_chunk()?;
        let (span, rest) = rest.split_first_chunk()?;
        let (&flags, reserved) = rest.split_first()?;
        if flags & !SAMPLED != 0 || reserved.iter().any(|&byte| byte != 0) {
            return None;
        }
        Self::new(u128::from_be_bytes(*trace), u64::from_be_bytes(*span), flags & SAMPLED != 0)
    }
}

/// From the kernel each time: a generator of our own would go on with the same numbers in a forked child.
fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    (filled == Ok(BYTES)).then_some(bytes)
}

/// While it lives, its context is the current one.
pub(crate) struct Scope {
    before: Option<TraceContext>,
}

impl Scope {
    #[inline]
    pub(crate) fn enter(context: Option<TraceContext>) -> Self {
        Self { before: CURRENT.replace(context) }
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// As the header `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// A text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no traceparent: expected VERSION-TRACE-SPAN-FLAGS, lower-case hexadecimal of 2, 32, 16 and 2 digits, ids not zero"
)]
pub struct TraceparentError;

/// From the header `traceparent`, of version 00 or of a later one that begins like it.
impl FromStr for TraceContext {
    type Err = TraceparentError;

    fn from_str(text: &str) -> Result<Self, TraceparentError> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if is_hex { u128::from_str_radix(part, 16).ok() } else { None }
        };
        let read = (|| {
            let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
            let span = u64::try_from(span).ok()?;
            let context = Self::new(trace, span, flags & u128::from(SAMPLED) != 0)?;
            Some((version, context))
        })();
        match (read, parts.next()) {
            (Some((0, context)), None) => Ok(context),
            (Some((1..0xFF, context)), _) => Ok(context),
            _ => Err(TraceparentError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> TraceContext {
        TraceContext::new(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331, true).unwrap()
    }

    #[test]
    fn text_and_bytes_are_as_the_standard_and_the_protocol_have_them() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!((context().to_string(), text.parse()), (text.to_owned(), Ok(context())));
        let bytes = context().to_bytes();
        assert_eq!((bytes[0], bytes[15], bytes[16], bytes[23], bytes[24]), (0x0a, 0x9c, 0xb7, 0x31, 1));
        assert_eq!(TraceContext::from_bytes(&bytes), Some(context()));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        for wrong in [
            String::new(),
            format!("00-{trace}-b7ad6b7169203331"),
            format!("00-{trace}-b7ad6b7169203331-01-what"),
            format!("ff-{trace}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{trace}-+7ad6b7169203331-01"),
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(TraceparentError), "{wrong}");
        }
        assert_eq!(format!("01-{trace}-b7ad6b7169203331-01-more").parse(), Ok(context()), "of a later version");
    }

    #[test]
    fn each_bit_that_is_reserved_and_each_id_of_zero_is_refused() {
        let good = context().to_bytes();
        for bit in 24 * 8 + 1..TraceContext::BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] |= 1 << (bit % 8);
            assert_eq!(TraceContext::from_bytes(&bytes), None, "bit {bit}");
        }
        for id in [0..16, 16..24] {
            let mut bytes = good;
            bytes[id].fill(0);
            assert_eq!(TraceContext::from_bytes(&bytes), None);
        }
    }

    #[test]
    fn a_child_is_another_span_of_the_same_trace_and_a_root_of_another() {
        let (child, root) = (context().child().unwrap(), TraceContext::root().unwrap());
        assert_eq!(child.trace_id(), context().trace_id());
        assert_ne!(child.span_id(), context().span_id());
        assert_ne!(root.trace_id(), TraceContext::root().unwrap().trace_id());
    }

    #[test]
    fn a_scope_ends_with_what_it_runs_though_that_panics() {
        let inner = context().child().unwrap();
        context().in_scope(|| {
            let panicked = std::panic::catch_unwind(|| inner.in_scope(|| panic!("on purpose")));
            assert!(panicked.is_err());
            assert_eq!(TraceContext::current(), Some(context()));
        });
        assert_eq!(TraceContext::current(), None);
    }
}
