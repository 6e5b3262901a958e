//! `strait ls`: what is found from outside, who lies about it, and what can't be looked at.

mod support;

use std::{
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::{
    fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create},
    io::{FdFlags, fcntl_setfd},
};
use serde_json::Value;
use strait::{
    region::{Header, OwnRegion},
    sync::WordsMut,
    transport::{LAYOUT_HASH, MIN_RING_BYTES},
};
use support::{
    actor::{Scene, act, soon},
    json_lines, run, stderr_of, stdout_of, strait,
};

/// How the processes of this program's tests begin.
#[test]
fn actor() {
    act();
}

/// Nobody's user id, for processes that are not root's.
const SOMEBODY: u32 = 61_234;

/// The channels in which `filter` occurs.
fn channels(filter: &str) -> Vec<Value> {
    let objects = json_lines(&stdout_of(&run(&["ls", "--json", filter]), 0));
    objects[0]["channels"].as_array().unwrap().clone()
}

#[track_caller]
fn only_channel(filter: &str) -> Value {
    let found = channels(filter);
    let [channel] = &found[..] else { panic!("one channel, not {found:#?}") };
    channel.clone()
}

/// The ids of the processes that hold one side.
fn pids(end: &Value) -> Vec<u64> {
    let processes = end["processes"].as_array().unwrap();
    processes.iter().map(|process| process["pid"].as_u64().unwrap()).collect()
}

#[test]
fn a_connection_is_found_with_the_processes_at_both_ends() {
    let scene = Scene::new();
    let server = scene.play("server");
    let mut client = scene.cast("client").pace(Duration::from_millis(5)).start();
    let channel = only_channel(&scene.service);
    assert_eq!((&channel["kind"], &channel["transport"]), (&"connection".into(), &"shared".into()));
    assert_eq!(
        (pids(&channel["client"]), pids(&channel["server"])),
        (vec![client.pid().into()], vec![server.pid().into()])
    );
    assert_eq!(channel["trouble"], Value::Null);
    assert_eq!(channel["client"]["ring_capacity_bytes"], 256 << 10);
    assert!(channel["server"]["processes"][0]["command"].as_str().unwrap().contains("--exact actor"));

    let table = stdout_of(&run(&["ls", &scene.service]), 0);
    let row = table.lines().nth(1).unwrap();
    assert!(table.starts_with("NAME") && row.contains(&client.pid().to_string()), "{table}");

    // Nobody is told, and nothing is left: once the client is dead, its memory is gone, and the server drops its own.
    client.kill();
    soon("no channel", || channels(&scene.service).is_empty().then_some(()));
}

#[test]
fn who_only_looks_at_memory_is_no_end_of_it() {
    let scene = Scene::new();
    let server = scene.play("server");
    let _client = scene.cast("client").pace(Duration::from_millis(5)).start();
    // What another tool does, this command among them.
    let descriptors = format!("/proc/{}/fd", server.pid());
    let of_this_service = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|link| link.to_string_lossy().contains(&*scene.service))
    };
    let paths = std::fs::read_dir(descriptors).unwrap().map(|entry| entry.unwrap().path());
    let looked_at: Vec<_> = paths.filter(of_this_service).map(|path| std::fs::File::open(path).unwrap()).collect();
    assert!(!looked_at.is_empty());
    let channel = only_channel(&scene.service);
    assert_eq!(pids(&channel["server"]), [u64::from(server.pid())]);
}

#[test]
fn a_connection_on_its_socket_is_found_by_its_counters() {
    let scene = Scene::new();
    let _server = scene.cast("server").env("STRAIT_DISABLE_SHM", "1").start();
    let client = scene.cast("client").pace(Duration::from_millis(5)).start();
    let channel = only_channel(&scene.service);
    assert_eq!((&channel["kind"], &channel["transport"]), (&"connection".into(), &"socket".into()));
    assert_eq!((pids(&channel["client"]), &channel["occupancy"]), (vec![client.pid().into()], &Value::Null));
    assert!(channel["client"]["counters"]["sent_messages"].as_u64().unwrap() > 2, "{channel}");
}

#[test]
fn a_state_is_found_with_its_readers_and_their_connections() {
    let scene = Scene::new();
    let daemon = scene.cast("daemon").pace(Duration::from_millis(5)).start();
    let shell = scene.play("shell");
    let found = soon("a state with a reader", || {
        let found = channels(&scene.service);
        found.iter().any(|channel| channel["server"]["readers"] == 1).then_some(found)
    });
    let of = |kind: &str| found.iter().find(|channel| channel["kind"] == kind).unwrap();
    let (state, connection) = (of("state"), of("connection"));
    assert_eq!(pids(&state["server"]), [u64::from(daemon.pid())]);
    assert!(state["server"]["published"].as_u64().unwrap() > 0 && state["idle_s"].as_f64().unwrap() < 30.0, "{state}");
    assert_eq!(pids(&connection["client"]), [u64::from(shell.pid())]);
    assert!(stdout_of(&run(&["ls", &scene.service]), 0).contains("1 reader"));
}

/// A name for memory as strait gives it.
fn name(kind: &str, service: &str, side: &str, session: u128) -> String {
    format!("strait:{kind}:{service}:{side}:{session:032x}")
}

/// Memory with that name and so many bytes, with all seals on.
fn memory(name: &str, bytes: u64) -> OwnedFd {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, bytes).unwrap();
    fcntl_add_seals(&fd, SealFlags::GROW | SealFlags::SHRINK | SealFlags::FUTURE_WRITE | SealFlags::SEAL).unwrap();
    fd
}

/// One end of a connection as it should be, made by this process.
fn segment(name: &str, session: u128) -> OwnRegion {
    let header = Header {
        kind: 1,
        layout_hash: LAYOUT_HASH,
        total_bytes: 8192 + MIN_RING_BYTES,
        ring_capacity_bytes: MIN_RING_BYTES,
        max_message_bytes: MIN_RING_BYTES / 4 - 16,
        record_align_bytes: 16,
        session: session.to_be_bytes(),
    };
    OwnRegion::create(name, &header).unwrap()
}

/// Writes `value` into every word from the second page to the ring.
fn fill(segment: &OwnRegion, value: u64) {
    for offset in (4096..8192).step_by(8) {
        segment.store(offset, value, Ordering::Relaxed);
    }
}

/// Why what `filter` finds is not believed.
#[track_caller]
fn trouble(filter: &str) -> String {
    let channel = only_channel(filter);
    channel["trouble"].as_str().unwrap_or_else(|| panic!("believed: {channel:#}")).to_owned()
}

#[test]
fn memory_that_is_not_what_its_name_says_shows_as_such() {
    let scene = Scene::new();
    let service = |what: &str| format!("{}-{what}", scene.service);
    let refused = |what: &str, make: &dyn Fn(&str) -> Vec<OwnedFd>, reason: &str| {
        let _kept = make(&service(what));
        let found = trouble(&service(what));
        assert!(found.contains("can't be believed") && found.contains(reason), "{what}: {found}");
    };
    let ring = |service: &str| name("ring", service, "server", 7);
    let unsealed = |service: &str, flags| {
        let fd = memfd_create(ring(service), MemfdFlags::CLOEXEC | flags).unwrap();
        fallocate(&fd, FallocateFlags::empty(), 0, 8192).unwrap();
        vec![fd]
    };
    refused("unsealed", &|service| unsealed(service, MemfdFlags::ALLOW_SEALING), "lacks GROW");
    refused("unsealable", &|service| unsealed(service, MemfdFlags::empty()), "lacks GROW");
    refused("empty", &|service| vec![memory(&ring(service), 0)], "0 bytes");
    refused("short", &|service| vec![memory(&ring(service), 100)], "100 bytes");
    refused("holes", &|service| vec![memory(&ring(service), 1 << 20)], "allocated");

    let kept = |name: String, session| vec![segment(&name, session).fd().try_clone_to_owned().unwrap()];
    let state = |service: &str| kept(name("state", service, "server", 7), 7);
    refused("of-another-kind", &state, "its name says state, its header ring");
    let session = "its name says session 00000000000000000000000000000007";
    refused("of-another-session", &|service| kept(ring(service), 8), session);
}

#[test]
fn words_that_lie_cost_their_row_its_credit_and_nothing_else() {
    let scene = Scene::new();
    let session = 77;
    let server = segment(&name("ring", &scene.service, "server", session), session);
    let client = segment(&name("ring", &scene.service, "client", session), session);
    // Every word the same, then words that a checker might trip over one by one.
    for value in [0, 1, 3, 16, 4096, 4112, 1 << 31, 1 << 32, i64::MAX as u64, u64::MAX - 15, u64::MAX] {
        fill(&server, value);
        fill(&client, value.wrapping_mul(3));
        let channel = only_channel(&scene.service);
        assert!(channel["trouble"].as_str().is_some(), "{value} is believed: {channel:#}");
        let both = stdout_of(&strait(&["top", "--once", "--interval", "0.1", &scene.service]).output().unwrap(), 0);
        assert!(both.contains(&format!("{} !", scene.service)), "{both}");
    }
}

#[test]
fn a_name_with_control_characters_is_shown_without_them() {
    let scene = Scene::new();
    let _memory = memory(&format!("strait:\x1b[31m{}\x07\u{202E}", scene.service), 0);
    let channel = only_channel(&scene.service);
    assert_eq!(channel["service"], format!("strait:·[31m{}··", scene.service));
    assert!(channel["trouble"].as_str().unwrap().contains("goes on like none"), "{channel}");
    let table = stdout_of(&run(&["ls", &scene.service]), 0);
    assert!(!table.contains(['\x1b', '\x07', '\u{202E}']), "{table:?}");
}

#[test]
fn memory_that_copies_a_session_is_beside_what_it_copies() {
    let scene = Scene::new();
    let _server = scene.play("server");
    let _client = scene.cast("client").pace(Duration::from_millis(5)).start();
    let session = only_channel(&scene.service)["session"].as_str().unwrap().to_owned();
    let session = u128::from_str_radix(&session, 16).unwrap();
    let _copy = segment(&name("ring", &scene.service, "client", session), session);
    let found = channels(&scene.service);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found.iter().all(|channel| channel["trouble"].as_str().unwrap().starts_with("2 memories say")),
        "{found:#?}"
    );
}

#[test]
fn an_end_that_several_processes_hold_names_its_maker_first() {
    let scene = Scene::new();
    let server = segment(&name("ring", &scene.service, "server", 5), 5);
    // As after a fork, or where a descriptor was left open for a child.
    let inherited = server.fd().try_clone_to_owned().unwrap();
    fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    let child = scene.play("holder");
    drop(inherited);
    let channel = only_channel(&scene.service);
    // Children of tests that run meanwhile may have inherited it as well.
    let holders = pids(&channel["server"]);
    assert!(holders[0] == u64::from(std::process::id()) && holders.contains(&child.pid().into()), "{holders:?}");
    let more = format!("{} (+", std::process::id());
    assert!(stdout_of(&run(&["ls", &scene.service]), 0).contains(&more));
}

#[test]
fn processes_that_come_and_go_meanwhile_change_nothing() {
    let scene = Scene::new();
    let _kept = segment(&name("ring", &scene.service, "server", 5), 5);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..2_u128 {
            let (is_done, scene) = (&is_done, &scene);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    // One that dies, and one that only goes.
                    let service = format!("{}-passing", scene.service);
                    drop(segment(&name("ring", &service, "client", number), number));
                    let mut child = Command::new("/bin/sleep").arg("10").spawn().unwrap();
                    child.kill().unwrap();
                    child.wait().unwrap();
                }
            });
        }
        for _ in 0..20 {
            let found = channels(&scene.service);
            assert!(found.iter().any(|channel| channel["service"] == *scene.service), "{found:#?}");
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

/// `strait ls` as another user than root.
fn as_somebody(arguments: &[&str]) -> Command {
    let mut command = strait(arguments);
    command.gid(SOMEBODY).uid(SOMEBODY).stdin(Stdio::null());
    command
}

/// Whether tests may become somebody else, and somebody else may run this binary.
fn can_be_somebody() -> bool {
    let can = rustix::process::geteuid().is_root()
        && as_somebody(&["--version"]).output().is_ok_and(|out| out.status.success());
    if !can {
        println!("skipped: only root can become another user, whom the directories up to this binary must let in");
    }
    can
}

#[test]
fn what_may_not_be_looked_at_is_said_with_its_reason() {
    if !can_be_somebody() {
        return;
    }
    let scene = Scene::new();
    std::os::unix::fs::chown(scene.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let _hidden = scene.cast("hidden server").user(SOMEBODY).start();
    let client = scene.cast("client").user(SOMEBODY).pace(Duration::from_millis(5)).start();

    let output = as_somebody(&["ls", "--json", &scene.service]).output().unwrap();
    let object = &json_lines(&stdout_of(&output, 0))[0];
    let unseen = &object["processes_not_inspected"];
    assert!(unseen["other_user"].as_u64().unwrap() > 0 && unseen["not_dumpable"].as_u64().unwrap() > 0, "{unseen}");
    // The half that may be seen is shown, as a half.
    let channel = &object["channels"][0];
    assert_eq!((pids(&channel["client"]), &channel["server"]), (vec![client.pid().into()], &Value::Null));
    assert!(channel["trouble"].as_str().unwrap().contains("no memory of the server is seen"), "{channel}");

    let output = as_somebody(&["ls", &scene.service]).output().unwrap();
    let notes = stderr_of(&output, 0);
    assert!(
        notes.contains("not inspected: ") && notes.contains("of another user") && notes.contains("not dumpable"),
        "{notes}"
    );
}

#[test]
fn an_empty_system_says_what_to_do() {
    if !can_be_somebody() {
        return;
    }
    // Nobody else is this user, so that no channel is to be seen.
    let mut command = strait(&["ls"]);
    command.gid(SOMEBODY + 1).uid(SOMEBODY + 1);
    let output = command.output().unwrap();
    assert_eq!(stdout_of(&output, 0), "");
    assert!(stderr_of(&output, 0).contains("start a server and a client"));
}
