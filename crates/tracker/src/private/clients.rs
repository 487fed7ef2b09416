//! Which clients are let in, by the start of their peer_id.

use alloc::vec::Vec;

use peerage_proto::PeerId;

use super::Client;

/// An allow list and a deny list, both in force at once: a client on both is kept out.
///
/// No allow list lets every client in that is not kept out. An empty one lets nobody in: to take
/// the last client from the list must not open the tracker to all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    allow: Option<List>,
    deny: List,
}

/// Prefixes in rising order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    clients: Vec<Client>,
    /// A bit for each length that a prefix has: 1 << length.
    lengths: u32,
}

impl Clients {
    /// Prefixes that are empty or longer than a peer_id are left out: the one would be everybody,
    /// the other nobody.
    pub fn new(allow: Option<Vec<Client>>, deny: Vec<Client>) -> Self {
        Self { allow: allow.map(List::new), deny: List::new(deny) }
    }

    /// Whether the client may take part.
    pub fn allows(&self, peer_id: &PeerId) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.holds(peer_id)) && !self.deny.holds(peer_id)
    }

    /// The allow list; `None` where there is none.
    pub fn allowed(&self) -> Option<&[Client]> {
        self.allow.as_ref().map(|list| &list.clients[..])
    }

    /// The deny list.
    pub fn denied(&self) -> &[Client] {
        &self.deny.clients
    }

    /// Lets a client in. Makes an allow list where there is none: from here on only what stands on
    /// it is let in. Says whether it is a new one.
    pub fn allow(&mut self, client: Client) -> bool {
        self.allow.get_or_insert_default().add(client)
    }

    /// Takes a client from the allow list, which stays though it be empty. Says whether it was
    /// there.
    pub fn disallow(&mut self, prefix: &[u8]) -> bool {
        self.allow.as_mut().is_some_and(|allow| allow.remove(prefix))
    }

    /// Keeps a client out. Says whether it is a new one.
    pub fn deny(&mut self, client: Client) -> bool {
        self.deny.add(client)
    }

    /// Takes a client from the deny list. Says whether it was there.
    pub fn undeny(&mut self, prefix: &[u8]) -> bool {
        self.deny.remove(prefix)
    }
}

impl List {
    fn new(clients: Vec<Client>) -> Self {
        let mut list = Self { clients, lengths: 0 };
        list.clients.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        list.clients.dedup_by(|a, b| a.prefix == b.prefix);
        list.clients.retain(|client| is_prefix(&client.prefix));
        list.measure();
        list
    }

    fn measure(&mut self) {
        self.lengths = self.clients.iter().fold(0, |bits, client| bits | 1 << client.prefix.len());
    }

    fn search(&self, prefix: &[u8]) -> Result<usize, usize> {
        self.clients.binary_search_by(|client| client.prefix[..].cmp(prefix))
    }

    /// One search for each length there is: a few, however many clients there are.
    fn holds(&self, peer_id: &PeerId) -> bool {
        (1..=20)
            .filter(|length| self.lengths & 1 << length != 0)
            .any(|length| self.search(&peer_id.0[..length]).is_ok())
    }

    fn add(&mut self, client: Client) -> bool {
        if !is_prefix(&client.prefix) {
            return false;
        }
        match self.search(&client.prefix) {
            Ok(place) => {
                self.clients[place] = client;
                false
            }
            Err(place) => {
                self.clients.insert(place, client);
                self.measure();
                true
            }
        }
    }

    fn remove(&mut self, prefix: &[u8]) -> bool {
        let found = self.search(prefix);
        if let Ok(place) = found {
            self.clients.remove(place);
            self.measure();
        }
        found.is_ok()
    }
}

fn is_prefix(prefix: &[u8]) -> bool {
    (1..=20).contains(&prefix.len())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn client(prefix: &str) -> Client {
        Client { prefix: prefix.into(), name: String::new() }
    }

    fn allows(clients: &Clients, start: &str) -> bool {
        let mut peer_id = [b'x'; 20];
        peer_id[..start.len()].copy_from_slice(start.as_bytes());
        clients.allows(&PeerId(peer_id))
    }

    #[test]
    fn client_is_let_in_by_the_start_of_its_peer_id() {
        let clients = Clients::new(
            Some([client("-TR4"), client("-qB4"), client("M7")].into()),
            [client("-TR400B")].into(),
        );
        let cases = [
            ("-TR4060-", true),
            ("-TR400B-", false),
            ("-TR3000-", false),
            ("-qB4320-", true),
            ("M7-9-", true),
            ("M6-9-", false),
        ];
        for (start, expected) in cases {
            assert_eq!(allows(&clients, start), expected, "{start}");
        }
    }

    #[test]
    fn no_list_lets_all_in_and_an_empty_list_nobody() {
        assert!(allows(&Clients::default(), "-XX0000-"));
        assert!(!allows(&Clients::new(Some(Vec::new()), Vec::new()), "-XX0000-"));
        let mut clients = Clients::default();
        assert!(clients.allow(client("-TR4")));
        assert!(!clients.allow(client("-TR4")));
        assert!(!allows(&clients, "-XX0000-"));
        assert!(clients.disallow(b"-TR4"));
        assert!(!clients.disallow(b"-TR4"));
        assert!(!allows(&clients, "-TR4060-"), "the last entry is gone, the list is not");
        assert_eq!(clients.allowed(), Some(&[][..]));
    }

    #[test]
    fn prefix_of_no_length_is_left_out() {
        let mut clients =
            Clients::new(Some([client(""), client(&"x".repeat(21))].into()), [].into());
        assert!(!allows(&clients, "-XX0000-"));
        assert!(!clients.deny(client("")));
        assert!(clients.deny(client("-XX")) && !clients.deny(client("-XX")));
        assert!(clients.undeny(b"-XX") && !clients.undeny(b"-XX"));
        let full = Clients::new(Some([client(&"x".repeat(20))].into()), [].into());
        assert!(allows(&full, "xxxx") && !allows(&full, "xxxy"));
    }
}
