//! The masters: which there are, which keys each has, and a connection to each.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value,
};

use crate::lost::Lost;
use crate::target::Target;

/// Keys are spread over so many slots in a Cluster.
pub(crate) const SLOTS: usize = 16_384;
/// A slot that no master has.
const NOBODY: u16 = u16::MAX;

/// How long a connection, and each reply, may take.
pub(crate) const REPLY_TIME_MAX: Duration = Duration::from_secs(1);

/// Most masters of a Cluster: as many as it can have.
const MASTERS_MAX: usize = 1000;

/// The masters as last found.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) masters: Vec<Master>,
    /// The master of each slot; empty where there is one for all.
    slots: Vec<u16>,
}

/// A master and the connection to it.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None` where it cannot be reached.
    pub(crate) connection: Option<MultiplexedConnection>,
    /// Whether the connection is a new one: what was told before may be lost.
    pub(crate) is_new: bool,
}

impl Places {
    /// Finds the masters. Connections of `known` ones that still work are kept; every
    /// new one is given the script before it is used.
    pub(crate) async fn find(target: &Target, known: Self, script: &str) -> Result<Self, Lost> {
        let (found, slots) = match &target.master {
            Some(name) => (vec![ask_sentinels(target, name).await?], Vec::new()),
            None => ask_servers(target, &known).await?,
        };
        let mut known = known.masters;
        let mut masters = Vec::with_capacity(found.len());
        let mut lost = Lost::NoMaster;
        for (host, port) in found {
            let same = |master: &Master| master.host == host && master.port == port;
            let old = known.iter().position(same).map(|at| known.swap_remove(at));
            let master = match old {
                Some(master) if master.connection.is_some() => master,
                _ => {
                    let connected = connect_for_scripts(target, &host, port, script).await;
                    let connection = connected.map_err(|error| lost = error.into()).ok();
                    Master { host, port, connection, is_new: true }
                }
            };
            masters.push(master);
        }
        if masters.iter().all(|master| master.connection.is_none()) {
            return Err(lost);
        }
        Ok(Self { masters, slots })
    }

    /// No masters.
    pub(crate) fn none() -> Self {
        Self { masters: Vec::new(), slots: Vec::new() }
    }

    /// Whether the masters are those of a Cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether all masters, and all slots, can be reached.
    pub(crate) fn is_whole(&self) -> bool {
        !self.masters.is_empty()
            && self.masters.iter().all(|master| master.connection.is_some())
            && !self.slots.contains(&NOBODY)
    }

    /// The slot of the keys with `tag` in braces, or of that very key; 0 where there are no slots.
    pub(crate) fn slot(&self, tag: &str) -> usize {
        match self.slots.is_empty() {
            true => 0,
            false => usize::from(crc16(tag.as_bytes())) % SLOTS,
        }
    }

    /// The number of the master that has the keys with `tag` in braces, or that very key.
    pub(crate) fn of(&self, tag: &str) -> Option<usize> {
        if self.slots.is_empty() {
            return (!self.masters.is_empty()).then_some(0);
        }
        Some(self.slots[self.slot(tag)]).filter(|master| *master != NOBODY).map(usize::from)
    }
}

/// A connection that waits for each reply only so long.
pub(crate) async fn connect(
    target: &Target,
    host: &str,
    port: u16,
) -> Result<MultiplexedConnection, RedisError> {
    connect_with(target, host, port, target.database, None).await
}

/// A connection that hands whatever comes on `channel` to `receive`.
pub(crate) async fn subscribe(
    target: &Target,
    (host, port): (&str, u16),
    channel: &str,
    receive: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<MultiplexedConnection, RedisError> {
    let push = move |push: PushInfo| -> Result<(), ()> {
        receive(push);
        Ok(())
    };
    let mut connection =
        connect_with(target, host, port, target.database, Some(Box::new(push))).await?;
    connection.subscribe(channel).await?;
    Ok(connection)
}

type Push = Box<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

async fn connect_with(
    target: &Target,
    host: &str,
    port: u16,
    database: i64,
    push: Option<Push>,
) -> Result<MultiplexedConnection, RedisError> {
    let mut settings = RedisConnectionInfo::default().set_db(database);
    if let Some(user) = &target.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &target.password {
        settings = settings.set_password(password);
    }
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(REPLY_TIME_MAX))
        .set_response_timeout(Some(REPLY_TIME_MAX));
    if let Some(push) = push {
        settings = settings.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(push);
    }
    let client = target.client(host, port, settings)?;
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn connect_for_scripts(
    target: &Target,
    host: &str,
    port: u16,
    script: &str,
) -> Result<MultiplexedConnection, RedisError> {
    let mut connection = connect(target, host, port).await?;
    let _: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await?;
    Ok(connection)
}

type Address = (String, u16);

async fn ask_sentinels(target: &Target, name: &str) -> Result<Address, Lost> {
    let mut lost = Lost::NoMaster;
    let sentinel = target.sentinels();
    for (host, port) in &target.hosts {
        match ask_sentinel(&sentinel, host, *port, name).await {
            Ok(Some((host, port))) => match is_master(target, &host, port).await {
                Ok(true) => return Ok((host, port)),
                Ok(false) => {}
                Err(error) => lost = error.into(),
            },
            Ok(None) => {}
            Err(error) => lost = error.into(),
        }
    }
    Err(lost)
}

async fn ask_sentinel(
    sentinel: &Target,
    host: &str,
    port: u16,
    name: &str,
) -> Result<Option<Address>, RedisError> {
    let mut connection = connect(sentinel, host, port).await?;
    let mut ask = redis::cmd("SENTINEL");
    let named: Option<(String, u16)> =
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(&mut connection).await?;
    Ok(named)
}

async fn is_master(target: &Target, host: &str, port: u16) -> Result<bool, RedisError> {
    let mut connection = connect(target, host, port).await?;
    let role: Value = redis::cmd("ROLE").query_async(&mut connection).await?;
    Ok(match role {
        Value::Array(parts) => matches!(
            parts.first(),
            Some(Value::BulkString(role)) if role == b"master"
        ),
        _ => false,
    })
}

/// Asks the hosts of the URL, and after them the masters that were known, what they are.
async fn ask_servers(target: &Target, known: &Places) -> Result<(Vec<Address>, Vec<u16>), Lost> {
    let masters = known.masters.iter().map(|master| (&master.host, master.port));
    let hosts = target.hosts.iter().map(|(host, port)| (host, *port)).chain(masters);
    let mut lost = Lost::NoMaster;
    for (host, port) in hosts {
        let mut connection = match connect(target, host, port).await {
            Ok(connection) => connection,
            Err(error) => {
                lost = error.into();
                continue;
            }
        };
        let slots: Result<Value, _> =
            redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await;
        match slots {
            Ok(Value::Array(ranges)) if !ranges.is_empty() => return Ok(read_slots(&ranges, host)),
            Err(error) if error.is_io_error() || error.is_timeout() => lost = error.into(),
            // It is in no Cluster.
            _ => match is_master(target, host, port).await {
                Ok(true) => return Ok((vec![(host.clone(), port)], Vec::new())),
                Ok(false) => {}
                Err(error) => lost = error.into(),
            },
        }
    }
    Err(lost)
}

/// `CLUSTER SLOTS`: first slot, last slot, its nodes, the master first, each with host and port.
fn read_slots(ranges: &[Value], asked: &str) -> (Vec<Address>, Vec<u16>) {
    let (mut masters, mut slots) = (Vec::<Address>::new(), vec![NOBODY; SLOTS]);
    for range in ranges {
        let Value::Array(parts) = range else { continue };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else {
            continue;
        };
        let [host, Value::Int(port), ..] = &master[..] else { continue };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => {
                String::from_utf8_lossy(host).into_owned()
            }
            // The one that was asked does not know its own name.
            _ => asked.to_owned(),
        };
        let Ok(port) = u16::try_from(*port) else { continue };
        let at = masters.iter().position(|master| *master == (host.clone(), port));
        let at = at.unwrap_or_else(|| {
            masters.push((host, port));
            masters.len() - 1
        });
        let (Ok(first), Ok(last)) = (usize::try_from(*first), usize::try_from(*last)) else {
            continue;
        };
        if at < MASTERS_MAX && first <= last && last < SLOTS {
            slots[first..=last].fill(at as u16);
        }
    }
    masters.truncate(MASTERS_MAX);
    (masters, slots)
}

/// CRC-16/XMODEM, by which a Cluster finds the slot of a key.
pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(usize::from(crc16(b"foo")) % SLOTS, 12182);
    }

    #[test]
    fn slots_are_read_and_what_is_not_told_has_no_master() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: &str, port| Value::Array(vec![text(host), Value::Int(port), text("id")]);
        let range =
            |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let ranges = [
            range(0, 99, node("a", 1)),
            range(200, 16_383, node("", 2)),
            range(100, 149, node("a", 1)),
            range(16_000, 20_000, node("b", 3)),
        ];
        let (masters, slots) = read_slots(&ranges, "asked");
        assert_eq!(masters[..2], [("a".to_owned(), 1), ("asked".to_owned(), 2)]);
        assert_eq!([slots[0], slots[149], slots[150], slots[200]], [0, 0, NOBODY, 1]);
        let places = Places { masters: Vec::new(), slots };
        assert!(places.is_cluster() && !places.is_whole());
        assert_eq!(places.of("foo"), Some(1));
    }
}
