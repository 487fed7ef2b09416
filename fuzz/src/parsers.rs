//! The parsers of `proto`, and the lists of `tracker`: against simple models where there are any.

use std::net::IpAddr;

use peerage_proto::gazelle::{self, Failure, Report, Update, Word, is_request, request_end};
use peerage_proto::http::{
    AnnounceQuery, Form, HEAD_BYTES_MAX, HeadEnd, HeaderSlots, QueryError, Request,
    forwarded_address, scrape_hashes,
};
use peerage_proto::udp::{self, ParseError};
use peerage_proto::{Event, InfoHash, proxy};
use peerage_tracker::AccessList;

/// A datagram is a request exactly if its length and its action say so.
pub fn udp_request(data: &[u8]) {
    let action = data.get(8..12).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("4")));
    let is_connect = data.get(..8) == Some(&udp::PROTOCOL_ID.to_be_bytes());
    let id = udp::connection_id(data);
    assert_eq!(id.is_some(), data.len() >= 16);
    match udp::parse(data) {
        Ok(udp::Request::Connect(transaction_id)) => {
            assert!(is_connect && action == Some(0));
            assert_eq!(id.expect("16 bytes").1, transaction_id);
        }
        Ok(udp::Request::Announce(announce)) => {
            assert!(data.len() >= udp::ANNOUNCE_BYTES && action == Some(1));
            assert_eq!(announce.info_hash.0, data[16..36]);
            assert_eq!(id, Some((announce.connection_id, announce.transaction_id)));
            assert_eq!(announce.options.len(), data.len() - udp::ANNOUNCE_BYTES);
            let pieces: Vec<_> = announce.url_data().collect();
            let bytes: usize = pieces.iter().map(|piece| piece.len() + 2).sum();
            assert!(bytes <= announce.options.len());
        }
        Ok(udp::Request::Scrape(scrape)) => {
            assert_eq!(action, Some(2));
            let expected = data[16..].chunks_exact(20).take(udp::SCRAPE_HASHES_MAX);
            assert!(scrape.info_hashes().map(|hash| hash.0.to_vec()).eq(expected));
        }
        Err(ParseError::Short) => assert!(data.len() < udp::ANNOUNCE_BYTES),
        Err(ParseError::ProtocolId) => assert!(!is_connect && action == Some(0)),
        Err(ParseError::Action) => assert!(action.is_some_and(|action| action > 2)),
        Err(ParseError::NoInfoHash) => assert!(data.len() < 36 && action == Some(2)),
    }
}

/// The end of a head is the same however the bytes come, and no shorter head is whole.
pub fn http_head(data: &[u8]) {
    let whole = HeadEnd::default().find(data);
    let mut stepwise = HeadEnd::default();
    let mut found = Ok(None);
    for length in 0..=data.len() {
        found = stepwise.find(&data[..length]);
        if found != Ok(None) {
            break;
        }
    }
    assert_eq!(found, whole);
    let Ok(Some(end)) = whole else { return };
    assert!(end <= data.len() && end <= HEAD_BYTES_MAX);
    let mut slots = HeaderSlots::new();
    assert!(Request::parse(&data[..end - 1], &mut slots).is_err());
    let mut slots = HeaderSlots::new();
    let Ok(request) = Request::parse(&data[..end], &mut slots) else { return };
    assert!(!request.path.is_empty() && !request.path.contains(['?', '#', ' ']));
    assert!(!request.query.contains(&b'#'));
    assert!(request.header("Host").all(|value| value.trim_ascii() == value));
    let _ = AnnounceQuery::parse(request.query);
    scrape_hashes(request.query).for_each(drop);
}

/// What was read, written again, is read the same.
pub fn announce_query(data: &[u8]) {
    let Ok(query) = AnnounceQuery::parse(data) else { return };
    let escape = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("%{b:02X}")).collect() };
    let mut again = format!(
        "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}",
        escape(&query.info_hash.0),
        escape(&query.peer_id.0),
        query.port,
        query.uploaded,
        query.downloaded
    );
    if let Some(left) = query.left {
        again += &format!("&left={left}");
    }
    if let Some(corrupt) = query.corrupt {
        again += &format!("&corrupt={corrupt}");
    }
    if let Some(numwant) = query.numwant {
        again += &format!("&numwant={numwant}");
    }
    again += match query.event {
        Event::None => "",
        Event::Completed => "&event=completed",
        Event::Started => "&event=started",
        Event::Stopped => "&event=stopped",
        Event::Paused => "&event=paused",
    };
    again += match query.form {
        Form::Compact if query.says_compact => "&compact=1",
        Form::Compact => "",
        Form::Dictionary => "&compact=0",
        Form::DictionaryWithoutPeerId => "&compact=0&no_peer_id=1",
    };
    let mut again = again.into_bytes();
    for (key, value) in [("ip", query.ip), ("ipv4", query.ipv4), ("ipv6", query.ipv6)] {
        if let Some(value) = value {
            again.extend_from_slice(format!("&{key}=").as_bytes());
            again.extend_from_slice(value);
        }
    }
    assert_eq!(AnnounceQuery::parse(&again), Ok(query));
}

/// The same as a model that takes its time.
pub fn scrape_query(data: &[u8]) {
    let expected: Vec<_> = data
        .split(|&b| b == b'&')
        .filter_map(|pair| {
            let mut halves = pair.splitn(2, |&b| b == b'=');
            (halves.next()? == b"info_hash").then(|| halves.next().unwrap_or_default())
        })
        .map(decode)
        .collect();
    let hashes: Vec<_> = scrape_hashes(data).collect();
    assert_eq!(hashes, expected);
}

fn decode(value: &[u8]) -> Result<InfoHash, QueryError> {
    let mut bytes = Vec::new();
    let mut rest = value.iter().copied();
    while let Some(byte) = rest.next() {
        // The first fault is the one that is told.
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(QueryError::InfoHashEscape);
                };
                (high * 16 + low) as u8
            }
            0x21..=0x7e => byte,
            _ => return Err(QueryError::InfoHashRaw),
        });
        if bytes.len() > 20 {
            return Err(QueryError::InfoHashLength);
        }
    }
    bytes.try_into().map(InfoHash).map_err(|_| QueryError::InfoHashLength)
}

/// A stranger is never believed, and the walk ends at the first stranger from the right.
pub fn forwarded(data: &[u8]) {
    let values = || data.split(|&b| b == b'\n');
    let source: IpAddr = [10, 0, 0, 1].into();
    let trusted = |address: IpAddr| matches!(address, IpAddr::V4(ip) if ip.octets()[0] == 10);
    assert_eq!(forwarded_address(values(), source, |_| false), source);
    let address = forwarded_address(values(), source, trusted);
    assert_eq!(address, address.to_canonical());
    // What stands to the left of a stranger does not count.
    let longer = [&b"198.51.100.66, "[..], data].concat();
    let longer = forwarded_address(longer.split(|&b| b == b'\n'), source, trusted);
    if !trusted(address) {
        assert_eq!(longer, address);
    }
}

/// A header ends where it says, whatever follows; no shorter one is whole; and what is refused
/// stays refused.
pub fn proxy_header(data: &[u8]) {
    let parsed = proxy::parse(data);
    match parsed {
        Ok(Some(header)) => {
            assert!(header.bytes <= data.len() && header.bytes <= proxy::HEADER_BYTES_MAX);
            assert_eq!(proxy::parse(&data[..header.bytes]), parsed);
            for length in 0..header.bytes {
                assert_eq!(proxy::parse(&data[..length]), Ok(None));
            }
            if let proxy::Source::Client(address) = header.source {
                assert_eq!(address.ip(), address.ip().to_canonical());
            }
        }
        Ok(None) => assert!(data.len() < proxy::HEADER_BYTES_MAX),
        Err(_) => {
            let longer = [data, b"\r\n"].concat();
            assert_eq!(proxy::parse(&longer), parsed);
        }
    }
}

/// What is on a list is allowed by it, or denied by it.
pub fn access_list(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match AccessList::parse(&text) {
        Ok(hashes) => {
            assert!(hashes.len() <= text.lines().count());
            let allow = AccessList::new(Some(hashes.clone()), Vec::new());
            let deny = AccessList::new(None, hashes.clone());
            for hash in &hashes {
                assert!(allow.allows(hash) && !deny.allows(hash));
                assert_eq!(InfoHash::from_hex(&hash.to_string()), Some(*hash));
            }
        }
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line)),
    }
}

/// What is taken for a request of a site's by its start, and ends, is answered with something; and
/// what is read from it was in it.
pub fn gazelle_request(data: &[u8]) {
    if let Some(end) = request_end(data) {
        assert!(data[..end].ends_with(b"\r\n\r\n") && request_end(&data[..end - 1]).is_none());
    }
    for length in 0..data.len().min(64) {
        // What was once known for one stays one.
        assert!(!is_request(&data[..length]) || is_request(data));
    }
    let request = match gazelle::Request::parse(data) {
        Ok(request) => request,
        Err(failure) => {
            let mut reply = Vec::new();
            gazelle::write_failure(&mut reply, failure);
            assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert_eq!(failure.text().is_empty(), failure == Failure::StatusPage);
            return;
        }
    };
    assert!(data.len() <= gazelle::REQUEST_BYTES_MAX);
    assert!(!request.query.contains(&b' '));
    match request.word {
        Word::Report => {
            if let Report::User(Some(key)) = request.report() {
                assert!(
                    !key.is_empty() && request.query.windows(key.len()).any(|part| part == key)
                );
            }
        }
        Word::Update => match Update::parse(request.query).inspect(written_as_read) {
            Ok(Update::RemoveUsers { passkeys }) => {
                assert!(!passkeys.is_empty() && passkeys.len() * 32 <= request.query.len());
            }
            Ok(Update::UpdateTorrents { info_hashes, .. }) => {
                assert!(!info_hashes.is_empty() && info_hashes.len() * 20 <= request.query.len());
            }
            Ok(Update::AddUser { id, .. } | Update::AddTorrent { id, .. }) => assert!(id > 0),
            Ok(Update::AddClient(prefix) | Update::RemoveClient(prefix)) => {
                assert!((1..=20).contains(&prefix.len()));
            }
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        },
    }
}

/// What is told onwards of an update is read as that update.
fn written_as_read(update: &Update<'_>) {
    let mut query = Vec::new();
    update.write(&mut query);
    assert_eq!(Update::parse(&query).as_ref(), Ok(update));
}
