//! The configuration as a user meets it: files that are right, files that are wrong, and what is said about them.

mod hooks;
mod mail;
mod mqtt;
mod policies;
mod second_path;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tautline::alert::Recipient;
use tautline::config::{CONFIG_BYTES_MAX, ConfigErrors, Env, Loaded, Loopback, Plan, Source, load, to_json, to_toml};

/// A folder with `tautline.toml` of `text` in it.
struct Site(tempfile::TempDir);

impl Site {
    fn with(text: impl AsRef<[u8]>) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        std::fs::write(site.file(), text).unwrap();
        site
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("tautline.toml")
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(Some(&self.file()), &Env::default())
    }

    /// The faults as lines, without the folder.
    fn faults(&self) -> Vec<String> {
        let errors = self.load().expect_err("the file is wrong");
        let folder = format!("{}/", self.0.path().display());
        errors
            .to_string()
            .lines()
            .map(|line| line.replace(&folder, ""))
            .collect()
    }
}

/// Nothing of this machine is looked at: the file named does not exist in any searched place.
fn defaults(env: &Env) -> Result<Loaded, ConfigErrors> {
    load(None, env)
}

fn has(faults: &[String], parts: &[&str]) {
    let found = faults.iter().any(|fault| parts.iter().all(|part| fault.contains(part)));
    assert!(found, "no fault with {parts:?} in {faults:#?}");
}

const WHOLE: &str = r#"
board = "rpi-4"
timezone = "Europe/Berlin"

[[session]]
name = "default"
endpoint = "ws://127.0.0.1:7171/ws/chat"
proxy = "socks5://me:pass%20word@127.0.0.1:9050"

[[session]]
name = "second"

[[route]]
name = "family"
session = "default"
to = ["+1 (555) 010-0123", "120363000000000000@g.us"]
ttl = "24h"
mark_late = "off"
group = { by = ["alertname", "title"], wait = "10s", interval = "5m", max = 7 }
quiet = { from = "22:30", to = "06:30", below = "max", then = "drop" }
pace = { per_minute = 20, burst = 3 }
repeat = { every = "10m", times = 3, from = "high" }
escalate = { after = "30m", to = "ops" }
ack_from = ["+15550100123", "120363000000000000@g.us"]
ack_words = ["Seen!", "ok"]

[[route]]
name = "ops"
session = "second"
to = ["me"]

[gateway]
listen = ["127.0.0.1:0", "[::1]:7373"]

[mail]
route = "ops"
routes = { "root@nas.example.org" = "family", root = "ops" }

[mqtt]
broker = "mqtts://nas.lan:8884"
user = "me"
node = "attic"
qos = 0
keepalive = "1m"

[heartbeat]
url = "https://hc-ping.com/8f1c"
interval = "5m"

[attachments]
max = "8MB"
total = "2GB"
fetch = ["http://camera.lan/", "https://nas.example/snap/"]
"#;

#[test]
fn without_a_file_the_defaults_run() {
    // An empty file says the same as none.
    let loaded = Site::with("").load().unwrap();
    let Plan {
        board,
        time_zone,
        sessions,
        routes,
        gateway,
        smtp,
        mail,
        heartbeat,
        attachments,
        fallbacks,
        health_fallbacks,
        hooks,
        mqtt,
    } = &loaded.plan;
    assert_eq!((board, time_zone), (&None, &None));
    assert!(fallbacks.is_empty());
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].name.as_str(), "default");
    assert_eq!(sessions[0].endpoint.to_string(), "wss://web.whatsapp.com/ws/chat");
    assert_eq!(sessions[0].proxy, None);
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].name.as_str(), "me");
    assert_eq!(routes[0].to, [Recipient::Me]);
    let loopbacks = ["127.0.0.1:7373", "[::1]:7373"];
    assert_eq!(gateway.listen, loopbacks.map(|text| text.parse().unwrap()));
    assert_eq!((&mail.route, mail.routes.len(), smtp.listen.len()), (&None, 0, 0));
    assert_eq!((heartbeat, mqtt), (&None, &None));
    assert_eq!(attachments, &tautline::config::AttachmentsPlan::default());
    assert!(health_fallbacks.is_empty() && hooks.is_empty());
    assert!(loaded.warnings.is_empty());
    assert!(loaded.provenance.iter().all(|setting| setting.from == Source::Default));
}

#[test]
fn a_whole_file_becomes_a_plan() {
    let site = Site::with(WHOLE);
    let loaded = site.load().unwrap();
    let plan = &loaded.plan;
    assert_eq!(plan.board.as_deref(), Some("rpi-4"));
    assert_eq!(plan.sessions[0].endpoint.port, 7171);
    let proxy = plan.sessions[0].proxy.as_ref().unwrap();
    assert_eq!(proxy.user, Some(("me".into(), "pass word".into())));
    assert!(!format!("{plan:?}").contains("pass word"));
    assert_eq!(plan.routes[0].to[0].to_string(), "+15550100123");
    assert_eq!(plan.routes[1].session.as_str(), "second");
    assert_eq!(plan.gateway.listen.len(), 2);
    assert_eq!(plan.mail.route.as_ref().unwrap().as_str(), "ops");
    let mut mail: Vec<_> = plan
        .mail
        .routes
        .iter()
        .map(|(to, route)| (to.as_str(), route.as_str()))
        .collect();
    mail.sort_unstable();
    assert_eq!(mail, [("root", "ops"), ("root@nas.example.org", "family")]);
    assert_eq!(loaded.file, Some(site.file()));
}

#[test]
fn line_ends_tabs_and_a_byte_order_mark_do_not_matter() {
    let plain = Site::with(WHOLE).load().unwrap().plan;
    let windows = format!("\u{feff}{}", WHOLE.replace('\n', "\r\n").replace(" = ", "\t=\t"));
    assert_eq!(Site::with(&windows).load().unwrap().plan, plain);
    let site = Site::with("\u{feff}board = \"x\"\r\n\tboard2 = 1\r\n");
    has(
        &site.faults(),
        &["tautline.toml:1:9: board: \"x\" is no board", "rpi-4"],
    );
    has(
        &site.faults(),
        &["tautline.toml:2:2: board2: unknown key", "did you mean \"board\"?"],
    );
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let site = Site::with(
        r#"board = 5
[[session]]
name = "a b"
endpoint = "http://example.org"
[[session]]
proxy = "ftp://me:secret@host"
[[session]]
name = "two"
[[session]]
name = "two"
[[route]]
name = "family"
session = "thre"
to = ["+1555", 7, "me", "me"]
[[route]]
name = "family"
to = []
[[route]]
name = "v1"
session = "two"
[gateway]
listen = ["0.0.0.0:7373", "localhost:1", "127.0.0.1:1", "127.0.0.1:1"]
"#,
    );
    let faults = site.faults();
    for parts in [
        ["tautline.toml:1:9: board:", "is an integer; expected"],
        ["tautline.toml:3:8: session[0].name:", "letters, digits"],
        ["tautline.toml:4:12: session[0].endpoint:", "expected wss://"],
        ["tautline.toml:5:1: session[1].name:", "is missing"],
        ["tautline.toml:6:9: session[1].proxy:", "expected socks5://"],
        ["tautline.toml:10:8: session[3].name:", "named twice"],
        ["tautline.toml:13:11: route[0].session:", "no session is named \"thre\""],
        ["tautline.toml:14:7: route[0].to[0]:", "a recipient is a number"],
        ["tautline.toml:14:16: route[0].to[1]:", "is an integer"],
        ["tautline.toml:14:25: route[0].to[3]:", "the same recipient again"],
        ["tautline.toml:16:8: route[1].name:", "named twice"],
        ["tautline.toml:15:1: route[1].session:", "is missing; expected one of"],
        ["tautline.toml:17:6: route[1].to:", "is empty"],
        ["tautline.toml:19:8: route[2].name:", "reserved"],
        ["tautline.toml:18:1: route[2].to:", "is missing"],
        [
            "tautline.toml:22:11: gateway.listen[0]:",
            "is reachable from the network",
        ],
        ["tautline.toml:22:27: gateway.listen[1]:", "is no address and port"],
        ["tautline.toml:22:57: gateway.listen[3]:", "the same address again"],
    ] {
        has(&faults, &parts);
    }
    assert_eq!(faults.len(), 18, "{faults:#?}");
    assert!(!faults.concat().contains("secret"));
}

#[test]
fn sections_of_the_wrong_shape() {
    has(
        &Site::with("[session]\nname = \"a\"\n").faults(),
        &["1:1: session: is a table", "[[session]]"],
    );
    has(
        &Site::with("route = 1\n").faults(),
        &["1:9: route: is an integer", "[[route]]"],
    );
    has(
        &Site::with("gateway = true\n").faults(),
        &["1:11: gateway: is a boolean", "[gateway]"],
    );
    has(
        &Site::with("[gateway]\nlisten = \"127.0.0.1:1\"").faults(),
        &["2:10: gateway.listen: is a string"],
    );
    has(
        &Site::with("session = [1]").faults(),
        &["1:12: session[0]: is an integer"],
    );
}

#[test]
fn text_that_is_no_toml() {
    let faults =
        Site::with("board = \n[[route]]\nname = \"a\"\nto = [\"me\"]\nx = = 1\n[gateway]\nlisten = 3\n").faults();
    has(&faults, &["tautline.toml:1:"]);
    has(&faults, &["tautline.toml:5:"]);
    has(&faults, &["tautline.toml:7:10: gateway.listen: is an integer"]);
    assert_eq!(faults.len(), 3, "{faults:#?}");
    // After a broken header the rest would stand in the wrong section: nothing is said of it.
    let faults = Site::with("[[route\nname = 5\n").faults();
    assert!(faults.iter().all(|fault| !fault.contains("route.name")), "{faults:#?}");
    has(
        &Site::with("a = 1\na = 2\n").faults(),
        &["tautline.toml:2:1: duplicate key"],
    );
    let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    has(&Site::with(&deep).faults(), &["tautline.toml:1:"]);
}

#[test]
fn an_unknown_key_is_a_warning_until_it_is_checked() {
    let site = Site::with("[[route]]\nname = \"a\"\nto = [\"me\"]\nsesion = \"default\"\n[gatway]\n\"\\u0007\" = 1\n");
    let loaded = site.load().unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    has(
        &warnings,
        &["tautline.toml:4:1: route[0].sesion: unknown key; did you mean \"session\"?"],
    );
    has(
        &warnings,
        &["tautline.toml:5:2: gatway: unknown key; did you mean \"gateway\"?"],
    );
    assert_eq!(warnings.len(), 2, "what stands in an unknown section is not looked at");
}

#[test]
fn a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no.toml");
    let said = |path: &Path| load(Some(path), &Env::default()).unwrap_err().to_string();
    assert!(said(&missing).ends_with("no.toml: there is no such file; expected a readable file of TOML"));
    assert!(said(folder.path()).contains("is a directory"));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(said(&pipe).contains("is a pipe"));
    let socket = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(said(&socket).contains("is a socket and no file"));
    for device in ["/dev/zero", "/dev/full", "/dev/urandom"] {
        assert!(said(Path::new(device)).contains("is a device"), "{device}");
    }
    assert!(load(Some(Path::new("/dev/null")), &Env::default()).is_ok());
    let by_env = load(None, &Env::of([("TAUTLINE_CONFIG", &missing)])).unwrap_err();
    assert!(by_env.to_string().contains("there is no such file"));
    has(
        &Site::with(b"# fine\nboard = \"\xff\"").faults(),
        &["tautline.toml:2:10: is not UTF-8"],
    );
    let large = Site::with(vec![b'\n'; CONFIG_BYTES_MAX as usize + 1]);
    has(&large.faults(), &["is larger than 1048576 bytes"]);
    assert!(Site::with(vec![b'\n'; CONFIG_BYTES_MAX as usize]).load().is_ok());
}

#[test]
fn a_searched_file_may_be_missing_and_the_first_there_wins() {
    let site = Site::with("board = \"rpi-3\"");
    let empty = tempfile::tempdir().unwrap();
    let directories = std::env::join_paths([empty.path(), site.0.path()]).unwrap();
    let env = Env::of([("CONFIGURATION_DIRECTORY", directories)]);
    let loaded = defaults(&env).unwrap();
    assert_eq!(loaded.file, Some(site.file()));
    assert_eq!(loaded.plan.board.as_deref(), Some("rpi-3"));
}

#[test]
fn the_environments_proxy() {
    let proxy_of = |text: &str, pairs: &[(&str, &str)]| {
        let site = Site::with(text);
        let loaded = load(Some(&site.file()), &Env::of(pairs.iter().copied()))?;
        let setting = loaded.provenance.iter().find(|s| s.key == "session[0].proxy").unwrap();
        let shown = setting.value.as_str().map(str::to_owned);
        Ok::<_, ConfigErrors>((shown, setting.from.to_string()))
    };
    let https = ("HTTPS_PROXY", "http://u:secret@proxy:3128");
    let (shown, from) = proxy_of("", &[https]).unwrap();
    assert_eq!(
        (shown.as_deref(), from.as_str()),
        (Some("http://u:***@proxy:3128"), "$HTTPS_PROXY")
    );
    let lower = proxy_of("", &[https, ("https_proxy", "lower:1")]).unwrap();
    assert_eq!(lower, (Some("http://lower:1".into()), "$https_proxy".into()));
    let all = proxy_of("", &[("all_proxy", "socks5h://tor"), ("http_proxy", "x:1")]).unwrap();
    assert_eq!(all, (Some("socks5://tor:1080".into()), "$all_proxy".into()));
    let none = (None, "default".to_owned());
    assert_eq!(proxy_of("", &[https, ("no_proxy", "whatsapp.com")]).unwrap(), none);
    let lab = "[[session]]\nname = \"a\"\nendpoint = \"ws://127.0.0.1:1/\"\n";
    assert_eq!(proxy_of(lab, &[https]).unwrap(), none);
    let (shown, from) = proxy_of("[[session]]\nname = \"a\"\nproxy = \"none\"\n", &[https]).unwrap();
    assert!(
        shown.as_deref() == Some("none") && from.ends_with("tautline.toml:3"),
        "{from}"
    );
}

/// Nobody need have written them for Tautline, so none of them keeps it from running.
#[test]
fn what_cannot_be_used_of_the_environment_is_told_and_left_aside() {
    let said = |pairs: &[(&str, &[u8])]| {
        let site = Site::with("");
        let env = Env::of(pairs.iter().map(|(name, value)| (*name, OsStr::from_bytes(value))));
        let loaded = load(Some(&site.file()), &env).unwrap();
        let proxy = loaded.plan.sessions[0].proxy.as_ref().map(|proxy| proxy.url_redacted());
        let said: Vec<_> = loaded.environment.iter().map(ToString::to_string).collect();
        assert!(!said.concat().contains("secret"), "{said:?}");
        (proxy, said)
    };
    for unusable in [
        "https://u:secret@proxy",
        "socks4://proxy",
        "ftp://u:secret@proxy",
        "http://",
        "u:secret@proxy:port",
        "http://proxy:0",
        "http://proxy:99999",
        "http://u:secret%zz@proxy",
        "http://proxy/proxy.pac",
        "http://pr oxy:1",
        "x://y",
        "\u{1f525}",
    ] {
        for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            let (proxy, said) = said(&[(name, unusable.as_bytes())]);
            assert_eq!((proxy, said.len()), (None, 1), "{unusable}");
            has(
                &said,
                &[&format!("${name}: "), "without a proxy", "proxy in the session"],
            );
        }
    }
    let (proxy, lines) = said(&[("https_proxy", b"caf\xe9"), ("no_proxy", b"caf\xe9")]);
    assert_eq!(proxy, None);
    has(&lines, &["$https_proxy: ", "not UTF-8"]);
    let (proxy, lines) = said(&[("https_proxy", b"https://proxy"), ("ALL_PROXY", b"socks://tor")]);
    assert_eq!(proxy.as_deref(), Some("socks5://tor:1080"));
    has(&lines, &["$https_proxy: ", "$ALL_PROXY is taken instead"]);
    // What the list exempts is not looked at; the list itself need not be text.
    assert_eq!(
        said(&[("https_proxy", b"https://proxy"), ("NO_PROXY", b"\xff, whatsapp.com")]),
        (None, vec![])
    );
    for (usable, url) in [
        ("proxy:3128", "http://proxy:3128"),
        ("proxy", "http://proxy:80"),
        (" http://proxy:3128/ ", "http://proxy:3128"),
        ("HTTP://Proxy:3128", "http://proxy:3128"),
        ("http://proxy:", "http://proxy:80"),
        ("//proxy:1", "http://proxy:1"),
        ("u:se%40cret@proxy:1", "http://u:***@proxy:1"),
        ("socks://127.0.0.1:1", "socks5://127.0.0.1:1"),
        ("socks5://[::1]:1/", "socks5://[::1]:1"),
        ("SOCKS5H://tor", "socks5://tor:1080"),
    ] {
        assert_eq!(
            said(&[("all_proxy", usable.as_bytes())]),
            (Some(url.into()), vec![]),
            "{usable}"
        );
    }
    for none in ["", "none", "direct://", "DIRECT", " "] {
        assert_eq!(said(&[("all_proxy", none.as_bytes())]), (None, vec![]), "{none:?}");
    }
    // The same in the file is a fault: somebody wrote it for Tautline.
    let site = Site::with("[[session]]\nname = \"a\"\nproxy = \"https://u:secret@proxy\"\n");
    has(&site.faults(), &["session[0].proxy", "TLS to the proxy"]);
}

#[test]
fn one_loopback_address_in_several_words_is_one() {
    let listen = |list: &str| Site::with(format!("[gateway]\nlisten = [{list}]\n"));
    let plan = listen("\"[::ffff:127.0.0.1]:1\", \"[::1%7]:1\"").load().unwrap().plan;
    let want = ["127.0.0.1:1", "[::1]:1"].map(|text| text.parse().unwrap());
    assert_eq!(plan.gateway.listen, want);
    has(
        &listen("\"127.0.0.1:1\", \"[::ffff:127.0.0.1]:1\"").faults(),
        &["listen[1]", "the same address again"],
    );
    has(
        &listen("\"[::ffff:192.0.2.1]:1\"").faults(),
        &["listen[0]", "is reachable from the network"],
    );
}

const BEYOND: &str = r#"
[gateway]
listen = ["0.0.0.0:7373"]
loopback = "token"
trusted = ["192.168.1.0/24", "fd00::1"]
behind_proxy = true
proxies = ["192.168.1.2"]
names = ["Alerts.example.org"]
limit = { per_minute = 30 }
tls = { cert = "/etc/tautline/cert.pem", key = "key.pem" }
"#;

#[test]
fn the_network_is_listened_to_only_where_something_makes_that_safe() {
    let site = Site::with(BEYOND);
    let gateway = site.load().unwrap().plan.gateway;
    assert_eq!(gateway.access.loopback, Loopback::Token);
    assert_eq!(gateway.access.names, ["alerts.example.org"]);
    assert!(gateway.access.tls && gateway.access.is_proxy("192.168.1.2".parse().unwrap()));
    let rate = gateway.access.rate;
    assert_eq!((rate.per_minute, rate.burst), (30, 300));
    let tls = gateway.tls.unwrap();
    assert_eq!(tls.cert, Path::new("/etc/tautline/cert.pem"));
    assert_eq!(tls.key, site.file().parent().unwrap().join("key.pem"));
    let with = |lines: &str| Site::with(format!("[gateway]\nlisten = [\"0.0.0.0:1\"]\n{lines}\n"));
    for lines in [
        "",
        "loopback = \"token\"",
        "trusted = []",
        "behind_proxy = false",
        "names = [\"nas\"]",
    ] {
        has(
            &with(lines).faults(),
            &["2:11: gateway.listen[0]:", "reachable from the network"],
        );
    }
    for (lines, parts) in [
        ("behind_proxy = true", ["gateway.behind_proxy:", "proxies is missing"]),
        ("behind_proxy = 1", ["gateway.behind_proxy:", "is an integer"]),
        ("trusted = [\"lan\"]", ["gateway.trusted[0]:", "is no network"]),
        (
            "trusted = [\"10.0.0.0/8\"]\nnames = [\"http://nas\"]",
            ["gateway.names[0]:", "without a port"],
        ),
        ("tls = { cert = \"a\" }", ["gateway.tls.key:", "is missing"]),
        (
            "trusted = [\"10.0.0.0/8\"]\nlimit = { burst = 0 }",
            ["gateway.limit.burst:", "is not 1 to"],
        ),
        ("tls = true", ["gateway.tls:", "is a boolean"]),
        (
            "trusted = [\"10.0.0.0/8\"]\nloopback = \"closed\"",
            ["gateway.loopback:", "expected \"open\" or \"token\""],
        ),
    ] {
        has(&with(lines).faults(), &parts);
    }
    // A proxy on this box needs no words about where it is.
    let local = Site::with("[gateway]\nbehind_proxy = true\n")
        .load()
        .unwrap()
        .plan
        .gateway;
    assert_eq!(local.access.loopback_in_force(), Loopback::Token);
    assert!(local.access.is_proxy("127.0.0.1".parse().unwrap()) && !local.access.is_proxy("10.0.0.1".parse().unwrap()));
}

#[test]
fn what_is_printed_reads_back_as_the_same_plan() {
    let no_password = WHOLE.replace(":pass%20word", "");
    for text in [
        "",
        no_password.as_str(),
        "[gateway]\nlisten = []\n[[session]]\nname = \"x\"\nproxy = \"none\"\n",
        BEYOND,
    ] {
        let loaded = Site::with(text).load().unwrap();
        let printed = to_toml(&loaded.provenance);
        let again = Site::with(&printed)
            .load()
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(again.plan, loaded.plan, "{printed}");
        assert!(again.warnings.is_empty());
    }
    let printed = to_toml(&Site::with(WHOLE).load().unwrap().provenance);
    assert!(
        printed.contains("socks5://me:***@127.0.0.1:9050") && !printed.contains("pass"),
        "{printed}"
    );
    assert!(
        printed.contains("tautline.toml:2\n") && printed.contains("# from default\n"),
        "{printed}"
    );
}

#[test]
fn provenance_as_json() {
    let loaded = Site::with("board = \"wsl2\"").load().unwrap();
    let json = to_json(&loaded.provenance);
    assert_eq!(json[0]["key"], "board");
    assert_eq!(json[0]["value"], "wsl2");
    assert_eq!(json[0]["from"]["kind"], "file");
    assert_eq!(json[0]["from"]["line"], 1);
    assert_eq!(json[1]["from"]["kind"], "default");
}

/// Each of these fills the largest file that is read with faults; each must be answered, and shortly.
#[test]
fn the_work_on_a_large_file_is_bounded() {
    let fill = |front: &str, piece: &str, back: &str| {
        let room = CONFIG_BYTES_MAX as usize - front.len() - back.len();
        let text = format!("{front}{}{back}", piece.repeat(room / piece.len()));
        let faults = Site::with(text).faults();
        assert!((1..=200).contains(&faults.len()), "{front}{piece}: {}", faults.len());
        faults
    };
    let route = "[[route]]\nname = \"a\"\nto = [";
    has(&fill(route, "1,", "]"), &["route[0].to: has ", "at most 256"]);
    has(
        &fill("[gateway]\nlisten = [", "\"127.0.0.1:0\",", "]"),
        &["gateway.listen: has "],
    );
    has(&fill("", "[[route]]\n", ""), &["route: has "]);
    fill("", "= =", "");
    fill("", "x\n", "");
    fill("[[\n", "a\n", "");
    let keys: String = (0..60_000).map(|n| format!("k{n} = 1, ")).collect();
    let site = Site::with(format!("board = 1\ngateway = {{ {keys} }}\n"));
    has(&site.faults(), &["board: is an integer"]);
}

/// A small generator, so that a failure is reproduced by its seed alone.
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn no_bytes_whatever_make_it_panic() {
    const PIECES: &[&str] = &[
        "[",
        "]",
        "\"",
        "'",
        "=",
        "\n",
        "\r",
        "\u{feff}",
        "{",
        "}",
        "é",
        "\\",
        "#",
        ".",
        ",",
        "\0",
        "[[session]]\n",
        "name=",
        "\"\"\"",
        "0x",
        "1979-05-27",
        "+inf",
        "x://y",
        "@",
        "%",
        "session=",
    ];
    for seed in 1..400_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut bytes = WHOLE.as_bytes().to_vec();
        for _ in 0..1 + noise(&mut state) % 12 {
            let at = noise(&mut state) as usize % bytes.len();
            match noise(&mut state) % 4 {
                0 => bytes[at] = noise(&mut state) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.drain(at..(at + 5).min(bytes.len() - 1).max(at))),
                _ => {
                    let piece = PIECES[noise(&mut state) as usize % PIECES.len()];
                    bytes.splice(at..at, piece.bytes());
                }
            }
            assert!(!bytes.is_empty());
        }
        if let Err(errors) = Site::with(&bytes).load() {
            assert!(!errors.0.is_empty(), "seed {seed}: refused without a word");
            for fault in &errors.0 {
                let line = fault.to_string();
                assert!(
                    !line.contains('\n') && !line.contains("pass%20word"),
                    "seed {seed}: {line}"
                );
            }
        }
    }
}

#[test]
fn the_rules_of_a_route_have_their_bounds_and_their_defaults() {
    let minutes = |minutes: u64| Some(std::time::Duration::from_secs(60 * minutes));
    let loaded = Site::with(WHOLE).load().unwrap();
    let [family, ops] = &loaded.plan.routes[..] else {
        panic!()
    };
    assert_eq!((family.ttl, family.mark_late), (minutes(24 * 60), None));
    assert_eq!((ops.ttl, ops.mark_late), (None, minutes(2)));
    assert_eq!(loaded.plan.time_zone.as_deref(), Some("Europe/Berlin"));
    let route = "[[route]]\nname = \"r\"\nto = [\"me\"]\n";
    for (text, parts) in [
        ("ttl = 5", ["route[0].ttl", "is an integer"]),
        ("ttl = \"0s\"", ["route[0].ttl", "too short or too long"]),
        ("ttl = \"900y\"", ["route[0].ttl", "too short or too long"]),
        ("ttl = \"soon\"", ["route[0].ttl", "is no time"]),
        ("ttl = \"\"", ["route[0].ttl", "is no time"]),
        ("mark_late = \"never\"", ["route[0].mark_late", "is no time"]),
        ("mark_late = true", ["route[0].mark_late", "is a boolean"]),
    ] {
        has(&Site::with(format!("{route}{text}\n")).faults(), &parts);
    }
    has(
        &Site::with("timezone = \"Mars/Olympus\"").faults(),
        &["timezone", "Mars/Olympus"],
    );
    has(&Site::with("timezone = 2").faults(), &["timezone", "is an integer"]);
}
