//! What a Gazelle site says to its tracker, and is told: the requests and replies of Ocelot.
//!
//! `/{32 bytes}/update?…` changes members and torrents, `/{32 bytes}/report?…` asks for figures.
//! The site's PHP writes these requests by hand and reads the replies up to the end of the
//! connection, so both are taken and given byte for byte as Ocelot has them. It is HTTP as little
//! as that program's: values are not escaped but where an action says so.

mod reply;
mod request;
mod update;

pub use reply::{
    Failure, MemberReport, Queued, STATUS_PAGE, SUCCESS, Stats, Style, TorrentReport, Usage,
    write_failure, write_page, write_reply,
};
pub use request::{REQUEST_BYTES_MAX, Report, Request, Word, is_request, request_end};
pub use update::{Freetorrent, Update, UpdateError};
