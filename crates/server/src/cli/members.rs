//! The flags of `peerage user`, `torrent`, `client` and `freeleech`.

use clap::{Arg, ArgAction, ArgMatches, builder::PossibleValuesParser, value_parser};
use peerage_tracker::private::Pricing;

use crate::members::Command;
use crate::members::change::{Key, TorrentChange, UserChange};

/// Reads what [`usage`] describes; `None` for another subcommand.
pub(super) fn command(name: &str, matches: &ArgMatches) -> Option<Command> {
    let (what, sub) = matches.subcommand().unwrap_or(("", matches));
    let text = |name: &str| sub.get_one::<String>(name).cloned().unwrap_or_default();
    Some(match (name, what) {
        ("user", "add") => {
            let (change, host) = (user_change(sub), given(sub, "host"));
            Command::AddUser { name: text("name"), change, host }
        }
        ("user", "set") => {
            let (change, host) = (user_change(sub), given(sub, "host"));
            Command::SetUser { name: text("name"), change, host }
        }
        ("user", "remove") => Command::RemoveUser(text("name")),
        ("user", _) => Command::ListUsers,
        ("torrent", "add") => {
            Command::AddTorrent { what: text("torrent"), change: torrent_change(sub) }
        }
        ("torrent", "set") => {
            Command::SetTorrent { what: text("torrent"), change: torrent_change(sub) }
        }
        ("torrent", "remove") => Command::RemoveTorrent(text("torrent")),
        ("torrent", _) => Command::ListTorrents,
        ("client", "add") => {
            let is_denied = sub.get_flag("deny");
            Command::AddClient { prefix: text("prefix"), name: text("name"), is_denied }
        }
        ("client", "remove") => Command::RemoveClient(text("prefix")),
        ("client", _) => Command::ListClients,
        ("freeleech", "add") => Command::AddToken { user: text("name"), what: text("torrent") },
        ("freeleech", "remove") => {
            Command::RemoveToken { user: text("name"), what: text("torrent") }
        }
        ("freeleech", _) => Command::ListTokens(text("name")),
        _ => return None,
    })
}

fn is_yes(matches: &ArgMatches, name: &str) -> Option<bool> {
    matches.get_one::<String>(name).map(|value| value == "yes")
}

fn given(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.try_get_one::<String>(name).ok().flatten().cloned()
}

fn user_change(matches: &ArgMatches) -> UserChange {
    let is_new = matches.try_get_one("new-passkey").ok().flatten().copied().unwrap_or(false);
    let slots = matches.get_one::<u32>("slots");
    UserChange {
        rename: given(matches, "rename"),
        passkey: match is_new {
            true => Some(Key::Random),
            false => given(matches, "passkey").map(Key::Given),
        },
        enabled: is_yes(matches, "enabled"),
        can_leech: is_yes(matches, "can-leech"),
        protected: is_yes(matches, "protected"),
        free_leech: is_yes(matches, "free-leech"),
        double_upload: is_yes(matches, "double-upload"),
        download_slots: slots.map(|&slots| (slots > 0).then_some(slots)),
    }
}

fn torrent_change(matches: &ArgMatches) -> TorrentChange {
    TorrentChange {
        name: given(matches, "title"),
        pricing: given(matches, "pricing").map(|pricing| match pricing.as_str() {
            "free" => Pricing::Free,
            "neutral" => Pricing::Neutral,
            _ => Pricing::Normal,
        }),
        double_upload: is_yes(matches, "double-upload"),
    }
}

fn place(id: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(id).value_name(value).required(true).help(help)
}

fn yes_no(name: &'static str, help: &'static str) -> Arg {
    let values = PossibleValuesParser::new(["yes", "no"]);
    Arg::new(name).long(name).value_name("yes|no").value_parser(values).help(help)
}

fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn verb(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name).about(about)
}

fn user_flags() -> [Arg; 8] {
    [
        value("passkey", "KEY", "32 letters and digits, in place of chance"),
        value("host", "NAME", "The host in the URLs that are printed"),
        yes_no("enabled", "Whether the member may announce at all"),
        yes_no("can-leech", "Whether the member may download"),
        yes_no("protected", "Whether the member's address is kept out of the tables"),
        yes_no("free-leech", "Whether the member's downloads never count"),
        yes_no("double-upload", "Whether the member's uploads count twice"),
        value("slots", "N", "Most torrents downloaded at once; 0 for no bound")
            .value_parser(value_parser!(u32)),
    ]
}

fn torrent_flags() -> [Arg; 3] {
    let pricing = PossibleValuesParser::new(["normal", "free", "neutral"]);
    [
        value("title", "TEXT", "What it is called in lists"),
        value("pricing", "HOW", "free: uploads alone count; neutral: nothing counts")
            .value_parser(pricing),
        yes_no("double-upload", "Whether uploads count twice"),
    ]
}

/// The subcommands.
pub(super) fn usage() -> [clap::Command; 4] {
    let name = || place("name", "NAME", "The member's name");
    let torrent = || place("torrent", "FILE|HEX", "A .torrent file, or an info_hash in hex");
    // They begin with a dash.
    let prefix = || {
        place("prefix", "PREFIX", "The start of its peer_id, such as -TR4")
            .allow_hyphen_values(true)
    };
    let new = Arg::new("new-passkey").long("new-passkey").action(ArgAction::SetTrue);
    let deny = Arg::new("deny").long("deny").action(ArgAction::SetTrue);
    let group = |name, about| verb(name, about).subcommand_required(true);
    [
        group("user", "Make, list, change and remove the members of a private tracker")
            .subcommand(
                verb("add", "Make a member; prints the passkey and how to announce")
                    .arg(name())
                    .args(user_flags()),
            )
            .subcommand(verb("list", "List all: id, name, sums and what is special"))
            .subcommand(
                verb("set", "Change a member")
                    .arg(name())
                    .args(user_flags())
                    .arg(value("rename", "NAME", "A new name"))
                    .arg(new.help("A new passkey by chance, which is printed")),
            )
            .subcommand(verb("remove", "Remove a member with all that hangs on it").arg(name())),
        group("torrent", "Register, list, change and remove the torrents of a private tracker")
            .subcommand(verb("add", "Register a torrent").arg(torrent()).args(torrent_flags()))
            .subcommand(verb("list", "List all: info_hash, name, peers and what is special"))
            .subcommand(verb("set", "Change a torrent").arg(torrent()).args(torrent_flags()))
            .subcommand(
                verb("remove", "Remove a torrent with all that hangs on it").arg(torrent()),
            ),
        group("client", "Say which clients a private tracker lets in; all, where none is allowed")
            .subcommand(
                verb("add", "Put a client on the list of those let in")
                    .arg(prefix())
                    .arg(place("name", "NAME", "What it is called"))
                    .arg(deny.help("Put it on the list of those kept out instead")),
            )
            .subcommand(verb("list", "List both lists"))
            .subcommand(verb("remove", "Take a client off its list").arg(prefix())),
        group("freeleech", "Give members tokens by which a torrent's download does not count")
            .subcommand(verb("add", "Give a token").arg(name()).arg(torrent()))
            .subcommand(verb("list", "List a member's tokens").arg(name()))
            .subcommand(verb("remove", "Take a token back").arg(name()).arg(torrent())),
    ]
}
