//! What the fuzz target for SMTP runs: bytes that may be anything go in, and a panic is a failure. Not for other use.

use std::sync::Arc;

use super::data::Data;
use super::limits::SmtpLimits;
use super::session::{Next, Session, Terms};
use crate::access::Presented;
use crate::config::MailPlan;
use crate::dialect::mail::Reducer;

/// All that a client says: a byte that chooses where it comes from, then its bytes. Returns how many mails came whole.
///
/// # Panics
/// It does not.
pub fn smtp(data: &[u8]) -> usize {
    let (&choice, mut rest) = data.split_first().unwrap_or((&0, &[]));
    let terms = Terms {
        open: choice & 1 != 0,
        private: choice & 2 != 0,
        may_encrypt: choice & 4 != 0,
        routes: ["family", "ops"].iter().filter_map(|name| name.parse().ok()).collect(),
        mail: Arc::new(MailPlan::default()),
        limits: SmtpLimits::default(),
    };
    let mut session = Session::new(terms);
    let mut mails = 0;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = rest.split_at(end);
        rest = &behind[1..];
        let mut next = session.line(line.strip_suffix(b"\r").unwrap_or(line), |_| true);
        if let Next::Check(_) = next {
            next = session.checked(Presented::Unknown);
        }
        match next {
            Next::Say(reply) => {
                let mut out = Vec::new();
                reply.write(&mut out);
                assert!(out.is_ascii() && out.ends_with(b"\r\n"));
            }
            Next::Check(_) => {}
            Next::StartTls(_) => session.encrypted(),
            Next::Data(_) => {
                let (mut data, mut reducer) = (Data::default(), Reducer::default());
                let Some(used) = data.push(rest, |text| reducer.push(text)) else {
                    return mails;
                };
                rest = &rest[used..];
                let mail = session.end_of_mail().expect("a mail was announced");
                assert!(!mail.routes.is_empty());
                let _ = reducer.finish();
                mails += 1;
            }
            Next::End(_) => return mails,
        }
    }
    mails
}
