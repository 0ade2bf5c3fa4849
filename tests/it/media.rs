//! Attachments from an accepted alert to the phone, by way of the lab's media server, with the built program.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use tautline::alert::render::parts;
use tautline::alert::{Alert, Attachment, BlobHash, MediaKind};
use tautline::outbox::{AlertRecord, Attention, Delivery, Form, MessageId, Step, Timestamp};
use tautline::store::{Batch, Store, Tree, outbox};

use crate::lab::{GroupKind, Lab, MediaFaults, MediaSeen, Phone, Received};
use crate::support::{Relay, SOON, Site, pair_by_qr};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";
const OTHER: &str = "15550100003";
const TO_FRIEND: &str = "+15550100002";
const TO_OTHER: &str = "+15550100003";

/// What a minute of the deadlines lasts here: long enough for what works on a busy machine, short enough for what does
/// not.
const MINUTE_MS: &str = "6000";

/// What is given up has had four of those, its pauses, and some time for each try.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(120);

const THUMBNAIL: &[u8] = b"a small JPEG";

/// A paired site, and no relay on it.
struct Bench {
    lab: Lab,
    friend: Phone,
    other: Phone,
    group: String,
    site: Site,
}

/// A file that goes with an alert.
#[derive(Clone)]
struct File {
    name: &'static str,
    kind: MediaKind,
    mime: &'static str,
    bytes: Vec<u8>,
}

fn picture(bytes: Vec<u8>) -> File {
    File {
        name: "cam.jpg",
        kind: MediaKind::Image,
        mime: "image/jpeg",
        bytes,
    }
}

fn document(bytes: Vec<u8>) -> File {
    File {
        name: "report.pdf",
        kind: MediaKind::Document,
        mime: "application/pdf",
        bytes,
    }
}

fn video(bytes: Vec<u8>) -> File {
    File {
        name: "clip.mp4",
        kind: MediaKind::Video,
        mime: "video/mp4",
        bytes,
    }
}

fn recording(bytes: Vec<u8>) -> File {
    File {
        name: "call.mp3",
        kind: MediaKind::Audio,
        mime: "audio/mpeg",
        bytes,
    }
}

/// Bytes that are nothing.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = 2 * seed + 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(Sha256::digest(bytes).into())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp(since.as_millis() as u64)
}

impl Bench {
    fn paired() -> Self {
        let lab = Lab::start();
        let owner = lab.account(OWNER, "Owner");
        let friend = lab.account(FRIEND, "Friend");
        let other = lab.account(OTHER, "Other");
        let group = lab.group("Alerts", &[&owner, &friend, &other]);
        let routes: [(&str, &[&str]); 2] = [("friend", &[TO_FRIEND]), ("other", &[TO_OTHER])];
        let site = Site::new(&lab.endpoint(), &routes);
        let relay = site.start();
        pair_by_qr(&site, |code| owner.scan(code).map(drop));
        relay.wait_online();
        assert_eq!(relay.stop(), 0);
        Self {
            lab,
            friend,
            other,
            group,
            site,
        }
    }

    fn start(&self) -> Relay {
        self.site.start_with(&[("TAUTLINE_LAB_MINUTE_MS", MINUTE_MS)])
    }

    fn faults(&self, faults: MediaFaults) {
        self.lab.faults().media(faults);
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.site.state().join("blobs").join(hash(bytes).to_string())
    }

    /// An alert with files, as it lies there when a relay was ended right after it had accepted it; its id. A picture
    /// has a thumbnail.
    fn accept(&self, to: &[&str], text: &str, files: &[File]) -> String {
        let store = Store::open(&self.site.state(), 1 << 20).expect("nobody has it");
        std::fs::create_dir_all(self.site.state().join("blobs")).expect("a folder");
        let keep = |bytes: &[u8]| {
            std::fs::write(self.blob(bytes), bytes).expect("written");
            hash(bytes)
        };
        let attachment = |file: &File| {
            let is_picture = file.kind == MediaKind::Image;
            Attachment {
                hash: keep(&file.bytes),
                bytes: file.bytes.len() as u64,
                name: file.name.into(),
                mime: file.mime.into(),
                kind: file.kind,
                width: if is_picture { 64 } else { 0 },
                height: if is_picture { 48 } else { 0 },
                thumbnail: is_picture.then(|| keep(THUMBNAIL)),
            }
        };
        let alert = Alert {
            text: text.into(),
            attachments: files.iter().map(attachment).collect(),
            ..Alert::default()
        };
        let last = store.view().scan(Tree::Outbox, b"").last();
        let number = |key: Vec<u8>| u64::from_be_bytes(key.try_into().expect("8 bytes"));
        let seq = last.map_or(1, |row| number(row.expect("readable").0) + 1);
        let at = now();
        let delivery = |place: usize, to: &str, part| Delivery {
            recipient: to.parse().expect("a recipient"),
            part,
            message_id: Some(MessageId(format!("3EB0{seq:08}{place:04}{part:04}"))),
            made_at: None,
            form: Form::Whole,
            step: Step::Accepted,
            since: at,
            attempts: 0,
            late: false,
            note: String::new(),
            mark: None,
            quotes: None,
        };
        let places = to.iter().enumerate();
        let deliveries = places.flat_map(|(place, to)| (0..parts(&alert)).map(move |part| delivery(place, to, part)));
        let id = format!("alert{seq:07}");
        let record = AlertRecord {
            seq,
            id: id.clone(),
            route: "friend".parse().expect("a name"),
            session: "default".parse().expect("a name"),
            accepted_at: at,
            ttl: None,
            delay: None,
            lasted: None,
            attention: Attention::default(),
            deliveries: deliveries.collect(),
            alert: alert.clone(),
            handovers: Vec::new(),
            flap: None,
        };
        let mut batch = Batch::new();
        outbox::put(&mut batch, &record).expect("it fits");
        smol::block_on(store.commit(batch)).expect("written");
        id
    }

    /// Waits until the server has so much of an upload that is not whole.
    fn wait_upload_bytes(&self, bytes: usize) {
        let came = self.lab.wait_until(SOON, |lab| lab.upload_bytes() >= bytes);
        assert!(came, "{} bytes\n{}", self.lab.upload_bytes(), self.site.read_log());
    }

    /// Message number `count` of a phone, which has no more.
    #[track_caller]
    fn nth(&self, phone: &Phone, count: usize) -> Received {
        let received = phone.wait_received(count, GIVEN_UP_WITHIN);
        assert_eq!(
            received.len(),
            count,
            "{}\n{}",
            texts(phone).join("\n"),
            self.site.read_log()
        );
        received[count - 1].clone()
    }
}

fn texts(phone: &Phone) -> Vec<String> {
    phone.received().into_iter().map(|message| message.text).collect()
}

/// What came with a message, and its bytes.
#[track_caller]
fn media(received: &Received) -> (MediaSeen, Vec<u8>) {
    let media = received.media.clone();
    let media = media.unwrap_or_else(|| panic!("no attachment: {}", received.text));
    let bytes = media.bytes.clone();
    (media, bytes.unwrap_or_else(|error| panic!("unreadable: {error}")))
}

#[test]
fn each_kind_arrives_whole_and_as_what_it_is() {
    let bench = Bench::paired();
    let files = [
        picture(noise(40_000, 1)),
        document(noise(70_000, 2)),
        video(noise(200_000, 3)),
        recording(noise(30_000, 4)),
    ];
    let id = bench.accept(&[TO_FRIEND], "a person", &files);
    let alone = bench.accept(&[TO_FRIEND], "they called", &[recording(noise(10_000, 5))]);
    let relay = bench.start();
    relay.wait_step(&alone, "delivered");
    bench.nth(&bench.friend, 6);
    let received = bench.friend.received();
    // The first has the text as its caption, one that can have none has it before it.
    assert_eq!(
        texts(&bench.friend),
        [
            "[image] a person",
            "[document]",
            "[video]",
            "[audio]",
            "they called",
            "[audio]"
        ]
    );
    for (file, received) in files.iter().zip(&received) {
        let (seen, bytes) = media(received);
        assert!(bytes == file.bytes, "{}", file.name);
        assert_eq!(
            (seen.kind, seen.mimetype.as_str()),
            (&*file.kind.to_string(), file.mime)
        );
    }
    let (seen, _) = media(&received[0]);
    assert_eq!(
        (seen.width, seen.height, seen.thumbnail.as_slice()),
        (64, 48, THUMBNAIL)
    );
    assert_eq!(media(&received[1]).0.file_name, "report.pdf");
    let alert = relay.wait_step(&id, "delivered");
    for (place, received) in received.iter().take(4).enumerate() {
        assert_eq!(alert["deliveries"][place]["message_id"], received.id.as_str());
    }
}

#[test]
fn one_upload_serves_all_recipients_alerts_and_starts() {
    let bench = Bench::paired();
    let file = document(noise(50_000, 2));
    let first = bench.accept(&[TO_FRIEND, TO_OTHER], "first", std::slice::from_ref(&file));
    let relay = bench.start();
    relay.wait_step(&first, "delivered");
    relay.kill();
    let other = File {
        name: "other.pdf",
        ..file.clone()
    };
    let second = bench.accept(&[&bench.group], "second", &[other]);
    let relay = bench.start();
    relay.wait_step(&second, "delivered");
    assert_eq!(bench.lab.uploads().len(), 1, "{:?}", bench.lab.uploads());
    let received = bench.nth(&bench.friend, 2);
    assert_eq!(media(&received).0.file_name, "other.pdf");
    assert!(media(&received).1 == file.bytes && media(&bench.other.received()[0]).1 == file.bytes);
    assert_eq!(relay.stop(), 0);
    let checked = bench.site.run(&["store", "check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("sound\n") && said.contains("upload"), "{said}");
}

#[test]
fn an_upload_holds_up_neither_others_nor_what_is_more_urgent() {
    let bench = Bench::paired();
    bench.faults(MediaFaults {
        stall_after: Some(40_000),
        ..MediaFaults::default()
    });
    let slow = bench.accept(&[TO_FRIEND], "slow", &[document(noise(300_000, 3))]);
    let relay = bench.site.start();
    bench.wait_upload_bytes(40_000);
    let lines = relay.lines();
    relay.wait_step(&relay.publish("other", "to somebody else"), "delivered");
    let urgent = relay.http("POST", "/friend", &[("Priority", "5")], b"urgent").json();
    relay.wait_step(urgent["id"].as_str().expect("an id"), "delivered");
    let waiting = relay.http("GET", &format!("/v1/alerts/{slow}"), &[], b"").json();
    let delivery = &waiting["deliveries"][0];
    assert_eq!(delivery["state"], "accepted", "{waiting:#}");
    assert_eq!(delivery["note"], "its attachment is being uploaded", "{waiting:#}");
    bench.lab.faults().calm();
    relay.wait_step(&slow, "delivered");
    assert_eq!(texts(&bench.friend), ["‼️ urgent", "[document] slow"]);
    assert_eq!(
        (bench.lab.uploads().len(), relay.lines()),
        (1, lines),
        "no line was suspected"
    );
}

/// The line is nothing to an upload that has begun.
#[test]
fn a_line_that_goes_during_an_upload_costs_neither() {
    let bench = Bench::paired();
    bench.faults(MediaFaults {
        stall_after: Some(40_000),
        ..MediaFaults::default()
    });
    let file = document(noise(300_000, 4));
    let id = bench.accept(&[TO_FRIEND], "on its way", std::slice::from_ref(&file));
    let relay = bench.site.start();
    bench.wait_upload_bytes(40_000);
    let lines = relay.lines();
    bench.lab.faults().cut_rst();
    relay.wait_status("no new line", |status| {
        let session = &status["sessions"][0];
        session["lines"].as_u64() > Some(lines) && session["state"] == "online"
    });
    bench.lab.faults().calm();
    relay.wait_step(&id, "delivered");
    assert!(media(&bench.nth(&bench.friend, 1)).1 == file.bytes);
    assert_eq!(bench.lab.uploads().len(), 1, "{:?}", bench.lab.uploads());
    assert_eq!(bench.friend.received_wire(), 1);
}

/// The server has half of it, and is asked how much.
#[test]
fn a_kill_in_the_middle_of_a_large_upload_is_taken_up_again() {
    const LENGTH: usize = 6 << 20;
    let bench = Bench::paired();
    bench.faults(MediaFaults {
        stall_after: Some(LENGTH / 2),
        ..MediaFaults::default()
    });
    let file = document(noise(LENGTH, 6));
    let id = bench.accept(&[TO_FRIEND], "large", std::slice::from_ref(&file));
    let relay = bench.site.start();
    bench.wait_upload_bytes(LENGTH / 2);
    relay.kill();
    bench.lab.faults().calm();
    let relay = bench.start();
    relay.wait_step(&id, "delivered");
    assert!(media(&bench.nth(&bench.friend, 1)).1 == file.bytes);
    assert_eq!(bench.friend.received_wire(), 1);
    let uploads = bench.lab.uploads();
    assert!(uploads.len() == 2 && uploads[1].offset >= LENGTH / 2, "{uploads:?}");
    assert_eq!(
        uploads[0].token, uploads[1].token,
        "it was encrypted otherwise the second time"
    );
}

#[test]
fn what_passes_costs_no_attachment() {
    let bench = Bench::paired();
    let cases = [
        MediaFaults {
            cut_after: Some((20_000, 1)),
            ..MediaFaults::default()
        },
        MediaFaults {
            status: Some((507, 3)),
            ..MediaFaults::default()
        },
        MediaFaults {
            pace: Duration::from_millis(50),
            ..MediaFaults::default()
        },
        MediaFaults {
            first_host_dead: true,
            ..MediaFaults::default()
        },
    ];
    for (at, faults) in cases.into_iter().enumerate() {
        let file = document(noise(100_000, 100 + at as u32));
        let id = bench.accept(&[TO_FRIEND], "text", std::slice::from_ref(&file));
        bench.faults(faults);
        let relay = bench.start();
        relay.wait_step(&id, "delivered");
        let received = bench.nth(&bench.friend, at + 1);
        assert!(media(&received).1 == file.bytes, "{faults:?}");
    }
}

/// Leave to upload that has run out meanwhile is asked for anew.
#[test]
fn leave_that_has_run_out_is_asked_for_again() {
    let bench = Bench::paired();
    bench.faults(MediaFaults {
        stall_after: Some(0),
        ..MediaFaults::default()
    });
    let id = bench.accept(&[TO_FRIEND], "text", &[document(noise(1000, 7))]);
    let relay = bench.site.start();
    let begun = bench.lab.wait_until(SOON, |lab| lab.uploads().len() == 1);
    assert!(begun, "{}", bench.site.read_log());
    bench.lab.expire_media_auth();
    bench.lab.faults().calm();
    relay.wait_step(&id, "delivered");
    let statuses: Vec<u16> = bench.lab.uploads().iter().map(|upload| upload.status).collect();
    assert_eq!((statuses, bench.lab.media_connections_asked()), (vec![401, 200], 2));
}

#[test]
fn what_cannot_be_uploaded_costs_the_attachment_and_not_the_text() {
    for (faults, reason) in [
        (
            MediaFaults {
                status: Some((507, usize::MAX)),
                ..MediaFaults::default()
            },
            "507",
        ),
        (
            MediaFaults {
                page: true,
                ..MediaFaults::default()
            },
            "page",
        ),
        (
            MediaFaults {
                stall_after: Some(10_000),
                ..MediaFaults::default()
            },
            "not uploaded within",
        ),
    ] {
        let bench = Bench::paired();
        let files = [picture(noise(300_000, 8)), recording(noise(300_000, 9))];
        let id = bench.accept(&[TO_FRIEND, TO_OTHER], "a person at the door", &files);
        bench.faults(faults);
        let relay = bench.start();
        bench.nth(&bench.friend, 2);
        bench.nth(&bench.other, 2);
        let texts = texts(&bench.friend);
        let whole = "a person at the door\n\npicture cam.jpg could not be sent: ";
        assert!(texts[0].starts_with(whole) && texts[0].contains(reason), "{texts:?}");
        assert!(
            texts[1].starts_with("recording call.mp3 could not be sent: "),
            "{texts:?}"
        );
        let alert = relay.wait_step(&id, "delivered");
        assert_eq!(
            alert["deliveries"][0]["message_id"],
            bench.friend.received()[0].id.as_str()
        );
        relay.wait_status("the note", |_| {
            let alert = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
            let note = alert["deliveries"][0]["note"].as_str().unwrap_or_default().to_owned();
            note.starts_with("sent without its attachment: ")
        });
        // When the trouble is over, the same picture goes out.
        assert_eq!(relay.stop(), 0);
        bench.lab.faults().calm();
        let again = bench.accept(&[TO_FRIEND], "again", &files[..1]);
        let relay = bench.start();
        relay.wait_step(&again, "delivered");
        assert_eq!(bench.nth(&bench.friend, 3).text, "[image] again");
    }
}

#[test]
fn what_the_server_does_not_take_as_a_picture_goes_as_a_document() {
    let bench = Bench::paired();
    let id = bench.accept(&[TO_FRIEND, TO_OTHER], "a person", &[picture(noise(5000, 10))]);
    // By both hosts.
    bench.faults(MediaFaults {
        status: Some((415, 2)),
        ..MediaFaults::default()
    });
    let relay = bench.start();
    relay.wait_step(&id, "delivered");
    let (seen, _) = media(&bench.nth(&bench.friend, 1));
    assert_eq!((seen.kind, seen.caption.as_str()), ("document", "a person"));
    assert_eq!(
        (seen.file_name.as_str(), seen.mimetype.as_str()),
        ("cam.jpg", "image/jpeg")
    );
    bench.nth(&bench.other, 1);
    assert_eq!(bench.lab.uploads().len(), 3);
    assert_eq!(relay.stop(), 0);
    // As nothing at all: then without it, and at once.
    let id = bench.accept(&[TO_FRIEND], "too large", &[picture(noise(5000, 11))]);
    bench.faults(MediaFaults {
        status: Some((413, usize::MAX)),
        ..MediaFaults::default()
    });
    let relay = bench.site.start();
    let began = Instant::now();
    relay.wait_step(&id, "delivered");
    let received = bench.nth(&bench.friend, 2);
    assert!(
        received
            .text
            .starts_with("too large\n\npicture cam.jpg could not be sent: "),
        "{}",
        received.text
    );
    assert_eq!(bench.lab.uploads().len(), 7, "after {:?}", began.elapsed());
}

#[test]
fn a_file_that_is_gone_or_damaged_costs_no_text() {
    let bench = Bench::paired();
    let (gone, damaged) = (document(noise(5000, 12)), document(noise(5000, 13)));
    bench.accept(&[TO_FRIEND], "first", std::slice::from_ref(&gone));
    let last = bench.accept(&[TO_FRIEND], "second", std::slice::from_ref(&damaged));
    std::fs::remove_file(bench.blob(&gone.bytes)).expect("it was there");
    std::fs::write(bench.blob(&damaged.bytes), noise(5000, 14)).expect("written");
    let relay = bench.start();
    relay.wait_step(&last, "delivered");
    assert_eq!(
        texts(&bench.friend),
        [
            "first\n\nfile report.pdf could not be sent: its file is gone",
            "second\n\nfile report.pdf could not be sent: its file is damaged"
        ]
    );
    assert_eq!(bench.lab.uploads(), []);
}

#[test]
fn attachments_disappear_where_messages_do() {
    let bench = Bench::paired();
    let kind = GroupKind {
        timer: 86_400,
        ..GroupKind::default()
    };
    bench.lab.set_group_kind(&bench.group, kind, false);
    let id = bench.accept(&[&bench.group], "a person", &[picture(noise(5000, 15))]);
    let relay = bench.start();
    relay.wait_step(&id, "delivered");
    let received = bench.nth(&bench.friend, 1);
    assert_eq!(
        (received.text.as_str(), received.timer),
        ("[image] a person", Some(86_400))
    );
}

/// A phone that has lost its sessions asks for the message, and gets it with what belongs to it.
#[test]
fn what_a_phone_could_not_read_comes_again_with_its_attachment() {
    let bench = Bench::paired();
    let relay = bench.start();
    relay.wait_step(&relay.publish("friend", "hello"), "delivered");
    assert_eq!(relay.stop(), 0);
    let file = document(noise(5000, 16));
    bench.accept(&[TO_FRIEND], "read this", std::slice::from_ref(&file));
    bench.friend.lose_sessions();
    let _relay = bench.start();
    assert!(media(&bench.nth(&bench.friend, 2)).1 == file.bytes);
    assert_eq!(bench.lab.uploads().len(), 1);
    assert!(bench.friend.received_wire() > 2, "it could read it at once");
}

/// However large the file is, no more than a piece of it is in memory.
#[test]
fn a_large_file_takes_no_memory() {
    let bench = Bench::paired();
    let peak = |length: usize| {
        let file = document(noise(length, 17));
        let id = bench.accept(&[TO_FRIEND], "text", std::slice::from_ref(&file));
        let relay = bench.site.start();
        relay.wait_step(&id, "delivered");
        let peak = relay.memory("VmHWM");
        assert_eq!(relay.stop(), 0);
        peak
    };
    let (small, large) = (peak(1000), peak(16 << 20));
    println!(
        "most resident: {} KiB for 1 KB, {} KiB for 16 MiB",
        small >> 10,
        large >> 10
    );
    assert!(large < small + (4 << 20), "{small} {large}");
    let received = bench.nth(&bench.friend, 2);
    assert_eq!(media(&received).1.len(), 16 << 20);
}
