//! The monitor as a user runs it: a daemon, and several shells at once.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn monitor(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait-monitor"));
    command.arg("--runtime-dir").arg(dir.join("run")).args(arguments).stdout(Stdio::piped());
    command
}

/// Starts a process that goes on, and returns its first line.
fn start(dir: &Path, arguments: &[&str]) -> (Process, String) {
    let mut process = Process(monitor(dir, arguments).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim().to_owned())
}

/// The lines that `path` answers with.
fn get(address: &str, path: &str) -> impl Iterator<Item = String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    BufReader::new(stream).lines().map_while(Result::ok)
}

#[test]
fn shells_in_text_as_json_and_as_a_live_page_show_what_one_daemon_publishes() {
    let dir = tempfile::tempdir().unwrap();
    let (_daemon, line) = start(dir.path(), &["daemon", "--every-ms", "20"]);
    assert!(line.starts_with("publishing at "), "{line}");

    let json = monitor(dir.path(), &["shell", "--json"]).output().unwrap();
    let sample: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json.status.success() && sample["memory_total_bytes"].as_u64().unwrap() > 1 << 20, "{sample}");
    let text = monitor(dir.path(), &["shell", "--once"]).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("memory "));

    let (_web, url) = start(dir.path(), &["web", "--listen", "127.0.0.1:0"]);
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    assert!(get(address, "/").any(|line| line.contains("new EventSource(\"/events\")")));
    // Two browsers at once; each is told of one change after the other.
    for mut events in [get(address, "/events"), get(address, "/events")] {
        for _ in 0..3 {
            let event = events.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).expect("an event");
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            assert_eq!(event["stale"], false);
            assert_eq!(event["sample"]["memory_total_bytes"], sample["memory_total_bytes"]);
        }
    }
}

/// A Chromium on the PATH.
fn chromium() -> Option<std::path::PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell"];
    std::env::split_paths(&std::env::var_os("PATH")?)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|path| path.is_file())
}

#[test]
fn a_browser_draws_the_page_from_its_events() {
    let Some(chromium) = chromium() else {
        println!("skipped: no chromium on the PATH");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (daemon, _) = start(dir.path(), &["daemon", "--every-ms", "20"]);
    let (_web, url) = start(dir.path(), &["web", "--listen", "127.0.0.1:0"]);
    let profile = dir.path().join("profile");
    let _browser = Process(
        Command::new(&chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            .args(["--remote-debugging-port=0", &format!("--user-data-dir={}", profile.display()), &url])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    // The browser writes there where it may be asked for its pages, whose titles it tells without more ado.
    let address = soon("the browser listens", || {
        let port = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
        Some(format!("127.0.0.1:{}", port.lines().next()?))
    });
    let title = |part: &str| {
        soon(part, || get(&address, "/json/list").find(|line| line.contains("\"title\"") && line.contains(part)))
    };
    let live = title(" % processors, strait monitor");
    assert!(!live.contains("stale"), "{live}");
    drop(daemon);
    title("stale: ");
}

/// What `look` finds within half a minute.
fn soon<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "never seen: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_shell_without_a_daemon_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = monitor(dir.path(), &["shell", "--once"]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no server listens"));
}
