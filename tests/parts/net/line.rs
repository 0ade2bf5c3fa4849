//! The transport: its write deadline, a disconnect that never waits, how ends are told, and what the stats show.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use bytes::Bytes;
use futures_lite::{AsyncWriteExt, StreamExt, future};
use tautline::line::Schedule;
use tautline::net::{DialError, Ended, MESSAGE_BYTES_MAX, Step};
use tautline::whatsapp::{LineClosed, LineFactory};
use wacore::net::{DisconnectReason, Transport, TransportEvent, TransportFactory};

use super::support::{self, SOON, Tasks, endpoint, run, schedule};

fn factory(tasks: &Tasks, addr: SocketAddr, schedule: Schedule) -> LineFactory {
    LineFactory::new(Arc::clone(tasks), endpoint(false, addr), None, schedule)
}

/// Larger than what the kernel buffers on loopback, so a peer that does not read blocks it.
fn flood() -> Bytes {
    Bytes::from(vec![7; MESSAGE_BYTES_MAX - 1])
}

async fn open(factory: &LineFactory) -> (Arc<dyn Transport>, Receiver<TransportEvent>) {
    let (transport, events) = factory.create_transport().await.unwrap();
    assert!(matches!(events.recv().await, Ok(TransportEvent::Connected)));
    (transport, events)
}

async fn data(events: &Receiver<TransportEvent>) -> Bytes {
    match events.recv().await {
        Ok(TransportEvent::DataReceived(data)) => data,
        other => panic!("{other:?}"),
    }
}

async fn end(events: &Receiver<TransportEvent>) -> DisconnectReason {
    loop {
        match events.recv().await {
            Ok(TransportEvent::Disconnected(reason)) => return reason,
            Ok(_) => {}
            Err(err) => panic!("the events ended without a reason: {err}"),
        }
    }
}

/// Upgrades, and then neither reads nor writes.
async fn deaf_server(tasks: &Tasks) -> SocketAddr {
    support::ws_server(tasks, |ws| async move {
        let _kept = ws;
        future::pending::<()>().await;
    })
    .await
}

/// Upgrades, writes `bytes` raw below the WebSocket, and then reads until the end; with `hang_up` it closes instead.
async fn raw_server(tasks: &Tasks, bytes: Vec<u8>, hang_up: bool) -> SocketAddr {
    support::ws_server(tasks, move |mut ws| {
        let bytes = bytes.clone();
        async move {
            let _ = ws.get_mut().write_all(&bytes).await;
            if !hang_up {
                let _ = ws.count().await;
            }
        }
    })
    .await
}

#[test]
fn messages_go_both_ways_and_the_tap_counts() {
    run(async |tasks| {
        let addr = support::ws_server(&tasks, |mut ws| async move {
            while let Some(Ok(message)) = ws.next().await {
                if message.is_binary() && ws.send(message).await.is_err() {
                    break;
                }
            }
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (transport, events) = open(&factory).await;
        for text in ["one", "two", "three"] {
            transport.send(Bytes::from_static(text.as_bytes())).await.unwrap();
            assert_eq!(data(&events).await, text);
        }
        let seen = factory.stats().unwrap().snapshot();
        assert!(seen.bytes_out > 11 && seen.bytes_in > 11, "{seen:?}");
        assert!(seen.last_read > seen.upgraded_at);
        assert_eq!(seen.first_unanswered_write, None, "everything was answered");
        assert!(seen.upgraded_at.is_some() && seen.ended.is_none());
    });
}

#[test]
fn an_unanswered_write_is_dated_from_the_first() {
    run(async |tasks| {
        let addr = deaf_server(&tasks).await;
        let factory = factory(&tasks, addr, schedule());
        let (transport, _events) = open(&factory).await;
        transport.send(Bytes::from_static(b"one")).await.unwrap();
        let first = factory.stats().unwrap().snapshot().first_unanswered_write.unwrap();
        transport.send(Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(factory.stats().unwrap().snapshot().first_unanswered_write, Some(first));
    });
}

#[test]
fn a_blocked_write_fails_at_its_deadline_and_ends_the_line() {
    run(async |tasks| {
        let addr = deaf_server(&tasks).await;
        let mut schedule = schedule();
        schedule.steps.write = SOON;
        let factory = factory(&tasks, addr, schedule);
        let (transport, events) = open(&factory).await;
        let begun = Instant::now();
        let error = transport.send(flood()).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&LineClosed(Ended::WriteDeadline(SOON))));
        assert!(begun.elapsed() >= SOON);
        let reason = end(&events).await;
        assert!(
            matches!(&reason, DisconnectReason::ReadError(text) if text.contains("write blocked")),
            "{reason}"
        );
        let again = transport.send(Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(again.downcast_ref(), Some(&LineClosed(Ended::WriteDeadline(SOON))));
    });
}

#[test]
fn a_ping_behind_a_blocked_write_has_the_same_deadline() {
    run(async |tasks| {
        let addr = deaf_server(&tasks).await;
        let mut schedule = schedule();
        schedule.steps.write = SOON;
        let factory = factory(&tasks, addr, schedule);
        let (transport, _events) = open(&factory).await;
        let line = factory.line().unwrap();
        let (sent, pinged) = future::zip(transport.send(flood()), line.ping(b"?")).await;
        assert!(sent.is_err() && pinged.is_err(), "{sent:?} {pinged:?}");
    });
}

#[test]
fn disconnect_does_not_wait_behind_a_blocked_write() {
    run(async |tasks| {
        let addr = deaf_server(&tasks).await;
        let factory = factory(&tasks, addr, schedule());
        let (transport, events) = open(&factory).await;
        let stats = factory.stats().unwrap();
        let before = stats.snapshot().bytes_out;
        let blocked = tasks.spawn({
            let transport = Arc::clone(&transport);
            async move { transport.send(flood()).await }
        });
        support::until("a write that is under way", || stats.snapshot().bytes_out > before).await;

        let begun = Instant::now();
        transport.disconnect().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let error = blocked.await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&LineClosed(Ended::Hangup)));
        assert!(matches!(end(&events).await, DisconnectReason::Unknown));
        assert!(
            begun.elapsed() < support::PATIENCE / 2,
            "the write deadline had nothing to do with it"
        );
    });
}

#[test]
fn an_idle_disconnect_says_goodbye() {
    run(async |tasks| {
        let (told, tells) = async_channel::bounded(1);
        let addr = support::ws_server(&tasks, move |mut ws| {
            let told = told.clone();
            async move {
                let _ = told.send(ws.next().await.map(|message| message.unwrap())).await;
            }
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (transport, events) = open(&factory).await;
        transport.disconnect().await;
        assert!(matches!(end(&events).await, DisconnectReason::Unknown));
        let Ok(Some(Message::Close(Some(frame)))) = tells.recv().await else {
            panic!("no close frame")
        };
        assert_eq!(frame.code, CloseCode::Normal);
    });
}

#[test]
fn a_cut_says_why_and_dropping_the_transport_ends_the_line() {
    run(async |tasks| {
        let addr = deaf_server(&tasks).await;
        let factory = factory(&tasks, addr, schedule());
        let (_transport, events) = open(&factory).await;
        factory.line().unwrap().cut("no proof of life");
        let reason = end(&events).await;
        assert!(
            matches!(&reason, DisconnectReason::ReadError(text) if text.contains("no proof of life")),
            "{reason}"
        );

        let (transport, _events) = open(&factory).await;
        let stats = factory.stats().unwrap();
        assert_eq!(stats.ended(), None, "a new line has stats of its own");
        drop(transport);
        assert_eq!(stats.ended(), Some(Ended::Hangup));
        support::until("the line let go", || factory.line().is_none()).await;
    });
}

#[test]
fn a_close_frame_surfaces_with_code_and_reason() {
    run(async |tasks| {
        let (told, tells) = async_channel::bounded(1);
        let addr = support::ws_server(&tasks, move |mut ws| {
            let told = told.clone();
            async move {
                ws.close(Some(CloseFrame {
                    code: CloseCode::Restart,
                    reason: "be right back".into(),
                }))
                .await
                .unwrap();
                let _ = told.send(matches!(ws.next().await, Some(Ok(Message::Close(_))))).await;
            }
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (_transport, events) = open(&factory).await;
        let reason = end(&events).await;
        assert!(
            matches!(&reason, DisconnectReason::ServerClose { code: Some(1012), reason } if reason == "be right back"),
            "{reason}"
        );
        assert_eq!(tells.recv().await, Ok(true), "the close is answered");
        let how = factory.stats().unwrap().ended();
        assert_eq!(
            how,
            Some(Ended::ServerClose {
                code: Some(1012),
                reason: "be right back".into()
            })
        );
    });
}

#[test]
fn an_end_without_a_close_frame_is_told_from_a_reset() {
    run(async |tasks| {
        let addr = raw_server(&tasks, Vec::new(), true).await;
        let (_transport, events) = open(&factory(&tasks, addr, schedule())).await;
        assert!(matches!(end(&events).await, DisconnectReason::StreamEnded));

        let addr = support::ws_server(&tasks, |ws| async move {
            let _ = socket2::SockRef::from(ws.get_ref()).set_linger(Some(Duration::ZERO));
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (_transport, events) = open(&factory).await;
        let reason = end(&events).await;
        assert!(matches!(reason, DisconnectReason::ReadError(_)), "{reason}");
        assert!(matches!(factory.stats().unwrap().ended(), Some(Ended::Read(_))));
    });
}

#[test]
fn garbage_recycles_the_line() {
    run(async |tasks| {
        let mut oversized = vec![0x82, 127];
        oversized.extend_from_slice(&(MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes());
        let many: [(&str, Vec<u8>); 7] = [
            ("reserved bits", vec![0xf2, 0]),
            ("an unknown opcode", vec![0x83, 0]),
            ("a fragmented ping", vec![0x09, 0]),
            ("a continuation of nothing", vec![0x80, 0]),
            ("a masked frame", vec![0x82, 0x81, 1, 2, 3, 4, 5]),
            ("an oversized frame", oversized),
            ("a text message", vec![0x81, 1, b'x']),
        ];
        for (what, bytes) in many {
            let addr = raw_server(&tasks, bytes, false).await;
            let factory = factory(&tasks, addr, schedule());
            let (_transport, events) = open(&factory).await;
            let reason = end(&events).await;
            assert!(matches!(reason, DisconnectReason::ReadError(_)), "{what}: {reason}");
            assert!(
                matches!(factory.stats().unwrap().ended(), Some(Ended::Garbage(_))),
                "{what}"
            );
        }
    });
}

#[test]
fn a_message_in_too_many_fragments_is_cut_off() {
    run(async |tasks| {
        // Never a final frame: each is within the limit, their sum is not.
        let addr = support::ws_server(&tasks, |mut ws| async move {
            let half = MESSAGE_BYTES_MAX / 2;
            for opcode in [0x02, 0, 0] {
                let mut frame = vec![opcode, 127];
                frame.extend_from_slice(&(half as u64).to_be_bytes());
                frame.resize(10 + half, 0);
                if ws.get_mut().write_all(&frame).await.is_err() {
                    return;
                }
            }
            future::pending::<()>().await;
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (_transport, events) = open(&factory).await;
        assert!(matches!(end(&events).await, DisconnectReason::ReadError(_)));
        assert!(matches!(factory.stats().unwrap().ended(), Some(Ended::Garbage(_))));
    });
}

#[test]
fn pings_are_answered_and_pongs_recorded() {
    run(async |tasks| {
        let (told, tells) = async_channel::bounded(4);
        let addr = support::ws_server(&tasks, move |mut ws| {
            let told = told.clone();
            async move {
                ws.send(Message::Ping(Bytes::from_static(b"you?"))).await.unwrap();
                while let Some(Ok(message)) = ws.next().await {
                    let _ = told.send(message).await;
                }
            }
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (_transport, _events) = open(&factory).await;
        assert_eq!(tells.recv().await.unwrap(), Message::Pong(Bytes::from_static(b"you?")));

        let line = factory.line().unwrap();
        assert_eq!(line.stats().snapshot().last_pong, None);
        let asked = Instant::now();
        line.ping(&[b'a'; 200]).await.unwrap();
        assert_eq!(tells.recv().await.unwrap(), Message::Ping(Bytes::from(vec![b'a'; 125])));
        support::until("a pong", || line.stats().snapshot().last_pong.is_some()).await;
        assert!(line.stats().snapshot().last_pong > Some(asked));
    });
}

#[test]
fn a_reader_that_nobody_relieves_stops_reading() {
    run(async |tasks| {
        let addr = support::ws_server(&tasks, |mut ws| async move {
            for i in 0..200_u8 {
                ws.send(Message::binary(vec![i])).await.unwrap();
            }
            let _ = ws.count().await;
        })
        .await;
        let factory = factory(&tasks, addr, schedule());
        let (_transport, events) = factory.create_transport().await.unwrap();
        let bound = events.capacity().expect("the queue is bounded");
        support::until("a full queue", || events.len() == bound).await;
        assert!(matches!(events.recv().await, Ok(TransportEvent::Connected)));
        for i in 0..200_u8 {
            assert_eq!(data(&events).await, [i][..], "nothing is lost or out of order");
        }
    });
}

#[test]
fn a_failed_attempt_is_remembered_once() {
    run(async |tasks| {
        let dead = factory(&tasks, support::refusing(), schedule());
        let error = dead.create_transport().await.err().expect("nobody listens there");
        let kept = dead.take_last_error().unwrap();
        assert!(matches!(kept, DialError::Unreachable { .. }), "{kept:?}");
        assert_eq!(error.downcast_ref(), Some(&kept), "the library is told the same");
        assert_eq!(dead.take_last_error(), None);
        assert!(dead.stats().is_none() && dead.line().is_none());
    });
}

#[test]
fn an_attempt_given_up_from_outside_names_its_step() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let mute = factory(&tasks, addr, schedule());
        // The library has a deadline of its own over the whole attempt, and simply drops the future.
        let given_up = future::or(async { mute.create_transport().await.map(|_| ()).ok() }, async {
            smol::Timer::after(SOON).await;
            None
        });
        assert_eq!(given_up.await, None);
        let kept = mute.take_last_error().unwrap();
        assert!(
            matches!(
                kept,
                DialError::Abandoned {
                    step: Step::Upgrade,
                    ..
                }
            ),
            "{kept:?}"
        );
        assert!(kept.is_deadline());
    });
}
