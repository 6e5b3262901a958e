//! What streams, states and queues count, in the `metrics` facade. Names: docs/guide/observing.md. Without the feature nothing is
//! kept or done.

#[cfg(feature = "metrics")]
use metrics::{Counter, Gauge, counter, gauge};

use crate::queue::Stats;

/// A counter of one service, looked up in the recorder once.
#[cfg(feature = "metrics")]
macro_rules! of_service {
    ($service:expr, $description:literal, $name:literal) => {
        counter!(description: $description, $name, "service" => $service.to_owned())
    };
}

/// A half of a stream that sends.
pub(crate) struct Sending {
    #[cfg(feature = "metrics")]
    sent: Counter,
    #[cfg(feature = "metrics")]
    dropped: Counter,
}

impl Sending {
    pub(crate) fn new(service: &str) -> Self {
        let _ = service;
        Self {
            #[cfg(feature = "metrics")]
            sent: of_service!(service, "Messages sent on streams", "strait_stream_sent_total"),
            #[cfg(feature = "metrics")]
            dropped: of_service!(
                service,
                "Messages dropped at the producer for lack of room",
                "strait_stream_dropped_total"
            ),
        }
    }

    #[inline]
    pub(crate) fn sent(&self) {
        #[cfg(feature = "metrics")]
        self.sent.increment(1);
    }

    #[inline]
    pub(crate) fn dropped(&self) {
        #[cfg(feature = "metrics")]
        self.dropped.increment(1);
    }
}

/// A half of a stream that receives.
pub(crate) struct Receiving {
    #[cfg(feature = "metrics")]
    received: Counter,
    #[cfg(feature = "metrics")]
    lost: Counter,
    #[cfg(feature = "metrics")]
    lost_by_choice: Counter,
}

impl Receiving {
    pub(crate) fn new(service: &str) -> Self {
        let _ = service;
        Self {
            #[cfg(feature = "metrics")]
            received: of_service!(service, "Messages received on streams", "strait_stream_received_total"),
            #[cfg(feature = "metrics")]
            lost: of_service!(
                service,
                "Messages that never came, dropped at the producer or with a wrong checksum",
                "strait_stream_lost_total"
            ),
            #[cfg(feature = "metrics")]
            lost_by_choice: of_service!(
                service,
                "Messages that never came because the producer dropped them",
                "strait_stream_lost_by_choice_total"
            ),
        }
    }

    /// A message has come, behind so many that did not.
    #[inline]
    pub(crate) fn received(&self, lost: u64, lost_by_choice: u64) {
        let _ = (lost, lost_by_choice);
        #[cfg(feature = "metrics")]
        {
            self.received.increment(1);
            if lost > 0 || lost_by_choice > 0 {
                self.lost.increment(lost);
                self.lost_by_choice.increment(lost_by_choice);
            }
        }
    }
}

/// A daemon's values.
pub(crate) struct Publishing {
    #[cfg(feature = "metrics")]
    published: Counter,
    #[cfg(feature = "metrics")]
    published_bytes: Counter,
}

impl Publishing {
    pub(crate) fn new(service: &str) -> Self {
        let _ = service;
        Self {
            #[cfg(feature = "metrics")]
            published: of_service!(service, "Values published", "strait_state_published_total"),
            #[cfg(feature = "metrics")]
            published_bytes: of_service!(service, "Bytes of values published", "strait_state_published_bytes_total"),
        }
    }

    #[inline]
    pub(crate) fn published(&self, bytes: usize) {
        let _ = bytes;
        #[cfg(feature = "metrics")]
        {
            self.published.increment(1);
            self.published_bytes.increment(bytes as u64);
        }
    }
}

/// What the owner of a queue has counted.
#[derive(Default)]
pub(crate) struct Owning {
    #[cfg(feature = "metrics")]
    handles: Option<Handles>,
}

#[cfg(feature = "metrics")]
struct Handles {
    pushed: Counter,
    popped: Counter,
    acked: Counter,
    lost: Counter,
    redelivered: Counter,
    returned: Counter,
    depth: Gauge,
    in_flight: Gauge,
    high_water: Gauge,
    producers: Gauge,
    workers: Gauge,
}

impl Owning {
    pub(crate) fn new(service: &str) -> Self {
        let _ = service;
        #[cfg(feature = "metrics")]
        let gauge = |description: &'static str, name: &'static str| gauge!(description: description, name, "service" => service.to_owned());
        Self {
            #[cfg(feature = "metrics")]
            handles: Some(Handles {
                pushed: of_service!(service, "Items that came from producers", "strait_queue_pushed_total"),
                popped: of_service!(service, "Times that an item was handed to a worker", "strait_queue_popped_total"),
                acked: of_service!(service, "Items that are done with", "strait_queue_acked_total"),
                lost: of_service!(service, "Items that nobody gets any more", "strait_queue_lost_total"),
                redelivered: of_service!(
                    service,
                    "Times that an item went back after a worker may have seen it",
                    "strait_queue_redelivered_total"
                ),
                returned: of_service!(
                    service,
                    "Times that an item went back that its worker had not taken",
                    "strait_queue_returned_total"
                ),
                depth: gauge("Items that wait", "strait_queue_depth"),
                in_flight: gauge("Items that workers have", "strait_queue_in_flight"),
                high_water: gauge("The most items that were held at once", "strait_queue_high_water"),
                producers: gauge("Producers that are there", "strait_queue_producers"),
                workers: gauge("Workers that are there", "strait_queue_workers"),
            }),
        }
    }

    /// Tells what has changed between two readings.
    #[inline]
    pub(crate) fn show(&self, before: &Stats, now: &Stats) {
        let _ = (before, now);
        #[cfg(feature = "metrics")]
        if let Some(handles) = &self.handles {
            handles.pushed.increment(now.pushed - before.pushed);
            handles.popped.increment(now.popped - before.popped);
            handles.acked.increment(now.acked - before.acked);
            handles.lost.increment(now.lost - before.lost);
            handles.redelivered.increment(now.redelivered - before.redelivered);
            handles.returned.increment(now.returned - before.returned);
            handles.depth.set(now.depth as f64);
            handles.in_flight.set(now.in_flight as f64);
            handles.high_water.set(now.high_water as f64);
            handles.producers.set(now.producers);
            handles.workers.set(now.workers);
        }
    }
}
