//! Captured requests, byte for byte over a socket, as their senders make them.

use std::os::unix::net::UnixStream;

use tautline::dialect::DIALECTS;
use tautline::gateway::api::Published;

use crate::captured;
use crate::gate::{Bench, PATIENCE, talk};

#[test]
fn what_senders_put_on_the_wire_arrives() {
    for dialect in DIALECTS {
        for captured in captured::requests(dialect.name) {
            let name = format!("{}/{}", dialect.name, captured.name);
            let bench = Bench::new();
            // The control socket takes any Host; what a web page may do is tested elsewhere.
            let stream = UnixStream::connect(&bench.control).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head_end = captured.wire.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let (line, rest) = captured.wire.split_at(head_end);
            let answer = talk(stream, &[line, b"Connection: close\r\n", rest].concat());
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            let published: Published = answer.json();
            assert_eq!(
                published.warning.unwrap_or_default(),
                captured.warnings.join("; "),
                "{name}"
            );
            let taken: Vec<_> = bench.relay.taken().into_iter().map(|(_, alert)| alert).collect();
            assert_eq!(taken, captured.alerts, "{name}");
        }
    }
}
