//! To a mail server, by the few commands of SMTP that it takes (RFC 5321, 3207, 4954).
//!
//! Deliberately absent: pipelining, mails in another charset's envelope, logging in without TLS on a network.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::letter::{Letter, one_line};
use super::mail::{END, compose, stuffed};
use super::outcome::failure;
use crate::config::MailTarget;
use crate::line::Schedule;
use crate::net::{self, Plain, Progress, Stream, Trial, Trust};
use crate::outbox::HandoverFailure;
use crate::util::within;

/// For a command and its reply. A server that looks senders up in lists takes some seconds.
const STEP_MAX: Duration = Duration::from_secs(30);

/// For all that comes before the end of the mail, however many addresses there are.
const TALK_MAX: Duration = Duration::from_secs(120);

/// After the mail: the server looks for viruses before it answers.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// A reply has one line or a few.
const REPLY_LINES_MAX: usize = 64;
const REPLY_LINE_BYTES_MAX: usize = 2048;

/// How much is told of a reply that says no.
const SAID_CHARS_MAX: usize = 120;

/// Sends the letter as one mail to all addresses.
///
/// # Errors
/// The server has not said that it takes it for any of them.
pub(super) async fn send(
    target: &MailTarget,
    password: Option<&str>,
    trust: &Trust,
    schedule: &Schedule,
    letter: &Letter,
) -> Result<(), HandoverFailure> {
    let server = &target.server;
    let prepared = within(TALK_MAX, prepare(target, password, trust, schedule, letter));
    let Some(prepared) = prepared.await else {
        let text = format!("{server} has not asked for the mail within {} s", TALK_MAX.as_secs());
        return Err(failure(text));
    };
    let (mut talk, trial) = prepared?;
    talk.finish().await?;
    trial.worked();
    Ok(())
}

/// All but the end of the mail: until then the server cannot have taken it.
async fn prepare(
    target: &MailTarget,
    password: Option<&str>,
    trust: &Trust,
    schedule: &Schedule,
    letter: &Letter,
) -> Result<(Talk<Stream>, Trial), HandoverFailure> {
    let server = &target.server;
    let (endpoint, progress) = (server.endpoint(), Progress::default());
    let opened = net::open_within(Plain::UntilTls, &endpoint, None, schedule, &progress).await;
    let link = opened.map_err(|error| failure(error.to_string()))?;
    let near = link
        .socket
        .local_addr()
        .map_or_else(|_| "[127.0.0.1]".to_owned(), |at| literal(at.ip()));
    let at = progress.place(&endpoint, None);
    let secure = |stream| net::start_tls(stream, &server.host, trust, &at, schedule.steps.tls);
    let mut talk = match server.tls {
        true => {
            let stream = secure(link.stream).await.map_err(|error| failure(error.to_string()))?;
            Talk::new(stream, server.to_string())
        }
        false => Talk::new(link.stream, server.to_string()),
    };
    talk.expect("greeting", 220).await?;
    let mut offers = talk.greet(&near).await?;
    if !server.tls {
        if offers.starttls {
            talk.command("STARTTLS", 220).await?;
            // What came before the handshake could be anybody's.
            if !talk.buffer.is_empty() {
                return Err(failure(format!("{server}: there is more than an answer to STARTTLS")));
            }
            let stream = secure(talk.stream).await.map_err(|error| failure(error.to_string()))?;
            talk = Talk::new(stream, server.to_string());
            offers = talk.greet(&near).await?;
        } else if !server.is_loopback() {
            return Err(failure(format!(
                "{server} does not offer STARTTLS, and nothing goes to it unencrypted"
            )));
        }
    }
    if let (Some((user, _)), Some(password)) = (&target.login, password) {
        talk.log_in(&offers, user, password).await?;
    }
    talk.mail(target, letter).await?;
    Ok((talk, link.trial))
}

/// An address as EHLO takes it in place of a name, which boxes at home do not have.
fn literal(ip: std::net::IpAddr) -> String {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// What a server says that it can.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offers {
    starttls: bool,
    auth_plain: bool,
    auth_login: bool,
}

impl Offers {
    fn of(lines: &[String]) -> Self {
        let mut offers = Self::default();
        for line in lines {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("AUTH") => words.for_each(|word| {
                    offers.auth_plain |= word == "PLAIN";
                    offers.auth_login |= word == "LOGIN";
                }),
                Some(_) | None => {}
            }
        }
        offers
    }
}

struct Reply {
    code: u16,
    /// Without codes.
    lines: Vec<String>,
}

struct Talk<S> {
    stream: S,
    /// Read, and not yet used.
    buffer: Vec<u8>,
    /// For errors.
    server: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S, server: String) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            server,
        }
    }

    async fn greet(&mut self, near: &str) -> Result<Offers, HandoverFailure> {
        let reply = self.command(&format!("EHLO {near}"), 250).await?;
        Ok(Offers::of(&reply.lines))
    }

    async fn log_in(&mut self, offers: &Offers, user: &str, password: &str) -> Result<(), HandoverFailure> {
        let hint = |failed: HandoverFailure| failure(format!("{}; are user and password right?", failed.words));
        if offers.auth_plain {
            let coded = BASE64.encode(format!("\0{user}\0{password}"));
            self.secret(&format!("AUTH PLAIN {coded}"), "AUTH PLAIN", 235)
                .await
                .map_err(hint)?;
        } else if offers.auth_login {
            self.command("AUTH LOGIN", 334).await?;
            self.secret(&BASE64.encode(user), "the user's name", 334)
                .await
                .map_err(hint)?;
            self.secret(&BASE64.encode(password), "the password", 235)
                .await
                .map_err(hint)?;
        } else {
            return Err(failure(format!(
                "{} offers neither AUTH PLAIN nor AUTH LOGIN",
                self.server
            )));
        }
        Ok(())
    }

    async fn mail(&mut self, target: &MailTarget, letter: &Letter) -> Result<(), HandoverFailure> {
        self.command(&format!("MAIL FROM:<{}>", target.from), 250).await?;
        let mut refused = None;
        let mut taken = 0;
        for to in &target.to {
            match self.command(&format!("RCPT TO:<{to}>"), 250).await {
                Ok(_) => taken += 1,
                Err(why) => {
                    log::warn!("fallback {}: {}", letter.to, why.words);
                    refused = Some(why);
                }
            }
        }
        if let Some(why) = refused.filter(|_| taken == 0) {
            return Err(why);
        }
        self.command("DATA", 354).await?;
        let date = httpdate::fmt_http_date(SystemTime::now()).replace("GMT", "+0000");
        let mail = compose(letter, &target.from, &target.to, &date);
        let sent = within(TALK_MAX, async {
            self.stream.write_all(&stuffed(&mail)).await?;
            self.stream.flush().await
        });
        match sent.await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(failure(format!("{}: {error}", self.server))),
            None => Err(failure(format!("{} does not read the mail", self.server))),
        }
    }

    /// The end of the mail. From here on nobody knows whether it is taken, until there is a reply.
    async fn finish(&mut self) -> Result<(), HandoverFailure> {
        let replied = within(TAKEN_MAX, async {
            let sent = async {
                self.stream.write_all(END).await?;
                self.stream.flush().await
            };
            sent.await.map_err(|error| format!("{}: {error}", self.server))?;
            self.reply().await
        });
        let unclear = |words: String| HandoverFailure {
            unclear: true,
            ..failure(words)
        };
        let reply = match replied.await {
            Some(Ok(reply)) => reply,
            Some(Err(words)) => return Err(unclear(format!("{words}, after the mail"))),
            None => return Err(unclear(format!("{}: no answer to the mail", self.server))),
        };
        if reply.code != 250 {
            let said = self.said("the mail", &reply);
            return Err(HandoverFailure {
                refused: matches!(reply.code, 552 | 554),
                ..failure(said)
            });
        }
        // It has the mail, whatever becomes of the goodbye.
        let _ = within(STEP_MAX, self.stream.write_all(b"QUIT\r\n")).await;
        Ok(())
    }

    async fn command(&mut self, command: &str, wanted: u16) -> Result<Reply, HandoverFailure> {
        self.secret(command, command, wanted).await
    }

    /// A command that is told of as `shown`.
    async fn secret(&mut self, command: &str, shown: &str, wanted: u16) -> Result<Reply, HandoverFailure> {
        let written = within(STEP_MAX, async {
            self.stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            self.stream.flush().await
        });
        match written.await {
            Some(Ok(())) => self.expect(shown, wanted).await,
            Some(Err(error)) => Err(failure(format!("{}: {error}", self.server))),
            None => Err(failure(format!("{} does not read {shown}", self.server))),
        }
    }

    async fn expect(&mut self, shown: &str, wanted: u16) -> Result<Reply, HandoverFailure> {
        let reply = match within(STEP_MAX, self.reply()).await {
            Some(reply) => reply.map_err(failure)?,
            None => {
                let text = format!("{}: no answer within {} s to {shown}", self.server, STEP_MAX.as_secs());
                return Err(failure(text));
            }
        };
        // 251 is a 250 that forwards.
        if reply.code == wanted || (wanted == 250 && reply.code == 251) {
            return Ok(reply);
        }
        Err(failure(self.said(shown, &reply)))
    }

    fn said(&self, shown: &str, reply: &Reply) -> String {
        let words = one_line(&reply.lines.join(" "), SAID_CHARS_MAX);
        format!(
            "{} answered {} to {}: {words}",
            self.server,
            reply.code,
            one_line(shown, 100)
        )
    }

    async fn reply(&mut self) -> Result<Reply, String> {
        let mut lines = Vec::new();
        for _ in 0..REPLY_LINES_MAX {
            let line = self.line().await?;
            let odd = || format!("{}: no SMTP: {}", self.server, one_line(&line, SAID_CHARS_MAX));
            let code = line.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()));
            let code: u16 = code.and_then(|code| code.parse().ok()).ok_or_else(odd)?;
            let rest = line.get(3..).unwrap_or_default();
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            match rest.bytes().next() {
                None | Some(b' ') => return Ok(Reply { code, lines }),
                Some(b'-') => {}
                Some(_) => return Err(odd()),
            }
        }
        Err(format!("{}: a reply of more than {REPLY_LINES_MAX} lines", self.server))
    }

    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > REPLY_LINE_BYTES_MAX {
                return Err(format!(
                    "{}: a line of more than {REPLY_LINE_BYTES_MAX} bytes",
                    self.server
                ));
            }
            let mut piece = [0; 512];
            match self.stream.read(&mut piece).await {
                Ok(0) => return Err(format!("{} hung up", self.server)),
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                // Mail servers seldom say goodbye by TLS.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(format!("{} hung up", self.server));
                }
                Err(error) => return Err(format!("{}: {error}", self.server)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_offers_is_read_in_any_form() {
        let offers = |lines: &[&str]| Offers::of(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        assert_eq!(offers(&["mail.example at your service", "8BITMIME"]), Offers::default());
        let all = Offers {
            starttls: true,
            auth_plain: true,
            auth_login: true,
        };
        assert_eq!(offers(&["x", "starttls", "AUTH=login plain XOAUTH2"]), all);
        assert!(!offers(&["x", "AUTH XPLAIN"]).auth_plain);
    }

    fn replies(bytes: &[u8]) -> Vec<Result<(u16, usize), String>> {
        smol::block_on(async {
            let mut talk = Talk::new(futures_lite::io::Cursor::new(bytes.to_vec()), "smtp://x".to_owned());
            let mut all = Vec::new();
            loop {
                let reply = talk.reply().await.map(|reply| (reply.code, reply.lines.len()));
                let ended = reply.is_err();
                all.push(reply);
                if ended {
                    return all;
                }
            }
        })
    }

    #[test]
    fn replies_have_one_line_or_several_and_bounds() {
        let read = replies(b"250-a\r\n250-b\r\n250 c\r\n354\n");
        assert_eq!(read[..2], [Ok((250, 3)), Ok((354, 1))]);
        for bytes in [
            &b"hello\r\n"[..],
            b"25",
            b"250:x\r\n",
            b"\xff\xff\xff\xff\r\n",
            &[b'2'; 5000],
            &b"250-x\r\n".repeat(100),
        ] {
            assert!(replies(bytes)[0].is_err(), "{bytes:?}");
        }
    }
}
