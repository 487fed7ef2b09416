//! Whether Redis still has what it was told, once it has been found again.
//!
//! By the number that each pipeline leaves behind what it tells. In a Cluster a slot may move from
//! one master to another, and none of the two has all in the order in which it was told; and
//! llmpt's keys have no place for it. There everything is told again each time.

use peerage_swarm::Now;
use redis::{Cmd, RedisError};

use super::Carrier;
use crate::trip::Layout;

/// How long a number is kept after the last pipeline. Where it is gone all is told again.
const KEPT_SECS: u64 = 3600;

/// What Redis has of what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// All that it has answered.
    Whole,
    /// Not all, as far as is known.
    Lost,
    /// It does not say.
    Unknown,
}

impl<N: Fn() -> Now> Carrier<N> {
    /// Whether pipelines leave numbers.
    pub(super) fn marks(&self) -> bool {
        self.node.layout == Layout::Own && !self.places.is_cluster()
    }

    /// The command that leaves `mark`. Comes last, so that all the rest is there where it is.
    pub(super) fn leaving(&self, mark: u64) -> Cmd {
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.mark_key()).arg(mark).arg("EX").arg(KEPT_SECS);
        cmd
    }

    /// Looks for the number that was left last.
    pub(super) async fn recall(&self) -> Memory {
        if !self.marks() {
            return Memory::Lost;
        }
        let Some(mut connection) =
            self.places.masters.first().and_then(|master| master.connection.clone())
        else {
            return Memory::Unknown;
        };
        let found: Result<Option<u64>, RedisError> =
            redis::cmd("GET").arg(self.mark_key()).query_async(&mut connection).await;
        match found {
            Ok(found) if self.mark.is_kept(found) => Memory::Whole,
            Ok(_) => Memory::Lost,
            Err(_) => Memory::Unknown,
        }
    }

    fn mark_key(&self) -> String {
        format!("{}1:mark:{:x}", self.node.prefix, self.share.options().node)
    }
}
