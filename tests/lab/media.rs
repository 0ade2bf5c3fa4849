//! The media server: clients upload what they have encrypted, and phones fetch it by the path in the message.
//!
//! It listens on a port of its own and speaks plain HTTP/1.1: a client that is to work here takes `https` to a loopback
//! address for that. Deliberately absent: expiry, thumbnails apart from the message, and chunked bodies, which the real
//! servers do not take either.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use sha2::{Digest as _, Sha256};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};
use wacore::download::{DownloadUtils, MediaType};
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp as wa;

use super::node::iq_result;
use super::world::{Shared, World};
use super::{Lab, faults::Faults};

/// Nobody listens there.
const DEAD_HOST: &str = "127.0.0.1:1";
/// What is read at once; the pace and the faults count in it.
const PIECE_BYTES: usize = 16 << 10;
/// So little waits in the kernel that a client feels at once when nothing is read.
const KERNEL_BYTES: usize = 16 << 10;
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How soon the end of a fault is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One request that carried a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// `image`, `video`, `audio` or `document`.
    pub kind: String,
    pub token: String,
    /// From where on; above 0 where it was taken up again.
    pub offset: usize,
    /// What came of it, as a status; 0 while it is under way or when it broke off.
    pub status: u16,
}

/// What can go wrong here, for uploads to come and those under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaFaults {
    /// How many uploads are read and then answered with this status.
    pub status: Option<(u16, usize)>,
    /// They are answered with 200 and a page.
    pub page: bool,
    /// The first host of two is not there.
    pub first_host_dead: bool,
    /// After so many bytes of a body nothing more is read.
    pub stall_after: Option<usize>,
    /// After so many bytes the connection is reset, so many times.
    pub cut_after: Option<(usize, usize)>,
    /// This pause after each piece of 16 KiB.
    pub pace: Duration,
}

#[derive(Default)]
pub struct MediaServer {
    addr: Option<SocketAddr>,
    /// The word that counts is named by this number.
    auth: u64,
    blobs: BTreeMap<String, Vec<u8>>,
    partial: BTreeMap<String, Vec<u8>>,
    uploads: Vec<Upload>,
    connections_asked: u64,
}

/// A picture, a recording or a file as a phone has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSeen {
    /// `image`, `video`, `audio` or `document`.
    pub kind: &'static str,
    /// What was fetched and decrypted, or why that did not work.
    pub bytes: Result<Vec<u8>, String>,
    pub mimetype: String,
    pub caption: String,
    pub file_name: String,
    pub width: u32,
    pub height: u32,
    pub thumbnail: Vec<u8>,
}

impl Lab {
    /// Every upload so far, oldest first.
    pub fn uploads(&self) -> Vec<Upload> {
        self.shared.lock_quietly(|world| world.media.uploads.clone())
    }

    /// Bytes that have come of uploads which are not whole.
    pub fn upload_bytes(&self) -> usize {
        self.shared
            .lock_quietly(|world| world.media.partial.values().map(Vec::len).sum())
    }

    /// How often a client asked where to upload.
    pub fn media_connections_asked(&self) -> u64 {
        self.shared.lock_quietly(|world| world.media.connections_asked)
    }

    /// Whoever has asked where to upload must ask again.
    pub fn expire_media_auth(&self) {
        self.shared.lock().media.auth += 1;
    }

    /// Where it is fetched from: `127.0.0.1:PORT`.
    pub fn media_host(&self) -> String {
        self.shared.lock_quietly(|world| world.media.host())
    }
}

impl Faults {
    /// What goes wrong with uploads from now on; those under way feel it too.
    pub fn media(&self, faults: MediaFaults) {
        self.stand(|standing| standing.media = faults);
    }
}

impl MediaServer {
    pub fn set_addr(&mut self, addr: SocketAddr) {
        self.addr = Some(addr);
    }

    fn host(&self) -> String {
        self.addr.map_or_else(String::new, |addr| addr.to_string())
    }

    fn auth(&self) -> String {
        format!("lab{}", self.auth)
    }
}

/// The answer to the question where to upload.
pub fn connection(world: &mut World, node: &Node) -> Node {
    world.media.connections_asked += 1;
    let host = |name: String, kind: &str| {
        NodeBuilder::new("host")
            .attr("hostname", name)
            .attr("type", kind)
            .build()
    };
    let first = match world.standing.media.first_host_dead {
        true => DEAD_HOST.to_owned(),
        false => world.media.host(),
    };
    let answer = NodeBuilder::new("media_conn")
        .attr("auth", world.media.auth())
        .attr("ttl", 3600u32)
        .attr("auth_ttl", 3600u32)
        .attr("max_buckets", 12u32)
        .children([host(first, "primary"), host(world.media.host(), "fallback")]);
    iq_result(node, vec![answer.build()])
}

/// Accepts for as long as it is polled.
pub async fn accept(ex: &Executor<'static>, shared: Arc<Shared>, listener: TcpListener) {
    let _ = socket2::SockRef::from(&listener).set_recv_buffer_size(KERNEL_BYTES);
    while let Ok((tcp, _)) = listener.accept().await {
        let shared = shared.clone();
        ex.spawn(async move {
            let _ = serve(&shared, tcp).await;
        })
        .detach();
    }
}

struct Asked {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    length: usize,
    /// The part of the body that was read with the head.
    begun: Vec<u8>,
}

async fn serve(shared: &Shared, mut tcp: TcpStream) -> io::Result<()> {
    let asked = read_head(&mut tcp).await?;
    let (status, kind, body) = match (asked.method.as_str(), asked.query.get("resume")) {
        ("GET", _) => match download(&shared.lock(), &asked) {
            Ok(bytes) => (200, "application/octet-stream", bytes),
            Err(status) => (status, "text/plain", Vec::new()),
        },
        ("POST", Some(_)) => (200, "application/json", how_far(&shared.lock(), &asked)),
        ("POST", None) => upload(shared, &mut tcp, asked).await?,
        _ => (405, "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} Lab\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await?;
    tcp.write_all(&body).await?;
    tcp.flush().await
}

async fn read_head(tcp: &mut TcpStream) -> io::Result<Asked> {
    let mut head = Vec::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&head).map_err(io::Error::other)?;
        if let httparse::Status::Complete(used) = parsed {
            let target = request.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let header = |name: &str| {
                let found = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
                found.map(|h| String::from_utf8_lossy(h.value).into_owned())
            };
            if header("transfer-encoding").is_some() {
                return Err(io::Error::other("chunked"));
            }
            return Ok(Asked {
                method: request.method.unwrap_or_default().into(),
                path: path.into(),
                query: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
                length: header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0),
                begun: head[used..].to_vec(),
            });
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("too long"));
        }
        let mut piece = [0; 1024];
        match tcp.read(&mut piece).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&piece[..count]),
        }
    }
}

type Said = (u16, &'static str, Vec<u8>);

async fn upload(shared: &Shared, tcp: &mut TcpStream, asked: Asked) -> io::Result<Said> {
    let kind = asked.path.strip_prefix("/mms/").and_then(|rest| rest.split_once('/'));
    let Some((kind, token)) = kind else {
        return Ok((404, "text/plain", Vec::new()));
    };
    let offset = asked.query.get("file_offset").and_then(|n| n.parse().ok()).unwrap_or(0);
    let number = {
        let mut world = shared.lock();
        world.media.uploads.push(Upload {
            kind: kind.into(),
            token: token.into(),
            offset,
            status: 0,
        });
        let partial = world.media.partial.entry(token.into()).or_default();
        partial.truncate(offset);
        if partial.len() < offset {
            world.media.partial.remove(token);
            return Ok((416, "text/plain", Vec::new()));
        }
        world.media.uploads.len() - 1
    };
    read_body(shared, tcp, &asked, token).await?;
    let mut world = shared.lock();
    let said = judge(&mut world, &asked, token);
    world.media.uploads[number].status = said.0;
    Ok(said)
}

/// Reads the body into what there is of `token`, as the faults want it.
async fn read_body(shared: &Shared, tcp: &mut TcpStream, asked: &Asked, token: &str) -> io::Result<()> {
    let mut piece = asked.begun.clone();
    let mut count = 0;
    loop {
        count += piece.len();
        let faults = {
            let mut world = shared.lock();
            let partial = world.media.partial.entry(token.into()).or_default();
            partial.extend_from_slice(&piece);
            let cut = world.standing.media.cut_after.as_mut();
            if let Some((after, times)) = cut
                && count >= *after
                && *times > 0
            {
                *times -= 1;
                let _ = socket2::SockRef::from(&*tcp).set_linger(Some(Duration::ZERO));
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            world.standing.media
        };
        if count >= asked.length {
            return Ok(());
        }
        if !faults.pace.is_zero() {
            Timer::after(faults.pace).await;
        }
        while shared
            .lock_quietly(|world| world.standing.media.stall_after)
            .is_some_and(|after| count >= after)
        {
            Timer::after(LOOK_EVERY).await;
        }
        piece.resize(PIECE_BYTES.min(asked.length - count), 0);
        let read = tcp.read(&mut piece).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
    }
}

/// What a whole body is answered with.
fn judge(world: &mut World, asked: &Asked, token: &str) -> Said {
    let plain = |status| (status, "text/plain", b"no".to_vec());
    if asked.query.get("auth") != Some(&world.media.auth()) {
        return plain(401);
    }
    if let Some((status, times)) = world.standing.media.status.as_mut().filter(|(_, times)| *times > 0) {
        *times -= 1;
        return plain(*status);
    }
    if world.standing.media.page {
        return (
            200,
            "text/html",
            b"<html>Welcome to our wireless network</html>".to_vec(),
        );
    }
    let Some(body) = world.media.partial.remove(token) else {
        return plain(404);
    };
    if URL_SAFE_NO_PAD.encode(Sha256::digest(&body)) != token {
        return plain(400);
    }
    world.media.blobs.insert(token.into(), body);
    let place = place(world, token);
    (200, "application/json", format!("{{{place}}}").into_bytes())
}

/// Two members of the answer's JSON.
fn place(world: &World, token: &str) -> String {
    let host = world.media.host();
    format!(r#""url":"https://{host}/v/{token}","direct_path":"/v/{token}""#)
}

/// How much of an upload there is already.
fn how_far(world: &World, asked: &Asked) -> Vec<u8> {
    let token = asked.query.get("token").map_or("", String::as_str);
    if world.media.blobs.contains_key(token) {
        return format!(r#"{{"resume":"complete",{}}}"#, place(world, token)).into_bytes();
    }
    let there = world.media.partial.get(token).map_or(0, Vec::len);
    format!(r#"{{"resume":"{there}"}}"#).into_bytes()
}

fn download(world: &World, asked: &Asked) -> Result<Vec<u8>, u16> {
    if asked.query.get("auth").is_some_and(|auth| *auth != world.media.auth()) {
        return Err(403);
    }
    fetch(world, &asked.path).ok_or(404).map(<[u8]>::to_vec)
}

fn fetch<'a>(world: &'a World, path: &str) -> Option<&'a [u8]> {
    let blob = world.media.blobs.get(path.strip_prefix("/v/")?)?;
    Some(blob)
}

/// The attachment of a message as a phone has it after it was fetched, decrypted and compared with what the message
/// says of it.
pub fn seen(world: &World, message: &wa::Message) -> Option<MediaSeen> {
    /// What all four have.
    macro_rules! seen {
        ($part:expr, $kind:literal, $media_type:expr, |$it:ident| $more:expr) => {
            if let Some($it) = $part.as_option() {
                let sealed = fetch(world, $it.direct_path.as_deref().unwrap_or_default());
                let parts = Parts {
                    key: $it.media_key.as_deref().unwrap_or_default(),
                    sha256: $it.file_sha256.as_deref().unwrap_or_default(),
                    enc_sha256: $it.file_enc_sha256.as_deref().unwrap_or_default(),
                    length: $it.file_length,
                    kind: $media_type,
                };
                let bytes = sealed.ok_or_else(|| "it is not there".to_owned());
                let (caption, file_name, (width, height), thumbnail) = $more;
                return Some(MediaSeen {
                    kind: $kind,
                    bytes: bytes.and_then(|sealed| parts.open(sealed)),
                    mimetype: $it.mimetype.clone().unwrap_or_default(),
                    caption,
                    file_name,
                    width,
                    height,
                    thumbnail,
                });
            }
        };
    }
    let none = String::new;
    seen!(message.image_message, "image", MediaType::Image, |it| (
        it.caption.clone().unwrap_or_default(),
        none(),
        (it.width.unwrap_or(0), it.height.unwrap_or(0)),
        it.jpeg_thumbnail.clone().unwrap_or_default()
    ));
    seen!(message.video_message, "video", MediaType::Video, |it| (
        it.caption.clone().unwrap_or_default(),
        none(),
        (it.width.unwrap_or(0), it.height.unwrap_or(0)),
        it.jpeg_thumbnail.clone().unwrap_or_default()
    ));
    seen!(message.audio_message, "audio", MediaType::Audio, |it| (
        none(),
        none(),
        (0, 0),
        Vec::new()
    ));
    seen!(message.document_message, "document", MediaType::Document, |it| (
        it.caption.clone().unwrap_or_default(),
        it.file_name.clone().unwrap_or_default(),
        (0, 0),
        it.jpeg_thumbnail.clone().unwrap_or_default()
    ));
    // As the apps send a document with a caption.
    let wrapped = message.document_with_caption_message.as_option()?;
    seen(world, wrapped.message.as_option()?)
}

struct Parts<'a> {
    key: &'a [u8],
    sha256: &'a [u8],
    enc_sha256: &'a [u8],
    length: Option<u64>,
    kind: MediaType,
}

impl Parts<'_> {
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        if Sha256::digest(sealed).as_slice() != self.enc_sha256 {
            return Err("another hash than the message has".into());
        }
        let plain =
            DownloadUtils::verify_and_decrypt(sealed, self.key, self.kind).map_err(|error| error.to_string())?;
        if Sha256::digest(&plain).as_slice() != self.sha256 || self.length != Some(plain.len() as u64) {
            return Err("another file than the message says".into());
        }
        Ok(plain)
    }
}
