//! Who comes from where: behind a proxy, from a trusted network, by TLS. One box has no other addresses, so a proxy on
//! loopback speaks for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, version::TLS13};
use smol::net::TcpStream;
use tautline::access::{Rate, Right};
use tautline::config::{Access, TlsFiles};
use tautline::gateway::{Certificate, Gateway, Limits};

use crate::gate::{Answer, Bench, FakeRelay, write_certificate};

fn networks(texts: &[&str]) -> Vec<tautline::access::Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A proxy on loopback, and a network that may publish.
pub(super) fn proxied() -> Bench {
    let access = Access {
        trusted: networks(&["192.168.1.0/24", "fd00::/64"]),
        proxies: Some(networks(&["127.0.0.0/8", "::1", "10.0.0.1"])),
        names: vec!["alerts.example.org".into()],
        ..Access::default()
    };
    let limits = Limits {
        wrong_token: Duration::ZERO,
        ..Limits::default()
    };
    let bench = Bench::with_access(FakeRelay::new(&["family", "ops"]), limits, access);
    bench.relay.token("tk_nas", &[Right::Publish], &["family"], false);
    bench
}

pub(super) fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[test]
fn a_trusted_network_publishes_and_does_nothing_else() {
    let bench = proxied();
    for client in [
        "192.168.1.7",
        "fd00::7",
        "::ffff:192.168.1.7",
        "203.0.113.9, 192.168.1.7",
        "192.168.1.7, 10.0.0.1",
    ] {
        assert_eq!(bench.tcp("POST", "/family", &from(client), "x").status, 200, "{client}");
        let read = bench.tcp("GET", "/v1/status", &from(client), "");
        assert_eq!(read.status, 403, "{client}: {read:?}");
        assert_eq!(
            bench.tcp("GET", "/v1/backup", &from(client), "").status,
            403,
            "{client}"
        );
    }
    // What somebody has written himself, and a proxy that does not say for whom it speaks.
    for client in [
        "192.168.2.7",
        "192.168.1.7, 203.0.113.9",
        "192.168.1.7, nonsense",
        "127.0.0.1",
        "unknown",
    ] {
        assert_eq!(bench.tcp("POST", "/family", &from(client), "x").status, 401, "{client}");
    }
    assert_eq!(bench.tcp("POST", "/family", "", "x").status, 401);
    assert_eq!(bench.relay.taken().len(), 5);
}

#[test]
fn a_token_opens_what_a_place_does_not() {
    let bench = proxied();
    for client in ["203.0.113.9", "192.168.1.7"] {
        let headers = format!("{}Authorization: Bearer tk_nas\r\n", from(client));
        assert_eq!(bench.tcp("POST", "/family", &headers, "x").status, 200, "{client}");
        let other = bench.tcp("POST", "/ops", &headers, "x").status;
        assert_eq!(other, if client == "192.168.1.7" { 200 } else { 403 }, "{client}");
    }
}

#[test]
fn a_page_on_a_strangers_name_is_not_let_in_by_the_address() {
    let bench = proxied();
    let trusted = from("192.168.1.7");
    for (host, status) in [
        ("nas", 200),
        ("192.168.1.5:7373", 200),
        ("tautline.local", 200),
        ("Alerts.example.org", 200),
        ("evil.example", 421),
        ("192.168.1.5.evil.example", 421),
    ] {
        let headers = format!("{trusted}X-Forwarded-Host: {host}\r\n");
        assert_eq!(bench.tcp("POST", "/family", &headers, "x").status, status, "{host}");
        let own_page = format!("{headers}Origin: https://{host}\r\n");
        assert_eq!(bench.tcp("POST", "/family", &own_page, "x").status, status, "{host}");
        let other_page = format!("{headers}Origin: https://evil.example.org\r\n");
        let refused = if status == 200 { 403 } else { status };
        assert_eq!(bench.tcp("POST", "/family", &other_page, "x").status, refused, "{host}");
    }
    let image = format!("{trusted}User-Agent: Mozilla/5.0\r\nX-Forwarded-Host: nas\r\n");
    assert_eq!(bench.tcp("GET", "/family/publish?message=x", &image, "").status, 403);
    // Who has a token may call the relay anything.
    let headers = format!("{trusted}X-Forwarded-Host: evil.example\r\nX-Api-Key: tk_nas\r\n");
    assert_eq!(bench.tcp("POST", "/family", &headers, "x").status, 200);
}

#[test]
fn a_program_on_the_box_is_one_where_the_proxy_is_elsewhere() {
    let access = Access {
        proxies: Some(networks(&["192.168.1.2"])),
        ..Access::default()
    };
    let bench = Bench::with_access(FakeRelay::new(&["family"]), Limits::default(), access);
    assert_eq!(bench.tcp("POST", "/family", "", "x").status, 200);
    // Its own words about where it comes from change nothing.
    assert_eq!(bench.tcp("POST", "/family", &from("203.0.113.9"), "x").status, 200);
}

#[test]
fn nothing_listens_on_the_network_unless_something_makes_it_safe() {
    let state = tempfile::tempdir().unwrap();
    let control = state.path().join("control.sock");
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let error = Gateway::bind(&[everywhere], &control).err().unwrap();
    assert!(error.to_string().contains("not loopback"), "{error}");
    let access = Access {
        trusted: networks(&["192.168.1.0/24"]),
        ..Access::default()
    };
    let places = control.as_path().into();
    let gateway = Gateway::bind_among(&[everywhere], &places, access).unwrap();
    assert_ne!(gateway.addresses()[0].port(), 0);
}

#[test]
fn whoever_asks_too_often_is_told_when_to_come_again() {
    let access = Access {
        trusted: networks(&["192.168.1.0/24"]),
        proxies: Some(networks(&["127.0.0.1"])),
        rate: Rate {
            // Nothing comes back while the test runs, however slow it is.
            per_minute: 1,
            burst: 2,
        },
        ..Access::default()
    };
    let bench = Bench::with_access(FakeRelay::new(&["family", "ops"]), Limits::default(), access);
    bench.relay.token("tk_nas", &[Right::Publish], &["family"], false);
    let ask = |target: &str, headers: &str| bench.tcp("POST", target, headers, "x");
    let first = from("192.168.1.7");
    assert_eq!([ask("/family", &first).status, ask("/ops", &first).status], [200, 200]);
    let refused = ask("/family", &first);
    assert_eq!(refused.error(429).code, 42901);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
    // These would throw the alert away.
    for dialect in ["alertmanager", "grafana"] {
        let refused = ask(&format!("/v1/hooks/{dialect}/family"), &first);
        assert!(refused.error(503).error.contains("more often"), "{refused:?}");
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(ask("/v1/hooks/json/family", &first).status, 429);
    // Others have their own share; a token has one wherever it comes from.
    assert_eq!(ask("/family", &from("192.168.1.8")).status, 200);
    let by_token = |client: &str| format!("{}X-Api-Key: tk_nas\r\n", from(client));
    assert_eq!(ask("/family", &by_token("192.168.1.7")).status, 200);
    assert_eq!(ask("/family", &by_token("203.0.113.9")).status, 200);
    assert_eq!(ask("/family", &by_token("203.0.113.10")).status, 429);
    assert_eq!(bench.relay.taken().len(), 5);
    assert_eq!(bench.local("POST", "/family", "x").status, 200);
}

/// One request by TLS, with this certificate as the only one that is believed.
fn by_tls(bench: &Bench, root: &CertificateDer<'static>, token: &str) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let request = format!(
        "POST /family HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: 1\r\n\
         Connection: close\r\n\r\nx",
        bench.address
    );
    smol::block_on(async {
        let stream = TcpStream::connect(bench.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(Answer::read(answer.as_slice()))
    })
}

#[test]
fn tls_and_plain_are_answered_at_one_address_and_new_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let (files, first) = write_certificate(directory.path());
    let certificate = Arc::new(Certificate::open(files.clone()));
    assert_eq!(certificate.trouble(), None);
    let access = Access {
        tls: true,
        ..Access::default()
    };
    let relay = FakeRelay::new(&["family"]);
    let bench = Bench::with_certificate(relay, Limits::default(), access, Some(Arc::clone(&certificate)));
    bench.relay.token("tk_nas", &[Right::Publish], &[], false);
    assert_eq!(by_tls(&bench, &first, "tk_nas").unwrap().status, 200);
    assert_eq!(bench.tcp("POST", "/family", "", "x").status, 200);

    // Broken files leave the one before in force, and are told of.
    std::fs::write(&files.cert, "no certificate").unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while certificate.trouble().is_none() {
        assert_eq!(by_tls(&bench, &first, "tk_nas").unwrap().status, 200);
        assert!(Instant::now() < patience, "the broken file was never looked at");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(certificate.trouble().unwrap().0);
    let (_, second) = write_certificate(directory.path());
    while by_tls(&bench, &second, "tk_nas").is_err() {
        assert!(Instant::now() < patience, "the new file was never looked at");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(by_tls(&bench, &first, "tk_nas").is_err(), "the old certificate is gone");
    assert_eq!(certificate.trouble(), None);
}

#[test]
fn files_that_cannot_be_used_are_told_of_and_plain_requests_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        cert: directory.path().join("none.pem"),
        key: directory.path().join("none.key"),
    };
    let certificate = Arc::new(Certificate::open(files));
    let (earlier, words) = certificate.trouble().unwrap();
    assert!(!earlier && words.contains("none.pem"), "{words}");
    let access = Access {
        tls: true,
        ..Access::default()
    };
    let relay = FakeRelay::new(&["family"]);
    let bench = Bench::with_certificate(relay, Limits::default(), access, Some(certificate));
    assert_eq!(bench.tcp("POST", "/family", "", "x").status, 200);
}
