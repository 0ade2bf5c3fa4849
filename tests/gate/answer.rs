//! One request over HTTP, and what comes back.

use std::io::{Read, Write};

use tautline::gateway::api::ErrorBody;

pub(super) fn request(method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let framing = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {length}\r\n")
    };
    format!("{method} {target} HTTP/1.1\r\n{headers}{framing}Connection: close\r\n\r\n{body}").into_bytes()
}

/// Everything that comes back until the server closes.
pub fn talk<S: Read + Write>(mut stream: S, bytes: &[u8]) -> Answer {
    stream.write_all(bytes).unwrap();
    Answer::read(stream)
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn read<S: Read>(mut stream: S) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// An error of this status, as every error must be.
    pub fn error(&self, status: u16) -> ErrorBody {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body: ErrorBody = self.json();
        assert_eq!(body.http, status);
        body
    }
}
