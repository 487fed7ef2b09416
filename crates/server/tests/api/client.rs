//! A tracker with an API, and requests with a token.

use std::net::Ipv4Addr;
use std::path::Path;

use peerage_testkit::http::{Connection, Reply};
use peerage_testkit::{Ended, Folder, Server};
use serde_json::Value;

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_peerage"))
}

/// A running tracker with a folder for its tokens, and one token of each scope.
pub(crate) struct Tracker {
    pub(crate) server: Server,
    /// Of scope read, operate and admin.
    pub(crate) tokens: [String; 3],
    // Dropped after the server that writes to it.
    pub(crate) data: Folder,
}

impl Tracker {
    /// Starts one with `flags` besides.
    pub(crate) fn start(flags: &[&str]) -> Result<Self, String> {
        let data = Folder::new("api")?;
        let tokens = [
            make_token(&data, "reader", "read")?,
            make_token(&data, "operator", "operate")?,
            make_token(&data, "owner", "admin")?,
        ];
        Ok(Self { server: start(&data, flags)?, tokens, data })
    }

    /// Stops it and starts it anew with what it has kept.
    pub(crate) fn restart(self, flags: &[&str]) -> Result<Self, String> {
        let Self { server, tokens, data } = self;
        server.stop()?;
        Ok(Self { server: start(&data, flags)?, tokens, data })
    }

    /// The token that may do everything.
    pub(crate) fn admin(&self) -> &str {
        &self.tokens[2]
    }

    /// Asks with a token; `path` is below `/api/v1`.
    pub(crate) fn ask_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Reply, String> {
        let authorization = format!("Bearer {token}");
        ask(&self.server, method, path, &[("Authorization", &authorization)], body)
    }

    /// Asks as admin.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply, String> {
        self.ask_as(self.admin(), method, path, body)
    }

    /// Asks as admin, and reads the JSON of a reply with this status.
    #[track_caller]
    pub(crate) fn json(&self, method: &str, path: &str, body: &str, status: u16) -> Value {
        let reply = self.ask(method, path, body).expect("a reply");
        assert_eq!(reply.status, status, "{method} {path} {body}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("it is JSON")
    }

    /// A setting as the API shows it.
    #[track_caller]
    pub(crate) fn setting(&self, key: &str) -> Value {
        let settings = self.json("GET", "/settings", "", 200);
        let mut settings = settings["settings"].as_array().expect("an array").iter();
        settings.find(|setting| setting["key"] == key).expect(key).clone()
    }

    /// The body of an announce of a leecher to the swarm whose info_hash is 20 times `letter`.
    pub(crate) fn announce(&self, letter: char, port: u16) -> Result<String, String> {
        let hash = String::from(letter).repeat(20);
        let peer = format!("peer_id={hash}&port={port}&left=1&uploaded=0&downloaded=0");
        Ok(self.server.get(&format!("/announce?info_hash={hash}&{peer}"))?.text())
    }
}

/// A request below `/api/v1`, with these headers, on a connection of its own.
pub(crate) fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, String> {
    let mut connection = Connection::open(server.address(Ipv4Addr::LOCALHOST))?;
    let length = body.len().to_string();
    let mut all = vec![("Connection", "close")];
    if !body.is_empty() && method != "POST" {
        all.push(("Content-Length", &length));
    }
    all.extend_from_slice(headers);
    connection.request(method, &format!("/api/v1{path}"), &all, body.as_bytes())
}

/// Starts a tracker whose data folder is `data`.
pub(crate) fn start(data: &Folder, flags: &[&str]) -> Result<Server, String> {
    let path = data.path().to_str().ok_or("the path is UTF-8")?;
    Server::start(program(), &[&["--data-dir", path], flags].concat())
}

/// Runs `peerage token`.
pub(crate) fn token_command(data: &Folder, arguments: &[&str]) -> Result<Ended, String> {
    let path = data.path().to_str().ok_or("the path is UTF-8")?;
    let arguments = [&["token", "--data-dir", path], arguments].concat();
    peerage_testkit::run(program(), &arguments, &[])
}

/// Makes a token by `peerage token add`.
pub(crate) fn make_token(data: &Folder, name: &str, scope: &str) -> Result<String, String> {
    let ended = token_command(data, &["add", name, "--scope", scope])?;
    match ended.code {
        Some(0) => Ok(ended.stdout.trim_end().to_owned()),
        code => Err(format!("{code:?}: {}", ended.stderr)),
    }
}
