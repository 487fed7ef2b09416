//! The feed of the map, from announce to frame.

use std::net::Ipv4Addr;
use std::path::Path;

use peerage_testkit::Server;
use peerage_testkit::websocket::{Buffer, Message, WebSocket};

fn start(flags: &[&str], settings: &[(&str, &str)]) -> Result<Server, String> {
    Server::start_with(Path::new(env!("CARGO_BIN_EXE_peerage")), flags, settings)
}

fn open(server: &Server, headers: &[(&str, &str)]) -> Result<WebSocket, String> {
    WebSocket::open(server.address(Ipv4Addr::LOCALHOST), "/map.ws", headers, Buffer::Usual)
}

#[test]
fn without_locations_a_viewer_is_told_so() -> Result<(), String> {
    let server = start(&["--no-locations"], &[])?;
    let mut viewer = open(&server, &[])?;
    assert_eq!(viewer.receive()?, Message::Close(4404, "no locations".into()));
    viewer.send(&Message::Close(1000, String::new()))?;
    assert!(viewer.receive().is_err(), "the socket is closed");
    assert_eq!(server.stats()?["map"]["viewers"], 0);
    Ok(())
}

#[test]
fn page_of_another_site_may_not_open_the_feed() -> Result<(), String> {
    let server = start(&[], &[])?;
    let refused = open(&server, &[("Origin", "https://elsewhere.example")]).unwrap_err();
    assert!(refused.contains(" 403 "), "{refused}");
    let own = format!("http://127.0.0.1:{}", server.port());
    open(&server, &[("Origin", &own)])?;
    Ok(())
}

#[test]
fn feed_is_for_websockets_alone() -> Result<(), String> {
    let server = start(&[], &[])?;
    let reply = server.get("/map.ws")?;
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    assert_eq!(server.get("/health")?.status, 200);
    Ok(())
}

#[test]
fn tracker_stops_cleanly_while_sockets_are_open() -> Result<(), String> {
    let server = start(&[], &[])?;
    let _viewer = open(&server, &[])?;
    let mut connection = server.connect()?;
    assert_eq!(connection.get("/health")?.status, 200);
    server.stop()
}
