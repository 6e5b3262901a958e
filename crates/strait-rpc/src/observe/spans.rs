//! A `tracing` span of each call, at either end.

use tracing::{
    Span,
    field::{Empty, display},
};

use super::Tally;
use crate::trace_context::{Scope, TraceContext};

/// The span of a call, and what calls made inside it belong to.
pub(super) struct CallSpan {
    span: Span,
    context: Option<TraceContext>,
    /// Whether the server takes the context.
    carries: bool,
}

impl Default for CallSpan {
    fn default() -> Self {
        Self { span: Span::none(), context: None, carries: false }
    }
}

/// A span of target `strait::call` and level `INFO`, with the fields that both ends have.
macro_rules! call_span {
    ($name:literal, $kind:literal, $service:expr, $method:expr $(, $field:ident = $value:expr)*) => {{
        #[cfg(not(feature = "opentelemetry"))]
        let span = tracing::info_span!(
            target: "strait::call", $name, service = $service, method = $method, call = Empty, request_bytes = Empty,
            reply_bytes = Empty, outcome = Empty, trace_id = Empty, span_id = Empty $(, $field = $value)*
        );
        #[cfg(feature = "opentelemetry")]
        let span = tracing::info_span!(
            target: "strait::call", $name, service = $service, method = $method, call = Empty, request_bytes = Empty,
            reply_bytes = Empty, outcome = Empty, trace_id = Empty, span_id = Empty $(, $field = $value)*,
            otel.kind = $kind, otel.name = %format_args!("{}/{}", $service, $method)
        );
        span
    }};
}

impl CallSpan {
    /// Of a call that a client makes.
    pub(super) fn client(service: &str, method: &str, carries: bool) -> Self {
        let span = call_span!("call", "client", service, method);
        // A call that nobody records belongs to whatever the one does that makes it.
        let current = TraceContext::current();
        let context = if span.is_disabled() { current } else { context_of(&span, current) };
        Self { span, context, carries }
    }

    /// Of a call that a server answers; `remote` is the client's.
    pub(super) fn server(service: &str, method: &str, remote: Option<TraceContext>, tally: &Tally) -> Self {
        let span = call_span!("serve", "server", service, method, parent_span_id = Empty);
        if span.is_disabled() {
            return Self { span, context: remote, carries: false };
        }
        if let Some(remote) = remote {
            #[cfg(feature = "opentelemetry")]
            otel::adopt(&span, remote);
            span.record("parent_span_id", display(format_args!("{:016x}", remote.span_id())));
        }
        let context = context_of(&span, remote);
        let span = Self { span, context, carries: false };
        span.request(tally);
        span
    }

    /// What travels with the request.
    #[inline]
    pub(super) fn carried(&self) -> Option<TraceContext> {
        if self.carries { self.context } else { None }
    }

    #[inline]
    pub(super) fn enter(&self) -> Entered<'_> {
        Entered { _span: self.span.enter(), _scope: Scope::enter(self.context) }
    }

    /// The request is known, or sent.
    pub(super) fn request(&self, tally: &Tally) {
        self.span.record("call", tally.call);
        self.span.record("request_bytes", tally.request_bytes);
    }

    /// Says how it ended, and ends the span.
    pub(super) fn close(self, tally: &Tally, error: Option<&'static str>) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("reply_bytes", tally.reply_bytes);
        self.span.record("outcome", error.unwrap_or("ok"));
        #[cfg(feature = "opentelemetry")]
        otel::fail(&self.span, error);
    }
}

/// The ids of a span: of the OpenTelemetry layer where there is one, else our own, within the trace of `parent`.
fn context_of(span: &Span, parent: Option<TraceContext>) -> Option<TraceContext> {
    #[cfg(feature = "opentelemetry")]
    let given = otel::context(span);
    #[cfg(not(feature = "opentelemetry"))]
    let given: Option<TraceContext> = None;
    let context = given.or_else(|| parent.map_or_else(TraceContext::root, TraceContext::child));
    if let Some(context) = context {
        span.record("trace_id", display(format_args!("{:032x}", context.trace_id())));
        span.record("span_id", display(format_args!("{:016x}", context.span_id())));
    }
    context
}

/// See [`CallSpan::enter`].
pub(super) struct Entered<'a> {
    _span: tracing::span::Entered<'a>,
    _scope: Scope,
}

/// What the OpenTelemetry layer of the subscriber knows of a span.
#[cfg(feature = "opentelemetry")]
mod otel {
    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState},
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    use crate::trace_context::TraceContext;

    /// Its ids; `None` where there is no such layer.
    pub(super) fn context(span: &Span) -> Option<TraceContext> {
        let context = span.context();
        let span = context.span();
        let ids = span.span_context();
        let (trace_id, span_id) = (u128::from_be_bytes(ids.trace_id().to_bytes()), ids.span_id().to_bytes());
        TraceContext::new(trace_id, u64::from_be_bytes(span_id), ids.is_sampled())
    }

    /// Makes it a child of the client's.
    pub(super) fn adopt(span: &Span, remote: TraceContext) {
        let flags = if remote.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let (trace_id, span_id) = (remote.trace_id().to_be_bytes(), remote.span_id().to_be_bytes());
        let remote = SpanContext::new(
            TraceId::from_bytes(trace_id),
            SpanId::from_bytes(span_id),
            flags,
            true,
            TraceState::default(),
        );
        // Where there is no such layer there is nothing to tell it.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }

    /// Says that it ended in an error, if it did.
    pub(super) fn fail(span: &Span, error: Option<&'static str>) {
        if let Some(error) = error {
            span.set_status(Status::error(error));
        }
    }
}
