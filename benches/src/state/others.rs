//! Published values by other means: another library. Readers look where the value lies, as strait's pins do.

use std::time::{Duration, Instant};

use super::{PATIENCE, now_nanos, reads, stamp};
use crate::{
    engine::{Role, Side},
    rpc::{Meeting, Outcome},
};

/// Publishes a value, of a multiple of 8 bytes.
pub type Publish = Box<dyn FnMut(&[u8]) -> Outcome<()>>;

/// Shows the words of the latest value to the argument, where they lie.
pub type Look = Box<dyn FnMut(&mut dyn FnMut(&[u64])) -> Outcome<()>>;

/// One way to publish the latest value to other processes.
#[derive(Clone, Copy, Debug)]
pub struct Latest {
    /// Its name in tables, which no other engine has.
    pub name: &'static str,
    /// The writer's end; it is made before a reader's.
    pub publish: fn(&Meeting<'_>) -> Outcome<Publish>,
    /// A reader's end; is called again for a while where it fails, because nothing may have been published yet.
    pub look: fn(&Meeting<'_>) -> Outcome<Look>,
}

impl Latest {
    /// Runs one of its processes.
    pub(super) fn run(&self, role: &Role) -> Outcome<()> {
        std::fs::create_dir_all(&role.meet)?;
        let meeting = Meeting::of(role);
        match role.side {
            Side::Server => self.publish_until_killed(role, &meeting),
            Side::Client => self.read(role, &meeting),
        }
    }

    fn publish_until_killed(&self, role: &Role, meeting: &Meeting<'_>) -> Outcome<()> {
        let mut publish = (self.publish)(meeting)?;
        let mut value = vec![7u8; meeting.payload_bytes];
        stamp(&mut value, now_nanos());
        publish(&value)?;
        while role.engine.name.contains("-busy-") {
            value.fill(now_nanos() as u8);
            stamp(&mut value, now_nanos());
            publish(&value)?;
        }
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn read(&self, role: &Role, meeting: &Meeting<'_>) -> Outcome<()> {
        let patience = Instant::now() + PATIENCE;
        let words = meeting.payload_bytes / 8;
        let once = |look: &mut Look| {
            let mut right = Err("no value".into());
            look(&mut |value| {
                right = match value {
                    [first, .., last] if value.len() == words && first == last => Ok(()),
                    _ => Err("a torn value".into()),
                };
            })?;
            right
        };
        let mut look = loop {
            match (self.look)(meeting).and_then(|mut look| once(&mut look).map(|()| look)) {
                Ok(look) => break look,
                Err(error) if Instant::now() > patience => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        reads(role, |_| once(&mut look)).and_then(|work| super::done(&work))
    }
}
