//! Files that come with alerts, in each of the forms in which senders give them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use tautline::alert::{Alert, MediaKind};
use tautline::gateway::api::Published;

use crate::gate::{Bench, PATIENCE, talk};

/// A JPEG of 1 × 1 pixels, as an encoder writes it.
fn picture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
    let rgb = [200, 10, 30].repeat(40 * 30);
    encoder.encode(&rgb, 40, 30, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// Sends it over the control socket.
fn send(bench: &Bench, target: &str, extra: &str, body: &[u8]) -> Published {
    let mut stream = std::os::unix::net::UnixStream::connect(&bench.control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.flush().unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{extra}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = talk(stream, &[head.as_bytes(), body].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        body.extend(format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--XX--\r\n");
    body
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=XX\r\n";

/// The content of an alert's file.
fn file(bench: &Bench, alert: &Alert, index: usize) -> Vec<u8> {
    let hash = alert.attachments[index].hash;
    std::fs::read(bench.state.path().join("blobs").join(hash.to_string())).unwrap()
}

fn only(bench: &Bench) -> Alert {
    let taken = bench.relay.taken();
    assert_eq!(taken.len(), 1);
    taken.into_iter().next().unwrap().1
}

#[test]
fn a_picture_comes_in_every_form_that_senders_have() {
    use base64::Engine as _;
    let jpeg = picture();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&jpeg);
    let json = format!(r#"{{"message": "person", "attachments": [{{"filename": "door.jpg", "base64": "{base64}"}}]}}"#);
    let parts = form(&[
        ("name=\"message\"", b"person"),
        ("name=\"file\"; filename=\"door.jpg\"", &jpeg),
    ]);
    let headers = "X-Message: person\r\nX-Filename: /media/door.jpg\r\n";
    for (target, extra, body) in [
        ("/family", headers, jpeg.as_slice()),
        ("/family?message=person&filename=door.jpg", "", &jpeg),
        ("/family", FORM, &parts),
        ("/v1/hooks/json/family", "", json.as_bytes()),
        ("/v1/hooks/json/family", FORM, &parts),
        ("/notify/family", "", json.as_bytes()),
        ("/notify/family", FORM, &parts),
    ] {
        let bench = Bench::with_files();
        let published = send(&bench, target, extra, body);
        assert_eq!(
            (published.warning, published.message.as_str()),
            (None, "person"),
            "{target} {extra}"
        );
        let alert = only(&bench);
        let attachment = &alert.attachments[0];
        assert_eq!((alert.attachments.len(), attachment.name.as_str()), (1, "door.jpg"));
        assert_eq!(
            (attachment.kind, attachment.mime.as_str()),
            (MediaKind::Image, "image/jpeg")
        );
        assert_eq!((attachment.width, attachment.height), (40, 30));
        assert_eq!(file(&bench, &alert, 0), jpeg);
        let thumbnail = attachment.thumbnail.unwrap().to_string();
        assert!(bench.state.path().join("blobs").join(thumbnail).is_file());
    }
}

#[test]
fn a_file_that_is_larger_than_is_held_in_memory_arrives_byte_for_byte() {
    let video: Vec<u8> = b"\0\0\0\x20ftypisom"
        .iter()
        .copied()
        .chain((0..3_000_000u32).map(|at| (at >> 3) as u8))
        .collect();
    let parts = form(&[
        ("name=\"file\"; filename=\"a.mp4\"", &video),
        ("name=\"message\"", b"motion"),
    ]);
    for (target, extra, body) in [
        ("/family?message=motion&f=a.mp4", "", &video),
        ("/family", FORM, &parts),
    ] {
        let bench = Bench::with_files();
        let published = send(&bench, target, extra, body);
        assert_eq!((published.warning, published.message.as_str()), (None, "motion"));
        let alert = only(&bench);
        let attachment = &alert.attachments[0];
        assert_eq!(
            (attachment.kind, attachment.mime.as_str()),
            (MediaKind::Video, "video/mp4")
        );
        assert!(file(&bench, &alert, 0) == video);
    }
}

#[test]
fn what_cannot_be_kept_costs_the_file_and_not_the_text() {
    let too_large = vec![1; 17 * 1024 * 1024];
    let bench = Bench::with_files();
    let published = send(&bench, "/family?message=motion&f=a.bin", "", &too_large);
    assert_eq!(published.message, "motion\n[left out: a.bin, 17.8 MB]");
    assert!(published.warning.unwrap().contains("larger than"));
    assert!(only(&bench).attachments.is_empty());
    let nothing = |place: &Path| std::fs::read_dir(place.join("blobs")).unwrap().count();
    assert_eq!(nothing(bench.state.path()), 0);
    // A picture that is none goes as a file.
    let bench = Bench::with_files();
    let published = send(
        &bench,
        "/family?message=motion&f=a.jpg",
        "",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
    );
    assert!(published.warning.unwrap().contains("as a document"));
    assert_eq!(only(&bench).attachments[0].kind, MediaKind::Document);
}

#[test]
fn an_album_keeps_its_order_and_is_bounded() {
    let files: Vec<(String, Vec<u8>)> = (0..12)
        .map(|at| (format!("name=\"file\"; filename=\"{at}.bin\""), vec![0, at]))
        .collect();
    let parts: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let bench = Bench::with_files();
    let published = send(&bench, "/family", FORM, &form(&parts));
    let alert = only(&bench);
    let names: Vec<&str> = alert.attachments.iter().map(|file| file.name.as_str()).collect();
    let expected: Vec<String> = (0..10).map(|at| format!("{at}.bin")).collect();
    assert_eq!(names, expected);
    assert_eq!(
        alert.text,
        "0.bin\n[left out: 10.bin, 2 bytes]\n[left out: 11.bin, 2 bytes]"
    );
    assert!(published.warning.unwrap().contains("at most 10"));
}

/// A camera: for each path what it answers. Gives its address.
fn camera(answers: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let path = line.split(' ').nth(1).unwrap();
            let answer = answers.iter().find(|(known, _)| *known == path);
            let answer = answer.map_or(
                &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
                |(_, answer)| answer,
            );
            let _ = stream.write_all(answer);
        }
    });
    format!("http://{address}")
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn a_snapshot_is_fetched_where_that_is_allowed_and_else_its_link_is_sent() {
    let jpeg = picture();
    let camera = camera(vec![
        ("/snap/1.jpg?q=1", ok(&jpeg)),
        ("/snap/page", ok(b"<html>log in</html>")),
        (
            "/snap/large",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
        ),
        (
            "/snap/moved",
            b"HTTP/1.1 302 Found\r\nLocation: /snap/1.jpg\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        ("/other/1.jpg", ok(&jpeg)),
    ]);
    let allowed = format!("{camera}/snap/");
    for (path, why) in [
        ("/snap/1.jpg?q=1", None),
        ("/snap/page", Some("no picture")),
        ("/snap/large", Some("larger than")),
        ("/snap/moved", Some("302")),
        ("/snap/none", Some("404")),
        ("/other/1.jpg", Some("allows no such")),
        ("/snap/../other/1.jpg", Some("allows no such")),
    ] {
        let bench = Bench::fetching(&[&allowed]);
        let extra = format!("Attach: {camera}{path}\r\nFilename: door.jpg\r\n");
        let published = send(&bench, "/family", &extra, b"person");
        let alert = only(&bench);
        match why {
            None => {
                assert_eq!((published.warning, published.message.as_str()), (None, "person"));
                assert_eq!(alert.attachments[0].name, "door.jpg");
                assert_eq!(file(&bench, &alert, 0), jpeg);
            }
            Some(why) => {
                let warning = published.warning.unwrap();
                assert!(warning.contains(why), "{path}: {warning}");
                assert_eq!(alert.text, format!("person\n[attachment: {camera}{path}]"));
                assert!(alert.attachments.is_empty());
            }
        }
    }
    let bench = Bench::with_files();
    let published = send(
        &bench,
        "/family",
        &format!("Attach: {camera}/snap/1.jpg?q=1\r\n"),
        b"person",
    );
    assert!(published.warning.unwrap().contains("allows no such"));
}
