//! Bytes from one process to another, to the end or not at all.

mod support;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{ChildStderr, Output, Stdio},
    time::{Duration, Instant},
};

use support::{Running, json_lines, run, stderr_of, strait};
use tempfile::TempDir;

/// A directory for sockets and files.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// One end, `send` or `recv`, of the pipe `p`.
    fn end(&self, end: &str, input: impl Into<Stdio>, output: impl Into<Stdio>, more: &[&str]) -> Running {
        let sockets = self.file("sockets");
        let mut command = strait(&["pipe", end, "p", "--runtime-dir", sockets.to_str().unwrap()]);
        Running::start(command.args(more).stdin(input).stdout(output).stderr(Stdio::piped()))
    }

    /// A file of so many bytes that follow no pattern of a chunk's length.
    fn filled(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.file(name);
        let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut left = bytes;
        while left > 0 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = state.rotate_left(17).to_le_bytes();
            let take = word.len().min(left as usize);
            file.write_all(&word[..take]).unwrap();
            left -= take as u64;
        }
        file.flush().unwrap();
        path
    }
}

/// Compares two files byte by byte.
#[track_caller]
fn assert_same(left: &Path, right: &Path) {
    assert_eq!(left.metadata().unwrap().len(), right.metadata().unwrap().len());
    let [mut left, mut right] = [left, right].map(|path| BufReader::with_capacity(1 << 20, File::open(path).unwrap()));
    loop {
        let (one, other) = (left.fill_buf().unwrap(), right.fill_buf().unwrap());
        let len = one.len().min(other.len());
        assert!(one[..len] == other[..len], "the files differ");
        if len == 0 {
            return;
        }
        left.consume(len);
        right.consume(len);
    }
}

/// Sends a file of `bytes` and compares what came; returns what both ends reported.
#[track_caller]
fn carry(bytes: u64, receiver_first: bool, env: &[(&str, &str)]) -> [serde_json::Value; 2] {
    let place = Place::new();
    let (source, copy) = (place.filled("source", bytes), place.file("copy"));
    let sockets = place.file("sockets");
    let end = |end: &str, input: Stdio, output: Stdio| {
        let mut command = strait(&["pipe", end, "p", "--json", "--runtime-dir", sockets.to_str().unwrap()]);
        Running::start(command.envs(env.iter().copied()).stdin(input).stdout(output).stderr(Stdio::piped()))
    };
    let sender = || end("send", File::open(&source).unwrap().into(), Stdio::null());
    let receiver = || end("recv", Stdio::null(), File::create(&copy).unwrap().into());
    let ends = if receiver_first {
        let receiver = receiver();
        std::thread::sleep(Duration::from_millis(50));
        [sender(), receiver]
    } else {
        let sender = sender();
        std::thread::sleep(Duration::from_millis(50));
        [sender, receiver()]
    };
    let reports = ends.map(|end| json_lines(&stderr_of(&end.finish(), 0)).remove(0));
    assert_same(&source, &copy);
    reports.iter().for_each(|report| assert_eq!(report["bytes"], bytes));
    reports
}

#[test]
fn a_file_arrives_whole_whichever_end_starts_first() {
    let [sent, _] = carry(64 << 20, true, &[]);
    assert_eq!(sent["transport"], "shared memory");
    carry((1 << 20) + 7, false, &[]);
}

#[test]
#[ignore = "1 GiB twice on disk: cargo test -p strait-cli --test pipe -- --ignored"]
fn a_gibibyte_arrives_whole() {
    carry(1 << 30, true, &[]);
}

#[test]
fn nothing_arrives_as_nothing_and_the_socket_carries_what_memory_may_not() {
    carry(0, true, &[]);
    let [sent, received] = carry(3 << 20, true, &[("STRAIT_DISABLE_SHM", "1")]);
    assert_eq!((&sent["transport"], &received["transport"]), (&"socket".into(), &"socket".into()));
}

#[test]
fn bytes_come_through_as_they_are_written() {
    let place = Place::new();
    let mut receiver = place.end("recv", Stdio::null(), Stdio::piped(), &[]);
    let mut sender = place.end("send", Stdio::piped(), Stdio::null(), &[]);
    let (mut input, mut output) = (sender.child.stdin.take().unwrap(), receiver.child.stdout.take().unwrap());
    for text in [&b"one"[..], b"\0\xff", b"three\n"] {
        input.write_all(text).unwrap();
        let mut read = vec![0; text.len()];
        output.read_exact(&mut read).unwrap();
        assert_eq!(read, text, "while the sender's input is open");
    }
    drop(input);
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
    stderr_of(&sender.finish(), 0);
    stderr_of(&receiver.finish(), 0);
}

/// Two ends that have met and carried a byte; their input and output are open.
fn met(place: &Place) -> (Running, Running) {
    let mut receiver = place.end("recv", Stdio::null(), Stdio::piped(), &[]);
    let mut sender = place.end("send", Stdio::piped(), Stdio::null(), &[]);
    sender.child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    receiver.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    (sender, receiver)
}

/// What an end says that has lost the other, and how soon.
#[track_caller]
fn assert_lost(end: Running, expected: &str) {
    let begin = Instant::now();
    let complaint = stderr_of(&end.finish(), 1);
    assert!(complaint.contains(expected) && complaint.contains("not all bytes have arrived"), "{complaint}");
    assert!(begin.elapsed() < Duration::from_secs(5), "after {:?}", begin.elapsed());
}

#[test]
fn a_killed_receiver_is_told_by_a_sender_that_has_nothing_to_send() {
    let (sender, mut receiver) = met(&Place::new());
    receiver.child.kill().unwrap();
    assert_lost(sender, "the receiver died before the end");
}

#[test]
fn a_killed_receiver_is_told_by_a_sender_that_waits_for_room() {
    let place = Place::new();
    let source = place.filled("source", 8 << 20);
    // Nobody reads its output: first that fills, then the ring.
    let mut receiver = place.end("recv", Stdio::null(), Stdio::piped(), &[]);
    let sender = place.end("send", File::open(&source).unwrap(), Stdio::null(), &[]);
    receiver.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    receiver.child.kill().unwrap();
    assert_lost(sender, "the receiver died before the end");
}

#[test]
fn a_killed_sender_is_told_by_the_receiver() {
    let (mut sender, receiver) = met(&Place::new());
    sender.child.kill().unwrap();
    assert_lost(receiver, "the sender died before the end");
}

#[test]
fn a_reader_of_the_output_that_goes_away_ends_both() {
    let (mut sender, mut receiver) = met(&Place::new());
    drop(receiver.child.stdout.take());
    let mut input = sender.child.stdin.take().unwrap();
    input.write_all(b"more").unwrap();
    assert_lost(receiver, "standard output was closed by its reader");
    // Its own input stays open all the while.
    assert_lost(sender, "the receiver gave up before the end");
    drop(input);
}

#[test]
fn an_input_that_fails_is_no_end_of_input() {
    let place = Place::new();
    let receiver = place.end("recv", Stdio::null(), Stdio::null(), &[]);
    let sender = place.end("send", File::open("/").unwrap(), Stdio::null(), &[]);
    assert!(stderr_of(&sender.finish(), 1).contains("standard input cannot be read: Is a directory"));
    assert_lost(receiver, "the sender gave up before the end");
}

#[test]
fn an_output_that_fails_is_told_by_both() {
    let place = Place::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let receiver = place.end("recv", Stdio::null(), full, &[]);
    let sender = place.end("send", File::open(place.filled("source", 4 << 20)).unwrap(), Stdio::null(), &[]);
    assert!(stderr_of(&receiver.finish(), 1).contains("standard output cannot be written: No space left"));
    assert_lost(sender, "the receiver gave up before the end");
}

#[test]
fn who_waits_in_vain_is_told_what_to_start() {
    let place = Place::new();
    for (end, other) in [("send", "recv"), ("recv", "send")] {
        let output = place.end(end, Stdio::null(), Stdio::null(), &["--wait", "0"]).finish();
        let complaint = stderr_of(&output, 1);
        assert!(complaint.contains(&format!("run `strait pipe {other} p`")), "{complaint}");
    }
}

#[test]
fn who_waits_longer_says_so_unless_told_to_be_quiet() {
    let place = Place::new();
    let mut waiting = place.end("recv", Stdio::null(), Stdio::null(), &["--wait", "20"]);
    let mut line = String::new();
    let stderr: ChildStderr = waiting.child.stderr.take().unwrap();
    BufReader::new(stderr).read_line(&mut line).unwrap();
    assert_eq!(line, "waiting for `strait pipe send p`, 20 s at most\n");
    drop(waiting);
    let quiet = place.end("send", Stdio::null(), Stdio::null(), &["--wait", "2", "--quiet"]).finish();
    assert!(!stderr_of(&quiet, 1).contains("waiting for"));
}

#[test]
fn a_name_that_somebody_has_is_told() {
    let place = Place::new();
    let first = place.end("recv", Stdio::null(), Stdio::null(), &[]);
    let socket = place.file("sockets").join("p.sock");
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = place.end("recv", Stdio::null(), Stdio::null(), &[]).finish();
    assert!(stderr_of(&second, 1).contains("somebody listens at"), "{second:?}");
    let sender = place.end("send", Stdio::null(), Stdio::null(), &[]);
    stderr_of(&sender.finish(), 0);
    stderr_of(&first.finish(), 0);
}

#[test]
fn a_service_of_another_kind_is_no_pipe() {
    let place = Place::new();
    let options = strait::Options { runtime_dir: Some(place.file("sockets")), ..strait::Options::default() };
    let server = strait::rpc::blocking::Server::bind_with("p", &options).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || {
        server.serve(|number: strait::rpc::Request<u64>| Ok::<u64, String>(number.to_native()))
    });
    let output: Output = place.end("send", Stdio::null(), Stdio::null(), &[]).finish();
    assert!(stderr_of(&output, 1).contains("p is no pipe"), "{output:?}");
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_socket_that_says_nothing_does_not_hold_a_sender_for_ever() {
    let place = Place::new();
    let sockets = place.file("sockets");
    std::fs::create_dir(&sockets).unwrap();
    std::fs::set_permissions(&sockets, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let _silent = UnixListener::bind(sockets.join("p.sock")).unwrap();
    let output = place.end("send", Stdio::null(), Stdio::null(), &[]).finish();
    assert!(stderr_of(&output, 1).contains("did not finish by its deadline"), "{output:?}");
}

#[test]
fn wrong_words_end_with_2() {
    assert!(stderr_of(&run(&["pipe", "send", "../x"]), 2).contains("is not a service name"));
    assert!(stderr_of(&run(&["pipe", "send", "x", "--ring-bytes", "5"]), 2).contains("a power of two from 4096"));
    assert!(stderr_of(&run(&["pipe", "recv"]), 2).contains("<NAME>"));
    assert!(stderr_of(&run(&["pipe"]), 2).contains("send"));
}
