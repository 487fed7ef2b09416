//! Inputs that reach far into the code, to be changed a little.

const HASHES: [&str; 3] = [
    "aaaaaaaaaaaaaaaaaaaa",
    "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A",
    "bbbbbbbbbb%20%2Bbbbbbbbb",
];

fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    for (index, hash) in HASHES.into_iter().enumerate() {
        for (left, event, extra) in [
            (0, "started", "&compact=0"),
            (0, "completed", "&compact=0&no_peer_id=1"),
            (1000, "", "&numwant=50&key=%00%ff&trackerid=x&supportcrypto=1&corrupt=0&redundant=0"),
            (7, "stopped", "&numwant=0&ip=1.2.3.4&ipv4=1.2.3.4&ipv6=%5B2001:db8::1%5D"),
            (7, "paused", "&numwant=-1&compact=1"),
        ] {
            queries.push(format!(
                "info_hash={hash}&peer_id=-XX0001-0123456789{index}b&port={}&uploaded=1\
                 &downloaded=2&left={left}&event={event}{extra}",
                6881 + index
            ));
        }
    }
    queries
}

fn bytes(texts: impl IntoIterator<Item = String>) -> Vec<Vec<u8>> {
    texts.into_iter().map(String::into_bytes).collect()
}

pub(crate) fn announce_queries() -> Vec<Vec<u8>> {
    bytes(queries())
}

pub(crate) fn scrape_queries() -> Vec<Vec<u8>> {
    let [a, b, c] = HASHES;
    bytes([
        format!("info_hash={a}"),
        format!("info_hash={a}&info_hash={b}&info_hash={a}&x=y"),
        format!("x&info_hash&info_hash=&info_hash={c}&&=&info_hash=%zz"),
    ])
}

pub(crate) fn heads() -> Vec<Vec<u8>> {
    let query = &queries()[2];
    let [a, b, _] = HASHES;
    bytes([
        format!(
            "GET /announce?{query} HTTP/1.1\r\nHost: t.example:6969\r\nUser-Agent: x/1\r\n\
             Accept-Encoding: deflate, gzip;q=0.5, br\r\nConnection: close\r\n\r\n"
        ),
        format!("GET http://t.example/announce?{query} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
        format!("HEAD /scrape?info_hash={a}&info_hash={b} HTTP/1.1\nHost: x\n\n"),
        "GET /scrape HTTP/1.1\r\nAccept-Encoding: gzip\r\n\
         X-Forwarded-For: 6.6.6.6, [2001:db8::1]\r\n\
         X-Forwarded-For: 203.0.113.7:80, ::ffff:10.0.0.1\r\n\r\n"
            .into(),
        "POST /announce HTTP/1.1\r\nContent-Length: 3\r\n\
         Transfer-Encoding: chunked\r\n\r\nabc"
            .into(),
        "GET /0123456789abcdef/announce HTTP/1.1\r\nContent-Length: 17\r\n\r\n".into(),
        "\r\n\r\nGET / HTTP/1.1\r\nUpgrade: websocket\r\n\
         Connection: upgrade, keep-alive\r\n\r\n"
            .into(),
        "GET /announce HTTP/2.0\r\n\r\n".into(),
    ])
}

pub(crate) fn http_conversations() -> Vec<Vec<u8>> {
    let mut conversations: Vec<_> = heads()
        .into_iter()
        .enumerate()
        .map(|(index, head)| [&[index as u8 * 5], &head[..]].concat())
        .collect();
    for speaker in [0, 4, 8, 12, 16, 28] {
        let mut conversation = vec![speaker];
        for query in queries() {
            let head = format!("GET /announce?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
            conversation.extend_from_slice(head.as_bytes());
        }
        conversation.extend_from_slice(b"GET /scrape HTTP/1.1\r\n\r\n");
        let [a, b, c] = HASHES;
        let scrape = format!("info_hash={c}&info_hash={a}&info_hash={b}&info_hash={a}");
        conversation.extend_from_slice(format!("GET /scrape?{scrape} HTTP/1.1\r\n\r\n").as_bytes());
        conversations.push(conversation);
    }
    conversations
}

pub(crate) fn forwarded() -> Vec<Vec<u8>> {
    bytes(
        [
            "203.0.113.7",
            "6.6.6.6, 203.0.113.7, 10.0.0.2\n10.0.0.3",
            "[2001:db8::1]:4711, ::ffff:10.0.0.2",
            "for=192.0.2.60;proto=http;by=203.0.113.43, For=\"[2001:db8:cafe::17]:4711\"",
            "203.0.113.7:80, unknown\n, ,\n10.0.0.4",
        ]
        .map(String::from),
    )
}

pub(crate) fn proxy_headers() -> Vec<Vec<u8>> {
    let v2 = |command: u8, family: u8, addresses: &[u8]| {
        let start = b"\r\n\r\n\0\r\nQUIT\n";
        let length = (addresses.len() as u16).to_be_bytes();
        [&start[..], &[command, family], &length, addresses, b"GET /"].concat()
    };
    let mut headers = bytes(
        [
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET /",
            "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\nGET /",
            "PROXY UNKNOWN\r\n",
        ]
        .map(String::from),
    );
    headers.push(v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb]));
    headers.push(v2(0x21, 0x21, &[1; 45]));
    headers.push(v2(0x20, 0x00, &[]));
    headers.push(v2(0x21, 0x31, &[b'/'; 216]));
    headers
}

pub(crate) fn access_lists() -> Vec<Vec<u8>> {
    bytes(
        [
            "123456789abcdef123456789abcdef123456789a # a comment\n\n# another\n\
             123456789ABCDEF123456789ABCDEF123456789B\r\n",
            "123456789abcdef123456789abcdef123456789a123456789abcdef12345678\n",
            "0000000000000000000000000000000000000000",
        ]
        .map(String::from),
    )
}

pub(crate) fn datagrams() -> Vec<Vec<u8>> {
    let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0, 0, 0, 0, 1, 2, 3, 4]].concat();
    let scrape = [&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 1, 2, 3, 4][..], &[b'a'; 60]].concat();
    let mut datagrams = vec![connect, scrape];
    for (index, (left, event, options)) in [
        (0_u64, 2, &b""[..]),
        (u64::MAX, 0, b"\x02\x09/announce\x01\x02\x02?x\x00"),
        (1000, 1, b"\0\0"),
        (1000, 4, b"\x03\x01x\x02\xff/"),
        (0, 3, b"\x01"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut announce = vec![0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4];
        announce.extend_from_slice(&[b'a'; 20]);
        announce.extend_from_slice(b"-XX0001-0123456789ab");
        announce.extend_from_slice(&[0; 8]);
        announce.extend_from_slice(&left.to_be_bytes());
        announce.extend_from_slice(&[0; 8]);
        announce.extend_from_slice(&[0, 0, 0, event, 0, 0, 0, 0, 1, 2, 3, 4]);
        announce.extend_from_slice(if index % 2 == 0 { &[0xff; 4] } else { &[0, 0, 0, 3] });
        announce.extend_from_slice(&[0x1a, 0xe1 + index as u8]);
        announce.extend_from_slice(options);
        datagrams.push(announce);
    }
    datagrams
}

pub(crate) fn udp_conversations() -> Vec<Vec<u8>> {
    let datagrams = datagrams();
    let turn = |sender: u8, seconds: u8, datagram: &[u8]| {
        [&[sender, seconds, datagram.len() as u8], datagram].concat()
    };
    // Everybody says everything: with a valid connection id one by one, all at once, without one,
    // and after a long silence.
    [(0x80, 1), (0x80, 0), (0x00, 1), (0x80, 100)]
        .into_iter()
        .map(|(proved, seconds)| {
            let turns = (0..8).flat_map(|sender| {
                datagrams.iter().map(move |datagram| turn(proved | sender, seconds, datagram))
            });
            turns.flatten().collect()
        })
        .collect()
}

pub(crate) fn gazelle_requests() -> Vec<Vec<u8>> {
    let (secret, a, b) = ("0123456789abcdefghijklmnopqrstuv", HASHES[1], "x".repeat(32));
    let queries = [
        format!("update?action=add_torrent&info_hash={a}&id=7&freetorrent=0"),
        format!("update?action=update_torrents&info_hashes={a}{a}&freetorrent=1"),
        format!("update?action=delete_torrent&info_hash={a}&reason=22&id=7"),
        format!("update?action=add_token&info_hash={a}&userid=3"),
        format!("update?action=add_user&passkey={secret}&id=1&visible=0"),
        format!("update?action=remove_users&passkeys={secret}{b}"),
        format!("update?action=change_passkey&oldpasskey={secret}&newpasskey={b}"),
        "update?action=edit_whitelist&old_peer_id=-A=&new_peer_id=-B%41".into(),
        "update?action=update_announce_interval&new_announce_interval=1800".into(),
        format!("update?action=trace_user&passkey={b}&trace=1"),
        "report?get=stats&x=y=z".into(),
        format!("report?get=user&key={b}"),
        format!("report?get=torrent&info_hash={a}"),
        "?x=y".into(),
        "status".into(),
    ];
    bytes(queries.map(|query| {
        format!("GET /{secret}/{query} HTTP/1.1\r\nHost: t\r\nConnection: Close\r\n\r\n")
    }))
}

/// Swarms that grow through every form and shrink again, of one family or both.
pub(crate) fn store_steps() -> Vec<Vec<u8>> {
    let step = |what: u8, crowd: u8, first: u8, seconds: u8| [what, crowd << 5, first, seconds];
    let grown = |what: u8| {
        let mut steps = vec![step(what | 0xc0, 0, 0, 1)];
        steps.extend((1..8).map(|crowd| step(what ^ crowd & 1 | 0xc0, crowd, crowd * 9, 20)));
        steps.push(step(0x04 | what & 2, 7, 0, 0));
        steps.push(step(what, 5, 100, 255));
        steps.concat()
    };
    let both = [grown(0x20), grown(0x2a)].concat();
    vec![grown(0), grown(2), grown(0x19), both]
}
