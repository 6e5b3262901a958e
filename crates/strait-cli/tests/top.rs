//! `strait top` as a user sees it: in a terminal, while other processes talk.

mod support;

use std::{process::Command, time::Duration};

use rustix::process::Signal;
use support::{
    actor::{Scene, act},
    stderr_of, stdout_of, strait,
    terminal::Terminal,
};

/// How the processes of this program's tests begin.
#[test]
fn actor() {
    act();
}

const ENTER: &str = "\r";
const ESCAPE: &str = "\x1b";
const RIGHT: &str = "\x1b[C";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const END: &str = "\x1b[F";

/// The command, with five looks per second.
fn top(arguments: &[&str]) -> Command {
    let mut command = strait(&["top", "--interval", "0.2"]);
    command.args(arguments);
    command
}

fn pid(number: u32) -> String {
    number.to_string()
}

#[test]
fn a_connection_at_work_shows_with_its_ends_its_rates_and_every_counter() {
    let scene = Scene::new();
    let server = scene.play("server");
    let client = scene.cast("client").pace(Duration::from_micros(200)).start();
    let mut terminal = Terminal::run(top(&[&scene.service]), 200, 50);

    let (server_pid, client_pid) = (pid(server.pid()), pid(client.pid()));
    let screen = terminal.shows(&[&scene.service, "connection", "shared", &client_pid, &server_pid, "█"]);
    let row = screen.lines().find(|line| line.contains(&client_pid)).unwrap();
    let messages: Vec<&str> = row.split_whitespace().collect();
    assert_ne!(messages[3], "0", "messages per second in {row}");
    assert!(row.find(&client_pid) < row.find(&server_pid), "client and server change places in {row}");

    terminal.press(ENTER);
    let page =
        terminal.shows(&["messages sent", "CRC failures", "high-water mark", "wakes for data", "256 KiB", "session "]);
    let counter = |name: &str| -> Vec<String> {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{page}"));
        line[name.len()..].split_whitespace().map(str::to_owned).collect()
    };
    let sent = counter("messages sent");
    assert!(sent[0].parse::<u64>().unwrap() > 2, "{page}");
    assert_eq!(counter("CRC failures"), ["0", "0", "0", "0"]);
    terminal.wait_for("a count that grows", |text| {
        text.lines().any(|line| line.starts_with("messages sent") && !line.contains(&*sent[0]))
    });

    drop(client);
    terminal.shows(&["This channel is gone"]);
    terminal.press(ESCAPE);
    terminal.shows(&["No channel has"]);
    terminal.press("q");
    assert!(terminal.ended().success());
    terminal.is_given_back();
}

#[test]
fn keys_sort_filter_pause_and_explain() {
    let scene = Scene::new();
    let _server = scene.play("server");
    let _busy = scene.play("client");
    let idle = scene.cast("client").pace(Duration::from_secs(1)).start();
    let mut terminal = Terminal::run(top(&[&scene.service]), 160, 20);
    let rows = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with(&scene.service)).map(str::to_owned).collect()
    };
    let idle_pid = pid(idle.pid());
    let is_idle = |line: &String| line.contains(&idle_pid);

    // The busiest first; the other way round by a key.
    terminal.wait_for("the idle one last", |text| rows(text).len() == 2 && rows(text).last().is_some_and(is_idle));
    terminal.press("r");
    terminal.wait_for("the idle one first", |text| rows(text).first().is_some_and(is_idle));
    terminal.shows(&["by MSG/S, reversed"]);
    terminal.press("r");
    terminal.press(RIGHT);
    terminal.shows(&["by GB/S"]);
    terminal.press("<<");
    terminal.shows(&["by OVER"]);

    terminal.press("/");
    terminal.press(&idle_pid);
    terminal.shows(&[&format!("filter: {}{idle_pid}", scene.service)]);
    terminal.shows(&["No channel has"]);
    terminal.press(ESCAPE);
    // Pressed at once, Escape and a key are taken for Alt and that key.
    terminal.wait_for("no filter", |text| !text.contains("filter: ") && rows(text).len() == 2);
    terminal.press("/");
    terminal.press(&idle_pid);
    terminal.press(ENTER);
    terminal.wait_for("the idle one alone", |text| rows(text).len() == 1 && is_idle(&rows(text)[0]));
    // The selection goes with its channel, onto its page.
    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.shows(&[&format!("pid {idle_pid}"), "messages sent"]);
    terminal.press(ESCAPE);

    terminal.press("?");
    terminal.shows(&["Keys", "Columns", "q, Ctrl-C"]);
    // It is longer than this terminal.
    terminal.press(END);
    terminal.shows(&["high-water mark", "it may be untrue"]);
    terminal.press(UP);
    terminal.wait_for("one line less", |text| !text.contains("it may be untrue"));
    terminal.press("?");
    terminal.press("p");
    terminal.shows(&["PAUSED"]);
    drop(idle);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(rows(&terminal.text()).len(), 1, "what is paused stays");
    terminal.press("p");
    terminal.shows(&["No channel has"]);
    terminal.press("\x03");
    assert!(terminal.ended().success());
    terminal.is_given_back();
}

#[test]
fn counters_that_show_a_symptom_bring_the_page_that_helps() {
    let slow = Scene::new();
    let _consumer = slow.cast("consumer").pace(Duration::from_millis(2)).start();
    let _producer = slow.play("producer");
    let mut terminal = Terminal::run(top(&[&slow.service]), 200, 40);
    terminal.shows(&["full: the sender sleeps until there is room", "docs/TROUBLESHOOTING.md#full"]);
    // What waits in a full ring shows as a bar.
    terminal.shows(&["██"]);
    terminal.press(ENTER);
    terminal.shows(&["full: the sender sleeps", "full waits"]);
    drop(terminal);

    let sleepy = Scene::new();
    let _server = sleepy.play("server");
    let _client = sleepy.cast("client").pace(Duration::from_millis(5)).start();
    let terminal = Terminal::run(top(&[&sleepy.service]), 200, 40);
    terminal.shows(&["latency: the receiver sleeps before most messages", "docs/TROUBLESHOOTING.md#latency"]);
    drop(terminal);

    let socket = Scene::new();
    let _server = socket.cast("server").env("STRAIT_DISABLE_SHM", "1").start();
    let _client = socket.play("client");
    let terminal = Terminal::run(top(&[&socket.service]), 200, 40);
    terminal.shows(&["socket", "throughput: each message pays", "docs/TROUBLESHOOTING.md#throughput"]);
}

#[test]
fn a_narrow_terminal_keeps_what_matters_and_follows_its_window() {
    let scene = Scene::new();
    let _server = scene.play("server");
    let _client = scene.cast("client").pace(Duration::from_millis(1)).start();
    let mut terminal = Terminal::run(top(&[&scene.service]), 40, 12);
    let screen = terminal.shows(&["NAME", "MSG/S", "GB/S", &scene.service]);
    assert!(!screen.contains("SERVER") && !screen.contains("HISTORY"), "{screen}");
    terminal.resize(180, 30);
    terminal.shows(&["SERVER", "CLIENT", "FULL/S"]);
    terminal.resize(10, 4);
    terminal.wait_for("a name, cut off", |text| text.contains("scene-") && !text.contains("MSG/S"));
    terminal.press("q");
    assert!(terminal.ended().success());
}

#[test]
fn a_signal_gives_the_terminal_back_and_ends_the_command() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut terminal = Terminal::run(top(&["no channel has this name"]), 100, 20);
        terminal.shows(&["strait top: "]);
        assert!(terminal.is_taken_over() && !terminal.is_cooked());
        terminal.signal(signal);
        let status = terminal.ended();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(signal.as_raw()), "{status}");
        terminal.is_given_back();
    }
}

#[test]
fn a_window_that_is_closed_ends_the_command() {
    let mut terminal = Terminal::run(top(&["no channel has this name"]), 100, 20);
    terminal.shows(&["strait top: "]);
    // It is no controlling terminal, so that no signal comes: input and output end.
    terminal.hang_up();
    assert!(!terminal.ended().success());
    let mut terminal = Terminal::run(top(&["no channel has this name"]), 100, 20);
    terminal.shows(&["strait top: "]);
    terminal.signal(Signal::HUP);
    assert!(!terminal.ended().success());
}

#[test]
fn a_receiver_that_is_stopped_is_told_from_one_that_sleeps() {
    let scene = Scene::new();
    let consumer = scene.play("consumer");
    let _producer = scene.play("producer");
    let terminal = Terminal::run(top(&[&scene.service]), 200, 40);
    terminal.shows(&[&scene.service, "█"]);
    consumer.stop();
    terminal.shows(&["stalled: messages wait and the receiver takes none", "docs/TROUBLESHOOTING.md#stalled"]);
}

#[test]
fn several_channels_stand_one_below_the_other() {
    let scenes = [(); 4].map(|()| Scene::new());
    let [calls, slow, state, socket] = &scenes;
    let _actors = [
        calls.play("server"),
        calls.play("client"),
        slow.cast("consumer").pace(Duration::from_millis(1)).start(),
        slow.play("producer"),
        state.cast("daemon").pace(Duration::from_millis(2)).start(),
        state.play("shell"),
        socket.cast("server").env("STRAIT_DISABLE_SHM", "1").start(),
        socket.cast("client").pace(Duration::from_millis(20)).start(),
    ];
    let prefix = calls.service.rsplit_once('-').unwrap().0;
    let terminal = Terminal::run(top(&[prefix]), 150, 32);
    let services = scenes.each_ref().map(|scene| &*scene.service);
    let table = terminal.wait_for("every channel, and the hint of one", |text| {
        services.iter().all(|service| text.contains(service)) && text.contains(" full ") && text.contains("state")
    });
    let is_row = |line: &&str| services.iter().any(|service| line.split_whitespace().next() == Some(service));
    let rows: Vec<&str> = table.lines().filter(is_row).collect();
    assert_eq!(rows.len(), 5, "four services, and a state beside its shell's connection:\n{table}");
}

#[test]
fn a_command_line_that_would_move_the_cursor_is_shown_and_not_obeyed() {
    let scene = Scene::new();
    let _server = scene.cast("server").arg("\x1b[2J\x1b]0;mine\x07\x1b[31m\u{202E}gotcha").start();
    let client = scene.cast("client").pace(Duration::from_millis(5)).start();
    let mut terminal = Terminal::run(top(&[&pid(client.pid())]), 200, 40);
    terminal.shows(&[&scene.service]);
    terminal.press(ENTER);
    let screen = terminal.shows(&["--skip ·[2J·]0;mine··[31m·gotcha"]);
    assert!(screen.starts_with("strait top: "), "{screen}");
}

#[test]
fn without_a_terminal_it_says_what_to_do_instead() {
    let complaint = stderr_of(&top(&[]).output().unwrap(), 2);
    assert!(complaint.contains("--once"), "{complaint}");
    for interval in ["0", "-1", "soon", "1e9", "nan"] {
        let complaint = stderr_of(&strait(&["top", "--once", &format!("--interval={interval}")]).output().unwrap(), 2);
        assert!(complaint.contains("expected seconds from 0.1 to 3600"), "{complaint}");
    }
    assert!(stderr_of(&strait(&["top", "--json"]).output().unwrap(), 2).contains("--once"));
}

#[test]
fn one_table_and_one_object_show_the_rates_of_their_interval() {
    let scene = Scene::new();
    let server = scene.play("server");
    let client = scene.cast("client").pace(Duration::from_micros(500)).start();
    let table = stdout_of(&top(&["--once", &scene.service]).output().unwrap(), 0);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("NAME") && lines[0].contains("MSG/S") && lines[1].starts_with(&scene.service),
        "{table}"
    );
    assert!(!table.contains('\x1b'), "no colours in a pipe");

    let object = stdout_of(&top(&["--once", "--json", &scene.service]).output().unwrap(), 0);
    let [object] = &support::json_lines(&object)[..] else { panic!("more than one line: {object}") };
    let [channel] = &object["channels"].as_array().unwrap()[..] else { panic!("one channel: {object}") };
    assert_eq!((&channel["service"], &channel["transport"]), (&(*scene.service).into(), &"shared".into()));
    assert_eq!(channel["client"]["processes"][0]["pid"], client.pid());
    assert_eq!(channel["server"]["processes"][0]["pid"], server.pid());
    let rate = |direction: &str| channel[direction]["messages_per_s"].as_f64().unwrap();
    let (requests, replies) = (rate("client_to_server"), rate("server_to_client"));
    assert!(requests > 1.0 && (requests - replies).abs() <= 0.5 * requests, "{requests} and {replies}");
    let both_ways = channel["messages_per_s"].as_f64().unwrap();
    assert!((both_ways - requests - replies).abs() < 0.001, "{both_ways} of {requests} and {replies}");
    let counters = &channel["server"]["counters"];
    assert!(counters["sent_messages"].as_u64().unwrap() > 2 && counters["crc_failures"] == 0, "{counters}");
}
