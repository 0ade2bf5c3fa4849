//! What each line of a client means here: a state machine without a clock or a socket.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::command::{self, Command};
use super::limits::SmtpLimits;
use super::reply::Reply;
use crate::access::{Grant, Presented, Right};
use crate::alert::RouteName;
use crate::config::MailPlan;
use crate::gateway::recipients;

/// What we call ourselves: the name of the host is nobody's business on the network.
const NAME: &str = "tautline";

/// Lines that are wrong, of one connection.
const FAULTS_MAX: usize = 10;
/// Wrong tokens of one connection.
const WRONG_TOKENS_MAX: usize = 3;
/// Commands since the last mail.
const COMMANDS_MAX: usize = 500;

/// What does not change while a connection lasts, but for TLS.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The place alone is enough to publish.
    pub open: bool,
    /// Nobody else reads what comes: TLS, this box, or a network whose owner says so.
    pub private: bool,
    /// TLS can be begun.
    pub may_encrypt: bool,
    pub routes: Arc<[RouteName]>,
    pub mail: Arc<MailPlan>,
    pub limits: SmtpLimits,
}

/// A mail that is being announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    /// Empty for nobody.
    pub from: String,
    pub routes: Vec<RouteName>,
    /// Recipients that were taken; several may lead to one route.
    recipients: usize,
}

/// What follows from a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Say(Reply),
    /// Look whose one of these is, and say so by [`Session::checked`].
    Check(Vec<String>),
    /// Say this, then take TLS, then [`Session::encrypted`].
    StartTls(Reply),
    /// Say this, then take a mail, then [`Session::end_of_mail`].
    Data(Reply),
    /// Say this and close.
    End(Reply),
}

/// One client.
pub(super) struct Session {
    terms: Terms,
    greeted: bool,
    grant: Option<Arc<Grant>>,
    /// A login was asked for and its lines are still to come.
    login: Option<Login>,
    mail: Option<Transaction>,
    faults: usize,
    wrong_tokens: usize,
    commands: usize,
}

enum Login {
    Plain,
    User,
    Password(String),
}

impl Session {
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            greeted: false,
            grant: None,
            login: None,
            mail: None,
            faults: 0,
            wrong_tokens: 0,
            commands: 0,
        }
    }

    /// What is said first.
    pub fn greeting(&self) -> Next {
        let Terms {
            open,
            private,
            may_encrypt,
            ..
        } = self.terms;
        match open || private || may_encrypt {
            true => Next::Say(Reply::new(220, format!("{NAME} ESMTP"))),
            false => Next::End(Reply::new(
                554,
                "5.7.1 this relay takes mails from the networks that it trusts alone",
            )),
        }
    }

    /// Whether no mail is under way: nothing is lost by closing now.
    pub fn is_between_mails(&self) -> bool {
        self.mail.is_none() && self.login.is_none()
    }

    /// A line without its end. `admit` says whether a further mail may come now.
    pub fn line(&mut self, line: &[u8], admit: impl FnOnce(Option<&Grant>) -> bool) -> Next {
        if let Some(login) = self.login.take() {
            return self.login_line(login, line);
        }
        self.commands += 1;
        if self.commands > COMMANDS_MAX {
            return Next::End(Reply::new(421, "4.7.0 too many commands without a mail"));
        }
        match command::read(line) {
            Command::Ehlo => {
                self.greeted = true;
                self.mail = None;
                Next::Say(self.offers())
            }
            Command::Helo => {
                self.greeted = true;
                self.mail = None;
                Next::Say(Reply::new(250, NAME))
            }
            Command::Mail { from, size } => self.mail(from, size, admit),
            Command::Rcpt { to } => self.rcpt(&to),
            Command::Data => match &self.mail {
                None => self.fault(503, "5.5.1 expected MAIL first"),
                Some(mail) if mail.routes.is_empty() => self.fault(554, "5.5.1 no recipient was taken"),
                Some(_) => Next::Data(Reply::new(354, "the mail, then a dot on a line of its own")),
            },
            Command::Rset => {
                self.mail = None;
                Next::Say(Reply::new(250, "2.0.0 ok"))
            }
            Command::Noop => Next::Say(Reply::new(250, "2.0.0 ok")),
            Command::Vrfy => Next::Say(Reply::new(252, "2.5.0 send it, and see")),
            Command::Help => Next::Say(Reply::new(
                214,
                "2.0.0 a mail to a route becomes an alert: docs/senders.md",
            )),
            Command::Quit => Next::End(Reply::new(221, "2.0.0 bye")),
            Command::StartTls if !self.terms.may_encrypt => self.fault(502, "5.5.1 there is no TLS here"),
            Command::StartTls => Next::StartTls(Reply::new(220, "2.0.0 go ahead")),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial.as_deref()),
            Command::Absent => self.fault(502, "5.5.1 this command is not offered"),
            Command::Broken(why) => self.fault(501, format!("5.5.4 {why}")),
            // A web page can make a browser send whatever it likes to this port, behind the head of a request.
            Command::Unknown if !self.greeted => {
                Next::End(Reply::new(421, "4.7.0 this is SMTP, and that was no command of it"))
            }
            Command::Unknown => self.fault(500, "5.5.2 no such command"),
        }
    }

    /// A line that is longer than any.
    pub fn too_long(&mut self) -> Next {
        self.login = None;
        match self.greeted {
            true => self.fault(500, "5.5.2 the line is too long"),
            false => Next::End(Reply::new(421, "4.7.0 this is SMTP, and that line is too long")),
        }
    }

    /// Whose the tokens are that were to be [checked](Next::Check): the best of them.
    pub fn checked(&mut self, found: Presented) -> Next {
        match found {
            Presented::Valid(grant) => {
                self.grant = Some(grant);
                Next::Say(Reply::new(235, "2.7.0 ok"))
            }
            // Where the place is enough, devices may say what they like: rights add up.
            Presented::Expired(_) | Presented::Unknown if self.terms.open => {
                Next::Say(Reply::new(235, "2.7.0 no token is needed here, and this was none"))
            }
            Presented::Expired(_) | Presented::Unknown => {
                self.wrong_tokens += 1;
                let reply = "5.7.8 this is no token that is good: make one with `tautline token new NAME`";
                match self.wrong_tokens < WRONG_TOKENS_MAX {
                    true => Next::Say(Reply::new(535, reply)),
                    false => Next::End(Reply::new(421, "4.7.0 too many wrong tokens")),
                }
            }
        }
    }

    /// What was said in the clear counts no more.
    pub fn encrypted(&mut self) {
        self.terms.private = true;
        self.terms.may_encrypt = false;
        self.greeted = false;
        self.grant = None;
        self.login = None;
        self.mail = None;
    }

    /// The mail whose bytes are through. The next begins anew.
    pub fn end_of_mail(&mut self) -> Option<Transaction> {
        self.commands = 0;
        self.mail.take()
    }

    fn fault(&mut self, code: u16, text: impl Into<String>) -> Next {
        self.faults += 1;
        match self.faults > FAULTS_MAX {
            true => Next::End(Reply::new(421, "4.7.0 too many faults")),
            false => Next::Say(Reply::new(code, text)),
        }
    }

    /// What `EHLO` is answered with.
    fn offers(&self) -> Reply {
        let mut lines: Vec<String> = vec![
            NAME.into(),
            "PIPELINING".into(),
            format!("SIZE {}", self.terms.limits.mail_bytes),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "ENHANCEDSTATUSCODES".into(),
        ];
        if self.terms.may_encrypt {
            lines.push("STARTTLS".into());
        }
        if self.terms.private {
            lines.push("AUTH PLAIN LOGIN".into());
        }
        lines.push("HELP".into());
        Reply::of_lines(250, lines)
    }

    /// Whether they may publish on this route, or without one on any.
    fn may(&self, route: Option<&RouteName>) -> bool {
        let granted = |grant: &Arc<Grant>| {
            grant.rights.has(Right::Publish) && route.is_none_or(|route| grant.routes.has(route.as_str()))
        };
        self.terms.open || self.grant.as_ref().is_some_and(granted)
    }

    fn mail(&mut self, from: String, size: Option<u64>, admit: impl FnOnce(Option<&Grant>) -> bool) -> Next {
        if !self.may(None) {
            let reply = match (self.terms.private, &self.grant) {
                (false, _) => "5.7.0 expected STARTTLS first",
                (true, None) => "5.7.0 expected AUTH first: a token as the password, see docs/tokens.md",
                (true, Some(_)) => "5.7.1 this token may not publish",
            };
            return self.fault(530, reply);
        }
        if self.mail.is_some() {
            return self.fault(503, "5.5.1 there is a mail already: expected RCPT, DATA or RSET");
        }
        let max = self.terms.limits.mail_bytes;
        if size.is_some_and(|size| size > max) {
            return Next::Say(Reply::new(552, format!("5.3.4 larger than {max} bytes")));
        }
        if !admit(self.grant.as_deref()) {
            return Next::Say(Reply::new(450, "4.7.1 too many mails at once: come again in a minute"));
        }
        self.mail = Some(Transaction {
            from,
            routes: Vec::new(),
            recipients: 0,
        });
        Next::Say(Reply::new(250, "2.1.0 ok"))
    }

    /// A recipient that is refused is no fault of the client's: there may be many in one mail.
    fn rcpt(&mut self, to: &str) -> Next {
        if self.mail.is_none() {
            return self.fault(503, "5.5.1 expected MAIL first");
        }
        let found = recipients::routes(&self.terms.mail, &self.terms.routes, &[to.to_owned()]);
        let route = match found.map(|routes| routes.into_iter().next()) {
            Ok(Some(route)) => route,
            Ok(None) => return Next::Say(Reply::new(550, "5.1.1 no route")),
            Err(why) => return Next::Say(Reply::new(550, format!("5.1.1 {why}"))),
        };
        if !self.may(Some(&route)) {
            return Next::Say(Reply::new(550, format!("5.7.1 the token is not for the route {route}")));
        }
        let max = self.terms.limits.recipients;
        let Some(mail) = &mut self.mail else {
            return self.fault(503, "5.5.1 expected MAIL first");
        };
        if mail.recipients >= max {
            return Next::Say(Reply::new(452, format!("4.5.3 more than {max} recipients")));
        }
        mail.recipients += 1;
        if !mail.routes.contains(&route) {
            mail.routes.push(route);
        }
        Next::Say(Reply::new(250, "2.1.5 ok"))
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Next {
        if !self.terms.private {
            return self.fault(
                538,
                "5.7.11 expected STARTTLS first: a token would be readable on the way",
            );
        }
        if self.grant.is_some() || self.mail.is_some() {
            return self.fault(503, "5.5.1 not now");
        }
        let login = match mechanism {
            "PLAIN" => Login::Plain,
            "LOGIN" => Login::User,
            _ => return self.fault(504, "5.5.4 expected AUTH PLAIN or AUTH LOGIN"),
        };
        match (initial, &login) {
            (Some(initial), _) => self.login_line(login, initial.as_bytes()),
            (None, Login::Plain) => self.ask(login, ""),
            (None, Login::User | Login::Password(_)) => self.ask(login, "Username:"),
        }
    }

    /// Asks for the next line of a login.
    fn ask(&mut self, login: Login, prompt: &str) -> Next {
        self.login = Some(login);
        Next::Say(Reply::new(334, decoder().encode(prompt)))
    }

    /// A line of a login; nothing of it is ever told.
    fn login_line(&mut self, login: Login, line: &[u8]) -> Next {
        let line = line.trim_ascii();
        if line == b"*" {
            return self.fault(501, "5.7.0 cancelled");
        }
        // An empty answer stands as `=` in the command itself.
        let line = if line == b"=" { &[][..] } else { line };
        let Some(text) = decoder()
            .decode(line)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
        else {
            return self.fault(501, "5.5.2 that is no base64");
        };
        let secrets = match login {
            Login::User => return self.ask(Login::Password(text), "Password:"),
            Login::Password(user) => vec![text, user],
            Login::Plain => {
                // On whose behalf, who, and the password.
                let mut fields = text.split('\0').skip(1);
                let (user, password) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
                vec![password.to_owned(), user.to_owned()]
            }
        };
        Next::Check(secrets.into_iter().filter(|secret| !secret.is_empty()).collect())
    }
}

fn decoder() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Rights, Routes};

    fn terms(open: bool, private: bool, may_encrypt: bool) -> Terms {
        let routes: Vec<RouteName> = ["family", "ops"].iter().map(|name| name.parse().unwrap()).collect();
        Terms {
            open,
            private,
            may_encrypt,
            routes: routes.into(),
            mail: Arc::new(MailPlan::default()),
            limits: SmtpLimits {
                recipients: 3,
                ..SmtpLimits::default()
            },
        }
    }

    fn grant(right: Right, routes: &[&str]) -> Presented {
        Presented::Valid(Arc::new(Grant {
            name: "nas".parse().unwrap(),
            rights: Rights::from_iter([right]),
            routes: Routes::Only(routes.iter().map(|name| name.parse().unwrap()).collect()),
        }))
    }

    /// The code that a line is answered with, and `END` where the connection ends.
    fn say(session: &mut Session, line: &str) -> String {
        code(session.line(line.as_bytes(), |_| true))
    }

    fn code(next: Next) -> String {
        match next {
            Next::Say(reply) => reply.code.to_string(),
            Next::Check(secrets) => format!("check {}", secrets.join(" ")),
            Next::StartTls(reply) => format!("tls {}", reply.code),
            Next::Data(reply) => format!("data {}", reply.code),
            Next::End(reply) => format!("end {}", reply.code),
        }
    }

    #[test]
    fn a_mail_goes_where_its_recipients_lead() {
        let mut session = Session::new(terms(true, true, false));
        assert_eq!(code(session.greeting()), "220");
        for (line, expected) in [
            ("RCPT TO:<family>", "503"),
            ("DATA", "503"),
            ("EHLO nas", "250"),
            ("MAIL FROM:<root@nas> SIZE=99999999999", "552"),
            ("MAIL FROM:<root@nas> SIZE=100 BODY=8BITMIME", "250"),
            ("MAIL FROM:<root@nas>", "503"),
            ("DATA", "554"),
            ("RCPT TO:<nobody@nas>", "550"),
            ("RCPT TO:<family@tautline>", "250"),
            ("RCPT TO:<Family+disk@tautline>", "250"),
            ("RCPT TO:<ops>", "250"),
            ("RCPT TO:<ops@x>", "452"),
            ("DATA", "data 354"),
        ] {
            assert_eq!(say(&mut session, line), expected, "{line}");
        }
        let mail = session.end_of_mail().unwrap();
        let routes: Vec<&str> = mail.routes.iter().map(RouteName::as_str).collect();
        assert_eq!((mail.from.as_str(), routes), ("root@nas", vec!["family", "ops"]));
        assert!(session.is_between_mails());
        assert_eq!(say(&mut session, "RCPT TO:<ops>"), "503");
        assert_eq!(say(&mut session, "QUIT"), "end 221");
    }

    #[test]
    fn who_needs_a_token_gets_nowhere_without_one_and_sends_none_in_the_clear() {
        assert_eq!(code(Session::new(terms(false, false, false)).greeting()), "end 554");
        let mut session = Session::new(terms(false, false, true));
        let offers = |session: &mut Session| match session.line(b"EHLO x", |_| true) {
            Next::Say(reply) => {
                let mut wire = Vec::new();
                reply.write(&mut wire);
                String::from_utf8(wire).unwrap()
            }
            other => panic!("{other:?}"),
        };
        let plain = offers(&mut session);
        assert!(plain.contains("250-STARTTLS\r\n") && !plain.contains("AUTH"), "{plain}");
        assert_eq!(say(&mut session, "MAIL FROM:<a>"), "530");
        assert_eq!(say(&mut session, "AUTH PLAIN AHUAdGtfMQ=="), "538");
        assert_eq!(say(&mut session, "STARTTLS x"), "501");
        assert_eq!(say(&mut session, "STARTTLS"), "tls 220");
        session.encrypted();
        let secure = offers(&mut session);
        assert!(
            !secure.contains("STARTTLS") && secure.contains("AUTH PLAIN LOGIN"),
            "{secure}"
        );
        assert_eq!(say(&mut session, "STARTTLS"), "502");
        assert_eq!(say(&mut session, "MAIL FROM:<a>"), "530");
        // user `u` and password `tk_1`, in each of the ways.
        assert_eq!(say(&mut session, "AUTH PLAIN AHUAdGtfMQ=="), "check tk_1 u");
        assert_eq!(code(session.checked(Presented::Unknown)), "535");
        assert_eq!(say(&mut session, "AUTH PLAIN"), "334");
        assert_eq!(say(&mut session, "AHUAdGtfMQ"), "check tk_1 u");
        assert_eq!(say(&mut session, "AUTH LOGIN"), "334");
        assert_eq!(say(&mut session, "dQ=="), "334");
        assert_eq!(say(&mut session, "dGtfMQ=="), "check tk_1 u");
        assert_eq!(say(&mut session, "AUTH LOGIN dQ=="), "334");
        assert_eq!(say(&mut session, "*"), "501");
        assert_eq!(say(&mut session, "AUTH CRAM-MD5"), "504");
        assert_eq!(say(&mut session, "AUTH PLAIN !"), "501");
        assert_eq!(code(session.checked(grant(Right::Publish, &["ops"]))), "235");
        assert_eq!(say(&mut session, "AUTH PLAIN AHUAdGtfMQ=="), "503");
        assert_eq!(say(&mut session, "MAIL FROM:<a>"), "250");
        assert_eq!(say(&mut session, "RCPT TO:<family>"), "550");
        assert_eq!(say(&mut session, "RCPT TO:<ops>"), "250");
    }

    #[test]
    fn rights_add_up_and_guesses_end() {
        let mut session = Session::new(terms(true, true, false));
        assert_eq!(say(&mut session, "EHLO x"), "250");
        assert_eq!(code(session.checked(Presented::Unknown)), "235", "none is needed");
        assert_eq!(code(session.checked(grant(Right::Read, &["ops"]))), "235");
        assert_eq!(say(&mut session, "MAIL FROM:<a>"), "250");
        assert_eq!(say(&mut session, "RCPT TO:<family>"), "250");
        let mut session = Session::new(terms(false, true, false));
        assert_eq!(code(session.checked(grant(Right::Read, &["ops"]))), "235");
        assert_eq!(say(&mut session, "MAIL FROM:<a>"), "530", "it may not publish");
        let answers: Vec<_> = (0..3).map(|_| code(session.checked(Presented::Unknown))).collect();
        assert_eq!(answers, ["535", "535", "end 421"]);
    }

    #[test]
    fn what_is_no_smtp_ends_at_once_and_faults_end_in_time() {
        for line in ["POST / HTTP/1.1", "\u{16}\u{3}\u{1}", ""] {
            let mut session = Session::new(terms(true, true, false));
            assert_eq!(say(&mut session, line), "end 421", "{line:?}");
        }
        assert_eq!(code(Session::new(terms(true, true, false)).too_long()), "end 421");
        let mut session = Session::new(terms(true, true, false));
        assert_eq!(say(&mut session, "HELO x"), "250");
        let answers: Vec<_> = (0..=FAULTS_MAX).map(|_| say(&mut session, "NONSENSE")).collect();
        assert_eq!(answers[FAULTS_MAX - 1..], ["500", "end 421"]);
        let mut session = Session::new(terms(true, true, false));
        let answers: Vec<_> = (0..=COMMANDS_MAX).map(|_| say(&mut session, "NOOP")).collect();
        assert_eq!(answers[COMMANDS_MAX - 1..], ["250", "end 421"]);
    }

    #[test]
    fn one_mail_too_many_is_told_to_come_again() {
        let mut session = Session::new(terms(true, true, false));
        assert_eq!(code(session.line(b"MAIL FROM:<a>", |_| false)), "450");
        assert_eq!(say(&mut session, "MAIL FROM:<a>"), "250");
    }
}
