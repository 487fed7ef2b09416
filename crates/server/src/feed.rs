//! The live feed of the map: where announces come from, in frames that all viewers share.
//!
//! A frame, in little endian: `u8` version 1, `u8` 0, `u16` points, `u32` announces since the last
//! frame, then 8 bytes for each point: `i16` latitude and `i16` longitude in tenths of a degree,
//! `u8` way (0 UDP over IPv4, 1 UDP over IPv6, 2 HTTP over IPv4, 3 HTTP over IPv6), `u8` 0, and two
//! letters of the country (ISO 3166) or two zeros. Never an address, nor anything of a peer's.
//!
//! The collector gathers the points and publishes; who takes frames to viewers is `web/feed.rs`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use peerage_locations::Place;
use peerage_proto::Family;
use peerage_tracker::{Protocol, Rng};
use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::ToSchema;

/// Most points in one frame. Of more, a fair choice is sent.
const POINTS_MAX: usize = 2000;

/// Frames that wait for one viewer. One more is not for that viewer.
const FRAMES_MAX: usize = 8;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 8;
const POINT_BYTES: usize = 8;

/// Most bytes of a frame.
pub(crate) const FRAME_BYTES_MAX: usize = HEAD_BYTES + POINTS_MAX * POINT_BYTES;

/// The viewers, and what is counted of them.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// Those that are gone are taken out with the next frame or viewer, so there are never more
    /// than there were viewers at once.
    senders: Mutex<Vec<Sender<Bytes>>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    viewers: AtomicU64,
    dropped_viewers: AtomicU64,
    points_sent: AtomicU64,
}

/// What is told of the map.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MapStats {
    /// Viewers now.
    pub(crate) viewers: u64,
    /// Viewers that were dropped because they did not read.
    pub(crate) dropped_viewers: u64,
    /// Points in all frames, each frame once however many viewers it went to.
    pub(crate) points_sent: u64,
}

/// One viewer's end of the feed. It counts as a viewer while this is.
#[derive(Debug)]
pub(crate) struct Viewer {
    frames: Receiver<Bytes>,
    counts: Arc<Counts>,
}

impl Feed {
    /// One more viewer. How many there may be is for the caller to bound.
    pub(crate) fn join(&self) -> Viewer {
        let (sender, frames) = channel(FRAMES_MAX);
        let mut senders = self.lock();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        drop(senders);
        self.counts.viewers.fetch_add(1, Ordering::Relaxed);
        Viewer { frames, counts: Arc::clone(&self.counts) }
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.counts.viewers.load(Ordering::Relaxed) > 0
    }

    /// Hands a frame to all viewers but those whose queue is full.
    pub(crate) fn publish(&self, frame: &Bytes) {
        let points = frame.len().saturating_sub(HEAD_BYTES) / POINT_BYTES;
        self.counts.points_sent.fetch_add(points as u64, Ordering::Relaxed);
        self.lock().retain(|sender| {
            !matches!(sender.try_send(frame.clone()), Err(TrySendError::Closed(_)))
        });
    }

    /// What there is to tell.
    pub(crate) fn stats(&self) -> MapStats {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        MapStats {
            viewers: count(&self.counts.viewers),
            dropped_viewers: count(&self.counts.dropped_viewers),
            points_sent: count(&self.counts.points_sent),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sender<Bytes>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    /// The next frame, once there is one. Nothing is lost if it is not waited for to the end.
    /// `None` when the feed has ended.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.frames.recv().await
    }

    /// It does not read.
    pub(crate) fn drop_as_idle(self) {
        self.counts.dropped_viewers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.counts.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The points of the frame to come.
pub(crate) struct Gatherer {
    /// At most [`POINTS_MAX`].
    points: Vec<[u8; POINT_BYTES]>,
    /// Points offered, those not kept included.
    offered: u64,
    /// Frames not made in a row, for want of anything to tell; below [`QUIET_MAX`].
    quiet: u32,
    rng: Rng,
}

/// Of so many frames with nothing to tell in a row, the last is made: a viewer that hears nothing
/// could not tell a quiet tracker from one that is gone.
const QUIET_MAX: u32 = 4;

impl Gatherer {
    /// No points. `seed` is random.
    pub(crate) fn new(seed: u64) -> Self {
        Self { points: Vec::new(), offered: 0, quiet: 0, rng: Rng::from_seed(seed) }
    }

    /// An announce over `protocol` by `address`, which is at `place`. Of more than there is room
    /// for, each is as likely to be kept as any other.
    pub(crate) fn offer(&mut self, protocol: Protocol, address: IpAddr, place: Place) {
        let point = encode(protocol, Family::of(address), place);
        self.offered += 1;
        if self.points.len() < POINTS_MAX {
            self.points.push(point);
            return;
        }
        let bound = u32::try_from(self.offered).unwrap_or(u32::MAX);
        if let Some(old) = self.points.get_mut(self.rng.below(bound) as usize) {
            *old = point;
        }
    }

    /// The frame, with so many announces since the last; the next begins without points. Mostly
    /// `None` where there is nothing to tell.
    pub(crate) fn frame(&mut self, announces: u64) -> Option<Bytes> {
        self.offered = 0;
        if self.points.is_empty() && announces == 0 && self.quiet + 1 < QUIET_MAX {
            self.quiet += 1;
            return None;
        }
        self.quiet = 0;
        let count = u16::try_from(self.points.len()).expect("POINTS_MAX is less");
        let announces = u32::try_from(announces).unwrap_or(u32::MAX);
        let mut frame = Vec::with_capacity(HEAD_BYTES + self.points.len() * POINT_BYTES);
        frame.extend([VERSION, 0]);
        frame.extend(count.to_le_bytes());
        frame.extend(announces.to_le_bytes());
        frame.extend(self.points.as_flattened());
        self.points.clear();
        Some(frame.into())
    }
}

fn encode(protocol: Protocol, family: Family, place: Place) -> [u8; POINT_BYTES] {
    let [latitude_low, latitude_high] = place.latitude_tenths.to_le_bytes();
    let [longitude_low, longitude_high] = place.longitude_tenths.to_le_bytes();
    let way = match (protocol, family) {
        (Protocol::Udp, Family::V4) => 0,
        (Protocol::Udp, Family::V6) => 1,
        (Protocol::Http, Family::V4) => 2,
        (Protocol::Http, Family::V6) => 3,
    };
    let [first, second] = place.country;
    [latitude_low, latitude_high, longitude_low, longitude_high, way, 0, first, second]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn place(latitude_tenths: i16, longitude_tenths: i16) -> Place {
        Place { latitude_tenths, longitude_tenths, country: *b"NZ" }
    }

    #[test]
    fn frame_is_laid_out_as_the_pages_read_it() {
        let mut gatherer = Gatherer::new(1);
        assert_eq!(gatherer.frame(0), None);
        gatherer.offer(Protocol::Udp, V4, place(-900, 1800));
        gatherer.offer(Protocol::Http, V6, Place { country: [0; 2], ..place(525, -1) });
        let expected = [
            // Version, 0, two points, 70000 announces.
            1, 0, 2, 0, 0x70, 0x11, 1, 0, //
            // -900 and 1800 tenths, UDP over IPv4, New Zealand.
            0x7c, 0xfc, 0x08, 0x07, 0, 0, b'N', b'Z', //
            // 525 and -1 tenths, HTTP over IPv6, no country.
            0x0d, 0x02, 0xff, 0xff, 3, 0, 0, 0,
        ];
        assert_eq!(gatherer.frame(70_000).as_deref(), Some(&expected[..]));
        assert_eq!(gatherer.frame(1).as_deref(), Some(&[1, 0, 0, 0, 1, 0, 0, 0][..]));
        gatherer.offer(Protocol::Udp, V6, place(0, 0));
        gatherer.offer(Protocol::Http, V4, place(0, 0));
        let frame = gatherer.frame(u64::MAX).unwrap();
        assert_eq!((&frame[4..8], frame[12], frame[20]), (&[255; 4][..], 1, 2));
    }

    #[test]
    fn where_there_is_nothing_to_tell_every_fourth_frame_says_so() {
        let mut gatherer = Gatherer::new(1);
        let mut made = |announces| gatherer.frame(announces).is_some();
        let quiet: Vec<bool> = (0..8).map(|_| made(0)).collect();
        assert_eq!(quiet, [false, false, false, true, false, false, false, true]);
        assert_eq!(
            [0, 0, 1, 0, 0, 0, 0].map(made),
            [false, false, true, false, false, false, true]
        );
    }

    #[test]
    fn more_points_than_fit_are_chosen_from_fairly() {
        let mut gatherer = Gatherer::new(7);
        let offered = 10 * POINTS_MAX as i16;
        for number in 0..offered {
            gatherer.offer(Protocol::Udp, V4, place(number, 0));
        }
        let frame = gatherer.frame(1).unwrap();
        assert_eq!(frame.len(), FRAME_BYTES_MAX);
        let latitude = |point: &[u8]| i16::from_le_bytes([point[0], point[1]]);
        let kept: BTreeSet<i16> = frame[8..].chunks(8).map(latitude).collect();
        assert_eq!(kept.len(), POINTS_MAX);
        // A tenth of each half, within six standard deviations of 30.
        let early = kept.range(..offered / 2).count();
        assert!((820..1180).contains(&early), "{early} of the first half");
    }

    #[test]
    fn viewer_that_does_not_read_is_skipped_and_others_are_not() {
        let feed = Feed::default();
        assert!(!feed.is_watched());
        let (mut reader, idle) = (feed.join(), feed.join());
        assert!(feed.is_watched());
        let mut seen = 0;
        for announces in 1..=20 {
            let frame = Gatherer::new(1).frame(announces).unwrap();
            feed.publish(&frame);
            while let Ok(frame) = reader.frames.try_recv() {
                seen += 1;
                assert_eq!(u64::from(frame[4]), seen);
            }
        }
        assert_eq!((seen, idle.frames.len()), (20, FRAMES_MAX));
        idle.drop_as_idle();
        feed.publish(&Gatherer::new(1).frame(1).unwrap());
        assert_eq!(feed.lock().len(), 1);
        let stats = feed.stats();
        assert_eq!((stats.viewers, stats.dropped_viewers, stats.points_sent), (1, 1, 0));
        drop(reader);
        assert!(!feed.is_watched());
        for _ in 0..100 {
            drop(feed.join());
        }
        assert_eq!(feed.lock().len(), 1);
    }
}
