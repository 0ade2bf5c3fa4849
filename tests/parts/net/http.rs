//! The session's HTTP client over our sockets.

use std::time::{Duration, Instant};

use futures_lite::AsyncWriteExt;
use tautline::config::{Proxy, ProxyKind};
use tautline::net::{DialError, Step};
use tautline::whatsapp::SmolHttp;
use wacore::net::{HttpClient, HttpRequest};

use super::support::{self, SOON, run, schedule};

#[test]
fn any_status_is_an_answer_and_redirects_are_not_followed() {
    run(async |tasks| {
        let http = SmolHttp::new(None, schedule());
        for (answer, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            ("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n", 404, ""),
            (
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                302,
                "",
            ),
        ] {
            let addr = support::answering_server(&tasks, answer).await;
            let got = http
                .execute(HttpRequest::get(format!("http://{addr}/a?b=c")))
                .await
                .unwrap();
            assert_eq!((got.status_code, got.body.as_slice()), (status, body.as_bytes()));
        }
    });
}

#[test]
fn the_request_is_what_was_asked_and_nothing_twice() {
    run(async |tasks| {
        let (listener, addr) = support::listen().await;
        let server = tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = support::read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 204 Done\r\n\r\n").await.unwrap();
            head.to_ascii_lowercase()
        });
        let request = HttpRequest::post(format!("http://{addr}/up?auth=x"))
            .with_header("Origin", "https://web.whatsapp.com")
            .with_header("HOST", "elsewhere.test")
            .with_header("Content-Length", "77")
            .with_body(&b"12345"[..]);
        let got = SmolHttp::new(None, schedule()).execute(request).await.unwrap();
        assert_eq!(got.status_code, 204);
        let head = server.await;
        assert!(head.starts_with("post /up?auth=x http/1.1\r\n"), "{head}");
        assert!(head.contains("origin: https://web.whatsapp.com\r\n"), "{head}");
        assert_eq!(head.matches("\r\nhost:").count(), 1, "{head}");
        assert!(head.contains(&format!("\r\nhost: {addr}\r\n")), "{head}");
        assert_eq!(head.matches("\r\ncontent-length:").count(), 1, "{head}");
        assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
    });
}

#[test]
fn it_goes_through_the_proxy_and_its_failures_name_their_step() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let proxy = Proxy {
            kind: ProxyKind::Socks5,
            host: addr.ip().to_string(),
            port: addr.port(),
            user: None,
        };
        let mut schedule = schedule();
        schedule.steps.proxy = SOON;
        let http = SmolHttp::new(Some(proxy), schedule);
        let error = http
            .execute(HttpRequest::get(format!("https://{addr}/")))
            .await
            .unwrap_err();
        let error = error.downcast_ref::<DialError>().expect("the step is kept");
        assert_eq!((error.step(), error.is_deadline()), (Step::Proxy, true), "{error}");
    });
}

#[test]
fn a_server_that_never_answers_meets_the_total_deadline() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let http = SmolHttp::new(None, schedule()).with_total(SOON);
        let begun = Instant::now();
        let error = http
            .execute(HttpRequest::get(format!("http://{addr}/")))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no whole answer"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn plain_http_and_lab_builds_stay_on_loopback() {
    run(async |_| {
        let http = SmolHttp::new(None, schedule());
        let urls: &[&str] = match cfg!(feature = "lab") {
            true => &[
                "http://192.0.2.1/",
                "https://192.0.2.1/",
                "https://web.whatsapp.com/sw.js",
            ],
            false => &["http://192.0.2.1/"],
        };
        for url in urls {
            let error = http.execute(HttpRequest::get(*url)).await.unwrap_err();
            assert!(
                matches!(error.downcast_ref(), Some(DialError::Forbidden { .. })),
                "{url}: {error}"
            );
        }
    });
}
