//! What nodes tell each other at once: a channel that each publishes to and listens at.
//!
//! Messages are counted: a node that has missed one notices, and asks what it said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peerage_swarm::Now;
use peerage_tracker::share::{BEAT_EVERY, message};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tracing::info;

use super::Carrier;
use crate::places::{self, REPLY_TIME_MAX};
use crate::status::Status;

/// Messages that wait, so many at most: 16 MB. A tick has some fifty, or one for each pipeline of a
/// longer flush.
pub(super) const UNSENT_MAX: usize = 256;

/// How long nothing is heard before the subscription is taken for lost: this node's own messages
/// come back to it, one with each beat.
const SILENCE_MAX: Duration = Duration::from_secs(3 * BEAT_EVERY.as_secs());

/// The news of other nodes, on a connection of their own.
pub(super) struct Subscription {
    _connection: MultiplexedConnection,
    /// With whom.
    at: (String, u16),
    /// Whether the connection has broken.
    gone: Arc<AtomicBool>,
    /// When a message last came, or the first could.
    heard: Instant,
}

impl Subscription {
    /// Whether messages are no longer heard.
    pub(super) fn is_lost(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || SILENCE_MAX < self.heard.elapsed()
    }
}

impl<N: Fn() -> Now> Carrier<N> {
    pub(super) fn hear(&mut self, message: &[u8]) {
        if let Some(subscription) = &mut self.subscription {
            subscription.heard = Instant::now();
        }
        let status = &self.node.status;
        Status::add(&status.messages_in, 1);
        if let Some(private) = self.node.tracker.private() {
            private.hear(message);
            return;
        }
        if !message::is_known(message) {
            if status.messages_unknown.fetch_add(1, Ordering::Relaxed) == 0 {
                info!("shared: nodes of another release are there; their news come a little later");
            }
            return;
        }
        self.share.hear((self.now)(), self.node.tracker.swarms(), message);
    }

    fn channel(&self) -> String {
        format!("{}1:news", self.node.prefix)
    }

    /// Leaves the subscription where it is if that is still a master, so that nothing is missed.
    pub(super) fn resubscribe_elsewhere(&mut self) {
        let masters = &self.places.masters;
        let is_there = |subscription: &Subscription| {
            let (host, port) = &subscription.at;
            masters.iter().any(|master| master.host == *host && master.port == *port)
        };
        if !self.subscription.as_ref().is_some_and(is_there) {
            self.subscription = None;
            self.hear_again.at_once();
        }
    }

    pub(super) async fn subscribe(&mut self) {
        self.subscription = None;
        let Some(master) = self.places.masters.iter().find(|master| master.connection.is_some())
        else {
            return;
        };
        let gone = Arc::<AtomicBool>::default();
        let (breaks, messages) = (Arc::clone(&gone), self.messages.clone());
        let status = Arc::clone(&self.node.status);
        let receive = move |push: PushInfo| match push.kind {
            PushKind::Disconnection => breaks.store(true, Ordering::Relaxed),
            PushKind::Message => {
                if let Some(Value::BulkString(message)) = push.data.into_iter().nth(1)
                    && messages.try_send(message).is_err()
                {
                    Status::add(&status.messages_dropped, 1);
                }
            }
            _ => {}
        };
        let at = (master.host.clone(), master.port);
        let made =
            places::subscribe(&self.node.target, (&at.0, at.1), &self.channel(), receive).await;
        match made {
            Ok(connection) => {
                let heard = Instant::now();
                self.subscription = Some(Subscription { _connection: connection, at, gone, heard });
                self.hear_again.succeeded();
                if self.places.is_whole() && std::mem::take(&mut self.complained) {
                    info!("shared: {} is heard again", self.node.target);
                }
                // What was published before is made up for by asking.
                self.share.doubt();
                self.members_subscribed();
            }
            Err(error) => {
                self.hear_again.failed();
                self.complain(&error.into());
            }
        }
    }

    /// Lets other nodes see whether they have missed a message.
    pub(super) async fn count_messages(&mut self) {
        self.unsent.push(self.share.count_messages());
        self.publish().await;
    }

    /// Sends the messages that wait.
    pub(super) async fn publish(&mut self) {
        let master = self.places.masters.iter().find_map(|master| master.connection.clone());
        let Some(mut connection) = master.filter(|_| !self.unsent.is_empty()) else { return };
        let channel = self.channel();
        let mut pipe = redis::pipe();
        for message in &self.unsent {
            pipe.cmd("PUBLISH").arg(&channel).arg(&message[..]).ignore();
        }
        let sent = pipe.query_async::<()>(&mut connection);
        if let Ok(Ok(())) = tokio::time::timeout(REPLY_TIME_MAX, sent).await {
            Status::add(&self.node.status.messages_out, self.unsent.len() as u64);
            self.unsent.clear();
        }
    }
}
