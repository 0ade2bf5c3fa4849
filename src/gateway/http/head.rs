//! A request's head: from bytes to a method, an address and headers. Pure.
//!
//! It reads more than RFC 9112 asks for, because what an old script writes around a text must not cost the text:
//! folded lines (RFC 822), header values in any encoding, header lines that are none, spaces and raw characters in
//! the query. It is strict in what decides where a request ends and whom it is for: two meanings of one byte stream
//! help nobody.

/// Header lines of one request; more is nobody's honest request.
const HEADERS_MAX: usize = 128;
/// Longest method, in bytes. `PROPPATCH` is long already.
const METHOD_MAX_BYTES: usize = 32;
/// A line of these that cannot be read is never passed over: they decide where the request ends, and from whom it is.
const STRICT: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "origin",
    "sec-fetch-site",
    "transfer-encoding",
];

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes follow.
    Length(u64),
    Chunked,
    /// All that comes until the client is done: scripts of HTTP/1.0 write a text so. A request of HTTP/1.1 never ends
    /// like that.
    ToTheEnd,
}

/// One request without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub method: String,
    /// Begins with `/` (or is `*`), as sent.
    pub path: String,
    /// What follows the first `?`, as sent.
    pub query: Vec<u8>,
    /// HTTP/1.0, where a connection is closed unless it is asked to stay.
    pub old: bool,
    /// Names in lower case, values as they came, without the white space around them.
    headers: Vec<(String, Vec<u8>)>,
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The client sends no further request on this connection.
    pub close: bool,
}

/// Why bytes are no request: an HTTP status, and a line for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadHead {
    pub http: u16,
    pub error: String,
}

impl BadHead {
    fn new(http: u16, error: impl Into<String>) -> Self {
        Self {
            http,
            error: error.into(),
        }
    }
}

/// The values of one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Absent,
    Text(&'a str),
    /// Several values, or bytes that are not UTF-8: nothing that a browser sends.
    Unreadable,
}

impl Head {
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// `name` in lower case.
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(given, _)| given == name)
    }

    /// `name` in lower case.
    pub fn value(&self, name: &str) -> Value<'_> {
        let mut values = self.headers().filter(|(given, _)| *given == name);
        match (values.next(), values.next()) {
            (None, _) => Value::Absent,
            (Some((_, value)), None) => std::str::from_utf8(value).map_or(Value::Unreadable, Value::Text),
            (Some(_), Some(_)) => Value::Unreadable,
        }
    }

    /// All values of a header that is a list of words, in lower case. `None`: they are not UTF-8.
    pub fn words(&self, name: &str) -> Option<Vec<String>> {
        let mut words = Vec::new();
        for (_, value) in self.headers().filter(|(given, _)| *given == name) {
            let list = std::str::from_utf8(value).ok()?.split(',');
            words.extend(list.map(|word| word.trim().to_ascii_lowercase()));
        }
        Some(words)
    }
}

/// Where a head at the start of `bytes` ends, its empty line included. `from` is how far an earlier call has looked.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    // A line may end with a bare line feed; three bytes back is where an end may have begun.
    let start = from.saturating_sub(3);
    let mut rest = bytes.get(start..)?;
    let mut at = start;
    while let Some(line_end) = rest.iter().position(|byte| *byte == b'\n') {
        at += line_end + 1;
        rest = &bytes[at..];
        match rest {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Can a request begin with this byte?
pub(super) fn begins(byte: u8) -> bool {
    is_token(&[byte])
}

/// What bytes that cannot begin a request most likely are.
pub(super) fn no_request(first: u8) -> BadHead {
    match first {
        0x16 | 0x80 => BadHead::new(400, "this looks like TLS: this relay speaks plain HTTP, use http://"),
        _ => BadHead::new(400, "this is no HTTP request"),
    }
}

/// Reads a head that [`end`] has found.
///
/// # Errors
/// The request line is none, or what says where the request ends or whom it is for cannot be read.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, BadHead> {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (method, target, old) = request_line(lines.next().unwrap_or_default())?;
    let headers = header_lines(lines.take_while(|line| !line.is_empty()))?;
    let (authority, target) = split_absolute(&target);
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], target[at + 1..].to_vec()),
        None => (target, Vec::new()),
    };
    let path = String::from_utf8_lossy(path).into_owned();
    if !path.starts_with('/') && path != "*" {
        return Err(BadHead::new(400, format!("the address {path:?} does not begin with /")));
    }
    let mut head = Head {
        method,
        path,
        query,
        old,
        headers,
        framing: Framing::Length(0),
        expects_continue: false,
        close: old,
    };
    check_host(&head, authority)?;
    let connection = head.words("connection").unwrap_or_default();
    let asks = |word: &str| connection.iter().any(|given| given == word);
    head.close = asks("close") || (old && !asks("keep-alive"));
    head.framing = framing(&head)?;
    head.expects_continue = expects_continue(&head)?;
    Ok(head)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Method, address, and whether it is HTTP/1.0. The address is all between the first and the last space: a script that
/// forgets to escape the spaces of its text still means the text.
fn request_line(line: &[u8]) -> Result<(String, Vec<u8>, bool), BadHead> {
    let malformed = || {
        let shown: String = String::from_utf8_lossy(line).chars().take(80).collect();
        BadHead::new(
            400,
            format!("the request line {shown:?} is not METHOD /address HTTP/1.1"),
        )
    };
    let is_space = |byte: &u8| *byte == b' ';
    let first = line.iter().position(is_space).ok_or_else(malformed)?;
    let last = line.iter().rposition(is_space).ok_or_else(malformed)?;
    let (method, version) = (&line[..first], &line[last + 1..]);
    if !is_token(method) || method.len() > METHOD_MAX_BYTES || last == first {
        return Err(malformed());
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', ..] => {
            let shown = String::from_utf8_lossy(version).into_owned();
            return Err(BadHead::new(505, format!("{shown:?} is not spoken here: use HTTP/1.1")));
        }
        _ => return Err(malformed()),
    };
    let target = line[first + 1..last].trim_ascii();
    if target.is_empty() || target.iter().any(u8::is_ascii_control) {
        return Err(malformed());
    }
    // A token is ASCII.
    Ok((String::from_utf8_lossy(method).into_owned(), target.to_vec(), old))
}

fn header_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(String, Vec<u8>)>, BadHead> {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    // A folded line belongs to the one before it, also when that one was passed over.
    let mut passed_over = false;
    for line in lines {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            match headers.last_mut() {
                _ if passed_over => {}
                Some((_, value)) => {
                    value.push(b' ');
                    value.extend_from_slice(line.trim_ascii());
                }
                None => return Err(BadHead::new(400, "the first header line begins with a space")),
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        passed_over = colon.is_none() || !is_token(name);
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        if passed_over && STRICT.contains(&name.as_str()) {
            return Err(BadHead::new(400, format!("the header line of {name:?} cannot be read")));
        }
        if passed_over {
            continue;
        }
        if headers.len() == HEADERS_MAX {
            let error = format!("the request has more than {HEADERS_MAX} headers");
            return Err(BadHead::new(431, error));
        }
        headers.push((name, value[1..].trim_ascii().to_vec()));
    }
    Ok(headers)
}

/// `http://authority/path`, as a client writes it that believes in a proxy: authority, and the rest.
fn split_absolute(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let scheme = b"http://";
    match target.get(..scheme.len()) {
        Some(given) if given.eq_ignore_ascii_case(scheme) => {
            let rest = &target[scheme.len()..];
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
            (Some(authority), if path.is_empty() { b"/" } else { path })
        }
        _ => (None, target),
    }
}

fn check_host(head: &Head, authority: Option<&[u8]>) -> Result<(), BadHead> {
    let host = match head.value("host") {
        // What a Host means for whom it is for is said by the guard; HTTP/1.0 has none.
        Value::Absent if head.old => return Ok(()),
        Value::Absent => return Err(BadHead::new(400, "the Host header is missing")),
        Value::Unreadable => return Err(BadHead::new(400, "the Host header is there twice, or cannot be read")),
        Value::Text(host) => host,
    };
    if authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host.as_bytes())) {
        return Err(BadHead::new(
            400,
            format!("the address is not on the host {host:?} of the Host header"),
        ));
    }
    Ok(())
}

fn framing(head: &Head) -> Result<Framing, BadHead> {
    let lengths = head.words("content-length");
    if head.has("transfer-encoding") {
        if head.has("content-length") {
            return Err(BadHead::new(
                400,
                "Content-Length and Transfer-Encoding exclude each other",
            ));
        }
        let codings = head.words("transfer-encoding").unwrap_or_default();
        if codings != ["chunked"] || head.old {
            return Err(BadHead::new(
                501,
                "the only Transfer-Encoding that is understood is chunked, in HTTP/1.1",
            ));
        }
        return Ok(Framing::Chunked);
    }
    let wrong = || BadHead::new(400, "the Content-Length is no number, or there are several");
    match lengths.as_deref() {
        None => Err(wrong()),
        Some([]) if head.old && head.close && matches!(&*head.method, "POST" | "PUT") => Ok(Framing::ToTheEnd),
        Some([]) => Ok(Framing::Length(0)),
        Some([first, others @ ..]) => {
            let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || others.iter().any(|other| other != first) {
                return Err(wrong());
            }
            first.parse().map(Framing::Length).map_err(|_| wrong())
        }
    }
}

fn expects_continue(head: &Head) -> Result<bool, BadHead> {
    let expected = head.words("expect").unwrap_or_else(|| vec![String::new()]);
    if expected.iter().any(|word| word != "100-continue") {
        return Err(BadHead::new(417, "the only Expect that is understood is 100-continue"));
    }
    Ok(!expected.is_empty() && !head.old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, BadHead> {
        parse(text.as_bytes())
    }

    fn with(lines: &str) -> Result<Head, BadHead> {
        head(&format!("POST /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n"))
    }

    #[test]
    fn the_end_is_found_wherever_the_pieces_were_cut() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\n\r\nmore", Some(18)),
            ("GET / HTTP/1.1\n\nmore", Some(16)),
            ("GET / HTTP/1.1\na: b\r\n\nmore", Some(22)),
            ("GET / HTTP/1.1\r\n\r", None),
            ("GET / HTTP/1.1\r\n", None),
            ("", None),
        ] {
            assert_eq!(end(text.as_bytes(), 0), expected, "{text:?}");
            // Byte by byte, each look going on where the last one ended.
            let mut looked = 0;
            let found = (1..=text.len()).find_map(|length| {
                let found = end(&text.as_bytes()[..length], looked);
                looked = length;
                found
            });
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_request_line_has_three_parts_and_any_address() {
        let parts = |text: &str| {
            let head = head(text).unwrap();
            (
                head.method,
                head.path,
                String::from_utf8_lossy(&head.query).into_owned(),
            )
        };
        let own = |method: &str, path: &str, query: &str| (method.to_owned(), path.to_owned(), query.to_owned());
        assert_eq!(
            parts("PUT /a/?t=x HTTP/1.1\r\nHost: x\r\n\r\n"),
            own("PUT", "/a/", "t=x")
        );
        assert_eq!(
            parts("GET /a/publish?m=disk full ü #1?= HTTP/1.1\r\nHost: x\r\n\r\n"),
            own("GET", "/a/publish", "m=disk full ü #1?=")
        );
        assert_eq!(
            parts("GET http://X:1/a?b HTTP/1.1\r\nHost: x:1\r\n\r\n"),
            own("GET", "/a", "b")
        );
        assert_eq!(parts("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n"), own("GET", "/", ""));
        for (text, http) in [
            ("GET / HTTP/2.0\r\n\r\n", 505),
            ("GET /\r\n\r\n", 400),
            ("GET HTTP/1.1\r\n\r\n", 400),
            ("GET  HTTP/1.1\r\n\r\n", 400),
            ("G\u{7}T / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1 x\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /\u{1} HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("\r\n", 400),
        ] {
            let error = head(text).unwrap_err();
            assert_eq!(error.http, http, "{text:?}");
            assert!(!error.error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn folded_lines_are_one_value_and_lines_that_are_none_are_passed_over() {
        let head = with(concat!(
            "Title: =?utf-8?q?one?=\r\n =?utf-8?q?two?=\r\n\t three\r\n",
            "no colon\r\n folded after it\r\nA name: x\r\n: no name\r\nLast:\r\n"
        ))
        .unwrap();
        let headers: Vec<_> = head.headers().collect();
        let title = "=?utf-8?q?one?= =?utf-8?q?two?= three".as_bytes();
        assert_eq!(headers, [("host", &b"x"[..]), ("title", title), ("last", b"")]);
        assert_eq!(
            parse(b"GET / HTTP/1.1\r\nhost: x\r\nTitle: Gr\xfc\xdfe \x1b\r\n\r\n")
                .unwrap()
                .headers[1]
                .1,
            b"Gr\xfc\xdfe \x1b"
        );
        assert!(super::parse(b"GET / HTTP/1.1\r\n Host: x\r\n\r\n").is_err());
    }

    #[test]
    fn where_a_request_ends_has_one_meaning() {
        assert_eq!(with("").unwrap().framing, Framing::Length(0));
        assert_eq!(with("Content-Length: 7\r\n").unwrap().framing, Framing::Length(7));
        assert_eq!(
            with("Content-Length: 7\r\ncontent-length: 7\r\n").unwrap().framing,
            Framing::Length(7)
        );
        assert_eq!(
            with("Transfer-Encoding: Chunked\r\n").unwrap().framing,
            Framing::Chunked
        );
        for (request, framing) in [
            ("POST /a HTTP/1.0\r\n\r\n", Framing::ToTheEnd),
            ("PUT /a HTTP/1.0\r\nConnection: close\r\n\r\n", Framing::ToTheEnd),
            ("POST /a HTTP/1.0\r\nContent-Length: 0\r\n\r\n", Framing::Length(0)),
            ("POST /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Framing::Length(0)),
            ("GET /a HTTP/1.0\r\n\r\n", Framing::Length(0)),
            (
                "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                Framing::Length(0),
            ),
        ] {
            assert_eq!(head(request).unwrap().framing, framing, "{request:?}");
        }
        for (lines, http) in [
            ("Content-Length: -1\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Content-Length: 1, 2\r\n", 400),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
            ("Content-Length : 1\r\n", 400),
            ("Content-Length: 99999999999999999999\r\n", 400),
            ("Content-Length: 1\r\n 2\r\n", 400),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
            ("Host: y\r\n", 400),
            ("Expect: pigs\r\n", 417),
        ] {
            assert_eq!(with(lines).unwrap_err().http, http, "{lines:?}");
        }
        assert_eq!(head("GET / HTTP/1.1\r\n\r\n").unwrap_err().http, 400);
        assert_eq!(with(&"a: b\r\n".repeat(HEADERS_MAX)).unwrap_err().http, 431);
    }

    #[test]
    fn who_keeps_the_connection() {
        for (version, line, close) in [
            ("1.1", "", false),
            ("1.1", "Connection: keep-alive, Close\r\n", true),
            ("1.0", "", true),
            ("1.0", "Connection: Keep-Alive\r\n", false),
        ] {
            let head = head(&format!("GET / HTTP/{version}\r\nHost: x\r\n{line}\r\n")).unwrap();
            assert_eq!(head.close, close, "{version} {line:?}");
        }
        assert!(with("Expect: 100-Continue\r\n").unwrap().expects_continue);
    }
}
