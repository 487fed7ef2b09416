//! What nodes tell each other at once: a channel that each publishes to and listens at.
//!
//! Messages are counted: a node that has missed one notices, and asks what it said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peerage_swarm::Now;
use peerage_tracker::share::message;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tracing::info;

use super::Carrier;
use crate::places::{self, REPLY_TIME_MAX};
use crate::status::Status;

/// Messages that wait, so many at most: 16 MB. A tick has some fifty, or one for each pipeline of a
/// longer flush.
pub(super) const UNSENT_MAX: usize = 256;

/// The news of other nodes, on a connection of their own.
pub(super) struct Subscription {
    _connection: MultiplexedConnection,
    pub(super) lost: Arc<AtomicBool>,
}

impl<N: Fn() -> Now> Carrier<N> {
    pub(super) fn hear(&self, message: &[u8]) {
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

    pub(super) async fn subscribe(&mut self) {
        self.subscription = None;
        let Some(master) = self.places.masters.iter().find(|master| master.connection.is_some())
        else {
            return;
        };
        let lost = Arc::<AtomicBool>::default();
        let (gone, messages) = (Arc::clone(&lost), self.messages.clone());
        let status = Arc::clone(&self.node.status);
        let receive = move |push: PushInfo| match push.kind {
            PushKind::Disconnection => gone.store(true, Ordering::Relaxed),
            PushKind::Message => {
                if let Some(Value::BulkString(message)) = push.data.into_iter().nth(1)
                    && messages.try_send(message).is_err()
                {
                    Status::add(&status.messages_dropped, 1);
                }
            }
            _ => {}
        };
        let at = (master.host.as_str(), master.port);
        let made = places::subscribe(&self.node.target, at, &self.channel(), receive).await;
        match made {
            Ok(connection) => {
                self.subscription = Some(Subscription { _connection: connection, lost });
                self.hear_again.succeeded();
                if self.places.is_whole() && std::mem::take(&mut self.complained) {
                    info!("shared: {} is heard again", self.node.target);
                }
                // What was published before is made up for by asking about every swarm.
                self.share.start_over();
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
