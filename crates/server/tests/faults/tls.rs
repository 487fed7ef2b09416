//! TLS to the database and to the site, with certificates that an authority of the test's own has
//! signed: whom the tracker believes, and what it says where it does not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use peerage_testkit::{Folder, GazelleTables, MariaDb, SqlMode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::crowd::{Crowd, MEMBERS};
use crate::mariadb::{SCHEMA, fill};
use crate::mistakes::check;
use crate::own::postgres;
use crate::tracker::{Data, LIMIT};

/// An authority, and a server's certificate that it has signed.
struct Certificates {
    folder: Folder,
}

impl Certificates {
    /// With a server's certificate for `names`, such as `DNS:localhost,IP:127.0.0.1`.
    fn new(names: &str) -> Self {
        let certificates = Self { folder: Folder::new("tls").expect("a temporary folder") };
        certificates.folder.write("names", &format!("subjectAltName={names}")).expect("ours");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        certificates.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
        ));
        certificates
            .openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
        certificates.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.pem",
        );
        certificates
    }

    fn openssl(&self, line: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(line.split_whitespace()).current_dir(self.folder.path()).output();
        let output = output.expect("there is an openssl");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}

const RIGHT_NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// A tracker starts on the database at `url`.
#[track_caller]
fn check_starts(url: &str) {
    Data::new().start(url, &[]).stop().expect("it ends well");
}

#[test]
fn mariadb_is_believed_by_the_certificate_of_an_authority_of_ones_own() {
    for (names, is_right) in [(RIGHT_NAMES, true), ("DNS:other.example", false)] {
        let (certificates, others) = (Certificates::new(names), Certificates::new(names));
        let flags = [
            format!("--ssl-cert={}", certificates.text("server.pem")),
            format!("--ssl-key={}", certificates.text("server.key")),
        ];
        let flags = flags.each_ref().map(String::as_str);
        let server = MariaDb::start_with(SqlMode::Strict, &flags).expect("it starts");
        server.query("ALTER USER peerage REQUIRE SSL").expect("root may");
        let with = |settings: String| format!("{}?{settings}", server.url());
        let (ca, other) = (certificates.text("ca.pem"), others.text("ca.pem"));
        check_starts(&server.url());
        check_starts(&with(format!("ssl-mode=VERIFY_CA&ssl-ca={ca}")));
        check(&with("ssl-mode=DISABLED".into()), &[], &["1045"]);
        for url in
            [with("ssl-mode=VERIFY_CA".into()), with(format!("ssl-mode=VERIFY_CA&ssl-ca={other}"))]
        {
            check(
                &url,
                &[],
                &["the certificate of 127.0.0.1:", "not trusted", "invalid peer certificate"],
            );
        }
        let missing = with(format!("ssl-mode=VERIFY_CA&ssl-ca={ca}.missing"));
        check(&missing, &[], &["database.url", "is not there"]);
        let whole = with(format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"));
        match is_right {
            true => check_starts(&whole),
            false => check(&whole, &[], &["not trusted", "other.example", "as the certificate"]),
        }
    }
}

#[test]
fn postgres_is_believed_by_the_certificate_of_an_authority_of_ones_own() {
    for (names, is_right) in [(RIGHT_NAMES, true), ("DNS:other.example", false)] {
        let (certificates, others) = (Certificates::new(names), Certificates::new(names));
        let mut server = postgres(&Data::new());
        server
            .secure(&certificates.file("server.pem"), &certificates.file("server.key"))
            .expect("it starts");
        let with = |settings: String| format!("{}?{settings}", server.url());
        let (ca, other) = (certificates.text("ca.pem"), others.text("ca.pem"));
        check_starts(&with(format!("sslmode=verify-ca&sslrootcert={ca}")));
        let data = Data::new();
        let tracker = data.start(&with("sslmode=require".into()), &[]);
        let ssl = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                   WHERE application_name = 'peerage'";
        assert_eq!(server.query(ssl).expect("its owner may"), [["t"]]);
        tracker.stop().expect("it ends well");
        for url in [
            with("sslmode=verify-ca".into()),
            with(format!("sslmode=verify-ca&sslrootcert={other}")),
        ] {
            check(
                &url,
                &[],
                &["the certificate of 127.0.0.1:", "not trusted", "invalid peer certificate"],
            );
        }
        let whole = with(format!("sslmode=verify-full&sslrootcert={ca}"));
        match is_right {
            true => check_starts(&whole),
            false => check(&whole, &[], &["not trusted", "other.example", "as the certificate"]),
        }
    }
}

/// A site that takes calls over TLS: its URL, and the first lines of the requests that come.
fn site(certificates: &Certificates) -> (String, Receiver<String>) {
    let chain = CertificateDer::from_pem_file(certificates.file("server.pem"));
    let key = PrivateKeyDer::from_pem_file(certificates.file("server.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("this provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![chain.expect("it is PEM")], key.expect("it is PEM"));
    let config = Arc::new(config.expect("the key is the certificate's"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("https://{}/site", listener.local_addr().expect("it is bound"));
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection =
                ServerConnection::new(Arc::clone(&config)).expect("the config is right");
            let mut stream = StreamOwned::new(connection, stream);
            let (mut request, mut byte) = (Vec::new(), [0]);
            // Who does not believe us sends nothing.
            while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let Some(line) = request.lines().next() else { continue };
            // It may be gone, and so may the test.
            let _ =
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nsuccess").and_then(|()| stream.flush());
            let _ = sender.send(line.to_owned());
        }
    });
    (url, requests)
}

#[test]
fn site_is_told_of_used_tokens_once_its_certificate_is_trusted() {
    let certificates = Certificates::new(RIGHT_NAMES);
    let (url, requests) = site(&certificates);
    let database = MariaDb::start(SqlMode::Strict).expect("it starts");
    fill(&database, GazelleTables::Ops);
    let tokens = "INSERT INTO users_freeleeches (UserID, TorrentID, Time) \
                  SELECT u.ID, t.ID, NOW() FROM users_main u JOIN torrents t WHERE u.ID = 7";
    database.query(tokens).expect("the table is empty");
    let (data, mut crowd) = (Data::new(), Crowd::new());
    let password = "0123456789abcdefghijklmnopqrstuv";
    let settings = [
        SCHEMA,
        ("PEERAGE__GAZELLE__SITE_PASSWORD", password),
        ("PEERAGE__GAZELLE__SITE_URL", url.as_str()),
    ];
    let mut tracker = data.start(&database.url(), &settings);
    // Until the slowest has completed.
    crowd.announce(tracker.address(Ipv4Addr::LOCALHOST), |load| load.rounds(40));
    let line = tracker.log_line("the site cannot be told of used tokens").expect("it is said");
    assert!(line.contains("invalid peer certificate") && line.contains("SSL_CERT_FILE"), "{line}");
    assert!(requests.try_recv().is_err(), "who is not believed is told nothing");
    tracker.stop().expect("it ends well");
    let authority = certificates.text("ca.pem");
    let settings = [&settings[..], &[("SSL_CERT_FILE", authority.as_str())]].concat();
    let tracker = data.start(&database.url(), &settings);
    let line = requests.recv_timeout(LIMIT).expect("what was kept is told");
    let (member, torrents) = (7, [7 % 5 + 1, 9 % 5 + 1]);
    assert!(member <= MEMBERS && line.starts_with("GET /site/tools.php?key="), "{line}");
    for torrent in torrents {
        assert!(line.contains(&format!("{member}:{torrent}")), "{line}");
    }
    tracker.stop().expect("it ends well");
    assert!(!data.path().join("tokens.pending").exists(), "nothing is left to tell");
}
