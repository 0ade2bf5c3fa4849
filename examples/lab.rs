//! The lab server by hand: two accounts, a group of both, and a prompt.
//!
//! `cargo run --features lab --example lab [-- --listen 127.0.0.1:7171]`, then `help`.

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::collections::HashMap;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use lab::{Direction, Failure, Lab, MediaFaults, Phone, Received};

const HELP: &str = "\
scan <QR payload>          Owner's phone scans a QR code
code <ABCD-EFGH>           Owner's phone types a pair code
send <from> <to> <text>    a phone writes: from and to are Owner, Friend, a number or Group
received                   what the phones have received
lines                      who is logged in, and the counters
log                        the last stanzas
encs                       how the messages went: direction and kind of every <enc>
save <file> <ids>          writes the accounts and phones to a file, with these of the companions' one-time keys
cut                        resets every connection
logout                     Owner's phone logs its companions out
fault <name>               one of: calm refuse http503 slow mute silent-login no-offline no-acks no-pongs zombie
                           failure=<code> fin rst close=<code> freeze thaw black-hole error=<code> replaced removed
                           ack not-well-formed stream-end garbage garbage-inside ws-ping
                           and for uploads: media=<status> media-page media-dead media-stall media-slow media-auth
uploads                    what was uploaded
quit";

fn main() -> ExitCode {
    let addr = match listen_address() {
        Ok(addr) => addr,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let lab = match Lab::start_on(addr) {
        Ok(lab) => lab,
        Err(error) => {
            eprintln!("cannot listen on {addr}: {error}; choose another with --listen");
            return ExitCode::FAILURE;
        }
    };
    let owner = lab.account("15550100001", "Owner");
    let friend = lab.account("15550100002", "Friend");
    let group = lab.group("Owner and Friend", &[&owner, &friend]);
    println!("lab server on {}", lab.endpoint());
    println!(
        "accounts: Owner +{}, Friend +{}; group {group}",
        owner.number(),
        friend.number()
    );
    println!(
        "\nfor tautline.toml:\n\n[[session]]\nname = \"default\"\nendpoint = \"{}\"\n",
        lab.endpoint()
    );
    println!(
        "[[route]]\nname = \"family\"\nsession = \"default\"\nto = [\"+{}\", \"{group}\"]\n",
        friend.number()
    );
    println!("type help for the commands");
    let people = HashMap::from([("Owner", owner.clone()), ("Friend", friend.clone())]);
    for (name, phone) in people.clone() {
        std::thread::spawn(move || print_received(name, &phone));
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line.trim() == "quit" {
            break;
        }
        match command(&lab, &people, &group, line.trim()) {
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error: {error}"),
        }
    }
    ExitCode::SUCCESS
}

fn listen_address() -> Result<SocketAddr, String> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (None, _) => Ok(SocketAddr::from(([127, 0, 0, 1], 7171))),
        (Some("--listen"), Some(addr)) => {
            let addr: SocketAddr = addr
                .parse()
                .map_err(|_| format!("--listen wants an address and a port, not {addr}"))?;
            if addr.ip().is_loopback() {
                Ok(addr)
            } else {
                Err("the lab listens on the loopback only".into())
            }
        }
        _ => Err("usage: lab [--listen 127.0.0.1:7171]".into()),
    }
}

/// Prints what comes, as it comes, for as long as the process lives.
fn print_received(name: &str, phone: &Phone) {
    let mut shown = 0;
    loop {
        let received = phone.wait_received(shown + 1, Duration::from_secs(3600));
        for message in received.iter().skip(shown) {
            println!(
                "{name}'s phone: from {} in {}: {} [{}]{}",
                message.from,
                message.chat,
                message.text,
                message.id,
                attachment(message)
            );
        }
        shown = received.len();
    }
}

/// What came with it, in words.
fn attachment(message: &Received) -> String {
    let Some(media) = &message.media else {
        return String::new();
    };
    let bytes = match &media.bytes {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(error) => format!("unreadable: {error}"),
    };
    let size = format!("{} x {}", media.width, media.height);
    let thumbnail = media.thumbnail.len();
    format!(
        " {} {:?}, {bytes}, {size}, thumbnail of {thumbnail} bytes",
        media.mimetype, media.file_name
    )
}

fn command(lab: &Lab, people: &HashMap<&str, Phone>, group: &str, line: &str) -> Result<String, String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let owner = &people["Owner"];
    match verb {
        "" => Ok(String::new()),
        "help" => Ok(HELP.into()),
        "scan" => owner.scan(rest).map(|device| format!("paired as device {device}")),
        "code" => owner
            .enter_code(rest)
            .map(|device| format!("paired as device {device}")),
        "send" => {
            let [from, to, text] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                return Err("send <from> <to> <text>".into());
            };
            let from = people.get(from).ok_or("from is Owner or Friend")?;
            let to = match people.get(to) {
                Some(phone) => phone.number(),
                None if to == "Group" => group.to_owned(),
                None => return Err("to is Owner, Friend or Group".into()),
            };
            Ok(format!("sent {}", from.send_text(&to, text)))
        }
        "received" => Ok(people
            .iter()
            .flat_map(|(name, phone)| {
                let received = phone.received().into_iter();
                received.map(move |m| format!("{name}: from {}: {} [{}]{}", m.from, m.text, m.id, attachment(&m)))
            })
            .collect::<Vec<_>>()
            .join("\n")),
        "lines" => Ok(format!("{:#?}\n{:#?}", lab.lines(), lab.counters())),
        "log" => Ok(lab
            .stanza_log()
            .iter()
            .rev()
            .take(40)
            .rev()
            .map(|s| {
                let arrow = if s.direction == Direction::FromClient {
                    "C->S"
                } else {
                    "S->C"
                };
                format!("{} {arrow} {:?}", s.line, s.node)
            })
            .collect::<Vec<_>>()
            .join("\n")),
        "encs" => Ok(format!("encs: {}", encs(lab).join(", "))),
        "save" => {
            let (file, ids) = rest.split_once(' ').ok_or("save <file> <ids>")?;
            let ids: Vec<u32> = ids.split(',').filter_map(|id| id.parse().ok()).collect();
            let saved = lab.save(|id| ids.contains(&id));
            std::fs::write(file, format!("{saved:#}\n")).map_err(|error| format!("{file}: {error}"))?;
            Ok(format!("saved to {file}"))
        }
        "uploads" => {
            let uploads = lab.uploads();
            let lines = uploads.iter().map(|upload| format!("{upload:?}"));
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        "cut" => {
            lab.faults().cut_rst();
            Ok("cut".into())
        }
        "logout" => {
            owner.logout_companion();
            Ok("logged out".into())
        }
        "fault" => fault(lab, rest),
        _ => Err(format!("no command {verb}; type help")),
    }
}

/// A line for every message in the log, oldest first.
fn encs(lab: &Lab) -> Vec<String> {
    let mut found = Vec::new();
    for seen in lab.stanza_log().iter().filter(|seen| seen.node.tag == "message") {
        let arrow = match seen.direction {
            Direction::FromClient => "C->S",
            Direction::ToClient => "S->C",
        };
        for enc in lab::encs_of(&seen.node) {
            found.push(format!("{arrow} {enc}"));
        }
    }
    found
}

fn fault(lab: &Lab, name: &str) -> Result<String, String> {
    let faults = lab.faults();
    let (name, value) = name.split_once('=').unwrap_or((name, ""));
    let code = || value.parse::<u16>().map_err(|_| format!("{name}=<code>"));
    match name {
        "calm" => faults.calm(),
        "refuse" => faults.refuse_tcp(true),
        "http503" => faults.http_status(Some(503)),
        "slow" => faults.slow_handshake(Duration::from_secs(10)),
        "mute" => faults.mute_handshake(true),
        "silent-login" => faults.silent_login(true),
        "no-offline" => faults.no_offline(true),
        "no-acks" => faults.withhold_acks(true),
        "no-pongs" => faults.withhold_pongs(true),
        "zombie" => faults.zombie(true),
        "failure" => match code()? {
            402 => faults.failure(Some(Failure::ban(60))),
            code => faults.failure(Some(Failure::code(code))),
        },
        "fin" => faults.cut_fin(),
        "rst" => faults.cut_rst(),
        "close" => faults.close_frame(code()?),
        "freeze" => faults.freeze(),
        "thaw" => faults.thaw(),
        "black-hole" => faults.black_hole(true),
        "error" => faults.stream_error(code()?),
        "replaced" => faults.conflict("replaced"),
        "removed" => faults.conflict("device_removed"),
        "ack" => faults.stream_error_ack("LAB"),
        "not-well-formed" => faults.xml_not_well_formed(),
        "stream-end" => faults.stream_end(),
        "garbage" => faults.garbage_frame(),
        "garbage-inside" => faults.garbage_in_noise(),
        "ws-ping" => faults.ws_ping(),
        "media" => faults.media(MediaFaults {
            status: Some((code()?, usize::MAX)),
            ..MediaFaults::default()
        }),
        "media-page" => faults.media(MediaFaults {
            page: true,
            ..MediaFaults::default()
        }),
        "media-dead" => faults.media(MediaFaults {
            first_host_dead: true,
            ..MediaFaults::default()
        }),
        "media-stall" => faults.media(MediaFaults {
            stall_after: Some(0),
            ..MediaFaults::default()
        }),
        "media-slow" => faults.media(MediaFaults {
            pace: Duration::from_millis(200),
            ..MediaFaults::default()
        }),
        "media-auth" => lab.expire_media_auth(),
        _ => return Err(format!("no fault {name}; type help")),
    }
    Ok("done".into())
}
