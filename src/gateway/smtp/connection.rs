//! One client's connection: whole lines and a mail's bytes come in, answers go out, and each has its deadline. What it
//! holds is bounded: one line, one read, the answers to what was sent ahead, and of a mail what an alert can carry.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use smol::net::TcpStream;

use super::data::Data;
use super::limits::SmtpLimits;
use super::reply::Reply;
use super::session::{Next, Session, Terms, Transaction};
use super::shared::{Place, Shared};
use crate::access::{Asker, Grant, Presented};
use crate::alert::RouteName;
use crate::dialect::mail;
use crate::dialect::{Parsed, Request};
use crate::gateway::files::{Beside, FromBody, NO_FILES};
use crate::gateway::mail_files::MailFiles;
use crate::gateway::place;
use crate::gateway::relay::{Accepted, Refusal};
use crate::gateway::socket::Socket;
use crate::util;

/// Largest single read.
const READ_BYTES: usize = 8 * 1024;
/// A line with a token in it is longer than RFC 5321 has them.
const LINE_MAX_BYTES: usize = 4 * 1024;
/// Answers that are held back while there are further lines to read.
const ANSWERS_MAX_BYTES: usize = 8 * 1024;
/// Reads of one mail between two turns of everybody else.
const READS_PER_TURN: u32 = 16;
/// A mail that is larger by so much is not read to its end.
const READ_OFF_FACTOR: u64 = 4;
/// After the last answer, until the client has closed too: a reset would take the answer with it.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// A socket, with what was read and not used, and what is to be written.
struct Link {
    socket: Socket,
    limits: SmtpLimits,
    ahead: Vec<u8>,
    out: Vec<u8>,
    /// No line has ended in a carriage return and a line feed so far.
    bare: bool,
}

/// What comes of waiting for a line.
enum Line {
    Whole(Vec<u8>),
    TooLong,
    /// The client has left.
    Left,
    /// None came in time.
    Late,
    /// The relay stops, or somebody else needs the place.
    Ended,
}

impl Link {
    /// Whether a whole line is here already.
    fn has_line(&self) -> bool {
        self.ahead.contains(&b'\n')
    }

    async fn fill(&mut self) -> IoResult<usize> {
        let mut piece = [0; READ_BYTES];
        let count = self.socket.read(&mut piece).await?;
        self.ahead.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// The same; `None` when nothing has come until `deadline`, or when one of `ends` is closed.
    async fn fill_until(&mut self, deadline: Instant, ends: [&Receiver<()>; 2]) -> Option<IoResult<usize>> {
        let filled = async { Some(self.fill().await) };
        let late = async {
            Timer::at(deadline).await;
            None
        };
        let [one, other] = ends.map(|end| async {
            // Nothing is ever sent: this returns when the sender is gone.
            let _ = end.recv().await;
            None
        });
        future::or(filled, future::or(late, future::or(one, other))).await
    }

    /// The next line without its end. A line feed alone ends one as well, as what people type into `nc` has it.
    async fn line(&mut self, ends: [&Receiver<()>; 2]) -> Line {
        let deadline = Instant::now() + self.limits.command;
        let mut lost = false;
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.ahead.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                    self.bare = false;
                }
                return match lost || line.len() > LINE_MAX_BYTES {
                    true => Line::TooLong,
                    false => Line::Whole(line),
                };
            }
            if self.ahead.len() > LINE_MAX_BYTES {
                lost = true;
                self.ahead.clear();
            }
            match self.fill_until(deadline, ends).await {
                Some(Ok(1..)) => {}
                Some(Ok(0) | Err(_)) => return Line::Left,
                None if Instant::now() >= deadline => return Line::Late,
                None => return Line::Ended,
            }
        }
    }

    fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// Writes what was said.
    async fn flush(&mut self) -> IoResult<()> {
        let out = std::mem::take(&mut self.out);
        let written = async {
            self.socket.write_all(&out).await?;
            self.socket.flush().await
        };
        let late = async {
            Timer::after(self.limits.answer).await;
            Err(Error::new(ErrorKind::TimedOut, "the client does not take its answer"))
        };
        future::or(written, late).await
    }

    /// Says the last, and waits a moment for the client to hear it.
    async fn leave(mut self) {
        if self.flush().await.is_err() || self.socket.close().await.is_err() {
            return;
        }
        let until = Instant::now() + LINGER;
        let (_never, pending) = async_channel::bounded(1);
        while matches!(self.fill_until(until, [&pending; 2]).await, Some(Ok(1..))) {
            self.ahead.clear();
        }
    }
}

/// All that one client says.
pub(super) async fn converse(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, mut slot: Place) {
    let place = place::Place::of(&shared.access, peer.ip());
    let open = place.is_enough_to_publish();
    let is_local = peer.ip().to_canonical().is_loopback();
    let mut session = Session::new(Terms {
        open,
        private: open || is_local,
        may_encrypt: shared.tls.is_some(),
        routes: shared.relay.routes().into(),
        mail: Arc::clone(&shared.mail),
        limits: shared.limits,
    });
    let port = stream.local_addr().map_or(0, |local| local.port());
    let begins_with_tls = shared.tls.is_some() && [0, port].contains(&shared.limits.tls_port);
    let mut socket = Socket::Tcp(stream);
    if begins_with_tls {
        socket = match encrypted(&shared, socket, peer).await {
            Some(socket) => socket,
            None => return,
        };
        session.encrypted();
    }
    let mut link = Link {
        socket,
        limits: shared.limits,
        ahead: Vec::new(),
        out: Vec::new(),
        bare: true,
    };
    let mut next = session.greeting();
    loop {
        let ends = match next {
            Next::Say(reply) => {
                link.say(&reply);
                false
            }
            Next::Check(secrets) => {
                let found = check(&shared, &secrets, peer, open).await;
                next = session.checked(found);
                continue;
            }
            Next::StartTls(reply) => {
                // What came with it was not encrypted, and must not be taken for what was.
                if !link.ahead.is_empty() {
                    link.say(&Reply::new(421, "4.7.0 nothing may be sent ahead of TLS"));
                    return link.leave().await;
                }
                link.say(&reply);
                if link.flush().await.is_err() {
                    return;
                }
                link.socket = match encrypted(&shared, link.socket, peer).await {
                    Some(socket) => socket,
                    None => return,
                };
                session.encrypted();
                false
            }
            Next::Data(reply) => {
                link.say(&reply);
                match take(&shared, &mut link, &mut session).await {
                    Ok(reply) => link.say(&reply),
                    Err(reply) => {
                        link.say(&reply);
                        return link.leave().await;
                    }
                }
                false
            }
            Next::End(reply) => {
                link.say(&reply);
                true
            }
        };
        if ends {
            return link.leave().await;
        }
        if (!link.has_line() || link.out.len() > ANSWERS_MAX_BYTES) && link.flush().await.is_err() {
            return;
        }
        let stopping = &shared.stopping;
        let line = if session.is_between_mails() && !link.has_line() {
            let rest = shared.idle.rest(slot, Instant::now());
            let line = link.line([stopping, rest.evicted()]).await;
            match rest.end() {
                Some(kept) => slot = kept,
                None => {
                    link.say(&Reply::new(421, "4.3.2 others need the connection"));
                    return link.leave().await;
                }
            }
            line
        } else {
            link.line([stopping; 2]).await
        };
        next = match line {
            Line::Whole(line) => session.line(&line, |grant| admit(&shared, grant, peer)),
            Line::TooLong => session.too_long(),
            Line::Left => return,
            Line::Late => Next::End(Reply::new(421, "4.4.2 nothing came for too long")),
            Line::Ended => Next::End(Reply::new(421, "4.3.2 the relay is stopping")),
        };
    }
}

/// Counts a mail over the network: by the token, or by the address of whoever has none.
fn admit(shared: &Shared, grant: Option<&Grant>, peer: SocketAddr) -> bool {
    if peer.ip().to_canonical().is_loopback() {
        return true;
    }
    let asker = match grant {
        Some(grant) => Asker::Token(grant.name.clone()),
        None => Asker::at(peer.ip()),
    };
    util::lock(&shared.limiter).admit(&asker, Instant::now()).is_ok()
}

/// Whose one of these secrets is. A wrong one is answered after a while, where one is needed.
async fn check(shared: &Shared, secrets: &[String], peer: SocketAddr, open: bool) -> Presented {
    let mut found = Presented::Unknown;
    for secret in secrets {
        match shared.relay.token(secret) {
            valid @ Presented::Valid(_) => return valid,
            expired @ Presented::Expired(_) => found = expired,
            Presented::Unknown => {}
        }
    }
    if !open {
        let why = match &found {
            Presented::Expired(grant) => format!("the token {} has ended", grant.name),
            Presented::Valid(_) | Presented::Unknown => "nobody has this token, or it was revoked".into(),
        };
        shared.refused.note(Some(peer.ip()), "AUTH by SMTP", &why);
        Timer::after(shared.limits.wrong_token).await;
    }
    found
}

async fn encrypted(shared: &Shared, socket: Socket, peer: SocketAddr) -> Option<Socket> {
    let (Socket::Tcp(stream), Some(certificate)) = (socket, &shared.tls) else {
        return None;
    };
    let Some(acceptor) = certificate.acceptor() else {
        log::debug!("{peer} begins TLS, and there is no certificate that can be used");
        return None;
    };
    match util::within(shared.limits.answer, acceptor.accept(stream)).await {
        Some(Ok(stream)) => Some(Socket::Tls(Box::new(stream))),
        Some(Err(error)) => {
            log::debug!("the TLS handshake with {peer} came to nothing: {error}");
            None
        }
        None => None,
    }
}

/// Takes a mail to its end, and makes alerts of it. `Err`: the connection ends with this.
async fn take(shared: &Shared, link: &mut Link, session: &mut Session) -> Result<Reply, Reply> {
    let gone = || Reply::new(421, "4.4.2 the mail did not come whole");
    link.flush().await.map_err(|_| gone())?;
    let (began, mut last) = (Instant::now(), Instant::now());
    let max = link.limits.mail_bytes;
    let mut mail = MailFiles::new(shared.files.as_ref());
    let mut data = match link.bare {
        true => Data::of_bare_lines(),
        false => Data::default(),
    };
    let (mut bytes, mut reads) = (0_u64, 0_u32);
    loop {
        let mut text = |piece: &[u8]| {
            bytes += piece.len() as u64;
            if bytes <= max {
                mail.push(piece);
            }
        };
        let ended = data.push(&link.ahead, &mut text);
        let used = ended.unwrap_or(link.ahead.len());
        link.ahead.drain(..used);
        mail.write_some().await;
        if ended.is_some() {
            break;
        }
        if bytes > max.saturating_mul(READ_OFF_FACTOR) {
            return Err(Reply::new(552, format!("5.3.4 larger than {max} bytes")));
        }
        reads += 1;
        if reads.is_multiple_of(READS_PER_TURN) {
            future::yield_now().await;
        }
        let deadline = (last + link.limits.data_gap).min(began + link.limits.data);
        match link.fill_until(deadline, [&shared.stopping; 2]).await {
            Some(Ok(1..)) => last = Instant::now(),
            Some(Ok(0) | Err(_)) | None => return Err(gone()),
        }
    }
    let Some(transaction) = session.end_of_mail() else {
        return Ok(Reply::new(503, "5.5.1 expected MAIL first"));
    };
    if bytes > max {
        return Ok(Reply::new(552, format!("5.3.4 larger than {max} bytes")));
    }
    let (mail, beside) = mail.finish().await;
    Ok(publish(shared, transaction, mail, beside).await)
}

/// Hands the alerts of a mail to the relay for all its routes at once.
async fn publish(shared: &Shared, transaction: Transaction, mail: Vec<u8>, beside: Beside) -> Reply {
    let Transaction { from, routes, .. } = transaction;
    let from = match from.as_str() {
        "" => "<>",
        some => some,
    };
    let request = Request {
        route: routes.first().map(RouteName::as_str),
        query: [("from", from)].into_iter().collect(),
        body: &mail,
        body_bytes: mail.len() as u64,
        text_bytes_max: u64::MAX,
        ..Request::default()
    };
    let mut parsed = match mail::parse(&request) {
        Ok(parsed) => parsed,
        Err(rejection) => return Reply::new(554, format!("5.6.0 {rejection}")),
    };
    let mut held = Vec::new();
    match &shared.files {
        Some(files) => {
            let body = FromBody {
                beside,
                ..FromBody::default()
            };
            held = files.attach(&mut parsed, body).await;
        }
        None => parsed = parsed.without_files(NO_FILES),
    }
    let Parsed { alerts, warnings, .. } = parsed;
    if alerts.is_empty() {
        log::info!("a mail by SMTP: {}", warnings.join("; "));
        return Reply::new(250, format!("2.0.0 {}", warnings.join("; ")));
    }
    let parts = routes.into_iter().map(|route| (route, alerts.clone())).collect();
    match shared.relay.publish_with_files(parts, held).await {
        Ok(accepted) => Reply::new(250, accepted_words(&accepted, &warnings)),
        Err(refusal) => {
            let (code, extended) = match &refusal {
                Refusal::UnknownRoute(_)
                | Refusal::UnknownAlert(_)
                | Refusal::ForgottenAlert(_)
                | Refusal::UnknownToken(_)
                | Refusal::UnknownSession(_)
                | Refusal::Conflict(_) => (550, "5.1.1"),
                Refusal::Full(_) | Refusal::TooManyDelayed(_) | Refusal::Storage(_) => (452, "4.3.1"),
                Refusal::Unavailable(_) | Refusal::StorageFailed(_) => (451, "4.3.0"),
            };
            Reply::new(code, format!("{extended} {refusal}"))
        }
    }
}

/// Names what was accepted, and says what its sender should know.
fn accepted_words(accepted: &[Accepted], warnings: &[String]) -> String {
    let ids: Vec<&str> = accepted.iter().map(|accepted| accepted.alert.id.as_str()).collect();
    let needs = accepted.iter().find_map(|accepted| accepted.warning.as_ref());
    let told: Vec<&str> = needs.into_iter().chain(warnings).map(String::as_str).collect();
    let told = told.iter().map(|words| format!("; {words}"));
    format!("2.0.0 accepted as {}{}", ids.join(", "), told.collect::<String>())
}
