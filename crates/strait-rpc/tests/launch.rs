//! Servers that their first client starts, in processes of their own.
#![cfg(not(strait_loom))]

#[path = "support/launched.rs"]
mod launched;
#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use launched::{Place, STOP, TALK, exists, until_ended, until_gone};
use process::{Process, options, role, say};
use rustix::process::Signal;
use strait_rpc::{Error, Launch, LaunchError, Options, Request, blocking::Client};
use strait_transport::{Error as TransportError, Refusal};
use support::{NAME, serve, until};

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("server") => launched::server(),
        Some("hangs") => launched::hangs(),
        Some("fails") => launched::fails(),
        Some("clients") => clients(),
        Some("starter") => starter(),
        Some(other) => panic!("no role {other}"),
    }
}

fn connect(place: &Place, launch: &Launch) -> Result<Client<u64, u64>, Error> {
    Client::connect_or_launch(NAME, &place.options(), launch)
}

fn pid(client: &Client<u64, u64>) -> u64 {
    client.call(&0).unwrap().to_native()
}

/// Ends the server, whose answer may not come any more.
fn stop(client: &Client<u64, u64>, server: u64) {
    let _ = client.call(&STOP);
    until_gone(server);
}

/// Two clients at once, as soon as the test says so.
fn clients() {
    say("ready");
    let go = launched::path(&options(), "go");
    until("the start", || go.exists());
    let launch = launched::launch("server", options());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let client: Client<u64, u64> = Client::connect_or_launch(NAME, &options(), &launch).unwrap();
                client.call(&0).unwrap();
            });
        }
    });
}

/// Starts a server, which hangs where there is a file of that name, and stays.
fn starter() {
    let hangs = launched::path(&options(), "hangs").exists();
    let launch = launched::launch(if hangs { "hangs" } else { "server" }, options());
    say("starting");
    let _client: Client<u64, u64> = Client::connect_or_launch(NAME, &options(), &launch).unwrap();
    say("connected");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_first_client_starts_the_server_and_the_next_one_finds_it() {
    let place = Place::new();
    let launch = place.launch("server");
    let first = connect(&place, &launch).unwrap();
    let server = pid(&first);
    assert_eq!(place.started(), [server]);
    assert_eq!(place.files(), [format!("{NAME}.sock")]);
    drop(first);

    let second = connect(&place, &launch).unwrap();
    assert_eq!(pid(&second), server);
    assert_eq!(place.started().len(), 1);

    stop(&second, server);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_server_that_was_killed_is_started_anew() {
    let place = Place::new();
    let launch = place.launch("server");
    let first = pid(&connect(&place, &launch).unwrap());
    launched::kill(first);
    until_gone(first);
    let second = pid(&connect(&place, &launch).unwrap());
    assert_eq!(place.started(), [first, second]);
}

#[test]
fn of_many_clients_at_once_one_starts_the_server() {
    let place = Place::new();
    let options = place.options();
    let launch = place.launch("server");
    let mut others: Vec<_> = (0..6).map(|_| Process::start("child", "clients", &options, &[])).collect();
    others.iter_mut().for_each(|process| drop(process.hears("ready")));
    std::fs::write(launched::path(&options, "go"), b"").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pid(&connect(&place, &launch).unwrap()));
        }
    });
    others.into_iter().for_each(Process::ends_well);
    assert_eq!(place.started().len(), 1);
    assert_eq!(place.executed().len(), 16);
    until("the lock is gone", || place.files() == [format!("{NAME}.sock")]);
}

#[test]
fn what_a_server_said_before_it_failed_is_in_the_error() {
    let place = Place::new();
    let error = connect(&place, &place.launch("fails")).unwrap_err();
    assert!(error.was_not_executed());
    let Error::Launch(launch) = &error else { panic!("{error}") };
    let LaunchError::Exited { status, output } = &**launch else { panic!("{error}") };
    assert_eq!(status.code(), Some(3));
    assert!(output.contains("cannot open the database: no such file\n"), "{output}");
    assert!(error.to_string().contains("exit status: 3); it wrote:\n"), "{error}");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_log_keeps_what_the_server_says() {
    let place = Place::new();
    let log = launched::path(&place.options(), "log");
    let launch = place.launch("server").log(&log);
    connect(&place, &launch).unwrap().call(&TALK).unwrap();
    assert!(std::fs::metadata(&log).unwrap().len() > 1 << 20);
    stop(&connect(&place, &place.launch("fails").log(&log)).unwrap(), place.started()[0]);
    let error = connect(&place, &place.launch("fails").log(&log)).unwrap_err();
    assert!(error.to_string().contains("cannot open the database") && !error.to_string().contains("xxx"), "{error}");
}

#[test]
fn a_server_that_hangs_is_killed_with_all_that_it_started() {
    let place = Place::new();
    let options = place.options();
    // A shell in between, which waits.
    let launch = Launch::new(move || shell(&options, "hangs", r#""$0" "$@"; exit 1"#)).timeout(Duration::from_secs(1));
    let start = Instant::now();
    let error = connect(&place, &launch).unwrap_err();
    assert!((1000..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let Error::Launch(launch) = &error else { panic!("{error}") };
    let LaunchError::TimedOut { after, output } = &**launch else { panic!("{error}") };
    assert_eq!(*after, Duration::from_secs(1));
    assert!(output.contains("still looking for my configuration"), "{output}");
    until_ended(place.started()[0]);
    assert_eq!(place.files(), [""; 0]);
}

fn shell(options: &Options, role: &str, script: &str) -> std::process::Command {
    let server = process::command("child", role, options);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).arg(server.get_program()).args(server.get_args());
    shell.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn a_server_that_goes_into_the_background_is_waited_for() {
    let place = Place::new();
    let options = place.options();
    let launch = Launch::new(move || shell(&options, "server", r#"(sleep 0.2; exec "$0" "$@") & exit 0"#));
    let client = connect(&place, &launch).unwrap();
    let server = pid(&client);
    assert_eq!(place.started(), [server]);
    let _ = client.call(&STOP);
    until_ended(server);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let place = Place::new();
    let error = connect(&place, &Launch::command("/nowhere/doubler", ["--verbose"])).unwrap_err();
    assert!(matches!(&error, Error::Launch(error) if matches!(**error, LaunchError::Spawn { .. })), "{error}");
    assert!(error.to_string().contains("/nowhere/doubler cannot be run: No such file"), "{error}");
    let error = connect(&place, &place.launch("server").log("/nowhere/log")).unwrap_err();
    assert!(error.to_string().contains("a file for the server's output failed: No such file"), "{error}");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_server_that_refuses_is_no_reason_to_start_another() {
    let place = Place::new();
    let _server = serve(&place.options(), |number: Request<u32>| Ok::<_, String>(number.to_native()));
    let error = connect(&place, &Launch::new(|| panic!("nothing must be started"))).unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Refused(Refusal::Schema { .. }))), "{error}");
}

#[test]
fn a_start_that_fails_because_somebody_else_serves_by_then_is_none() {
    let place = Place::new();
    let running = Mutex::new(None);
    let running: &'static Mutex<_> = Box::leak(Box::new(running));
    let options = place.options();
    let launch = Launch::new(move || {
        *running.lock().unwrap() =
            Some(serve(&options, |number: Request<u64>| Ok::<_, String>(number.to_native() + 1)));
        std::process::Command::new("false")
    });
    assert_eq!(pid(&connect(&place, &launch).unwrap()), 1);
    drop(running.lock().unwrap().take());
}

#[test]
fn a_server_outlives_its_starter_and_may_go_on_talking() {
    let place = Place::new();
    let mut starter = Process::start("child", "starter", &place.options(), &[]);
    starter.hears("connected");
    starter.signal(Signal::KILL);
    drop(starter);
    let client = connect(&place, &Launch::new(|| panic!("it runs"))).unwrap();
    client.call(&TALK).unwrap();
    assert_eq!(pid(&client), place.started()[0]);
}

#[test]
fn a_start_whose_starter_was_killed_holds_up_nobody() {
    let place = Place::new();
    std::fs::write(launched::path(&place.options(), "hangs"), b"").unwrap();
    let starter = Process::start("child", "starter", &place.options(), &[]);
    until("the start", || place.started().len() == 1);
    starter.signal(Signal::KILL);
    drop(starter);
    assert_eq!(place.files(), [format!("{NAME}.launch")]);
    assert!(exists(place.started()[0]));
    let client = connect(&place, &place.launch("server")).unwrap();
    assert_eq!(pid(&client), place.started()[1]);
    assert_eq!(place.files(), [format!("{NAME}.sock")]);
}

#[test]
fn a_client_that_waits_for_another_ones_start_waits_no_longer_than_it_may() {
    let place = Place::new();
    std::fs::write(launched::path(&place.options(), "hangs"), b"").unwrap();
    let _starter = Process::start("child", "starter", &place.options(), &[]);
    until("the start", || place.started().len() == 1);
    let launch = Launch::new(|| panic!("another client starts it")).timeout(Duration::from_millis(200));
    let error = connect(&place, &launch).unwrap_err();
    assert!(matches!(&error, Error::Launch(error) if matches!(**error, LaunchError::Busy { .. })), "{error}");
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_starts_the_server_too() {
    let place = Place::new();
    let options = place.options();
    let error = strait_rpc::Client::<u64, u64>::connect_or_launch(NAME, &options, &place.launch("fails")).await;
    assert!(error.unwrap_err().to_string().contains("cannot open the database"));
    let launch = place.launch("server");
    let connect = || strait_rpc::Client::<u64, u64>::connect_or_launch(NAME, &options, &launch);
    let (first, second) = tokio::join!(connect(), connect());
    let server = first.unwrap().call(&0).await.unwrap().to_native();
    let second = second.unwrap();
    assert_eq!(second.call(&0).await.unwrap().to_native(), server);
    assert_eq!(place.started(), [server]);
    let _ = second.call(&STOP).await;
    until_gone(server);
    assert_eq!(place.files(), [""; 0]);
}
