//! A small mail server that keeps what it is given: with TLS at once, by STARTTLS, or without.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::{ServerConfig, crypto::ring};
use rcgen::{CertificateParams, KeyPair};
use smol::Async;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a mail came with, and itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub encrypted: bool,
    /// Name and password.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: Vec<String>,
    /// Without the dots that were stuffed.
    pub data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    AtOnce,
    StartTls,
    None,
}

#[derive(Default)]
struct Inner {
    mails: Vec<Mail>,
    /// In place of the answer to a mail.
    answer: Option<&'static str>,
    /// The connection ends after the mail, without an answer.
    hang_up: bool,
    /// It offers AUTH LOGIN alone.
    login_alone: bool,
    /// No password is right.
    suspicious: bool,
}

struct Shared {
    inner: Mutex<Inner>,
    came: Condvar,
    acceptor: TlsAcceptor,
    security: Security,
}

pub struct Mailbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Its certificate.
    pub pem: String,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under it")
    }
}

impl Mailbox {
    pub fn start(security: Security) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                key.serialize_der().try_into().expect("a key"),
            )
            .expect("a configuration");
        let shared = Arc::new(Shared {
            inner: Mutex::default(),
            came: Condvar::new(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            security,
        });
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || smol::block_on(one(stream, &shared)));
            }
        });
        Self {
            shared,
            address,
            pem: pem(certificate.der()),
        }
    }

    pub fn url(&self) -> String {
        let scheme = if self.shared.security == Security::AtOnce {
            "smtps"
        } else {
            "smtp"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Answers mails so, from now on.
    pub fn answer(&self, answer: Option<&'static str>) {
        self.shared.lock().answer = answer;
    }

    pub fn hang_up(&self, on: bool) {
        self.shared.lock().hang_up = on;
    }

    pub fn login_alone(&self) {
        self.shared.lock().login_alone = true;
    }

    pub fn suspicious(&self, on: bool) {
        self.shared.lock().suspicious = on;
    }

    pub fn all(&self) -> Vec<Mail> {
        self.shared.lock().mails.clone()
    }

    /// The mail number `index`, from 0.
    #[track_caller]
    pub fn wait(&self, index: usize, patience: Duration) -> Mail {
        let waits = |inner: &mut Inner| inner.mails.len() <= index;
        let waited = self.shared.came.wait_timeout_while(self.shared.lock(), patience, waits);
        let (inner, _) = waited.expect("no panic under it");
        assert!(inner.mails.len() > index, "mail {index} never came");
        inner.mails[index].clone()
    }
}

fn pem(der: &[u8]) -> String {
    let coded = BASE64.encode(der);
    let lines: Vec<&str> = coded
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64"))
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

async fn one(stream: TcpStream, shared: &Shared) {
    let Ok(mut stream) = Async::new(stream) else { return };
    match shared.security {
        Security::AtOnce => {
            if let Ok(mut stream) = shared.acceptor.accept(stream).await {
                let _ = converse(&mut stream, shared, true, true).await;
            }
        }
        Security::None => drop(converse(&mut stream, shared, false, true).await),
        Security::StartTls => {
            let Ok(true) = converse(&mut stream, shared, false, true).await else {
                return;
            };
            if let Ok(mut stream) = shared.acceptor.accept(stream).await {
                let _ = converse(&mut stream, shared, true, false).await;
            }
        }
    }
}

async fn line<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// True when TLS is to begin.
async fn converse<S>(stream: &mut S, shared: &Shared, encrypted: bool, greet: bool) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut mail = Mail {
        encrypted,
        login: None,
        from: String::new(),
        to: Vec::new(),
        data: String::new(),
    };
    if greet {
        stream.write_all(b"220 mail.example ESMTP\r\n").await?;
    }
    loop {
        let command = line(stream).await?;
        let (verb, rest) = command.split_once(' ').unwrap_or((&command, ""));
        let mut say = String::from("250 fine");
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                let more = match shared.security {
                    Security::StartTls if !encrypted => "250-STARTTLS\r\n",
                    _ if shared.lock().login_alone => "250-AUTH LOGIN\r\n",
                    Security::AtOnce | Security::StartTls | Security::None => "250-AUTH LOGIN PLAIN\r\n",
                };
                say = format!("250-mail.example greets {rest}\r\n{more}250 8BITMIME");
            }
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").await?;
                return Ok(true);
            }
            "AUTH" => {
                let decoded =
                    |coded: &str| String::from_utf8_lossy(&BASE64.decode(coded).expect("base64")).into_owned();
                let (user, password) = match rest.strip_prefix("PLAIN ") {
                    Some(coded) => {
                        let said = decoded(coded);
                        let mut parts = said.split('\0').skip(1).map(str::to_owned);
                        (parts.next().expect("a name"), parts.next().expect("a password"))
                    }
                    None => {
                        stream.write_all(b"334 VXNlcm5hbWU6\r\n").await?;
                        let user = decoded(&line(stream).await?);
                        stream.write_all(b"334 UGFzc3dvcmQ6\r\n").await?;
                        (user, decoded(&line(stream).await?))
                    }
                };
                say = if shared.lock().suspicious {
                    "535 5.7.8 not accepted"
                } else {
                    "235 in"
                }
                .into();
                mail.login = Some((user, password));
            }
            "MAIL" => mail.from = rest.trim_start_matches("FROM:").to_owned(),
            "RCPT" if rest.contains("nobody") => say = "550 no such user".into(),
            "RCPT" => mail.to.push(rest.trim_start_matches("TO:").to_owned()),
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                loop {
                    let text = line(stream).await?;
                    if text == "." {
                        break;
                    }
                    mail.data.push_str(text.strip_prefix('.').unwrap_or(&text));
                    mail.data.push('\n');
                }
                let mut inner = shared.lock();
                inner.mails.push(mail.clone());
                shared.came.notify_all();
                if inner.hang_up {
                    return Ok(false);
                }
                say = inner.answer.unwrap_or("250 taken").to_owned();
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(false);
            }
            _ => say = "500 what?".into(),
        }
        stream.write_all(format!("{say}\r\n").as_bytes()).await?;
    }
}
