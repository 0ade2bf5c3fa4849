//! How fast a built program accepts alerts over HTTP from many publishers at once:
//! `cargo run --features lab --example publishers -- PROGRAM…`. With several programs, such as one of before a change
//! and one of after it, it takes them in turn, so that the machine is the same for all. Each round begins with an empty
//! state; nothing is sent, because no session is paired.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use smol::io::{AsyncReadExt, AsyncWriteExt};

const ROUNDS: usize = 5;
const PUBLISHERS: usize = 64;
/// Together just below what an outbox takes.
const ALERTS_EACH: usize = 150;
const START_MAX: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"
[[session]]
name = "default"
endpoint = "ws://127.0.0.1:9/ws/chat"
[[route]]
name = "family"
session = "default"
to = ["+15550100002"]
[gateway]
listen = ["ADDRESS"]
"#;

fn main() -> io::Result<()> {
    let programs: Vec<String> = std::env::args().skip(1).collect();
    for round in 0..=ROUNDS {
        for program in &programs {
            let mut times = measure(program)?;
            times.latencies.sort_unstable();
            let at = |part: f64| {
                let index = (times.latencies.len() as f64 * part) as usize;
                times.latencies[index.min(times.latencies.len() - 1)].as_secs_f64() * 1e3
            };
            // The first finds cold caches.
            let word = if round == 0 { "cold" } else { "" };
            println!(
                "{program}: {:.0} alerts/s, p50 {:.1} ms, p99 {:.1} ms {word}",
                times.latencies.len() as f64 / times.took.as_secs_f64(),
                at(0.5),
                at(0.99)
            );
        }
    }
    Ok(())
}

struct Times {
    took: Duration,
    latencies: Vec<Duration>,
}

/// A relay that ends with this.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(program: &str) -> io::Result<Times> {
    let site = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = site.path().join("tautline.toml");
    std::fs::write(&config, CONFIG.replace("ADDRESS", &address.to_string()))?;
    let relay = Command::new(program)
        .arg("--config")
        .arg(&config)
        .arg("--state")
        .arg(site.path().join("state"))
        .arg("run")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _relay = Relay(relay);
    let started = Instant::now();
    while started.elapsed() < START_MAX && !answers(address) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    let latencies = smol::block_on(async {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| smol::spawn(publish(address, number)))
            .collect();
        let mut all = Vec::new();
        for publisher in publishers {
            all.extend(publisher.await?);
        }
        io::Result::Ok(all)
    })?;
    Ok(Times {
        took: began.elapsed(),
        latencies,
    })
}

fn answers(address: SocketAddr) -> bool {
    let asked = || -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET /v1/routes HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// One alert after the other on one connection; how long each took.
async fn publish(address: SocketAddr, number: usize) -> io::Result<Vec<Duration>> {
    let mut stream = smol::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::with_capacity(ALERTS_EACH);
    let mut buffer = vec![0; 16 * 1024];
    for alert in 0..ALERTS_EACH {
        let text = format!("/var is 91 % full on the machine in the cellar, says {number} for the time {alert}");
        let request = format!(
            "POST /family HTTP/1.1\r\nHost: {address}\r\nTitle: A disk fills up\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if is_whole(&buffer[..filled])? {
                break;
            }
        }
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

/// Whether an answer has come in full.
///
/// # Errors
/// The alert was not accepted.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(false);
    };
    if !head.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(text.into_owned()));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Ok(length.is_some_and(|length: usize| body.len() >= length))
}
