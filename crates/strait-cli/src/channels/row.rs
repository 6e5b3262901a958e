//! A channel as it is shown: what it is, who its ends are, and how it does.

use std::{rc::Rc, time::Duration};

use strait::transport::{
    Stats,
    observe::{EndReading, Reading},
};

use super::{flow::Flow, history::History, symptom::Symptom};
use crate::find::{ChannelId, Kind, Process, Side, Sides};

/// A channel at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: ChannelId,
    pub(crate) service: String,
    /// `None` where the name of the memory is none of ours.
    pub(crate) kind: Option<Kind>,
    pub(crate) session: Option<u128>,
    pub(crate) ends: Sides<Option<EndRow>>,
    /// What happened since the last look; `None` at the first one.
    pub(crate) changes: Option<Changes>,
    /// How long ago a message last went, or a value was published; `None` where none did.
    pub(crate) idle: Option<Duration>,
    /// Why this row can't be believed, or is only half of one.
    pub(crate) trouble: Option<String>,
    pub(crate) symptoms: Vec<Symptom>,
    pub(crate) history: Rc<History>,
}

/// What happened between two looks.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(crate) time: Duration,
    /// What each end has counted meanwhile.
    pub(crate) counted: Sides<Option<Stats>>,
    /// What went from each side to the other.
    pub(crate) flows: Sides<Flow>,
}

/// One side of a channel.
#[derive(Clone, Debug)]
pub(crate) struct EndRow {
    /// Who holds its memory, the maker first.
    pub(crate) processes: Vec<Rc<Process>>,
    /// What its memory says, and how large that is; why not, otherwise.
    pub(crate) view: Result<View, String>,
}

/// What the memory of one side says.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) reading: Reading,
    pub(crate) total_bytes: u64,
    /// Of the ring that this side sends through; 0 without one.
    pub(crate) capacity_bytes: u64,
    pub(crate) max_message_bytes: u64,
    /// What of this ring is published and not released; `None` where that can't be known.
    pub(crate) occupied_bytes: Option<u64>,
}

impl EndRow {
    pub(crate) fn view(&self) -> Option<&View> {
        self.view.as_ref().ok()
    }

    /// What a connection's end says.
    pub(crate) fn reading(&self) -> Option<&EndReading> {
        match &self.view()?.reading {
            Reading::End(end) => Some(end),
            _ => None,
        }
    }

    pub(crate) fn stats(&self) -> Option<&Stats> {
        self.reading().map(|end| &end.stats)
    }

    /// How much of its ring is in use.
    pub(crate) fn occupancy(&self) -> Option<f64> {
        let view = self.view()?;
        share(view.occupied_bytes?, view.capacity_bytes)
    }

    /// How much of its ring was in use at most.
    pub(crate) fn high_water(&self) -> Option<f64> {
        share(self.stats()?.high_water_bytes, self.view()?.capacity_bytes)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    // More than all of it is a lie, which is shown as one elsewhere.
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

impl Row {
    pub(crate) fn end(&self, side: Side) -> Option<&EndRow> {
        self.ends.of(side).as_ref()
    }

    fn known_ends(&self) -> impl Iterator<Item = &EndRow> {
        self.ends.both().into_iter().flatten()
    }

    /// What goes from each side to the other.
    pub(crate) fn flows(&self) -> Option<&Sides<Flow>> {
        self.changes.as_ref().map(|changes| &changes.flows)
    }

    /// What goes both ways.
    pub(crate) fn flow(&self) -> Option<Flow> {
        self.flows().map(|flows| flows.client.plus(&flows.server))
    }

    /// Of the fuller ring.
    pub(crate) fn occupancy(&self) -> Option<f64> {
        highest(self.known_ends().filter_map(EndRow::occupancy))
    }

    /// Of the ring that was fuller.
    pub(crate) fn high_water(&self) -> Option<f64> {
        highest(self.known_ends().filter_map(EndRow::high_water))
    }

    pub(crate) fn kind_word(&self) -> &'static str {
        match self.kind {
            Some(Kind::Ring | Kind::Socket) => "connection",
            Some(Kind::State) => "state",
            Some(Kind::Pin) => "pin",
            None => "?",
        }
    }

    pub(crate) fn transport_word(&self) -> &'static str {
        match self.kind {
            Some(Kind::Socket) => "socket",
            Some(_) => "shared",
            None => "?",
        }
    }

    /// All memory of the channel.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.known_ends().filter_map(EndRow::view).fold(0, |sum, view| sum.saturating_add(view.total_bytes))
    }

    /// Whether `filter`, in lower case, occurs in what people know a channel by.
    pub(crate) fn mentions(&self, filter: &str) -> bool {
        let session = self.session.map(|session| format!("{session:032x}")).unwrap_or_default();
        let symptoms = self.symptoms.iter().map(|symptom| symptom.word().to_owned());
        let ends = Side::BOTH.map(|side| self.who(side));
        let words = [self.service.clone(), self.kind_word().to_owned(), self.transport_word().to_owned(), session];
        words.into_iter().chain(symptoms).chain(ends).any(|text| text.to_lowercase().contains(filter))
    }

    /// Who is at one side, in one word for each; empty where nobody is, or should be.
    pub(crate) fn who(&self, side: Side) -> String {
        if let Some(end) = self.end(side) {
            let [first, more @ ..] = &end.processes[..] else { return String::new() };
            let more = if more.is_empty() { String::new() } else { format!(" (+{})", more.len()) };
            return format!("{}{more} {}", first.pid, first.command);
        }
        match (self.kind, side, self.end(Side::Server).and_then(EndRow::view).map(|view| view.reading)) {
            (Some(Kind::State), Side::Client, Some(Reading::State(state))) => {
                format!("{}, {} may pin", readers(state.stats.readers), state.stats.pins)
            }
            (Some(Kind::Ring | Kind::Socket), _, _) => "not seen".to_owned(),
            _ => "-".to_owned(),
        }
    }
}

fn highest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(f64::max)
}

fn readers(count: u64) -> String {
    if count == 1 { "1 reader".to_owned() } else { format!("{count} readers") }
}

/// A row of a service with so many messages per second, for tests.
#[cfg(test)]
pub(crate) fn row_for_test(service: &str, messages_per_s: f64) -> Row {
    let client = Flow { messages_per_s, ..Flow::default() };
    Row {
        id: ChannelId::Session { user_id: 1, service: service.to_owned(), session: 7 },
        service: service.to_owned(),
        kind: Some(Kind::Ring),
        session: Some(7),
        ends: Sides::default(),
        changes: Some(Changes {
            time: Duration::from_secs(1),
            counted: Sides::default(),
            flows: Sides { client, server: Flow::default() },
        }),
        idle: None,
        trouble: None,
        symptoms: Vec::new(),
        history: Rc::default(),
    }
}
