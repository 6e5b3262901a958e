//! Spans of calls as an OpenTelemetry exporter gets them.
#![cfg(all(feature = "opentelemetry", not(strait_loom)))]

mod support;

use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use strait_rpc::{Request, blocking::Client};
use support::{NAME, Scratch, serve, until};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn the_servers_span_is_a_child_of_the_clients_which_is_a_child_of_its_callers() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    let spans = |name: &str, count: usize| -> Vec<SpanData> {
        let of_name = || exporter.get_finished_spans().unwrap().into_iter().filter(|span| span.name == name);
        until("the spans end", || of_name().count() >= count);
        of_name().collect()
    };

    let scratch = Scratch::new();
    let server = serve(&scratch.options(), |number: Request<u64>| {
        tracing::info_span!("inside").in_scope(|| number.to_native().checked_mul(2).ok_or("too large"))
    });
    let client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
    tracing::info_span!("work").in_scope(|| {
        assert_eq!(client.call(&21).unwrap().to_native(), 42);
        client.call(&u64::MAX).unwrap_err();
    });

    let work = spans("work", 1).remove(0);
    let (calls, inside) = (spans(&format!("{NAME}/"), 4), spans("inside", 2));
    let of_kind = |kind: SpanKind| calls.iter().filter(|span| span.span_kind == kind).collect::<Vec<_>>();
    let (called, served) = (of_kind(SpanKind::Client), of_kind(SpanKind::Server));
    assert_eq!((called.len(), served.len()), (2, 2), "{calls:#?}");
    for call in &called {
        assert_eq!(call.parent_span_id, work.span_context.span_id());
        let serve = served.iter().find(|serve| serve.parent_span_id == call.span_context.span_id()).unwrap();
        assert!(serve.parent_span_is_remote);
        assert!(inside.iter().any(|inside| inside.parent_span_id == serve.span_context.span_id()));
        assert_eq!(call.status, serve.status);
    }
    let trace = work.span_context.trace_id();
    assert!(calls.iter().chain(&inside).all(|span| span.span_context.trace_id() == trace));
    let failed = Status::error("handler");
    assert_eq!(called.iter().filter(|call| call.status == failed).count(), 1);
    // What the log says is what the exporter says.
    let ids = |span: &SpanData, key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.as_str().into_owned())
    };
    assert_eq!(ids(called[0], "trace_id"), Some(trace.to_string()));
    assert_eq!(ids(called[0], "span_id"), Some(called[0].span_context.span_id().to_string()));
    drop(client);
    server.stop().unwrap();
}
