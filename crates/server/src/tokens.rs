//! The tokens of the API: who may ask for what, kept in `tokens.toml` in the data folder.
//!
//! A token is 256 random bits, shown once when it is made. What is kept is its SHA-256: with so
//! many random bits there is nothing to guess, so a slow hash with a salt, as passwords need, would
//! protect nothing and cost each request. `peerage token` may change the file beside a running
//! tracker: whoever does holds a lock on `tokens.lock` meanwhile, and the tracker reads the file
//! again once it is another one.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use toml::de::{DeTable, DeValue};
use utoipa::ToSchema;

use crate::config::value::quoted;
use crate::kept;

/// The file with the tokens.
const FILE: &str = "tokens.toml";

/// The file that is locked while the tokens are changed. It stays empty.
const LOCK_FILE: &str = "tokens.lock";

/// Most bytes of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most tokens: each request is compared with all of them.
pub(crate) const TOKENS_MAX: usize = 256;

/// Most characters of a token's name.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// How often, and with what pause between, another holder of the lock is waited for.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What the first line of the file says.
const HEAD: &str =
    "# The tokens of the API, by their SHA-256. `peerage token` changes this file.\n";

/// What a token allows; each allows what those before it allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// To look at statistics, settings, lists and swarms.
    Read,
    /// To change lists and to drop swarms.
    Operate,
    /// To change settings and tokens.
    Admin,
}

impl Scope {
    /// All, from the least to the most.
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// As it is written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Scope::name`] says.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// By which it is removed: 8 hex digits, unlike any other's.
    pub(crate) id: String,
    /// As whoever made it calls it; goes into the log with what it changes. Unlike any other's.
    pub(crate) name: String,
    /// What it allows.
    pub(crate) scope: Scope,
    /// When it was made, in seconds since the UNIX epoch.
    pub(crate) created_at_secs: u64,
    /// The SHA-256 of the whole text of the token.
    hash: [u8; 32],
}

/// The text of a token: `peerage_admin_` and 64 hex digits. To be shown once, and never logged.
pub(crate) struct TokenText(pub(crate) String);

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Why tokens cannot be read or changed. One line.
#[derive(Debug)]
pub(crate) enum Error {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// The file is not as it was written: what is wrong.
    Broken(PathBuf, String),
    /// Someone else has held the lock for too long.
    Locked(PathBuf),
    /// The name is empty, too long or not printable.
    Name,
    /// The name is taken.
    Taken(String),
    /// There are [`TOKENS_MAX`] already.
    Full,
    /// There is no token with this id.
    Unknown(String),
}

/// Which file was read: another one has another stamp, as it is never written in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified_nanos: i128,
    bytes: u64,
}

/// The tokens of a data folder. Shared by all that check and change them.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: PathBuf,
    /// What was read last, and of which file.
    read: Mutex<(Option<Stamp>, Arc<[Token]>)>,
}

impl Tokens {
    /// Reads the tokens in `folder`; none where there is no file.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let tokens = Self { folder: folder.into(), read: Mutex::new((None, Arc::new([]))) };
        tokens.refresh()?;
        Ok(tokens)
    }

    /// Whether there has ever been a token here.
    pub(crate) fn have_been(&self) -> bool {
        self.folder.join(FILE).exists()
    }

    /// All tokens, oldest first.
    pub(crate) fn all(&self) -> Arc<[Token]> {
        Arc::clone(&self.lock().1)
    }

    /// The token of this text.
    ///
    /// Takes as long whatever the text is, and whichever token it is: all are compared, to the
    /// last byte.
    pub(crate) fn find(&self, text: &str) -> Option<Token> {
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let tokens = self.all();
        let mut found = u64::MAX;
        for (index, token) in tokens.iter().enumerate() {
            let same: Choice = token.hash[..].ct_eq(&hash[..]);
            found.conditional_assign(&(index as u64), same);
        }
        tokens.get(usize::try_from(found).ok()?).cloned()
    }

    /// Reads the file again if it is another one than was last read. On an error what was read
    /// before stays in force.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        let path = self.folder.join(FILE);
        let stamp = Stamp::of(&path).map_err(|error| Error::File(path.clone(), error))?;
        if self.lock().0 == stamp {
            return Ok(());
        }
        // Taken note of before the file is read, so that a broken one is complained of once.
        self.lock().0 = stamp;
        let tokens = read(&path)?;
        self.lock().1 = tokens.into();
        Ok(())
    }

    /// Makes a token and keeps it.
    pub(crate) fn add(&self, name: &str, scope: Scope) -> Result<(Token, TokenText), Error> {
        let chars = name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) || name.contains(char::is_control) {
            return Err(Error::Name);
        }
        let failed = |error: getrandom::Error| io::Error::other(error.to_string());
        let failed = |error| Error::File("the system's random numbers".into(), failed(error));
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(failed)?;
        let id = getrandom::u32().map_err(failed)?;
        let text = format!("peerage_{}_{}", scope.name(), hex(&random));
        let token = Token {
            id: format!("{id:08x}"),
            name: name.into(),
            scope,
            created_at_secs: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            hash: Sha256::digest(text.as_bytes()).into(),
        };
        let added = token.clone();
        self.change(|tokens| {
            if tokens.len() >= TOKENS_MAX {
                return Err(Error::Full);
            }
            // By chance the id may be another's, once in millions of years.
            if tokens.iter().any(|other| other.name == token.name || other.id == token.id) {
                return Err(Error::Taken(token.name));
            }
            tokens.push(token);
            Ok(())
        })?;
        Ok((added, TokenText(text)))
    }

    /// Removes the token with this id: what it allowed is refused from here on.
    pub(crate) fn remove(&self, id: &str) -> Result<Token, Error> {
        self.change(|tokens| {
            let at = tokens.iter().position(|token| token.id == id);
            at.map(|at| tokens.remove(at)).ok_or_else(|| Error::Unknown(id.into()))
        })
    }

    /// Changes the file as it is now, whoever wrote it, and takes it into force.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<Token>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = self.folder.join(FILE);
        let failed = |error| Error::File(path.clone(), error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let _lock = self.lock_file()?;
        let mut tokens = read(&path)?;
        let changed = change(&mut tokens)?;
        kept::write(&path, &write(&tokens)).map_err(failed)?;
        *self.lock() = (Stamp::of(&path).map_err(failed)?, tokens.into());
        Ok(changed)
    }

    /// Keeps other processes, and other threads, from changing the file. Waits for a second at
    /// most: who changes it is done within milliseconds.
    fn lock_file(&self) -> Result<Flock<fs::File>, Error> {
        let path = self.folder.join(LOCK_FILE);
        let file = kept::open_private(&path, OpenOptions::new().write(true));
        let mut file = file.map_err(|error| Error::File(path.clone(), error))?;
        for _ in 0..LOCK_TRIES {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((unlocked, _)) => file = unlocked,
            }
            thread::sleep(LOCK_PAUSE);
        }
        Err(Error::Locked(path))
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Stamp>, Arc<[Token]>)> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    /// `None` where there is no file.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self {
                inode: metadata.ino(),
                modified_nanos: i128::from(metadata.mtime()) * 1_000_000_000
                    + i128::from(metadata.mtime_nsec()),
                bytes: metadata.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").expect("a String takes any text"));
    hex
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

fn write(tokens: &[Token]) -> String {
    let mut text = String::from(HEAD);
    for token in tokens {
        let Token { id, name, scope, created_at_secs, hash } = token;
        let (name, scope, hash) = (quoted(name), scope.name(), hex(hash));
        write!(
            text,
            "\n[[token]]\nid = \"{id}\"\nname = {name}\nscope = \"{scope}\"\n\
             created_at_secs = {created_at_secs}\nsha256 = \"{hash}\"\n"
        )
        .expect("a String takes any text");
    }
    text
}

fn read(path: &Path) -> Result<Vec<Token>, Error> {
    let broken = |what: &str| Error::Broken(path.into(), what.into());
    let text = kept::read(path, FILE_BYTES_MAX);
    let text = text.map_err(|error| Error::File(path.into(), error))?.unwrap_or_default();
    let table = DeTable::parse(&text).map_err(|error| broken(error.message()))?.into_inner();
    let Some(entries) = table.get("token") else { return Ok(Vec::new()) };
    let entries = entries.get_ref().as_array().ok_or_else(|| broken("token is no array"))?;
    let mut tokens = Vec::new();
    let mut ids = BTreeSet::new();
    for entry in entries {
        let token = entry.get_ref().as_table().and_then(|table| {
            let text = |key: &str| table.get(key)?.get_ref().as_str();
            let created_at = table.get("created_at_secs")?.get_ref();
            Some(Token {
                id: text("id")?.into(),
                name: text("name")?.into(),
                scope: Scope::from_name(text("scope")?)?,
                created_at_secs: DeValue::as_integer(created_at)?.as_str().parse().ok()?,
                hash: from_hex(text("sha256")?)?,
            })
        });
        let number = tokens.len() + 1;
        let token = token.ok_or_else(|| broken(&format!("token {number} is not whole")))?;
        if !ids.insert(token.id.clone()) || number > TOKENS_MAX {
            return Err(broken(&format!("token {number} is one too many")));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Broken(path, what) => write!(
                f,
                "{}: {what}: restore it, or remove it and make tokens anew",
                path.display()
            ),
            Self::Locked(path) => write!(f, "{}: someone else holds this lock", path.display()),
            Self::Name => write!(
                f,
                "the name of a token must be a text of 1 to {NAME_CHARS_MAX} characters on one line"
            ),
            Self::Taken(name) => write!(f, "there is a token named {name:?} already"),
            Self::Full => write!(f, "there are {TOKENS_MAX} tokens, which is all there may be"),
            Self::Unknown(id) => write!(f, "there is no token with the id {id:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_testkit::Folder;

    use super::*;

    fn folder() -> Folder {
        Folder::new("tokens").unwrap()
    }

    #[test]
    fn token_is_found_by_its_text_alone_and_its_text_is_not_kept() {
        let folder = folder();
        let tokens = Tokens::open(folder.path()).unwrap();
        assert!(!tokens.have_been());
        let mut texts = Vec::new();
        for (name, scope) in [("a", Scope::Read), ("b", Scope::Admin)] {
            let (token, text) = tokens.add(name, scope).unwrap();
            assert!(text.0.starts_with(&format!("peerage_{}_", scope.name())));
            assert_eq!(tokens.find(&text.0), Some(token));
            texts.push(text.0);
        }
        let kept = fs::read_to_string(folder.path().join(FILE)).unwrap();
        for text in &texts {
            let random = text.rsplit('_').next().unwrap();
            assert_eq!(random.len(), 64);
            assert!(!kept.contains(random));
            for wrong in [&text[1..], random, &text.to_uppercase(), &format!("{text} "), ""] {
                assert_eq!(tokens.find(wrong), None, "{wrong}");
            }
        }
        assert!(tokens.have_been());
    }

    #[test]
    fn tokens_are_read_again_when_another_process_has_changed_them() {
        let folder = folder();
        let (ours, theirs) =
            (Tokens::open(folder.path()).unwrap(), Tokens::open(folder.path()).unwrap());
        let (token, text) = theirs.add("a", Scope::Operate).unwrap();
        assert_eq!(ours.find(&text.0), None);
        ours.refresh().unwrap();
        assert_eq!(ours.find(&text.0), Some(token.clone()));
        let (second, _) = ours.add("b", Scope::Read).unwrap();
        theirs.remove(&token.id).unwrap();
        ours.refresh().unwrap();
        assert_eq!(ours.all()[..], [second]);
        assert_eq!(ours.find(&text.0), None);
    }

    #[test]
    fn broken_file_leaves_in_force_what_was_read_before() {
        let folder = folder();
        let tokens = Tokens::open(folder.path()).unwrap();
        let (_, text) = tokens.add("a", Scope::Admin).unwrap();
        for broken in ["[[token]]\nid = \"1\"\n", "token = 1\n", "nonsense"] {
            kept::write(&folder.path().join(FILE), broken).unwrap();
            assert!(matches!(tokens.refresh(), Err(Error::Broken(..))), "{broken}");
            // It was told once.
            tokens.refresh().unwrap();
            assert!(tokens.find(&text.0).is_some());
            assert!(Tokens::open(folder.path()).is_err());
            assert!(tokens.add("b", Scope::Read).is_err());
        }
    }

    #[test]
    fn names_are_bounded_and_unlike_each_other() {
        let folder = folder();
        let tokens = Tokens::open(folder.path()).unwrap();
        let long = "é".repeat(NAME_CHARS_MAX);
        let odd = "a\"\\ \u{200b}[x]";
        for name in [long.as_str(), odd] {
            tokens.add(name, Scope::Read).unwrap();
            assert!(matches!(tokens.add(name, Scope::Admin), Err(Error::Taken(_))));
        }
        for name in ["", "a\nb", &format!("{long}x")] {
            assert!(matches!(tokens.add(name, Scope::Read), Err(Error::Name)), "{name}");
        }
        let again = Tokens::open(folder.path()).unwrap();
        assert_eq!(again.all()[1].name, odd);
        assert!(matches!(tokens.remove("none"), Err(Error::Unknown(_))));
    }

    #[test]
    fn number_of_tokens_is_bounded() {
        let folder = folder();
        let token = |index: usize| Token {
            id: format!("{index:08x}"),
            name: format!("token {index}"),
            scope: Scope::Read,
            created_at_secs: 1,
            hash: [index as u8; 32],
        };
        let all: Vec<Token> = (0..TOKENS_MAX).map(token).collect();
        kept::write(&folder.path().join(FILE), &write(&all)).unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        assert_eq!(tokens.all()[..], all);
        assert!(matches!(tokens.add("one more", Scope::Read), Err(Error::Full)));
    }
}
