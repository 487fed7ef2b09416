//! Waiting for what another process does.

use std::time::{Duration, Instant};

/// Whether what is awaited has come.
#[derive(Debug)]
pub enum Wait<T> {
    /// It has, and this is it.
    Done(T),
    /// Not yet; what is there instead, for the message should the limit pass.
    NotYet(String),
}

/// Asks `attempt` until it is done, an error, or `limit` has passed.
///
/// The one place where tests sleep: another process cannot be told to wake us, and the pause is
/// how often we ask, never how long we hope it takes.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<Wait<T>, String>,
) -> Result<T, String> {
    const PAUSE: Duration = Duration::from_millis(20);
    let started = Instant::now();
    loop {
        let instead = match attempt()? {
            Wait::Done(value) => return Ok(value),
            Wait::NotYet(instead) => instead,
        };
        if started.elapsed() > limit {
            return Err(format!("no {what} within {} s, but {instead}", limit.as_secs()));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_ends_at_the_value_the_error_or_the_limit() {
        let mut left = 3;
        let found = wait_for("zero", Duration::from_secs(60), || {
            left -= 1;
            Ok(if left == 0 { Wait::Done(7) } else { Wait::NotYet(left.to_string()) })
        });
        assert_eq!(found, Ok(7));
        let failed = wait_for::<()>("x", Duration::from_secs(60), || Err("why".to_owned()));
        assert_eq!(failed, Err("why".to_owned()));
        let late = wait_for::<()>("x", Duration::ZERO, || Ok(Wait::NotYet("y".to_owned())));
        assert_eq!(late, Err("no x within 0 s, but y".to_owned()));
    }
}
