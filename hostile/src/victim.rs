//! The victim: an ordinary server of each kind, with default trust.

use std::{
    collections::BTreeMap,
    io::Read,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use strait::{
    frame::Raw,
    queue::{self, Settings},
    rpc::{Request, blocking::Server},
    state,
    stream::{self, Endpoint},
};

use crate::types::{self, BARE, CALLS, Order, QUEUE, STATE, STREAM};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until standard input ends.
pub(crate) fn run(directory: &Path) -> Result<(), Failure> {
    // A panic anywhere ends the process: none is hidden in a thread.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    tracing_subscriber::fmt()
        .with_env_filter("strait=debug")
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
    let options = types::options(directory);
    for (name, options) in [(CALLS, &options), (BARE, &types::bare_options(directory))] {
        let server = Server::bind_with(name, options)?;
        detach(name, move || {
            server.serve(|order: Request<Order>| Ok::<u64, String>(types::sum(&order))).map_err(Into::into)
        });
    }
    let settings = Settings { acknowledged: true, ..Settings::default() };
    let owner = queue::blocking::Owner::<[u8], Raw>::bind_with(QUEUE, settings, &options)?;
    detach(QUEUE, move || owner.serve().map(drop).map_err(Into::into));
    let config = stream::Config { options: options.clone(), ..stream::Config::default() };
    let binding = <stream::Consumer>::bind(STREAM, &config)?;
    detach(STREAM, move || {
        loop {
            let consumer = binding.accept()?;
            detach("stream-consumer", move || {
                consume(consumer);
                Ok(())
            });
        }
    });
    let config =
        state::Config { max_value_bytes: types::STATE_BYTES, max_pins: 4, options, ..state::Config::default() };
    let mut daemon = state::Daemon::<[u8], Raw>::create(STATE, &config)?;
    detach(STATE, move || {
        let mut value = vec![0; types::STATE_BYTES];
        for number in 0u64.. {
            let len = 8 + (number as usize * 97) % (types::STATE_BYTES - 8);
            value[..8].copy_from_slice(&number.to_le_bytes());
            value[8..len].fill(number as u8);
            daemon.publish(&value[..len])?;
            while let Some(command) = daemon.try_command() {
                drop(command);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", serde_json::to_string(&*OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner))?);
    std::process::exit(0)
}

/// How the streams ended, by kind.
static OUTCOMES: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Receives all that a producer sends; how that ends is counted.
fn consume(mut consumer: stream::Consumer) {
    let outcome = loop {
        match consumer.recv() {
            Ok(Some(message)) => drop(std::hint::black_box(message.iter().map(|&byte| u64::from(byte)).sum::<u64>())),
            Ok(None) => break "ended in good order".to_owned(),
            Err(error) => break crate::kind_of(&error),
        }
    };
    *OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += 1;
}

/// A thread that ends the process where it fails: a server that is gone is a finding.
fn detach(name: &'static str, work: impl FnOnce() -> Result<(), Failure> + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(error) = work() {
            eprintln!("FAILED {name}: {error}");
            std::process::abort();
        }
    });
    if let Err(error) = thread {
        eprintln!("FAILED {name}: no thread: {error}");
        std::process::abort();
    }
}
