//! Channels as they are shown: rates, history, symptoms.
//!
//! Data goes one way: a look of [`crate::find`] → [`Tracker`] → rows → columns, or JSON.

mod column;
mod counter;
mod flow;
pub(crate) mod format;
mod history;
mod json;
mod notes;
mod order;
mod print;
mod row;
mod symptom;
mod tracker;
mod watch;

pub(crate) use column::Column;
pub(crate) use counter::COUNTERS;
pub(crate) use flow::Flow;
pub(crate) use history::Moment;
pub(crate) use notes::{NOTHING, blind, remedies};
pub(crate) use order::order;
pub(crate) use print::print;
#[cfg(test)]
pub(crate) use row::row_for_test;
pub(crate) use row::{EndRow, Row, View};
pub(crate) use tracker::Now;
pub(crate) use watch::{Look, Watch};
