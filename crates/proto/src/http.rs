//! The HTTP tracker protocol: BEP 3, 7, 21, 23, 24, 31, 48.
//!
//! Requests are parsed in place: [`HeadEnd`] finds where a head ends, [`Request::parse`] reads it
//! (RFC 9112), [`AnnounceQuery`] and [`scrape_hashes`] read its query. Replies are appended to a
//! buffer of the caller: [`write_reply`] frames what [`AnnounceReply`], [`ScrapeReply`] and
//! [`FailureReply`] say. Bodies of requests are not read here, and pages are not written here.

mod forwarded;
mod head;
mod query;
mod reply;
mod response;

pub use forwarded::forwarded_address;
pub use head::{
    Body, HEAD_BYTES_MAX, HEADERS_MAX, HeadEnd, HeadError, HeaderSlots, Method, Request, Version,
};
pub use query::{AnnounceQuery, Form, QueryError, says_compact, scrape_hashes};
pub use reply::{AnnounceReply, FailureReply, PeerList, RetryIn, ScrapeCounts, ScrapeReply};
pub use response::{
    Connection, Encoding, Framing, Head, LAST_CHUNK, Status, write_chunk, write_error, write_reply,
    write_stream_head,
};
