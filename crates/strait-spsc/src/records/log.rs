//! The release log: guards end in any order and on any thread, the head only ever moves forward.

use alloc::collections::VecDeque;

use strait_sync::{
    mutant,
    primitive::{AtomicU64, AtomicUsize, Mutex, Ordering},
};

use crate::error::TooManyHeld;

/// Which records are held, private to this process.
///
/// There is one entry per record that has a guard. Records that were received by copy after it belong to the same entry:
/// they can only be released together. So the log is as long as there are guards, and empty exactly when the head has
/// reached the consumer's position.
///
/// Only the consumer adds entries; guards remove them. That is why the consumer may read "nothing is held" without the
/// lock: nobody but itself could make it untrue.
pub(super) struct ReleaseLog {
    entries: Mutex<Entries>,
    /// How many entries there are. Lowered under the lock, after the head was published.
    held: AtomicUsize,
    /// The head, while there are entries. Stored under the lock, before the head is published.
    head: AtomicU64,
}

#[derive(Default)]
struct Entries {
    entries: VecDeque<Entry>,
    /// Number of the front entry.
    first: u64,
}

struct Entry {
    /// Where the entry's last record ends.
    end: u64,
    /// Guards that share it.
    holders: usize,
}

impl ReleaseLog {
    pub(super) fn new() -> Self {
        Self { entries: Mutex::new(Entries::default()), held: AtomicUsize::new(0), head: AtomicU64::new(0) }
    }

    /// Whether nothing is held. Asked by the consumer, which then may publish heads by itself.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // ORDERING: Acquire; pairs with the release store in `release`. The reads of every guard, and the heads that they
        // published, come before the head that the consumer publishes next.
        self.held.load(mutant!(held_relaxed, Ordering::Acquire, Ordering::Relaxed)) == 0
    }

    /// The head, for the consumer while guards may be held.
    #[inline]
    pub(super) fn head(&self) -> u64 {
        // ORDERING: Relaxed is enough for what it is compared with. A record that needed head h was published after the
        // producer saw h, and h was stored here before it was published: so whoever has acquired that record reads h or
        // a later one.
        self.head.load(Ordering::Relaxed)
    }

    /// Adds the record from `position` to `end`. Returns the entry's number.
    pub(super) fn hold(&self, position: u64, end: u64, limit_bytes: u64) -> Result<u64, TooManyHeld> {
        let mut log = self.entries.lock();
        if log.entries.is_empty() {
            // ORDERING: Relaxed; read by this thread, or under the lock.
            self.head.store(position, Ordering::Relaxed);
        }
        // ORDERING: Relaxed; stored under the lock, which is held.
        let need_bytes = end.wrapping_sub(self.head.load(Ordering::Relaxed));
        if need_bytes > limit_bytes {
            return Err(TooManyHeld { need_bytes, limit_bytes });
        }
        log.entries.push_back(Entry { end, holders: 1 });
        // ORDERING: Relaxed; what reads it is this thread.
        self.held.store(log.entries.len(), Ordering::Relaxed);
        Ok(log.first.wrapping_add(log.entries.len() as u64 - 1))
    }

    /// Gives entry `number` one more holder.
    pub(super) fn share(&self, number: u64) {
        let mut log = self.entries.lock();
        let index = number.wrapping_sub(log.first) as usize;
        // Cannot overflow: the holders would not fit into memory, and forgotten ones take centuries.
        log.entries[index].holders += 1;
    }

    /// The consumer is done with everything up to `end`. Returns whether anything is still held; where nothing is, the
    /// caller moves the head.
    pub(super) fn pass(&self, end: u64) -> bool {
        match self.entries.lock().entries.back_mut() {
            Some(last) => {
                last.end = end;
                true
            }
            None => false,
        }
    }

    /// Takes a holder of entry `number` away and moves the head over all that nobody holds, by `publish`. Returns whether it moved.
    pub(super) fn release(&self, number: u64, publish: impl FnOnce(u64)) -> bool {
        let mut log = self.entries.lock();
        let index = number.wrapping_sub(log.first) as usize;
        log.entries[index].holders -= 1;
        let mut head = None;
        while let Some(entry) = log.entries.front()
            && entry.holders == 0
        {
            head = Some(entry.end);
            log.entries.pop_front();
            log.first = log.first.wrapping_add(1);
        }
        let Some(head) = head else { return false };
        let held = log.entries.len();
        // Outside the lock two guards could publish their heads in the wrong order.
        mutant!(head_outside_lock, (), drop(log));
        // ORDERING: Relaxed; see `head`. Before the head is published, or the consumer would compare with an older one.
        mutant!(log_head_after, self.head.store(head, Ordering::Relaxed), ());
        publish(head);
        mutant!(log_head_after, (), self.head.store(head, Ordering::Relaxed));
        // ORDERING: Release; pairs with the acquire load in `is_empty`. After the head is published, or the consumer could
        // publish a later one first.
        self.held.store(held, Ordering::Release);
        true
    }
}
