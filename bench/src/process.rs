//! A server under test: started on its core, watched through /proc, ended with the benchmark.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::socket;

/// How long a server may take to end when asked to; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A running server. Dropping it ends it and removes its directory.
pub(crate) struct Process {
    child: Child,
    directory: PathBuf,
}

impl Process {
    /// Starts `command` on core `server_core` with `directory` as its place; this thread returns
    /// to `load_core`. Its output goes to the file `log` there.
    pub(crate) fn start(
        mut command: Command,
        directory: PathBuf,
        server_core: usize,
        load_core: usize,
    ) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let explain = |error| format!("{name}: {error}");
        let log = fs::File::create(directory.join("log")).map_err(explain)?;
        let errors = log.try_clone().map_err(explain)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        socket::end_with_parent(&mut command);
        socket::pin(server_core).map_err(explain)?;
        let child = command.spawn();
        socket::pin(load_core).map_err(explain)?;
        Ok(Self { child: child.map_err(explain)?, directory })
    }

    /// User and system time of all its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// The same of the threads whose name begins with one of `names`.
    pub(crate) fn cpu_of_threads(&self, names: &[&str]) -> Duration {
        let is_meant = |name: &str| names.iter().any(|begin| name.starts_with(begin));
        cpu_where(self.child.id(), &is_meant)
    }

    /// As [`Process::cpu`], with what threads took that have ended; in hundredths of a second.
    pub(crate) fn cpu_with_ended_threads(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        // The name, in brackets, may hold anything; user and system time are 11 and 12 after it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// User and system time of the thread it began with.
    pub(crate) fn cpu_of_first_thread(&self) -> Duration {
        let pid = self.child.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"));
        let nanos = stat.ok().and_then(|stat| stat.split_whitespace().next()?.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Resident memory.
    pub(crate) fn rss_bytes(&self) -> u64 {
        rss_bytes_of(self.child.id())
    }

    /// What it wrote, where it has ended by itself.
    pub(crate) fn check_running(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("ended with {status}: {}", self.log().trim())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        socket::terminate(&self.child);
        let start = Instant::now();
        while start.elapsed() < STOP_MAX && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Both fail only where the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Resident memory of this process.
pub(crate) fn own_rss_bytes() -> u64 {
    rss_bytes_of(std::process::id())
}

fn rss_bytes_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// CPU time of all threads of a process, to the nanosecond as the scheduler accounts it. A thread
/// that ended is not counted; of the servers here Ocelot alone ends threads while it is measured.
fn cpu_of(pid: u32) -> Duration {
    cpu_where(pid, &|_| true)
}

/// The same of the threads whose names are meant.
fn cpu_where(pid: u32, is_meant: &dyn Fn(&str) -> bool) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanos = tasks.flatten().filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        if !is_meant(name.trim_end()) {
            return None;
        }
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// CPU time used by this process, and by everything on the machine.
pub(crate) fn own_and_machine_cpu() -> (Duration, Duration) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    // user nice system idle iowait irq softirq steal, in hundredths of a second.
    let busy = fields
        .enumerate()
        .filter(|(index, _)| *index != 3 && *index != 4)
        .filter_map(|(_, field)| field.parse::<u64>().ok())
        .sum::<u64>();
    (cpu_of(std::process::id()), Duration::from_millis(busy * 10))
}

/// A new empty directory that any user can read.
pub(crate) fn scratch_directory(name: &str) -> Result<PathBuf, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("peerage-bench-{pid}-{number}-{name}"));
    let explain = |error| format!("{}: {error}", path.display());
    // What is left of an earlier process of the same id.
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).map_err(explain)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).map_err(explain)?;
    Ok(path)
}
