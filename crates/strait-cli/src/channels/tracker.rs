//! From one look to the next: what changed, how fast, for how long.

use std::{
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use strait::transport::{
    StateStats, Stats,
    observe::{Observed, Reading},
};

use super::{
    flow::Flow,
    history::{History, Moment},
    row::{Changes, EndRow, Row, View},
    symptom::{Direction, Symptom},
};
use crate::find::{Channel, ChannelId, End, Finder, Kind, Side, Sides};

/// A look takes no longer.
const LOOK_US: u64 = 1_000_000;

/// When a look was taken, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Microseconds since the Unix epoch, as messages carry them.
    pub(crate) unix_us: u64,
}

impl Now {
    pub(crate) fn read() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), unix_us: u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX) }
    }

    /// How long ago that was; nothing where it was never, or will be. The clock is read before the counters are: what came in between
    /// was just now.
    pub(crate) fn since(&self, unix_us: u64) -> Option<Duration> {
        let has_been = unix_us > 0 && unix_us <= self.unix_us.saturating_add(LOOK_US);
        has_been.then(|| Duration::from_micros(self.unix_us.saturating_sub(unix_us)))
    }
}

/// What is remembered of a channel.
struct Past {
    at: Instant,
    readings: Sides<Option<Reading>>,
    /// Since when the same bytes wait in each side's ring.
    stuck_since: Sides<Option<Instant>>,
    history: Rc<History>,
}

/// Remembers each channel's last look.
#[derive(Default)]
pub(crate) struct Tracker {
    past: HashMap<ChannelId, Past>,
}

impl Tracker {
    /// Reads all `channels`, and compares them with the last time. Those that are not there any more are forgotten.
    pub(crate) fn look(&mut self, finder: &Finder, channels: &[Channel], now: Now) -> Vec<Row> {
        let mut past = std::mem::take(&mut self.past);
        let rows = channels.iter().map(|channel| {
            let ends = read_ends(finder, channel);
            self.compare(channel, ends, past.remove(&channel.id), now)
        });
        rows.collect()
    }

    /// What the ends say now, beside what they said in the past.
    fn compare(&mut self, channel: &Channel, ends: Sides<Option<EndRow>>, past: Option<Past>, now: Now) -> Row {
        let readings = Sides::each(|side| ends.of(side).as_ref()?.view().map(|view| view.reading));
        let changes = past.as_ref().map(|past| changes(&past.readings, &readings, now.at - past.at));
        let stuck_since = Sides::each(|side| stuck_since(side, &ends, past.as_ref(), now.at));
        let symptoms =
            changes.as_ref().map_or_else(Vec::new, |changes| symptoms(channel, changes, &stuck_since, now.at));
        let mut row = Row {
            id: channel.id.clone(),
            service: channel.service.clone(),
            kind: channel.kind,
            session: channel.session,
            idle: idle(&readings, now),
            trouble: trouble(channel, &ends),
            ends,
            changes,
            symptoms,
            history: past.map_or_else(Rc::default, |past| past.history),
        };
        if let Some(flow) = row.flow() {
            let (messages_per_s, bytes_per_s) = (flow.messages_per_s, flow.bytes_per_s);
            let occupancy = row.occupancy().unwrap_or(0.0);
            Rc::make_mut(&mut row.history).push(Moment { messages_per_s, bytes_per_s, occupancy });
        }
        let history = row.history.clone();
        self.past.insert(channel.id.clone(), Past { at: now.at, readings, stuck_since, history });
        row
    }
}

fn read_ends(finder: &Finder, channel: &Channel) -> Sides<Option<EndRow>> {
    let observed = |end: &Option<End>| Some(finder.memory(end.as_ref()?)?.observed());
    let memories = Sides { client: observed(&channel.ends.client), server: observed(&channel.ends.server) };
    Sides::each(|side| {
        let end = channel.ends.of(side).as_ref()?;
        let peer = memories.of(side.other()).and_then(Result::ok);
        let view = match memories.of(side).unwrap_or(Err("it was gone before it could be opened")) {
            Ok(observed) => view(observed, peer),
            Err(reason) => Err(reason.to_owned()),
        };
        Some(EndRow { processes: end.processes.clone(), view })
    })
}

/// What a memory says, where it does not contradict itself or its peer.
fn view(observed: &Observed, peer: Option<&Observed>) -> Result<View, String> {
    let reading = observed.read();
    if let Some(lie) = reading.lie() {
        return Err(lie.to_string());
    }
    let capacity_bytes = observed.ring_capacity_bytes();
    let occupied_bytes = match peer {
        Some(peer) if capacity_bytes > 0 && peer.ring_capacity_bytes() > 0 => {
            Some(observed.occupied_bytes(peer).map_err(|lie| lie.to_string())?)
        }
        _ => None,
    };
    let (total_bytes, max_message_bytes) = (observed.total_bytes(), observed.max_message_bytes());
    Ok(View { reading, total_bytes, capacity_bytes, max_message_bytes, occupied_bytes })
}

/// What happened since.
fn changes(past: &Sides<Option<Reading>>, now: &Sides<Option<Reading>>, time: Duration) -> Changes {
    let counted = Sides::each(|side| Some(stats(now.of(side))?.since(stats(past.of(side))?)));
    let flows = match (&past.server, &now.server) {
        (Some(Reading::State(then)), Some(Reading::State(now))) => {
            Sides { client: Flow::default(), server: published(&then.stats, &now.stats, time) }
        }
        _ => Sides::each(|side| Flow::between(counted.of(side).as_ref(), counted.of(side.other()).as_ref(), time)),
    };
    Changes { time, counted, flows }
}

/// What is wrong with a connection. A state has no receiver that could be slow.
fn symptoms(channel: &Channel, changes: &Changes, stuck_since: &Sides<Option<Instant>>, now: Instant) -> Vec<Symptom> {
    let direction = |side| {
        let stuck = stuck_since.of(side).map_or(Duration::ZERO, |since| now - since);
        Direction { flow: *changes.flows.of(side), stuck }
    };
    match channel.kind {
        Some(kind @ (Kind::Ring | Kind::Socket)) => Symptom::of(&Side::BOTH.map(direction), kind == Kind::Socket),
        _ => Vec::new(),
    }
}

fn published(then: &StateStats, now: &StateStats, time: Duration) -> Flow {
    let StateStats { published, published_bytes, .. } = now.since(then);
    let sender = Stats { sent_messages: published, sent_bytes: published_bytes, ..Stats::default() };
    Flow::between(Some(&sender), None, time)
}

fn stats(reading: &Option<Reading>) -> Option<&Stats> {
    match reading {
        Some(Reading::End(end)) => Some(&end.stats),
        _ => None,
    }
}

/// Since when bytes wait in the ring of `side` while its receiver shows the same head.
fn stuck_since(side: Side, ends: &Sides<Option<EndRow>>, past: Option<&Past>, now: Instant) -> Option<Instant> {
    let sender = ends.of(side).as_ref()?.view()?;
    let head = ends.of(side.other()).as_ref()?.reading()?.head;
    (sender.occupied_bytes? > 0).then_some(())?;
    let head_of = |reading: &Option<Reading>| match reading {
        Some(Reading::End(end)) => Some(end.head),
        _ => None,
    };
    let since = past.filter(|past| head_of(past.readings.of(side.other())) == Some(head));
    Some(since.and_then(|past| *past.stuck_since.of(side)).unwrap_or(now))
}

/// How long ago anything last went.
fn idle(readings: &Sides<Option<Reading>>, now: Now) -> Option<Duration> {
    let active = |reading: &Option<Reading>| match reading {
        Some(Reading::End(end)) => now.since(end.stats.active_us()),
        Some(Reading::State(state)) => now.since(state.stats.published_us),
        _ => None,
    };
    readings.both().into_iter().filter_map(active).min()
}

/// What makes a row doubtful, or half.
fn trouble(channel: &Channel, ends: &Sides<Option<EndRow>>) -> Option<String> {
    if let Some(doubt) = &channel.doubt {
        return Some(doubt.clone());
    }
    let lies = |side: Side| {
        let reason = ends.of(side).as_ref()?.view.as_ref().err()?;
        Some(format!("the {} can't be believed: {reason}", side.word()))
    };
    let closed = |side: Side| {
        let reading = ends.of(side).as_ref()?.reading()?;
        reading.closed.then(|| format!("the {} has closed", side.word()))
    };
    let why_missing = match channel.kind {
        Some(Kind::Ring) => Some("it is gone, or can't be inspected"),
        Some(Kind::Socket) => Some("it is gone, can't be inspected, or shows none yet (limits.max_shown_sockets)"),
        _ => None,
    };
    let missing = |side: Side| {
        ends.of(side).is_none().then_some(())?;
        Some(format!("no memory of the {} is seen: {}", side.word(), why_missing?))
    };
    let find = |of: &dyn Fn(Side) -> Option<String>| Side::BOTH.into_iter().find_map(of);
    find(&lies).or_else(|| find(&closed)).or_else(|| find(&missing))
}

#[cfg(test)]
mod tests {
    use strait::transport::observe::{EndReading, StateReading};

    use super::*;
    use crate::channels::row_for_test;

    const SECOND: Duration = Duration::from_secs(1);

    fn channel(kind: Kind) -> Channel {
        let row = row_for_test("orders", 0.0);
        let ends = Sides::default();
        Channel { id: row.id, service: row.service, kind: Some(kind), session: row.session, ends, doubt: None }
    }

    fn view(reading: Reading, occupied_bytes: u64) -> Option<EndRow> {
        let (total_bytes, capacity_bytes, max_message_bytes) = (12_288, 4096, 1008);
        let view =
            View { reading, total_bytes, capacity_bytes, max_message_bytes, occupied_bytes: Some(occupied_bytes) };
        Some(EndRow { processes: Vec::new(), view: Ok(view) })
    }

    /// An end that has counted so much, released so much of its peer's ring, and has so much waiting in its own.
    fn end(stats: Stats, head: u64, occupied_bytes: u64) -> Option<EndRow> {
        let mut reading = EndReading::default();
        (reading.stats, reading.head) = (stats, head);
        view(Reading::End(reading), occupied_bytes)
    }

    fn state(published: u64, published_us: u64) -> Option<EndRow> {
        let mut reading = StateReading::default();
        reading.stats =
            StateStats { published, published_bytes: 100 * published, published_us, ..StateStats::default() };
        view(Reading::State(reading), 0)
    }

    /// Looks at one channel again and again, a second apart.
    struct Looks {
        tracker: Tracker,
        channel: Channel,
        now: Now,
        past: Option<Past>,
    }

    impl Looks {
        fn at(kind: Kind) -> Self {
            let now = Now { at: Instant::now(), unix_us: 10_000_000 };
            Self { tracker: Tracker::default(), channel: channel(kind), now, past: None }
        }

        fn next(&mut self, client: Option<EndRow>, server: Option<EndRow>) -> Row {
            let row = self.tracker.compare(&self.channel, Sides { client, server }, self.past.take(), self.now);
            self.past = self.tracker.past.remove(&self.channel.id);
            self.now = Now { at: self.now.at + SECOND, unix_us: self.now.unix_us + 1_000_000 };
            row
        }
    }

    #[test]
    fn rates_come_with_the_second_look_and_each_look_is_remembered() {
        let sent = |sent_messages| Stats { sent_messages, sent_bytes: 10 * sent_messages, ..Stats::default() };
        let mut looks = Looks::at(Kind::Ring);
        let first = looks.next(end(sent(100), 0, 0), end(sent(50), 0, 0));
        assert!(first.flow().is_none() && first.symptoms.is_empty());
        assert!(first.history.of(|moment| moment.messages_per_s).is_empty());
        let second = looks.next(end(sent(400), 0, 0), end(sent(150), 0, 2048));
        let flows = second.flows().unwrap();
        assert_eq!((flows.client.messages_per_s, flows.server.messages_per_s), (300.0, 100.0));
        assert_eq!((second.flow().unwrap().bytes_per_s, second.occupancy()), (4000.0, Some(0.5)));
        // A counter that falls is a lie or another memory: no rate.
        let third = looks.next(end(sent(0), 0, 0), end(sent(150), 0, 0));
        assert_eq!(third.flow().unwrap().messages_per_s, 0.0);
        assert_eq!(third.history.of(|moment| moment.messages_per_s), [400.0, 0.0]);
        assert_eq!(third.history.of(|moment| moment.occupancy), [0.5, 0.0]);
    }

    #[test]
    fn bytes_that_nobody_takes_for_two_seconds_are_stalled() {
        let mut looks = Looks::at(Kind::Ring);
        let mut next = |head, occupied| {
            let row = looks.next(end(Stats::default(), 0, occupied), end(Stats::default(), head, 0));
            row.symptoms.contains(&Symptom::Stalled)
        };
        assert_eq!([next(64, 0), next(64, 32), next(64, 32), next(64, 32)], [false, false, false, true]);
        assert!(!next(80, 16), "the receiver has gone on");
        assert!(!next(80, 16));
        assert!(!next(80, 0), "and has taken all");
        assert!(!next(80, 16), "and these are new");
    }

    #[test]
    fn the_last_message_is_the_later_one_of_either_end() {
        let mut looks = Looks::at(Kind::Ring);
        let at = |sent_us, received_us| Stats { sent_us, received_us, ..Stats::default() };
        let row = looks.next(end(at(7_000_000, 9_000_000), 0, 0), end(at(0, 8_000_000), 0, 0));
        assert_eq!(row.idle, Some(SECOND));
        let row = looks.next(end(at(0, 0), 0, 0), end(at(u64::MAX, 0), 0, 0));
        assert_eq!(row.idle, None, "neither never nor in the future is a while ago");
        let row = looks.next(end(at(looks.now.unix_us + 100, 0), 0, 0), end(at(0, 0), 0, 0));
        assert_eq!(row.idle, Some(Duration::ZERO), "a message that came during the look");
    }

    #[test]
    fn a_state_shows_what_was_published_and_no_symptoms() {
        let mut looks = Looks::at(Kind::State);
        looks.next(None, state(10, 9_000_000));
        let row = looks.next(None, state(5010, 10_500_000));
        let flow = row.flow().unwrap();
        assert_eq!((flow.messages_per_s, flow.bytes_per_s), (5000.0, 500_000.0));
        assert_eq!((row.idle, row.symptoms.len(), row.trouble), (Some(SECOND / 2), 0, None));
    }

    #[test]
    fn what_is_worst_about_a_channel_is_said() {
        let lying = || Some(EndRow { processes: Vec::new(), view: Err("its pid is none".to_owned()) });
        let closed = || {
            let mut reading = EndReading::default();
            reading.closed = true;
            view(Reading::End(reading), 0)
        };
        let fine = || end(Stats::default(), 0, 0);
        let trouble = |client, server| Looks::at(Kind::Ring).next(client, server).trouble;
        assert_eq!(trouble(fine(), fine()), None);
        assert_eq!(trouble(closed(), lying()).as_deref(), Some("the server can't be believed: its pid is none"));
        assert_eq!(trouble(None, closed()).as_deref(), Some("the server has closed"));
        assert!(trouble(fine(), None).unwrap().starts_with("no memory of the server is seen"));
        let mut doubtful = Looks::at(Kind::Ring);
        doubtful.channel.doubt = Some("two of them".to_owned());
        assert_eq!(doubtful.next(lying(), None).trouble.as_deref(), Some("two of them"));
    }
}
