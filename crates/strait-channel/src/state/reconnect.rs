//! Finding the next daemon, in the background, for as long as there is none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use strait_transport::{Error as TransportError, Options, Refusal};

use super::{
    Error,
    greeting::{Found, find},
};

/// The first pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Where a shell's daemon is to be found.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) name: String,
    pub(super) options: Options,
}

/// What a search has to tell.
pub(super) enum News {
    Found(Box<Found>),
    /// There is a daemon that does not take this shell now. The search goes on.
    TurnedAway(TransportError),
    /// There is a daemon that never will. The search has ended.
    Refused(TransportError),
}

impl News {
    /// What an attempt has to tell; nothing where there was nobody.
    fn of(attempt: Result<Found, Error>) -> Option<Self> {
        match attempt {
            Ok(found) => Some(Self::Found(Box::new(found))),
            Err(Error::Transport(error)) => match error {
                TransportError::Refused(Refusal::Busy { .. } | Refusal::ShuttingDown) => Some(Self::TurnedAway(error)),
                TransportError::Refused(_) | TransportError::OtherUser { .. } => Some(Self::Refused(error)),
                _ => None,
            },
            Err(_) => None,
        }
    }

    fn is_last(&self) -> bool {
        !matches!(self, Self::TurnedAway(_))
    }
}

/// A search that goes on until it finds somebody, is refused for good or is dropped.
pub(super) struct Search {
    news: mpsc::Receiver<News>,
    stop: Arc<AtomicBool>,
}

/// How a search is begun.
pub(super) type Begin = fn(&Arc<Address>) -> Option<Search>;

impl Search {
    /// What there is to tell now.
    pub(super) fn take(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Waits for it.
    pub(super) fn wait(&self, at_most: Duration) -> Option<News> {
        self.news.recv_timeout(at_most).ok()
    }

    /// Searches in a thread. `None` where there can be none: the next call tries again.
    pub(super) fn in_thread(address: &Arc<Address>) -> Option<Self> {
        let (tell, news, stop, stopped, address) = Self::parts(address);
        let search = move || {
            let (mut pause, mut told) = (PAUSES.0, None);
            // ORDERING: Relaxed; it guards no memory.
            while !stopped.load(Ordering::Relaxed) {
                if report(&tell, &mut told, find(&address.name, &address.options)) {
                    return;
                }
                std::thread::sleep(pause);
                pause = (2 * pause).min(PAUSES.1);
            }
        };
        std::thread::Builder::new().name("strait-search".into()).spawn(search).ok()?;
        Some(Self { news, stop })
    }

    /// Searches in a task of the current runtime.
    #[cfg(feature = "tokio")]
    pub(super) fn in_task(address: &Arc<Address>) -> Option<Self> {
        let (tell, news, stop, stopped, address) = Self::parts(address);
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        runtime.spawn(async move {
            let (mut pause, mut told) = (PAUSES.0, None);
            // ORDERING: Relaxed; it guards no memory.
            while !stopped.load(Ordering::Relaxed) {
                if report(&tell, &mut told, super::greeting::find_async(&address.name, &address.options).await) {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PAUSES.1);
            }
        });
        Some(Self { news, stop })
    }

    #[allow(clippy::type_complexity)]
    fn parts(
        address: &Arc<Address>,
    ) -> (mpsc::Sender<News>, mpsc::Receiver<News>, Arc<AtomicBool>, Arc<AtomicBool>, Arc<Address>) {
        let (tell, news) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        (tell, news, stop.clone(), stop, address.clone())
    }
}

/// Tells of an attempt; whether it was the last. The same is not told twice in a row: nobody may be listening for days.
fn report(tell: &mpsc::Sender<News>, told: &mut Option<String>, attempt: Result<Found, Error>) -> bool {
    News::of(attempt).is_some_and(|news| {
        let is_last = news.is_last();
        if let News::TurnedAway(error) = &news {
            let why = error.to_string();
            if told.replace(why.clone()) == Some(why) {
                return false;
            }
        }
        tell.send(news).is_err() || is_last // nobody listens: the shell is gone
    })
}

impl Drop for Search {
    fn drop(&mut self) {
        // ORDERING: Relaxed; as above.
        self.stop.store(true, Ordering::Relaxed);
    }
}
