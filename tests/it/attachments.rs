//! Files of alerts in the state: over a kill, a check, and a small disk.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Relay, Site};

/// Nothing listens there: what is published waits.
fn site(attachments: &str) -> Site {
    Site::with_config(&format!(
        "[[session]]\nname = \"default\"\nendpoint = \"ws://127.0.0.1:9/\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n\
         [gateway]\nlisten = [\"127.0.0.1:0\"]\n{attachments}"
    ))
}

fn publish(relay: &Relay, name: &str, body: &[u8]) -> Value {
    let headers = [("X-Message", "person"), ("X-Filename", name)];
    relay.http("POST", "/family", &headers, body).json()
}

/// Waits until the state has so many files.
fn files(site: &Site, count: usize) -> Vec<PathBuf> {
    let started = Instant::now();
    loop {
        let entries = std::fs::read_dir(site.state().join("blobs")).into_iter().flatten();
        let found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        if found.len() == count {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check(site: &Site) -> (i32, String) {
    let output = site.run(&["store", "check"]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code().unwrap(), said)
}

#[test]
fn a_file_survives_a_kill_and_one_that_no_alert_mentions_does_not() {
    let site = site("");
    let relay = site.start();
    let published = publish(&relay, "a.bin", b"\0\x01\x02");
    let id = published["id"].as_str().unwrap();
    relay.kill();
    let [kept] = <[PathBuf; 1]>::try_from(files(&site, 1)).unwrap();
    // As a kill between a file and its record, or in the middle of a file, leaves them.
    std::fs::write(kept.with_file_name("00".repeat(32)), "x").unwrap();
    std::fs::write(kept.with_file_name("1-0.part"), "half").unwrap();
    let (code, said) = check(&site);
    assert_eq!(code, 0, "{said}");
    let relay = site.start();
    assert_eq!(files(&site, 1), std::slice::from_ref(&kept));
    assert_eq!(std::fs::read(&kept).unwrap(), b"\0\x01\x02");
    let alert = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
    assert_eq!(alert["attachments"][0]["name"], "a.bin");
    assert_eq!(alert["attachments"][0]["kind"], "document");
    relay.kill();
    std::fs::write(&kept, b"\0\x01\x03").unwrap();
    let (code, said) = check(&site);
    assert!(code != 0 && said.contains("has changed"), "{said}");
}

#[test]
fn where_files_have_no_room_the_text_goes() {
    let site = site("[attachments]\nmax = \"100kB\"\ntotal = \"150kB\"\n");
    let relay = site.start();
    let mut taken = 0;
    for number in 0..4u8 {
        let published = publish(&relay, "a.bin", &vec![number; 60_000]);
        match published["warning"].as_str() {
            Some(warning) if warning.contains("a.bin") => assert!(warning.contains("all that they may"), "{warning}"),
            _ => taken += 1,
        }
        assert!(published["message"].as_str().unwrap().starts_with("person"));
    }
    assert_eq!(taken, 2);
    let published = publish(&relay, "a.bin", &vec![0; 101_000]);
    assert!(published["warning"].as_str().unwrap().contains("larger than 100 KB"));
    files(&site, 2);
}
