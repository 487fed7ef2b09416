//! What the tracker did in the last minute, hour and day: the body of `/history.json`.
//!
//! In memory, of a fixed size (some 70 kB), and gone with the process. A reading is taken once a
//! second; each span keeps a point for each so many readings.

use std::collections::VecDeque;
use std::time::Duration;

use peerage_proto::Family;
use peerage_tracker::private::Credited;
use peerage_tracker::{Now, Protocol, Tally};
use serde::Serialize;

use crate::latency::Latencies;
use crate::private::Bytes;

/// What is read once a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// When.
    pub(crate) at: Now,
    /// Requests and refusals since the start.
    pub(crate) tally: Tally,
    /// Over all protocols, since the start.
    pub(crate) latencies: Latencies,
    /// Of this moment.
    pub(crate) gauges: Gauges,
    /// Bytes credited to and charged from members since the start; `None` where there are none.
    pub(crate) credited: Option<Credited>,
}

/// What goes up and down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    /// Peers with nothing left.
    pub(crate) seeders: u64,
    /// All others.
    pub(crate) leechers: u64,
    /// Swarms, those without peers included; where there are members, the registered torrents.
    pub(crate) swarms: u64,
    /// Over a minute, where the system tells.
    pub(crate) load: Option<f64>,
    /// Memory of the process, where the system tells.
    pub(crate) resident_bytes: Option<u64>,
    /// The announce interval in force.
    pub(crate) interval_secs: u32,
    /// Members who have a peer; `None` where there are no members.
    pub(crate) online: Option<u64>,
}

/// A stretch of time that is shown at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Span {
    /// Each second.
    Minute,
    /// Each half of a minute.
    Hour,
    /// Each five minutes.
    Day,
}

impl Span {
    const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Reads its name; `None` for a name of nothing.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "minute" => Some(Self::Minute),
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            _ => None,
        }
    }

    /// Time from one point to the next, and as many readings.
    const fn step_secs(self) -> u32 {
        match self {
            Self::Minute => 1,
            Self::Hour => 30,
            Self::Day => 300,
        }
    }

    /// How many points there are.
    const fn points(self) -> usize {
        match self {
            Self::Minute => 60,
            Self::Hour => 120,
            Self::Day => 288,
        }
    }
}

/// The points of all spans.
#[derive(Debug)]
pub(crate) struct History {
    tracks: [Track; Span::ALL.len()],
}

/// The points of one span.
#[derive(Debug)]
struct Track {
    span: Span,
    /// Where the point to come begins.
    begun: Reading,
    /// Readings since, fewer than the span's step.
    readings: u32,
    /// The oldest first; at most [`Span::points`].
    points: VecDeque<Point>,
    /// When the last point ended.
    ended: Now,
}

/// What happened between two readings, and what was so at the second.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Requests per second: UDP over IPv4 and IPv6, HTTP over IPv4 and IPv6.
    requests: [f32; 4],
    /// Per second.
    refusals: f32,
    /// What a hundredth of the latencies were above.
    latency_micros: Option<u64>,
    /// Bytes per second.
    credited: Option<Bytes<f32>>,
    gauges: Gauges,
}

impl History {
    /// No points: the first come a step after `start`.
    pub(crate) fn new(start: &Reading) -> Self {
        let track = |span: Span| Track {
            span,
            begun: start.clone(),
            readings: 0,
            points: VecDeque::with_capacity(span.points()),
            ended: start.at,
        };
        Self { tracks: Span::ALL.map(track) }
    }

    /// Takes note of a reading, later than the last.
    pub(crate) fn add(&mut self, reading: &Reading) {
        for track in &mut self.tracks {
            track.readings += 1;
            if track.readings == track.span.step_secs() {
                track.add(reading);
            }
        }
    }

    /// The points of one span.
    pub(crate) fn of(&self, span: Span) -> Body {
        let track = &self.tracks[span as usize];
        let whole = Duration::from_secs(u64::from(span.step_secs()) * span.points() as u64);
        let start = track.ended.as_secs().saturating_sub(whole.as_secs());
        Body {
            span,
            step_secs: span.step_secs(),
            start_secs: start,
            points: span.points(),
            series: Series::of(track),
        }
    }
}

impl Track {
    fn add(&mut self, reading: &Reading) {
        if self.points.len() == self.span.points() {
            self.points.pop_front();
        }
        self.points.push_back(Point::between(&self.begun, reading));
        self.begun.clone_from(reading);
        self.ended = reading.at;
        self.readings = 0;
    }

    /// A value of each point, with nothing before the first.
    fn series<T: Clone>(&self, value: impl Fn(&Point) -> Option<T>) -> Vec<Option<T>> {
        let mut values = vec![None; self.span.points() - self.points.len()];
        values.extend(self.points.iter().map(value));
        values
    }
}

/// The ways a request may come, in the order of [`Point::requests`].
const WAYS: [(Protocol, Family); 4] = [
    (Protocol::Udp, Family::V4),
    (Protocol::Udp, Family::V6),
    (Protocol::Http, Family::V4),
    (Protocol::Http, Family::V6),
];

impl Point {
    fn between(begun: &Reading, ended: &Reading) -> Self {
        let per_sec = |count: fn(&Tally, (Protocol, Family)) -> u64, way| {
            rate((count(&begun.tally, way), begun.at), (count(&ended.tally, way), ended.at)) as f32
        };
        let requests = |tally: &Tally, (protocol, family)| tally.all_requests(protocol, family);
        let latencies = ended.latencies.clone().since(&begun.latencies);
        Self {
            requests: WAYS.map(|way| per_sec(requests, way)),
            refusals: per_sec(|tally, _| tally.all_refusals(), WAYS[0]),
            latency_micros: latencies.micros(990),
            credited: begun.credited.zip(ended.credited).map(|(before, after)| Bytes {
                uploaded: rate((before.uploaded, begun.at), (after.uploaded, ended.at)) as f32,
                downloaded: rate((before.downloaded, begun.at), (after.downloaded, ended.at))
                    as f32,
            }),
            gauges: ended.gauges,
        }
    }
}

/// How fast a count grew between two moments, per second, to a hundredth; 0 where no time passed.
pub(crate) fn rate((before, begun): (u64, Now), (after, ended): (u64, Now)) -> f64 {
    let secs = ended.since(begun).as_secs_f64();
    if secs <= 0.0 {
        return 0.0;
    }
    (after.saturating_sub(before) as f64 / secs * 100.0).round() / 100.0
}

/// The points of one span, as they are sent.
#[derive(Debug, Serialize)]
pub(crate) struct Body {
    /// Which.
    span: Span,
    /// Time from one point to the next.
    step_secs: u32,
    /// Where the first point begins, in seconds since the UNIX epoch.
    start_secs: u64,
    /// How many there are in each series.
    points: usize,
    /// By what they say. The oldest point first; null before the start and where nothing is known.
    series: Series,
}

/// What is known of a span.
#[derive(Debug, Serialize)]
struct Series {
    udp_ipv4: Vec<Option<f32>>,
    udp_ipv6: Vec<Option<f32>>,
    http_ipv4: Vec<Option<f32>>,
    http_ipv6: Vec<Option<f32>>,
    refusals: Vec<Option<f32>>,
    peers: Vec<Option<u64>>,
    seeders: Vec<Option<u64>>,
    leechers: Vec<Option<u64>>,
    swarms: Vec<Option<u64>>,
    load: Vec<Option<f64>>,
    resident_bytes: Vec<Option<u64>>,
    interval_secs: Vec<Option<u32>>,
    latency_us: Vec<Option<u64>>,
    online: Vec<Option<u64>>,
    credited_uploaded: Vec<Option<f32>>,
    credited_downloaded: Vec<Option<f32>>,
}

impl Series {
    fn of(track: &Track) -> Self {
        Self {
            udp_ipv4: track.series(|point| Some(point.requests[0])),
            udp_ipv6: track.series(|point| Some(point.requests[1])),
            http_ipv4: track.series(|point| Some(point.requests[2])),
            http_ipv6: track.series(|point| Some(point.requests[3])),
            refusals: track.series(|point| Some(point.refusals)),
            peers: track.series(|point| Some(point.gauges.seeders + point.gauges.leechers)),
            seeders: track.series(|point| Some(point.gauges.seeders)),
            leechers: track.series(|point| Some(point.gauges.leechers)),
            swarms: track.series(|point| Some(point.gauges.swarms)),
            load: track.series(|point| point.gauges.load),
            resident_bytes: track.series(|point| point.gauges.resident_bytes),
            interval_secs: track.series(|point| Some(point.gauges.interval_secs)),
            latency_us: track.series(|point| point.latency_micros),
            online: track.series(|point| point.gauges.online),
            credited_uploaded: track.series(|point| Some(point.credited.as_ref()?.uploaded)),
            credited_downloaded: track.series(|point| Some(point.credited.as_ref()?.downloaded)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(secs: u64) -> Reading {
        let gauges = Gauges { seeders: secs, leechers: 1, ..Gauges::default() };
        Reading { at: Now::from_millis(secs * 1000), gauges, ..Reading::default() }
    }

    fn json(history: &History, span: &str) -> serde_json::Value {
        serde_json::to_value(history.of(Span::parse(span).unwrap())).unwrap()
    }

    #[test]
    fn before_the_start_there_is_nothing() {
        let mut history = History::new(&reading(100_000));
        history.add(&reading(100_001));
        let minute = json(&history, "minute");
        assert_eq!((&minute["span"], &minute["step_secs"]), (&"minute".into(), &1.into()));
        assert_eq!((&minute["points"], &minute["start_secs"]), (&60.into(), &99_941.into()));
        let peers = minute["series"]["peers"].as_array().unwrap();
        assert!(peers[..59].iter().all(serde_json::Value::is_null), "{peers:?}");
        assert_eq!(peers[59], 100_002);
        assert_eq!(minute["series"]["udp_ipv4"][59], 0.0);
        assert!(minute["series"]["load"][59].is_null());
        assert!(json(&history, "hour")["series"]["peers"][119].is_null());
    }

    #[test]
    fn a_point_stands_for_its_step_and_the_oldest_goes_first() {
        let mut history = History::new(&reading(0));
        (1..=86_400 + 300).for_each(|secs| history.add(&reading(secs)));
        for (span, points, step) in [("minute", 60, 1), ("hour", 120, 30), ("day", 288, 300)] {
            let body = json(&history, span);
            let seeders = body["series"]["seeders"].as_array().unwrap();
            let expected: Vec<u64> =
                (1..=points).map(|point| 86_700 - (points - point) * step).collect();
            assert_eq!(seeders, &expected, "{span}");
            assert_eq!(body["start_secs"], 86_700 - points * step);
        }
        assert_eq!(Span::parse("week"), None);
    }

    #[test]
    fn rate_is_by_the_time_that_has_passed() {
        let at = Now::from_millis;
        assert!((rate((10, at(0)), (13, at(2000))) - 1.5).abs() < 1e-9);
        assert!(rate((10, at(7)), (13, at(7))).abs() < 1e-9);
    }
}
