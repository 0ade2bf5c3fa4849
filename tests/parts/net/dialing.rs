//! Resolve, dial, TLS and upgrade.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::{ServerConfig, crypto::ring, version::TLS13};
use socket2::SockRef;
use tautline::config::Endpoint;
use tautline::net::{self, AttemptError, DialError, Step};

use super::support::{self, SOON, endpoint, run, schedule};

#[test]
fn socket_options_are_in_force_as_asked() {
    run(async |tasks| {
        let addr = support::ws_server(&tasks, |ws| async move {
            let _ = ws.count().await;
        })
        .await;
        let schedule = schedule();
        let conn = net::dial(&endpoint(false, addr), None, &schedule).await.unwrap();

        let socket = SockRef::from(&conn.socket);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), schedule.tcp.idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), schedule.tcp.interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), schedule.tcp.count);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(schedule.tcp.user_timeout));

        assert_eq!(conn.stats.tuning.refused, Vec::<String>::new());
        assert_eq!(
            conn.stats.tuning.to_string(),
            "keepalive 15 s + 3 × 5 s, user timeout 30 s"
        );
        assert_eq!(conn.stats.peer, addr);
    });
}

#[test]
fn a_refused_option_is_told_and_stops_nothing() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let mut tcp = schedule().tcp;
        // The kernel takes at most 127 probes.
        tcp.count = 1000;
        let dialed = net::connect(&[addr], "there", false, &tcp, support::PATIENCE)
            .await
            .unwrap();
        assert_eq!(dialed.tuning.refused.len(), 1, "{:?}", dialed.tuning.refused);
        assert!(
            dialed.tuning.refused[0].starts_with("TCP_KEEPCNT"),
            "{:?}",
            dialed.tuning.refused
        );
        assert_eq!(dialed.tuning.in_force.idle, Some(tcp.idle));
        assert!(
            dialed.tuning.to_string().contains("refused: TCP_KEEPCNT"),
            "{}",
            dialed.tuning
        );
    });
}

#[test]
fn fractions_of_a_second_are_rounded_up_not_lost() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let mut tcp = schedule().tcp;
        tcp.idle = Duration::from_millis(300);
        let dialed = net::connect(&[addr], "there", false, &tcp, support::PATIENCE)
            .await
            .unwrap();
        assert_eq!(dialed.tuning.refused, Vec::<String>::new());
        assert_eq!(dialed.tuning.in_force.idle, Some(Duration::from_secs(1)));
    });
}

#[test]
fn a_dead_first_address_does_not_hold_up_the_second() {
    run(async |tasks| {
        let good = support::mute_server(&tasks).await;
        let tcp = schedule().tcp;
        let dialed = net::connect(&[support::refusing(), good], "there", false, &tcp, support::PATIENCE)
            .await
            .unwrap();
        assert_eq!(dialed.peer, good);

        let stalled = support::stalled();
        let begun = Instant::now();
        let dialed = net::connect(&[stalled.addr, good], "there", false, &tcp, support::PATIENCE)
            .await
            .unwrap();
        assert_eq!(dialed.peer, good);
        assert!(
            begun.elapsed() >= Duration::from_millis(250),
            "the first address had its head start"
        );
    });
}

#[test]
fn all_addresses_dead_is_one_line_that_names_each() {
    run(async |_| {
        let (one, two) = (support::refusing(), support::refusing());
        let error = net::connect(&[one, two], "there", false, &schedule().tcp, support::PATIENCE)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&one.to_string()) && text.contains(&two.to_string()),
            "{text}"
        );
        assert!(text.contains("refused") && !text.contains('\n'), "{text}");
        assert!(!error.is_deadline());
        let DialError::Unreachable { attempts, .. } = error else {
            panic!("{error}")
        };
        assert!(
            attempts.iter().all(|attempt| attempt.error == AttemptError::Refused),
            "{attempts:?}"
        );
    });
}

#[test]
fn an_address_that_says_nothing_meets_the_dial_deadline() {
    run(async |_| {
        let stalled = support::stalled();
        let mut schedule = schedule();
        schedule.steps.dial = SOON;
        let error = net::dial(&endpoint(false, stalled.addr), None, &schedule)
            .await
            .unwrap_err();
        assert_eq!((error.step(), error.is_deadline()), (Step::Dial, true), "{error}");
    });
}

#[test]
fn a_mute_server_meets_the_upgrade_deadline() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let mut schedule = schedule();
        schedule.steps.upgrade = SOON;
        let error = net::dial(&endpoint(false, addr), None, &schedule).await.unwrap_err();
        assert_eq!((error.step(), error.is_deadline()), (Step::Upgrade, true), "{error}");
    });
}

#[test]
fn a_mute_server_meets_the_tls_deadline() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let mut schedule = schedule();
        schedule.steps.tls = SOON;
        let error = net::dial(&endpoint(true, addr), None, &schedule).await.unwrap_err();
        assert_eq!((error.step(), error.is_deadline()), (Step::Tls, true), "{error}");
    });
}

#[test]
fn a_status_at_the_upgrade_is_surfaced_with_retry_after() {
    run(async |tasks| {
        let addr = support::answering_server(
            &tasks,
            "HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        let error = net::dial(&endpoint(false, addr), None, &schedule()).await.unwrap_err();
        let DialError::Status {
            status, retry_after, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((status, retry_after), (503, Some(Duration::from_secs(17))));
    });
}

#[test]
fn garbage_and_silence_at_the_upgrade_are_errors() {
    run(async |tasks| {
        let answers: [&[u8]; 4] = [
            b"",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"\x00\xff\x00\xff\r\n\r\n",
            b"HTTP/1.1 101 Sure\r\n\r\n",
        ];
        for answer in answers {
            let addr = support::answering_server(&tasks, answer).await;
            let error = net::dial(&endpoint(false, addr), None, &schedule()).await.unwrap_err();
            assert!(matches!(error, DialError::Upgrade { .. }), "{answer:?}: {error:?}");
        }
    });
}

#[test]
fn an_endless_answer_to_the_upgrade_is_cut_off() {
    run(async |tasks| {
        let mut endless = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        endless.resize(1 << 20, b'a');
        let addr = support::answering_server(&tasks, endless).await;
        let error = net::dial(&endpoint(false, addr), None, &schedule()).await.unwrap_err();
        assert!(matches!(error, DialError::Upgrade { .. }), "{error:?}");
    });
}

#[test]
fn a_self_signed_certificate_is_refused() {
    run(async |tasks| {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                made.key_pair.serialize_der().try_into().unwrap(),
            )
            .unwrap();
        let (listener, addr) = support::listen().await;
        let server = tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(Arc::new(config)).accept(stream).await.is_err()
        });
        let error = net::dial(&endpoint(true, addr), None, &schedule()).await.unwrap_err();
        assert!(matches!(error, DialError::Certificate { .. }), "{error:?}");
        assert!(!error.is_clock());
        assert!(server.await, "the server never got a session");
    });
}

#[test]
fn plain_text_where_tls_is_expected_is_a_tls_error() {
    run(async |tasks| {
        let (listener, addr) = support::listen().await;
        tasks
            .spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = futures_lite::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                futures_lite::future::pending::<()>().await;
            })
            .detach();
        let error = net::dial(&endpoint(true, addr), None, &schedule()).await.unwrap_err();
        assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    });
}

#[test]
fn plain_websockets_never_leave_loopback() {
    run(async |_| {
        let far = Endpoint {
            tls: false,
            host: "192.0.2.1".into(),
            port: 80,
            path: "/".into(),
        };
        let error = net::dial(&far, None, &schedule()).await.unwrap_err();
        assert!(matches!(error, DialError::Forbidden { .. }), "{error:?}");
    });
}

#[cfg(feature = "lab")]
#[test]
fn a_lab_build_never_leaves_loopback() {
    use tautline::config::{Proxy, ProxyKind};
    run(async |_| {
        // Deadlines of nothing: whoever tries to send is late, and that is another error.
        let mut schedule = schedule();
        (schedule.steps.resolve, schedule.steps.dial) = (Duration::ZERO, Duration::ZERO);
        for host in ["192.0.2.1", "2001:db8::1", "web.whatsapp.com", "0.0.0.0"] {
            let far = Endpoint {
                tls: true,
                host: host.into(),
                port: 443,
                path: "/ws/chat".into(),
            };
            let error = net::dial(&far, None, &schedule).await.unwrap_err();
            assert!(matches!(error, DialError::Forbidden { .. }), "{host}: {error:?}");
            assert!(error.to_string().contains("lab build"), "{error}");

            let (listener, addr) = support::listen().await;
            let near = Proxy {
                kind: ProxyKind::Socks5,
                host: addr.ip().to_string(),
                port: addr.port(),
                user: None,
            };
            let error = net::dial(&far, Some(&near), &schedule).await.unwrap_err();
            assert!(matches!(error, DialError::Forbidden { .. }), "{host}: {error:?}");
            assert!(
                futures_lite::future::poll_once(listener.accept()).await.is_none(),
                "the proxy was dialled"
            );

            let far_proxy = Proxy {
                host: host.into(),
                ..near
            };
            let error = net::dial(&endpoint(true, addr), Some(&far_proxy), &schedule)
                .await
                .unwrap_err();
            assert!(matches!(error, DialError::Forbidden { .. }), "{host}: {error:?}");
            assert!(
                futures_lite::future::poll_once(listener.accept()).await.is_none(),
                "the endpoint was dialled"
            );
        }
    });
}
