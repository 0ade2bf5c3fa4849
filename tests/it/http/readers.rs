//! Clients that take their answer slowly, or not at all.

use super::*;

#[test]
fn who_does_not_read_the_answer_loses_the_place() {
    let bench = Bench::with_limits(|limits| {
        limits.connections = 1;
        limits.answer = Duration::from_millis(50);
    });
    for _ in 0..400 {
        bench.relay.put(&"x".repeat(64 * 1024), Step::Sent);
    }
    let mut stream = bench.connect();
    write!(
        stream,
        "GET /v1/alerts?limit=400 HTTP/1.1\r\nHost: {}\r\n\r\n",
        bench.address
    )
    .unwrap();
    // Its first bytes: the answer is under way. Then nothing is read any more.
    stream.read_exact(&mut [0; 16]).unwrap();
    until("the place", || bench.tcp("GET", "/v1/health", "", "").status == 200);
    drop(stream);
}

#[test]
fn who_reads_a_stream_drop_by_drop_loses_the_place() {
    let bench = Bench::with_limits(|limits| limits.answer = Duration::from_millis(100));
    bench.relay.back_up(vec![b'x'; 4 << 20]);
    let ask = || {
        let mut stream = UnixStream::connect(&bench.control).unwrap();
        stream.set_read_timeout(Some(crate::gate::PATIENCE)).unwrap();
        write!(stream, "GET /v1/backup HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    };
    // Each piece of 8 KiB within the time for one, and 64 KiB in far more than that.
    let (mut stream, mut read, mut piece) = (ask(), 0, vec![0; 8 * 1024]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        read += count;
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(read < 1 << 20, "{read}");
    // Who takes it as it comes gets all of it, and nobody holds the turn any more.
    let mut all = Vec::new();
    let mut stream = ask();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.len() > 4 << 20, "{}", all.len());
}
