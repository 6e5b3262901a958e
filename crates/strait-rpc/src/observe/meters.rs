//! Calls in the `metrics` facade. Names and units: docs/guide/observing.md.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};

use super::Tally;

/// The calls of a service, seen from one side. What it holds is looked up in the recorder once per method.
pub(super) struct Meters {
    service: String,
    side: &'static str,
    methods: RwLock<BTreeMap<u16, Arc<Method>>>,
}

/// One method.
struct Method {
    labels: [Label; 3],
    calls: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    request_bytes: Counter,
    reply_bytes: Counter,
}

impl Meters {
    pub(super) fn new(service: &str, side: &'static str) -> Self {
        Self { service: service.to_owned(), side, methods: RwLock::default() }
    }

    /// Shows the methods of a server before they are called.
    #[cfg(not(strait_loom))]
    pub(super) fn announce(&self, description: &crate::Description) {
        use crate::MethodKind::{Call, Stream};
        let methods = description.methods.iter().filter(|method| matches!(method.kind, Call | Stream));
        methods.for_each(|method| drop(self.method(method.id, &method.name)));
    }

    /// A call begins.
    pub(super) fn begin(&self, method: u16, name: &str) -> Option<CallMeter> {
        let method = self.method(method, name);
        method.calls.increment(1);
        method.in_flight.increment(1);
        Some(CallMeter { method, begun_at: Instant::now() })
    }

    fn method(&self, method: u16, name: &str) -> Arc<Method> {
        let known = self.methods.read().unwrap_or_else(PoisonError::into_inner).get(&method).cloned();
        known.unwrap_or_else(|| {
            let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
            methods.entry(method).or_insert_with(|| Arc::new(self.register(name))).clone()
        })
    }

    fn register(&self, method: &str) -> Method {
        let labels = [
            Label::new("service", self.service.clone()),
            Label::new("method", method.to_owned()),
            Label::from_static_parts("side", self.side),
        ];
        Method {
            calls: counter!(description: "Calls that have begun", "strait_rpc_calls_total", labels.iter()),
            in_flight: gauge!(
                description: "Calls that have begun and are not over",
                unit: Unit::Count,
                "strait_rpc_calls_in_flight",
                labels.iter()
            ),
            seconds: histogram!(
                description: "How long a call took, whatever it ended in",
                unit: Unit::Seconds,
                "strait_rpc_call_seconds",
                labels.iter()
            ),
            request_bytes: counter!(
                description: "Bodies of requests, as encoded",
                unit: Unit::Bytes,
                "strait_rpc_request_bytes_total",
                labels.iter()
            ),
            reply_bytes: counter!(
                description: "Bodies of replies and items, as encoded",
                unit: Unit::Bytes,
                "strait_rpc_reply_bytes_total",
                labels.iter()
            ),
            labels,
        }
    }
}

/// One call.
pub(super) struct CallMeter {
    method: Arc<Method>,
    begun_at: Instant,
}

impl CallMeter {
    pub(super) fn close(self, tally: &Tally, error: Option<&'static str>) {
        let Self { method, begun_at } = self;
        method.in_flight.decrement(1);
        method.seconds.record(begun_at.elapsed());
        method.request_bytes.increment(tally.request_bytes);
        method.reply_bytes.increment(tally.reply_bytes);
        if let Some(error) = error {
            let [service, name, side] = method.labels.clone();
            let labels = [service, name, side, Label::from_static_parts("error", error)];
            let description = "Calls that ended in an error, by what it was";
            counter!(description: description, "strait_rpc_errors_total", labels.iter()).increment(1);
        }
    }
}
