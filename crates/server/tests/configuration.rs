//! What the program makes of its configuration, told by exit codes and by what it prints.

use std::path::Path;

use peerage_testkit::{Ended, Folder};

fn folder() -> Folder {
    Folder::new("configuration").expect("a temporary folder")
}

fn write(folder: &Folder, name: &str, text: &str) -> String {
    folder.write(name, text).expect("a file in our folder")
}

#[track_caller]
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
    peerage_testkit::run(program, arguments, variables).expect("it ends")
}

/// Runs `check-config` with a file of `text`: exit code 2 and one line that holds `parts`.
#[track_caller]
fn check_file(text: &str, parts: &[&str]) {
    let folder = folder();
    let file = write(&folder, "p.toml", text);
    for command in ["serve", "check-config", "print-config"] {
        let ended = run(&[command, "-c", &file], &[]);
        assert_eq!(ended.code, Some(2), "{command} {text:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{command} {text:?}: {}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{command} {text:?}: {}", ended.stderr);
        }
    }
}

#[track_caller]
fn check_arguments(arguments: &[&str], variables: &[(&str, &str)], parts: &[&str]) {
    let ended = run(arguments, variables);
    assert_eq!(ended.code, Some(2), "{arguments:?} {variables:?}: {}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{arguments:?} {variables:?}: {}", ended.stderr);
    }
}

#[test]
fn mistakes_in_the_file_are_named_with_file_line_key_and_what_is_right() {
    check_file("[listen]\nprot = 1\n", &["p.toml:2: ", "listen.prot", "did you mean listen.port?"]);
    check_file("[lisen]\nport = 1\n", &["p.toml:1: ", "lisen", "did you mean listen?"]);
    check_file("port = 1\n", &["p.toml:1: ", "did you mean listen.port?"]);
    check_file("[listen]\n\nport = 70000\n", &["p.toml:3: ", "listen.port = 70000", "65535"]);
    check_file("[listen]\ntcp = \"yes\"\n", &["p.toml:2: ", "\"yes\"", "true or false"]);
    check_file("[announce]\njitter = \"1 min\"\n", &["p.toml:2: ", "announce.jitter", "\"90s\""]);
    check_file("[udp]\nsend_buffer = \"1TB\"\n", &["p.toml:2: ", "udp.send_buffer", "\"8MiB\""]);
    check_file("[log]\nlevel = \"loud\"\n", &["p.toml:2: ", "\"info\""]);
    check_file("[listen]\nbind = [\"localhost\"]\n", &["p.toml:2: ", "listen.bind", "192.0.2.1"]);
    check_file("[listen\n", &["p.toml:1: not TOML: "]);
    check_file(
        "[announce]\nmin_interval = 600\nmax_interval = 300\n",
        &["p.toml:3: ", "announce.max_interval", "at least announce.min_interval (600s)"],
    );
}

#[test]
fn each_mistake_has_a_line_and_all_are_told() {
    let folder = folder();
    let file = write(&folder, "p.toml", "[listen]\nport = -1\nprot = 1\n[x]\n");
    let ended = run(&["check-config", "-c", &file], &[("PEERAGE__LISTEN__TCP", "maybe")]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr.lines().count(), 4, "{}", ended.stderr);
}

#[test]
fn file_that_cannot_be_read_is_named() {
    check_arguments(&["-c", "/no/such.toml"], &[], &["cannot read /no/such.toml: "]);
    check_arguments(&["-c", "/dev/zero"], &[], &["cannot read /dev/zero: "]);
}

#[test]
fn mistakes_in_environment_and_flags_are_named() {
    check_arguments(&[], &[("PEERAGE__LISTEN__PORT", "x")], &["PEERAGE__LISTEN__PORT: ", "65535"]);
    check_arguments(
        &[],
        &[("PEERAGE__LISTEN__PROT", "1")],
        &["PEERAGE__LISTEN__PROT: ", "did you mean listen.port?"],
    );
    check_arguments(&["--port", "65536"], &[], &["--port: listen.port = 65536"]);
    check_arguments(&["--port", "-1"], &[], &["--port: listen.port = -1"]);
    check_arguments(&["-w", "0"], &[], &["--workers: ", "from 1 to 1024"]);
    check_arguments(&["-i", "soon"], &[], &["--interval: "]);
    check_arguments(&["--prot", "1"], &[], &["--prot", "--port"]);
    check_arguments(&["srve"], &[], &["srve", "serve"]);
    check_arguments(&["--no-tcp", "--no-udp"], &[], &["listen.udp"]);
}

#[test]
fn environment_goes_before_flag_before_file_before_default() {
    let folder = folder();
    let file = write(&folder, "p.toml", "[listen]\nport = 1\nworkers = 3\nbacklog = 5\n");
    let arguments = ["print-config", "-c", &file, "--port", "2", "--workers", "4"];
    let ended = run(&arguments, &[("PEERAGE__LISTEN__PORT", "3")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ["port = 3", "workers = 4", "backlog = 5", "udp = true"] {
        assert!(ended.stdout.lines().any(|printed| printed == line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn every_flag_of_the_manual_is_taken() {
    let flags = "-p 1 -i 600 --min-interval 300 --max-interval 900 -k --no-tcp --no-locations \
        --charset utf-8 --locale en_US.UTF-8 --nofile -1 --core 0 -a 2 -e 5 -f 3 -w 1 -m 40 \
        --x-forwarded-for X-Real-IP --bind ::1 --bind 127.0.0.1 --data-dir d --chroot c --user u";
    let arguments: Vec<&str> = ["print-config"].into_iter().chain(flags.split(' ')).collect();
    let arguments: Vec<&str> = arguments.into_iter().filter(|flag| !flag.is_empty()).collect();
    let ended = run(&arguments, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in [
        "bind = [\"::1\", \"127.0.0.1\"]",
        "interval = \"10m\"",
        "tcp = false",
        "peers_per_response_max = 40",
        "load_max = 2.0",
        "timeout = \"5s\"",
        "forwarded_header = \"X-Real-IP\"",
        "failed = 3",
        "nofile = -1",
        "user = \"u\"",
    ] {
        assert!(ended.stdout.lines().any(|printed| printed == line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn what_print_config_prints_means_the_same() {
    let folder = folder();
    let first = run(&["print-config", "-i", "90", "--bind", "::1"], &[]);
    let file = write(&folder, "p.toml", &first.stdout);
    let second = run(&["print-config", "-c", &file], &[]);
    assert_eq!(second.stdout, first.stdout, "{}", second.stderr);
    assert_eq!(run(&["check-config", "-c", &file], &[]).code, Some(0));
}

#[test]
fn secret_is_not_printed() {
    let key = "00112233445566778899aabbccddeeff";
    let ended = run(&["print-config"], &[("PEERAGE__UDP__CONNECTION_KEY", key)]);
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.contains(key) && ended.stdout.contains("connection_key is set"));
    let ended = run(&["print-config"], &[("PEERAGE__UDP__CONNECTION_KEY", &key[1..])]);
    assert_eq!(ended.code, Some(2));
    assert!(!ended.stderr.contains(&key[1..]), "{}", ended.stderr);
}

#[test]
fn example_file_and_manual_are_what_the_program_prints() {
    let example = include_str!("../../../peerage.example.toml");
    assert_eq!(run(&["print-config", "--example"], &[]).stdout, example);
    let manual = include_str!("../../../docs/configuration.md");
    assert_eq!(run(&["print-config", "--manual"], &[]).stdout, manual);
    let folder = folder();
    let file = write(&folder, "p.toml", example);
    assert_eq!(run(&["check-config", "-c", &file], &[]).code, Some(0));
}

#[test]
fn list_with_a_bad_line_is_named_with_the_line() {
    let folder = folder();
    let list = write(&folder, "deny.txt", &format!("# bad\n{}\nnonsense\n", "ab".repeat(20)));
    check_arguments(
        &["check-config"],
        &[("PEERAGE__ACCESS__DENY", &list)],
        &["deny.txt:3: must be an info_hash in 40 or 64 hex digits"],
    );
    check_arguments(
        &["serve", "-p", "0"],
        &[("PEERAGE__ACCESS__ALLOW", "/no/such/list")],
        &["cannot read /no/such/list: "],
    );
}

#[test]
fn help_and_version_are_no_failures() {
    let help = run(&["--help"], &[]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("--max-peers-per-response"));
    let version = run(&["--version"], &[]);
    assert_eq!(version.stdout, concat!("peerage ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn mode_is_a_word_for_private_enabled() {
    let folder = folder();
    let text = "mode = \"private\"\n[process]\ndata_dir = \"x\"\n";
    let ended = run(&["print-config", "-c", &write(&folder, "p.toml", text)], &[]);
    assert!(ended.stdout.contains("[private]\nenabled = true\n"), "{}", ended.stderr);
    let ended = run(&["print-config", "--data-dir", "x"], &[("PEERAGE__MODE", "private")]);
    assert!(ended.stdout.contains("[private]\nenabled = true\n"), "{}", ended.stderr);
    check_file("mode = \"secret\"\n", &["p.toml:1: mode = secret", "\"open\", \"private\""]);
    let ended = run(&["print-config", "--private"], &[]);
    assert!(ended.stdout.contains("\ndata_dir = \"peerage-data\"\n"), "{}", ended.stdout);
    let site = [("PEERAGE__GAZELLE__SITE_PASSWORD", "abcdefghijklmnopqrstuvwxyz012345")];
    check_arguments(&["serve", "--private"], &site, &["database.url", "the site's database"]);
}

#[test]
fn ocelot_conf_fills_in_what_the_configuration_does_not_say() {
    let folder = folder();
    let conf = "listen_port = 1000\nannounce_interval = 600\nnumwant_limit = 7\nfoo = 1\n\
                mysql_password = hunter2\nsite_password = abcdefghijklmnopqrstuvwxyz012345\n";
    let ocelot = write(&folder, "ocelot.conf", conf);
    let file = write(&folder, "p.toml", "[announce]\nnumwant_default = 3\n");
    let all = ["print-config", "-c", &file, "--ocelot-conf", &ocelot, "-p", "2000"];
    let ended = run(&all, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in [
        "port = 2000",
        "interval = \"10m\"",
        "numwant_default = 3",
        "peers_per_response_max = 7",
        "# site_password is set and not shown",
        "# url is set and not shown",
    ] {
        assert!(ended.stdout.lines().any(|one| one == line), "{line}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("hunter2") && !ended.stdout.contains("abcdefgh"));
    let ended = run(&["check-config", "--ocelot-conf", &ocelot], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("ocelot.conf: line 4: unknown key foo"), "{}", ended.stderr);
}

#[test]
fn ocelot_conf_that_is_missing_or_wrong_is_a_mistake() {
    check_arguments(&["serve", "--ocelot-conf", "/nowhere"], &[], &["cannot read /nowhere"]);
    let folder = folder();
    let wrong = "\nlisten_port = x\nsite_password = tooshort\n";
    let ocelot = write(&folder, "ocelot.conf", wrong);
    let parts =
        ["ocelot.conf:2: listen.port = x", "ocelot.conf:3: gazelle.site_password = (hidden)"];
    check_arguments(&["serve", "--ocelot-conf", &ocelot], &[], &parts);
}
