//! A client of RFC 6455 as far as tests need it: it opens, reads whole messages and sends short
//! ones. It answers nothing by itself.

use std::io::{
    BufRead as _, BufReader, Error, ErrorKind, Read as _, Result as IoResult, Write as _,
};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long a connection and each read may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Most bytes of a head and of a message; more is an error.
const BYTES_MAX: u64 = 1 << 20;

/// The example of RFC 6455, section 1.3, with what has to be answered to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How much the system keeps of what was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// As much as it likes.
    Usual,
    /// As little as it can.
    Smallest,
}

/// What comes over a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(Vec<u8>),
    /// Bytes.
    Binary(Vec<u8>),
    /// To be answered.
    Ping(Vec<u8>),
    /// An answer.
    Pong(Vec<u8>),
    /// The end, with its code (1005 where there is none) and reason.
    Close(u16, String),
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: BufReader<TcpStream>,
}

impl WebSocket {
    /// Opens one at `target`, with `headers` besides those that belong to it. An error names the
    /// status that came instead of 101.
    pub fn open(
        server: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
        buffer: Buffer,
    ) -> Result<Self, String> {
        let opened = open(server, target, headers, buffer);
        opened.map_err(|error| format!("a WebSocket at {server}{target}: {error}"))
    }

    /// The next message, once there is one.
    pub fn receive(&mut self) -> Result<Message, String> {
        self.read().map_err(|error| format!("a message of a WebSocket: {error}"))
    }

    /// Sends a message of fewer than 126 bytes, in one frame with a mask of zeros.
    pub fn send(&mut self, message: &Message) -> Result<(), String> {
        let (opcode, payload) = match message {
            Message::Text(text) => (1, text.clone()),
            Message::Binary(bytes) => (2, bytes.clone()),
            Message::Close(code, reason) => (8, [&code.to_be_bytes(), reason.as_bytes()].concat()),
            Message::Ping(bytes) => (9, bytes.clone()),
            Message::Pong(bytes) => (10, bytes.clone()),
        };
        assert!(payload.len() < 126, "short messages alone");
        let head = [0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        let sent = self.stream.get_mut().write_all(&[&head, &payload[..]].concat());
        sent.map_err(|error| format!("a message to a WebSocket: {error}"))
    }

    fn read(&mut self) -> IoResult<Message> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let [first, second] = head;
        let length = match second {
            length @ 0..126 => u64::from(length),
            126 => u64::from(u16::from_be_bytes(self.array()?)),
            127 => u64::from_be_bytes(self.array()?),
            _ => return Err(Error::other("a server does not mask")),
        };
        if length > BYTES_MAX || first & 0x80 == 0 {
            return Err(Error::other(format!("{length} bytes, or not all of a message")));
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(match first & 0x7f {
            1 => Message::Text(payload),
            2 => Message::Binary(payload),
            8 => match payload.split_first_chunk::<2>() {
                Some((code, reason)) => {
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    Message::Close(u16::from_be_bytes(*code), reason)
                }
                None => Message::Close(1005, String::new()),
            },
            9 => Message::Ping(payload),
            10 => Message::Pong(payload),
            opcode => return Err(Error::other(format!("opcode {opcode}"))),
        })
    }

    fn array<const N: usize>(&mut self) -> IoResult<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn open(
    server: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    buffer: Buffer,
) -> IoResult<WebSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if buffer == Buffer::Smallest {
        // Linux doubles it, and takes no less than some 2 kB.
        socket.set_recv_buffer_size(1)?;
    }
    socket.connect_timeout(&server.into(), LIMIT)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    let mut bounded = stream.by_ref().take(BYTES_MAX);
    while !head.ends_with(b"\r\n\r\n") {
        if bounded.read_until(b'\n', &mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") || !head.contains(ACCEPT) {
        return Err(Error::other(format!("answered with `{status}`")));
    }
    Ok(WebSocket { stream })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// Answers one connection with `answer`, and gives what came after the head.
    fn server(answer: Vec<u8>) -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).expect("a head");
            }
            stream.get_mut().write_all(&answer).expect("loopback");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("the end");
            rest
        });
        (address, server)
    }

    #[test]
    fn messages_are_read_and_sent() {
        let head = format!("HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let close = [&[0x88, 5, 0x0f, 0xa0][..], b"why"].concat();
        let (address, server) = server([head.as_bytes(), &long, &[0x89, 0], &close].concat());
        let mut socket = WebSocket::open(address, "/", &[], Buffer::Usual).expect("101");
        assert_eq!(socket.receive(), Ok(Message::Binary(vec![7; 256])));
        assert_eq!(socket.receive(), Ok(Message::Ping(vec![])));
        assert_eq!(socket.receive(), Ok(Message::Close(4000, "why".into())));
        socket.send(&Message::Text(b"hi".into())).expect("it is open");
        drop(socket);
        assert_eq!(server.join().expect("no panic"), [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn any_other_status_is_an_error_that_names_it() {
        let (address, _) = server(b"HTTP/1.1 403 Forbidden\r\n\r\n".into());
        let refused = WebSocket::open(address, "/", &[], Buffer::Smallest).expect_err("403");
        assert!(refused.contains("403"), "{refused}");
    }
}
