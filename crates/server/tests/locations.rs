//! Location files as an operator meets them: where they are found, what is said of them, what they
//! cost. What is in them is tested where they are read.

use std::fs::{self, File};
use std::io::BufWriter;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use peerage_testkit::places::Places;
use peerage_testkit::websocket::{Buffer, Message, WebSocket};
use peerage_testkit::{Folder, Process, Server, Signal};

/// An announce of a seeder, for the swarm whose info_hash is 20 times `a`.
const ANNOUNCE: &str = "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa\
    &port=6881&left=0&uploaded=0&downloaded=0";

const PLACES: Places = Places { seed: 1, ipv4: 300, ipv6: 0 };

/// What the full file may take in memory.
const BYTES_MAX: u64 = 30_000_000;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_peerage"))
}

fn start(flags: &[&str], variables: &[(&str, &str)]) -> Result<Server, String> {
    let arguments = [&["--port", "0", "--bind", "127.0.0.1"], flags].concat();
    Server::start_as(program(), &arguments, variables)
}

fn write_csv(folder: &Folder, name: &str, places: Places) -> Result<String, String> {
    let path = folder.write(name, "")?;
    let file = File::create(&path).map_err(|error| error.to_string())?;
    places.write_csv(&mut BufWriter::new(file))?;
    Ok(path)
}

fn write_mmdb(folder: &Folder, name: &str, places: Places) -> Result<String, String> {
    let path = folder.write(name, "")?;
    let file = File::create(&path).map_err(|error| error.to_string())?;
    places.write_mmdb(BufWriter::new(file))?;
    Ok(path)
}

/// What the statistics say of the files, once they do.
fn status(tracker: &Server) -> Result<serde_json::Value, String> {
    Ok(tracker.stats_when(|stats| !stats["locations"].is_null())?["locations"].clone())
}

#[test]
fn file_in_the_data_folder_is_found_and_told() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    write_csv(&folder, "IP2LOCATION-LITE-DB5.CSV", PLACES)?;
    let mut tracker = start(&["--data-dir", folder.path().to_str().unwrap()], &[])?;
    tracker.log_line("ranges in")?;
    let status = status(&tracker)?;
    assert_eq!(status["file"], "IP2LOCATION-LITE-DB5.CSV");
    assert!(status["rows"].as_u64() > Some(280), "{status}");
    assert!(status["bytes"].as_u64() < Some(4000), "{status}");
    assert!(status["loaded_at_secs"].as_u64() > Some(1_700_000_000), "{status}");
    let attribution = &status["attribution"][0];
    assert_eq!(attribution["url"], "https://lite.ip2location.com");
    assert!(attribution["text"].as_str().unwrap().contains("IP2Location LITE"), "{status}");
    // The folder is the operator's own business.
    assert!(!status.to_string().contains(folder.path().to_str().unwrap()), "{status}");
    tracker.stop()
}

#[test]
fn file_in_the_folder_it_is_started_in_is_found() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    write_mmdb(&folder, "GeoLite2-City.mmdb", PLACES)?;
    let mut command = Command::new(program());
    command.args(["-p", "0", "--bind", "127.0.0.1"]).current_dir(folder.path());
    let logs = Folder::new("locations")?;
    let (output, log) = (logs.path().join("output"), logs.path().join("log"));
    let mut tracker = Process::start_apart("peerage", &mut command, &output, &log)?;
    let found = |line: &str| line.contains("from GeoLite2-City.mmdb").then_some(());
    tracker.next_line("locations", Duration::from_secs(30), found)
}

#[test]
fn none_are_read_without_files_and_with_no_locations() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    let data = folder.path().to_str().unwrap();
    let mut tracker = start(&["--data-dir", data], &[])?;
    tracker.log_line("locations: no file found")?;
    assert!(tracker.stats()?["locations"].is_null());
    let file = write_csv(&folder, "IP2LOCATION-LITE-DB5.CSV", PLACES)?;
    let named = [("PEERAGE__PAGES__LOCATION_FILES", file.as_str())];
    let mut tracker = start(&["--data-dir", data, "--no-locations"], &named)?;
    tracker.process().signal(Signal::User1)?;
    tracker.log_line("lists: ")?;
    assert!(tracker.stats()?["locations"].is_null());
    tracker.stop()?;
    // Nor where there are no pages to show them.
    let mut tracker = start(&["--no-tcp"], &named)?;
    tracker.process().signal(Signal::Terminate)?;
    assert_eq!(tracker.process().ended(Duration::from_secs(30))?, Some(0));
    assert!(!tracker.process().log().contains("locations"), "{}", tracker.process().log());
    Ok(())
}

#[test]
fn broken_line_is_named_and_the_rest_is_used() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    let path = write_csv(&folder, "db5.csv", PLACES)?;
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.insert(41, "\"broken\",,");
    lines.insert(82, "\"1\",\"2\",\"DE\",\"\",\"\",\"\",\"91\",\"1\"");
    fs::write(&path, lines.join("\n")).unwrap();
    let mut tracker = start(&[], &[("PEERAGE__PAGES__LOCATION_FILES", &path)])?;
    let line = tracker.log_line("db5.csv:42: must have eight columns")?;
    assert!(line.contains("WARN"), "{line}");
    tracker.log_line("db5.csv:83: must have a latitude from -90 to 90")?;
    let whole = start(
        &[],
        &[("PEERAGE__PAGES__LOCATION_FILES", {
            fs::write(&path, &text).unwrap();
            &path
        })],
    )?;
    assert_eq!(status(&tracker)?["rows"], status(&whole)?["rows"]);
    Ok(())
}

#[test]
fn files_are_read_again_on_a_signal_and_old_ones_outlive_wrong_ones() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    let path = write_csv(&folder, "db5.csv", PLACES)?;
    let other = write_mmdb(&folder, "other.mmdb", Places { ipv6: 200, ..PLACES })?;
    let settings = |files: &str| format!("[pages]\nlocation_files = [\"{files}\"]\n");
    let config = folder.write("p.toml", &settings(&path))?;
    let mut tracker = start(&["-c", &config], &[])?;
    tracker.log_line("from db5.csv")?;
    let first = status(&tracker)?["rows"].clone();

    folder.write("db5.csv", "nonsense\n\"1\",\"2\"\n")?;
    tracker.process().signal(Signal::User1)?;
    tracker.log_line("db5.csv:1: must have eight columns")?;
    let line = tracker.log_line("cannot be used: 0 lines can be used, 2 cannot")?;
    assert!(line.contains("ERROR"), "{line}");
    tracker.log_line("a location file is wrong, the old ones stay in force")?;
    assert_eq!(status(&tracker)?["rows"], first);

    write_csv(&folder, "db5.csv", Places { ipv4: 400, ..PLACES })?;
    tracker.process().signal(Signal::User1)?;
    tracker.log_line("from db5.csv")?;
    tracker.stats_when(|stats| stats["locations"]["rows"].as_u64() > first.as_u64())?;

    folder.write("p.toml", &settings(&other))?;
    tracker.process().signal(Signal::Hangup)?;
    tracker.log_line("pages.location_files is now")?;
    tracker.log_line("from other.mmdb")?;
    tracker.stats_when(|stats| stats["locations"]["file"] == "other.mmdb")?;

    folder.write("p.toml", "[pages]\nlocations = false\n")?;
    tracker.process().signal(Signal::Hangup)?;
    tracker.stats_when(|stats| stats["locations"].is_null())?;
    tracker.stop()
}

#[test]
fn announce_is_a_point_on_the_map_where_its_address_is() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    // 127.0.0.0/8, and it is nowhere near.
    let line = "2130706432,2147483647,NZ,,,Wellington,-41.28664,174.77557\n";
    let path = folder.write("db5.csv", line)?;
    let mut tracker = start(&[], &[("PEERAGE__PAGES__LOCATION_FILES", &path)])?;
    tracker.log_line("from db5.csv")?;
    let config = tracker.get("/config.json")?.text();
    assert!(config.contains("\"locations\":true"), "{config}");
    let address = tracker.address(Ipv4Addr::LOCALHOST);
    let mut viewer = WebSocket::open(address, "/map.ws", &[], Buffer::Usual)?;
    // The version, no flags, one point, one announce; the point: -413 and 1748 tenths of a degree,
    // HTTP over IPv4, New Zealand.
    let mut wanted = vec![1, 0, 1, 0, 1, 0, 0, 0];
    wanted.extend([0x63, 0xfe, 0xd4, 0x06, 2, 0, b'N', b'Z']);
    // Until a frame has the point: an announce may come before its viewer is known of.
    for _ in 0..100 {
        tracker.get(ANNOUNCE)?;
        let frame = viewer.receive()?;
        if frame == Message::Binary(wanted.clone()) {
            return tracker.stop();
        }
    }
    Err("no frame had the point".into())
}

/// Bytes of `process` that are in memory, now and at most so far.
fn memory(process: &Process) -> Result<[u64; 2], String> {
    let path = format!("/proc/{}/status", process.id());
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib: Option<u64> = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| format!("no {name} in {text}"))
    };
    Ok([field("VmRSS:")?, field("VmHWM:")?])
}

/// The full DB5 has 2.9 million rows. The start does not wait for it, and the process grows by no
/// more than the table may take, at no time while a CSV is read.
#[test]
fn full_file_costs_no_more_memory_than_promised() -> Result<(), String> {
    let folder = Folder::new("locations")?;
    let places = Places { ipv4: 3_000_000, ..PLACES };
    let csv = write_csv(&folder, "db5.csv", places)?;
    let mmdb = write_mmdb(&folder, "city.mmdb", places)?;
    let mut without = start(&["--no-locations"], &[])?;
    without.get("/health")?;
    let [base, _] = memory(without.process())?;
    let mut sizes = Vec::new();
    for file in [&csv, &mmdb] {
        let mut tracker = start(&[], &[("PEERAGE__PAGES__LOCATION_FILES", file)])?;
        assert_eq!(tracker.get("/health")?.text(), "OK\n");
        tracker.log_line("workers for each protocol")?;
        let line = tracker.log_line("ranges in")?;
        let [now, most] = memory(tracker.process())?.map(|bytes| bytes.saturating_sub(base));
        println!("{line}\n{now} bytes more in memory, {most} while it was read");
        assert!(now <= BYTES_MAX, "{now} {line}");
        if file == &csv {
            assert!(most <= BYTES_MAX, "{most} {line}");
        }
        let status = status(&tracker)?;
        assert!(status["bytes"].as_u64() <= Some(BYTES_MAX), "{status}");
        assert!(status["rows"].as_u64() > Some(2_990_000), "{status}");
        sizes.push([status["rows"].clone(), status["bytes"].clone()]);
        tracker.stop()?;
    }
    assert_eq!(sizes[0], sizes[1]);
    Ok(())
}
