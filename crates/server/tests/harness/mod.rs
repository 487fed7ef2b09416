//! Starts the program as an operator would, and talks to it over loopback.
//!
//! Nothing waits by sleeping: each wait is for a line or a reply, with a deadline that only a fault
//! reaches.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use nix::sys::signal::Signal;

/// How long anything may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a run that ended by itself left.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, with nothing of ours in its environment but `variables`.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerage"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERAGE__") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let output = command(arguments, variables).output().expect("the program runs");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A folder of its own for one test, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("peerage-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a path of text").into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A tracker that runs.
pub(crate) struct Tracker {
    child: Child,
    /// What it printed up to `ready`.
    pub(crate) lines: Vec<String>,
    /// The port of all its listeners.
    pub(crate) port: u16,
    log: Receiver<String>,
}

impl Tracker {
    /// Starts it on 127.0.0.1, on a free port, and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(&[&["--port", "0", "--bind", "127.0.0.1"], arguments].concat(), &[])
    }

    /// Starts it with no arguments and variables but these.
    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(arguments, variables);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it");
        let log = lines_of(child.stderr.take().expect("piped"));
        let printed = lines_of(child.stdout.take().expect("piped"));
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != "ready") {
            match printed.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(_) => {
                    let _ = child.kill();
                    panic!("not ready: {lines:?} {:?}", log.try_iter().collect::<Vec<_>>());
                }
            }
        }
        let port = lines[0].rsplit_once(':').expect("an address").1;
        let port = port.split(' ').next().expect("a port").parse().expect("a port");
        Self { child, lines, port, log }
    }

    /// Waits for a log line with `text` in it, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} but {seen:?}"),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).expect("it runs");
    }

    /// Stops it by `signal` and returns how it ended.
    pub(crate) fn stop(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let deadline = Instant::now() + DEADLINE;
        // Its log ends when it does.
        while self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        self.child.wait().expect("our child")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A connection that is read with a deadline.
    pub(crate) fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(self.address()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        BufReader::new(stream)
    }

    /// Asks for a path on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Reply {
        request(&mut self.connect(), "GET", path)
    }

    /// The statistics.
    pub(crate) fn stats(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/stats.json").text()).expect("JSON")
    }

    /// The statistics once `is_so` of them. A worker counts a datagram when it has answered it, and
    /// statistics may be a second old.
    #[track_caller]
    pub(crate) fn stats_when(
        &self,
        is_so: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = Instant::now() + DEADLINE;
        let mut connection = self.connect();
        loop {
            let text = request(&mut connection, "GET", "/stats.json").text();
            let stats = serde_json::from_str(&text).expect("JSON");
            if is_so(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "{stats}");
        }
    }

    /// A UDP socket to it, with a deadline for its replies.
    pub(crate) fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(self.address()).expect("an address");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        socket
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A reply over HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks on a connection that stays open, and reads one reply: by its length, or in chunks.
pub(crate) fn request(connection: &mut BufReader<TcpStream>, method: &str, path: &str) -> Reply {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: tracker.test:1\r\n\r\n");
    connection.get_mut().write_all(text.as_bytes()).expect("sent");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = connection.read_line(&mut head).expect("a head");
        assert!(read > 0, "closed after {head:?}");
    }
    let head = head.to_lowercase();
    let status = head[9..12].parse().expect("a status");
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = Vec::new();
    match length {
        _ if method == "HEAD" => {}
        Some(length) => {
            body.resize(length.parse().expect("a length"), 0);
            connection.read_exact(&mut body).expect("a body");
        }
        None if head.contains("transfer-encoding: chunked") => read_chunks(connection, &mut body),
        None => drop(connection.read_to_end(&mut body).expect("a body")),
    }
    Reply { status, head, body }
}

fn read_chunks(connection: &mut BufReader<TcpStream>, body: &mut Vec<u8>) {
    loop {
        let mut size = String::new();
        connection.read_line(&mut size).expect("a size");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        connection.read_exact(&mut chunk).expect("a chunk");
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return;
        }
    }
}

/// The path of an announce of a seeder for the swarm whose info_hash is 20 times `letter`.
pub(crate) fn announce_path(letter: char) -> String {
    let hash = String::from(letter).repeat(20);
    format!("/announce?info_hash={hash}&peer_id={hash}&port=6881&left=0&uploaded=0&downloaded=0")
}
