//! One table and the end, for scripts and for mails.

use std::time::Duration;

use crate::{
    channels::{self, Column, Watch},
    failure::Failure,
};

/// Looks twice, `interval` apart, and prints what happened meanwhile.
pub(crate) fn print(watch: &mut Watch, interval: Duration, filter: &str, json: bool) -> Result<(), Failure> {
    let first = watch.look()?;
    std::thread::sleep(first.pause(interval));
    channels::print(&watch.look()?, filter, &Column::ALL, json)
}
