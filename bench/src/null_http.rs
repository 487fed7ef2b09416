//! A responder without state over HTTP: what a request costs before anyone reads it.
//!
//! One thread over epoll. It looks for the end of a request and for the word that closes the
//! connection, and sends a constant.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Connections at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 8192;
const LISTENER: Token = Token(usize::MAX);

/// Answers on `address` until the process is ended, with bodies of `body_bytes` bytes.
pub(crate) fn run(address: SocketAddr, body_bytes: usize) -> Result<(), String> {
    serve(address, body_bytes).map_err(|error| format!("null-http on {address}: {error}"))
}

fn serve(address: SocketAddr, body_bytes: usize) -> io::Result<()> {
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {body_bytes}\r\n\r\n{}",
        "x".repeat(body_bytes)
    );
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut streams: Vec<Option<TcpStream>> = (0..CONNECTIONS_MAX).map(|_| None).collect();
    let mut free: Vec<usize> = (0..CONNECTIONS_MAX).collect();
    let mut buffer = vec![0; 4096];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let Token(index) = event.token();
            if event.token() == LISTENER {
                while !free.is_empty()
                    && let Ok((mut stream, _)) = listener.accept()
                {
                    let index = free.pop().expect("the loop saw a free place");
                    poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
                    streams[index] = Some(stream);
                }
                continue;
            }
            let Some(stream) = &mut streams[index] else { continue };
            if !answer(stream, &mut buffer, reply.as_bytes()) {
                streams[index] = None;
                free.push(index);
            }
        }
    }
}

/// Answers what has come; whether the connection stays. A request comes in one piece here.
fn answer(stream: &mut TcpStream, buffer: &mut [u8], reply: &[u8]) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => {
                let request = &buffer[..count];
                if !request.ends_with(b"\r\n\r\n") || stream.write(reply).is_err() {
                    return false;
                }
                if request.ends_with(b"close\r\n\r\n") {
                    return false;
                }
                if count < buffer.len() {
                    return true;
                }
            }
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
