//! What the counters of a channel say is wrong with it, and the page that helps.

use std::time::Duration;

use super::flow::Flow;

/// From here on a receiver that sleeps before most messages counts: below it nobody waits but for the world outside.
const BUSY_PER_S: f64 = 100.0;
/// The part of messages before which the receiver sleeps.
const MOST: f64 = 0.5;
/// What a connection over the socket may do before shared memory would be worth it.
const MUCH_PER_S: f64 = 1_000.0;
const MUCH_BYTES_PER_S: f64 = 10e6;
/// From here on batches are worth it.
const MANY_PER_S: f64 = 10_000.0;
/// Fewer messages per wake-up than this are no batches.
const FEW_PER_WAKE: f64 = 2.0;
/// Failed claims per message, and per wait for room, that only whoever tries again and again comes to.
const CONTENDED_PER_MESSAGE: f64 = 0.1;
const CONTENDED_PER_WAIT: f64 = 10.0;
/// A reader that has taken nothing for so long, while something is there, is busy with something else, or stopped.
const STALLED: Duration = Duration::from_secs(2);

/// One direction of a channel, as its counters tell it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Direction {
    pub(crate) flow: Flow,
    /// For how long the same bytes have waited for the receiver.
    pub(crate) stuck: Duration,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symptom {
    Latency,
    Throughput,
    Full,
    Contention,
    Corruption,
    Stalled,
}

impl Symptom {
    const ALL: [Self; 6] =
        [Self::Corruption, Self::Stalled, Self::Full, Self::Contention, Self::Throughput, Self::Latency];

    /// What `directions` show, the worst first.
    pub(crate) fn of(directions: &[Direction], is_on_socket: bool) -> Vec<Self> {
        let shows = |symptom: &Self| directions.iter().any(|direction| symptom.is_shown_by(direction, is_on_socket));
        Self::ALL.into_iter().filter(shows).collect()
    }

    fn is_shown_by(self, Direction { flow, stuck }: &Direction, is_on_socket: bool) -> bool {
        let is_busy = flow.messages_per_s >= BUSY_PER_S;
        match self {
            Self::Latency => is_busy && flow.empty_waits_per_s >= MOST * flow.messages_per_s,
            Self::Throughput if is_on_socket => {
                flow.messages_per_s >= MUCH_PER_S || flow.bytes_per_s >= MUCH_BYTES_PER_S
            }
            Self::Throughput => {
                flow.messages_per_s >= MANY_PER_S
                    && flow.messages_per_wake().is_some_and(|messages| messages < FEW_PER_WAKE)
            }
            Self::Full => flow.full_waits_per_s > 0.0,
            Self::Contention => {
                is_busy
                    && flow.failed_claims_per_s >= CONTENDED_PER_MESSAGE * flow.messages_per_s
                    && flow.failed_claims_per_s >= CONTENDED_PER_WAIT * flow.full_waits_per_s
            }
            Self::Corruption => flow.bad_messages_per_s > 0.0,
            Self::Stalled => *stuck >= STALLED,
        }
    }

    /// One word, as scripts and headings have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Full => "full",
            Self::Contention => "contention",
            Self::Corruption => "corruption",
            Self::Stalled => "stalled",
        }
    }

    /// What was seen, and what to do first.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Latency => {
                "the receiver sleeps before most messages, and each costs a wake-up: spin longer (spin_us), or poll"
            }
            Self::Throughput => {
                "each message pays for itself: batch, and let it move to shared memory where it is on the socket"
            }
            Self::Full => "the sender sleeps until there is room: enlarge ring_bytes, or make the receiver faster",
            Self::Contention => {
                "sends fail for lack of room and are tried again at once: wait for room, or enlarge ring_bytes"
            }
            Self::Corruption => {
                "messages arrive that don't match their checksum, or can't be decoded: look at the sender"
            }
            Self::Stalled => {
                "messages wait and the receiver takes none: it is busy elsewhere, stopped, or holds one in place"
            }
        }
    }

    /// Where more is said.
    pub(crate) fn page(self) -> String {
        format!("docs/TROUBLESHOOTING.md#{}", self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symptoms(flow: Flow) -> Vec<Symptom> {
        Symptom::of(&[Direction::default(), Direction { flow, ..Direction::default() }], false)
    }

    #[test]
    fn a_receiver_that_sleeps_before_each_message_is_slow() {
        let slow = Flow { messages_per_s: 100.0, empty_waits_per_s: 90.0, wakes_per_s: 90.0, ..Flow::default() };
        assert_eq!(symptoms(slow), [Symptom::Latency]);
        assert_eq!(symptoms(Flow { empty_waits_per_s: 10.0, ..slow }), []);
        assert_eq!(
            symptoms(Flow { messages_per_s: 1.0, empty_waits_per_s: 1.0, ..slow }),
            [],
            "a message per second is no load"
        );
    }

    #[test]
    fn many_messages_that_each_wake_the_peer_or_go_over_the_socket_could_be_more() {
        let busy = Flow { messages_per_s: 20_000.0, wakes_per_s: 18_000.0, ..Flow::default() };
        assert_eq!(symptoms(busy), [Symptom::Throughput]);
        assert_eq!(symptoms(Flow { wakes_per_s: 100.0, ..busy }), []);
        assert_eq!(symptoms(Flow { wakes_per_s: 0.0, ..busy }), [], "both ends are awake");
        let on_socket = |flow| Symptom::of(&[Direction { flow, ..Direction::default() }], true);
        assert_eq!(on_socket(Flow { messages_per_s: 2_000.0, ..Flow::default() }), [Symptom::Throughput]);
        assert_eq!(on_socket(Flow { bytes_per_s: 20e6, ..Flow::default() }), [Symptom::Throughput]);
        assert_eq!(on_socket(Flow { messages_per_s: 10.0, ..Flow::default() }), []);
    }

    #[test]
    fn who_waits_for_room_has_a_full_ring_and_who_does_not_wait_has_contention() {
        let full = Flow { messages_per_s: 1e6, full_waits_per_s: 50.0, failed_claims_per_s: 50.0, ..Flow::default() };
        assert_eq!(symptoms(full), [Symptom::Full]);
        let contended = Flow { messages_per_s: 1e3, failed_claims_per_s: 1e5, ..Flow::default() };
        assert_eq!(symptoms(contended), [Symptom::Contention]);
        assert_eq!(symptoms(Flow { failed_claims_per_s: 5.0, ..contended }), []);
    }

    #[test]
    fn bad_messages_and_receivers_that_take_nothing_come_first() {
        let bad = Flow { bad_messages_per_s: 0.1, full_waits_per_s: 1.0, ..Flow::default() };
        let stuck = Direction { flow: bad, stuck: STALLED };
        assert_eq!(Symptom::of(&[stuck], false), [Symptom::Corruption, Symptom::Stalled, Symptom::Full]);
        let short = Direction { flow: Flow::default(), stuck: STALLED - Duration::from_millis(1) };
        assert_eq!(Symptom::of(&[short], false), []);
    }

    #[test]
    fn every_symptom_has_a_place_in_the_documentation() {
        let Ok(page) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/TROUBLESHOOTING.md"))
        else {
            eprintln!("skipped: the crate stands alone");
            return;
        };
        let headings: Vec<_> = page.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).collect();
        for symptom in Symptom::ALL {
            assert!(
                headings.iter().any(|heading| heading.to_lowercase() == symptom.word()),
                "no heading for {symptom:?}"
            );
            assert!(symptom.page().ends_with(&format!("#{}", symptom.word())));
        }
    }
}
