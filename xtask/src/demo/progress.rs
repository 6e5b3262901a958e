//! What is known of a phase from what its processes reported.

use serde_json::Value;

use super::{table, tally::Tally};
use crate::{failure::Failure, screen::Screen};

/// Up to so many clients, each one's upgrade is a line of its own.
const TOLD_APART: usize = 16;

/// What is known of a phase.
pub(super) struct Progress {
    /// Each client's last second.
    seconds: Vec<Option<Tally>>,
    /// Whether that is newer than what was last shown as a line.
    fresh: Vec<bool>,
    /// Each client's total, and why it stayed on the socket where it did.
    totals: Vec<Option<(Tally, String)>>,
    /// How many of its two streams each process has ended; the exchange comes last.
    ended: Vec<u8>,
    /// The last line that each process wrote to standard error.
    complaints: Vec<String>,
    listening: bool,
    /// Requests that the exchange says it answered.
    answered: Option<u64>,
    /// Upgrades to show.
    upgrades: Vec<String>,
    /// Seconds to show.
    lines: Vec<String>,
    printed: u32,
}

impl Progress {
    /// Nothing is known yet of so many clients and their exchange.
    pub(super) fn new(clients: usize) -> Self {
        Self {
            seconds: vec![None; clients],
            fresh: vec![false; clients],
            totals: vec![None; clients],
            ended: vec![0; clients + 1],
            complaints: vec![String::new(); clients + 1],
            listening: false,
            answered: None,
            upgrades: Vec::new(),
            lines: Vec::new(),
            printed: 0,
        }
    }

    /// Whether the exchange takes connections.
    pub(super) fn is_listening(&self) -> bool {
        self.listening
    }

    /// Whether every trader is done.
    pub(super) fn traders_ended(&self) -> bool {
        self.ended[..self.totals.len()].iter().all(|streams| *streams == 2)
    }

    /// Whether the exchange is done.
    pub(super) fn exchange_ended(&self) -> bool {
        self.ended[self.totals.len()] == 2
    }

    /// One of the two streams of a process has ended; returns whether that was the second.
    pub(super) fn stream_ended(&mut self, from: usize) -> bool {
        self.ended[from] += 1;
        self.ended[from] == 2
    }

    /// A process wrote a line to standard error.
    pub(super) fn complained(&mut self, from: usize, line: String) {
        self.complaints[from] = line;
    }

    /// The last such line.
    pub(super) fn last_complaint(&self, from: usize) -> &str {
        match self.complaints[from].as_str() {
            "" => "it gave no reason",
            line => line,
        }
    }

    /// Takes a line that a process wrote to standard output.
    pub(super) fn report(&mut self, from: usize, line: &str) -> Result<(), Failure> {
        let object: Value = serde_json::from_str(line)
            .map_err(|error| Failure::because(format!("a process wrote {line:?}, which is no JSON object"), error))?;
        match object["event"].as_str() {
            Some("listening") => self.listening = true,
            Some("summary") => self.answered = object["requests"].as_u64(),
            Some("transport") => self.moved(from, &object),
            Some("second") => {
                if self.fresh[from] {
                    self.line_of_a_second();
                }
                self.seconds[from] = Some(Tally::read(&object));
                self.fresh[from] = true;
                if self.fresh.iter().all(|fresh| *fresh) {
                    self.line_of_a_second();
                }
            }
            Some("total") => {
                let fallback = object["fallback"].as_str().unwrap_or("the run was too short").to_owned();
                self.totals[from] = Some((Tally::read(&object), fallback));
            }
            _ => {}
        }
        Ok(())
    }

    /// Shows what is new: on a terminal the rows as they stand, elsewhere a line per second.
    pub(super) fn show(&mut self, screen: &mut Screen) {
        for line in self.upgrades.drain(..) {
            screen.line(&line);
        }
        for line in self.lines.drain(..) {
            screen.unless_live(&line);
        }
        if self.seconds.iter().any(Option::is_some) && self.answered.is_none() {
            screen.live(|| table::live(&self.seconds));
        }
    }

    /// The sum over all clients, if the phase showed what it is for.
    pub(super) fn verdict(&self, shared: bool) -> Result<Tally, Failure> {
        for (client, total) in self.totals.iter().enumerate() {
            let wrong = match total {
                None => Some("did not report a total".to_owned()),
                Some((tally, _)) if tally.requests == 0 => Some("got no answer".to_owned()),
                Some((tally, why)) if shared && tally.transport != "shared" => {
                    Some(format!("did not reach shared memory: {why}"))
                }
                Some((tally, _)) if !shared && tally.over_shared > 0 => {
                    Some("used shared memory, which was switched off".to_owned())
                }
                Some(_) => None,
            };
            if let Some(wrong) = wrong {
                return Err(Failure::DidNotHold(format!("client {client} {wrong}")));
            }
        }
        let sum = Tally::sum(self.totals.iter().flatten().map(|(tally, _)| tally));
        match self.answered {
            Some(answered) if answered == sum.requests => Ok(sum),
            answered => Err(Failure::DidNotHold(format!(
                "the exchange answered {} requests, its traders checked {} answers: none may be lost or sent twice",
                answered.unwrap_or(0),
                sum.requests
            ))),
        }
    }

    fn moved(&mut self, client: usize, object: &Value) {
        let to = object["to"].as_str().unwrap_or("-");
        self.seconds[client].get_or_insert_default().transport = to.to_owned();
        let calls = object["call"].as_u64().unwrap_or(0).saturating_sub(1);
        if self.totals.len() <= TOLD_APART && to == "shared" {
            let plural = if calls == 1 { "" } else { "s" };
            self.upgrades.push(format!(
                "  client {client} upgraded to shared memory after {calls} call{plural} over the socket"
            ));
        }
    }

    fn line_of_a_second(&mut self) {
        self.printed += 1;
        self.fresh.fill(false);
        self.lines.push(table::second(self.printed, &self.seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(progress: &mut Progress, client: usize, transport: &str, socket: u64, shared: u64) {
        let line = format!(
            r#"{{"event":"total","transport":"{transport}","requests":{},"over_socket":{socket},"over_shared":{shared},"fallback":"no fd"}}"#,
            socket + shared
        );
        progress.report(client, &line).unwrap();
    }

    #[track_caller]
    fn check(clients: &[(&str, u64, u64)], answered: u64, shared: bool, expected: &str) {
        let mut progress = Progress::new(clients.len());
        for (client, (transport, socket, through)) in clients.iter().enumerate() {
            total(&mut progress, client, transport, *socket, *through);
        }
        progress.report(clients.len(), &format!(r#"{{"event":"summary","requests":{answered}}}"#)).unwrap();
        let verdict = match progress.verdict(shared) {
            Ok(sum) => format!("{} calls", sum.requests),
            Err(failure) => failure.to_string(),
        };
        assert!(verdict.starts_with(expected), "{verdict}");
    }

    #[test]
    fn the_verdict_wants_every_client_where_it_belongs_and_every_call_once() {
        check(&[("shared", 1, 9), ("shared", 2, 8)], 20, true, "20 calls");
        check(&[("socket", 10, 0)], 10, false, "10 calls");
        check(&[("shared", 1, 9), ("socket", 9, 0)], 19, true, "client 1 did not reach shared memory: no fd");
        check(&[("socket", 9, 1)], 10, false, "client 0 used shared memory");
        check(&[("socket", 0, 0)], 0, false, "client 0 got no answer");
        check(&[("shared", 1, 9)], 11, true, "the exchange answered 11 requests, its traders checked 10");
    }

    #[test]
    fn a_second_is_a_line_once_all_clients_have_reported_or_one_has_twice() {
        let mut progress = Progress::new(2);
        let second = r#"{"event":"second","transport":"socket","requests":5}"#;
        progress.report(0, second).unwrap();
        assert!(progress.lines.is_empty());
        progress.report(1, second).unwrap();
        assert_eq!(progress.lines.len(), 1);
        progress.report(0, second).unwrap();
        progress.report(0, second).unwrap();
        assert_eq!(progress.lines.len(), 2);
    }
}
