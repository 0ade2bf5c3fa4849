//! Every bound of SMTP.

use std::time::Duration;

/// Connections at once. Mail comes now and then; beyond that the longest idle one gives way.
const CONNECTIONS_MAX: usize = 32;
/// The largest mail, in bytes: 45 MB of pictures in base64. Of whatever comes only the text is in memory.
const MAIL_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Recipients of one mail; RFC 5321 wants room for so many.
const RECIPIENTS_MAX: usize = 100;
/// Until the next line is there (RFC 5321, section 4.5.3.2).
const COMMAND: Duration = Duration::from_secs(300);
/// Between two pieces of a mail.
const DATA_GAP: Duration = Duration::from_secs(180);
/// A whole mail, however busily it comes.
const DATA: Duration = Duration::from_secs(900);
/// An answer that the client does not take.
const ANSWER: Duration = Duration::from_secs(10);
/// Where TLS begins with the first byte (RFC 8314), as clients expect it there.
const TLS_PORT: u16 = 465;
/// Before the answer to a wrong token.
const WRONG_TOKEN: Duration = Duration::from_secs(1);

/// The bounds of SMTP. The defaults are for use; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmtpLimits {
    /// Connections at once.
    pub connections: usize,
    /// Largest mail, in bytes; more is a 552.
    pub mail_bytes: u64,
    /// Recipients of one mail; one more is a 452.
    pub recipients: usize,
    /// Until the next line is there.
    pub command: Duration,
    /// Longest silence within a mail.
    pub data_gap: Duration,
    /// A whole mail.
    pub data: Duration,
    /// Until the client takes an answer.
    pub answer: Duration,
    /// Before the answer to a wrong token.
    pub wrong_token: Duration,
    /// Connections to this port begin with TLS, where there is a certificate; 0: those to every port.
    pub tls_port: u16,
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            mail_bytes: MAIL_MAX_BYTES,
            recipients: RECIPIENTS_MAX,
            command: COMMAND,
            data_gap: DATA_GAP,
            data: DATA,
            answer: ANSWER,
            wrong_token: WRONG_TOKEN,
            tls_port: TLS_PORT,
        }
    }
}
