//! Connections in the `metrics` facade: what comes and goes, and over what it runs. Without the feature nothing is kept or done.

/// A connection that is open: counted for as long as this lives.
#[derive(Default)]
pub(crate) struct Open {
    #[cfg(feature = "metrics")]
    labels: Option<[metrics::Label; 2]>,
}

/// Which end of a service this is.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) service: &'a str,
    pub(crate) is_client: bool,
}

/// Why a connection stays on its socket, as a label: of a handful, whatever a peer says.
#[derive(Clone, Copy)]
pub(crate) enum Fallback {
    OffHere,
    OffAtPeer,
    Failed,
    Declined,
}

#[cfg(feature = "metrics")]
mod on {
    use metrics::{Label, Unit, counter, gauge};

    use super::{End, Fallback, Open};

    impl End<'_> {
        fn labels(self) -> [Label; 2] {
            let side = if self.is_client { "client" } else { "server" };
            [Label::new("service", self.service.to_owned()), Label::from_static_parts("side", side)]
        }

        /// It is there.
        pub(crate) fn connected(self) -> Open {
            let labels = self.labels();
            counter!(description: "Connections that were made", "strait_connections_total", labels.iter()).increment(1);
            open(&labels).increment(1);
            Open { labels: Some(labels) }
        }

        /// It has left its socket.
        pub(crate) fn upgraded(self) {
            let description = "Connections that moved to shared memory";
            counter!(description: description, "strait_upgrades_total", self.labels().iter()).increment(1);
        }

        /// It stays on its socket.
        pub(crate) fn fell_back(self, why: Fallback) {
            let why = match why {
                Fallback::OffHere => "off_here",
                Fallback::OffAtPeer => "off_at_peer",
                Fallback::Failed => "failed",
                Fallback::Declined => "declined",
            };
            let [service, side] = self.labels();
            let labels = [service, side, Label::from_static_parts("reason", why)];
            let description = "Connections that stay on their socket";
            counter!(description: description, "strait_fallbacks_total", labels.iter()).increment(1);
        }
    }

    impl Open {
        /// A forked child has none of its parent's connections, and must not wait for a lock of the recorder's.
        pub(crate) fn disown(mut self) {
            std::mem::forget(self.labels.take());
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            if let Some(labels) = self.labels.take() {
                let description = "Connections that have ended, however they did";
                counter!(description: description, "strait_disconnects_total", labels.iter()).increment(1);
                open(&labels).decrement(1);
            }
        }
    }

    fn open(labels: &[Label; 2]) -> metrics::Gauge {
        let description = "Connections that are open";
        gauge!(description: description, unit: Unit::Count, "strait_connections", labels.iter())
    }
}

#[cfg(not(feature = "metrics"))]
impl Open {
    pub(crate) fn disown(self) {}
}

#[cfg(not(feature = "metrics"))]
impl End<'_> {
    pub(crate) fn connected(self) -> Open {
        let _ = (self.service, self.is_client);
        Open {}
    }

    pub(crate) fn upgraded(self) {}

    pub(crate) fn fell_back(self, _: Fallback) {}
}
