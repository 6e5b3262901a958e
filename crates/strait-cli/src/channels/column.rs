//! The columns of the table: what each shows, how wide it is, and which ones give way first.

use super::{
    flow::Flow,
    format::{age, bar, bytes, count, gigabytes, percent, sparkline},
    row::Row,
};
use crate::find::Side;

/// Length of the bar in the occupancy column, beside the number.
const BAR_CHARS: usize = 8;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Service,
    Kind,
    Transport,
    Messages,
    Gigabytes,
    Occupancy,
    HighWater,
    FullWaits,
    EmptyWaits,
    MessagesPerWake,
    FailedClaims,
    Idle,
    Symptoms,
    Memory,
    History,
    Client,
    Server,
}

use Column::{
    Client, EmptyWaits, FailedClaims, FullWaits, Gigabytes, HighWater, History, Idle, Kind, Memory, Messages,
    MessagesPerWake, Occupancy, Server, Service, Symptoms, Transport,
};

impl Column {
    /// In the order in which they stand.
    pub(crate) const ALL: [Self; 17] = [
        Service,
        Kind,
        Transport,
        Messages,
        Gigabytes,
        Occupancy,
        HighWater,
        FullWaits,
        EmptyWaits,
        MessagesPerWake,
        FailedClaims,
        Idle,
        Symptoms,
        Memory,
        History,
        Client,
        Server,
    ];

    /// In the order in which they are given their place: on a narrow terminal the last ones get none.
    const BY_WORTH: [Self; 17] = [
        Service,
        Messages,
        Gigabytes,
        Occupancy,
        Transport,
        Symptoms,
        Idle,
        Client,
        Server,
        HighWater,
        FullWaits,
        Kind,
        EmptyWaits,
        MessagesPerWake,
        FailedClaims,
        History,
        Memory,
    ];

    /// What stands above it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Service => "NAME",
            Kind => "KIND",
            Transport => "OVER",
            Messages => "MSG/S",
            Gigabytes => "GB/S",
            Occupancy => "OCCUPANCY",
            HighWater => "HIGH",
            FullWaits => "FULL/S",
            EmptyWaits => "EMPTY/S",
            MessagesPerWake => "MSG/WAKE",
            FailedClaims => "FAILED/S",
            Idle => "LAST",
            Symptoms => "HINT",
            Memory => "MEMORY",
            History => "HISTORY",
            Client => "CLIENT",
            Server => "SERVER",
        }
    }

    /// What it is, for the page of help.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Service => "the service; ! where its memory can't be believed, or an end is missing",
            Kind => "connection (rpc, stream, queue, a state's commands), state, or a pin on one",
            Transport => "shared memory, or still the socket",
            Messages => "messages both ways, or values published",
            Gigabytes => "their payload, in 10^9 bytes",
            Occupancy => "how much of the fuller ring waits for its receiver",
            HighWater => "high-water mark: the most that was ever occupied",
            FullWaits => "full waits: sleeps of a sender until there was room",
            EmptyWaits => "empty waits: sleeps of a receiver until there was data",
            MessagesPerWake => "messages per wake-up of a receiver; - where none had to be woken",
            FailedClaims => "failed claims: sends that found no room",
            Idle => "since the last message",
            Symptoms => "what the counters say is wrong: Enter shows what to do",
            Memory => "of both ends together",
            History => "messages per second, the latest at the right",
            Client => "process and command at the client's end",
            Server => "the same at the server's",
        }
    }

    /// The fewest characters that it takes.
    pub(crate) fn width(self) -> usize {
        match self {
            Service => 14,
            Kind => 10,
            Transport | Messages | Gigabytes | FullWaits => 6,
            Occupancy => BAR_CHARS + 5,
            HighWater | Idle => 4,
            EmptyWaits => 7,
            MessagesPerWake | FailedClaims | Memory => 8,
            Symptoms => 11,
            History => 20,
            Client | Server => 20,
        }
    }

    /// Whether it takes what is left of the line.
    pub(crate) fn grows(self) -> bool {
        matches!(self, Service | Client | Server)
    }

    /// Whether it is a number, that ends at the right.
    pub(crate) fn is_number(self) -> bool {
        !matches!(self, Service | Kind | Transport | Occupancy | Symptoms | History | Client | Server)
    }

    /// What stands in it.
    pub(crate) fn cell(self, row: &Row) -> String {
        let rate = |of: fn(&Flow) -> f64| row.flow().map(|flow| count(of(&flow)));
        let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        match self {
            Service if row.trouble.is_some() => format!("{} !", row.service),
            Service => row.service.clone(),
            Kind => row.kind_word().to_owned(),
            Transport => row.transport_word().to_owned(),
            Messages => known(rate(|flow| flow.messages_per_s)),
            Gigabytes => known(row.flow().map(|flow| gigabytes(flow.bytes_per_s))),
            Occupancy => known(row.occupancy().map(|share| format!("{} {:>4}", bar(share, BAR_CHARS), percent(share)))),
            HighWater => known(row.high_water().map(percent)),
            FullWaits => known(rate(|flow| flow.full_waits_per_s)),
            EmptyWaits => known(rate(|flow| flow.empty_waits_per_s)),
            MessagesPerWake => known(row.flow().and_then(|flow| flow.messages_per_wake()).map(count)),
            FailedClaims => known(rate(|flow| flow.failed_claims_per_s)),
            Idle => known(row.idle.map(age)),
            Symptoms => row.symptoms.first().map_or("", |symptom| symptom.word()).to_owned(),
            Memory => bytes(row.memory_bytes()),
            History => sparkline(&row.history.of(|moment| moment.messages_per_s), Self::History.width()),
            Client => row.who(Side::Client),
            Server => row.who(Side::Server),
        }
    }

    /// What rows are ordered by: the highest number first, then text by the alphabet.
    pub(crate) fn key(self, row: &Row) -> (f64, String) {
        let flow = row.flow().unwrap_or_default();
        let number = match self {
            Messages | History => flow.messages_per_s,
            Gigabytes => flow.bytes_per_s,
            Occupancy => row.occupancy().unwrap_or(-1.0),
            HighWater => row.high_water().unwrap_or(-1.0),
            FullWaits => flow.full_waits_per_s,
            EmptyWaits => flow.empty_waits_per_s,
            MessagesPerWake => flow.messages_per_wake().unwrap_or(-1.0),
            FailedClaims => flow.failed_claims_per_s,
            // The latest first.
            Idle => row.idle.map_or(f64::NEG_INFINITY, |idle| -idle.as_secs_f64()),
            Symptoms => row.symptoms.len() as f64,
            Memory => row.memory_bytes() as f64,
            Service | Kind | Transport | Client | Server => return (0.0, self.cell(row)),
        };
        (number, String::new())
    }

    /// The columns that fit into `width` characters with `gap` between them, with the width of each. What is left goes
    /// to those that can use it.
    pub(crate) fn fitting(width: usize, gap: usize) -> Vec<(Self, usize)> {
        let mut left = width;
        let mut taken = Vec::new();
        for column in Self::BY_WORTH {
            let needs = column.width() + if taken.is_empty() { 0 } else { gap };
            // The name is there however narrow it is.
            if needs > left && !taken.is_empty() {
                break;
            }
            left = left.saturating_sub(needs);
            taken.push(column);
        }
        let growing = taken.iter().filter(|column| column.grows()).count().max(1);
        let (share, mut rest) = (left / growing, left % growing);
        let width_of = |column: Self| {
            let more = if column.grows() { share + std::mem::take(&mut rest) } else { 0 };
            (column, column.width().min(width) + more)
        };
        Self::ALL.into_iter().filter(|column| taken.contains(column)).map(width_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_keeps_what_matters_most() {
        let of = |width| Column::fitting(width, 2).into_iter().map(|(column, _)| column).collect::<Vec<_>>();
        assert_eq!(of(5), [Service]);
        assert_eq!(of(30), [Service, Messages, Gigabytes]);
        assert_eq!(of(80), [Service, Transport, Messages, Gigabytes, Occupancy, Idle, Symptoms]);
        assert_eq!(of(1000), Column::ALL);
    }

    #[test]
    fn the_columns_fill_the_line_and_no_more() {
        for width in 14..=300 {
            let columns = Column::fitting(width, 2);
            let sum = columns.iter().map(|(_, width)| width).sum::<usize>() + 2 * (columns.len() - 1);
            assert_eq!(sum, width);
        }
        assert_eq!(Column::fitting(3, 2), [(Service, 3)]);
        assert_eq!(Column::fitting(0, 2), [(Service, 0)]);
    }

    #[test]
    fn every_title_fits_its_column_and_every_column_has_its_worth() {
        for column in Column::ALL {
            assert!(column.title().len() <= column.width(), "{column:?}");
            assert_eq!(Column::BY_WORTH.iter().filter(|other| **other == column).count(), 1);
        }
    }
}
