//! An attachment as a message of the protocol.

use wacore::download::MediaType;
use wacore::proto_helpers::build_reaction_message;
use wacore_binary::Jid;
use waproto::buffa::MessageField;
use waproto::whatsapp::message::{AudioMessage, DocumentMessage, ImageMessage, VideoMessage};
use waproto::whatsapp::{Message, MessageKey};

use crate::alert::{Attachment, MediaKind};
use crate::store::uploads::Uploaded;
use crate::util::wall_ms;

/// A reaction on a message of ours with this id, in whichever chat it is sent to.
pub fn reaction(id: String, emoji: String) -> Message {
    let key = MessageKey {
        id: Some(id),
        from_me: Some(true),
        ..MessageKey::default()
    };
    build_reaction_message(key, emoji, i64::try_from(wall_ms()).unwrap_or_default())
}

/// `message` as it goes to `chat`: a reaction names the chat of what it is about.
pub fn addressed(mut message: Message, chat: &Jid) -> Message {
    let reaction = message.reaction_message.as_option_mut();
    if let Some(key) = reaction.and_then(|reaction| reaction.key.as_option_mut()) {
        key.remote_jid = Some(chat.to_string());
    }
    message
}

/// Under which names the library knows the four kinds.
pub fn media_type(kind: MediaKind) -> MediaType {
    match kind {
        MediaKind::Image => MediaType::Image,
        MediaKind::Video => MediaType::Video,
        MediaKind::Audio => MediaType::Audio,
        MediaKind::Document => MediaType::Document,
    }
}

/// The message for `attachment`, which was uploaded as a `kind`. An empty caption is none; a recording can have none,
/// and loses it.
pub fn message(
    kind: MediaKind,
    (media_key, uploaded): ([u8; 32], Uploaded),
    attachment: &Attachment,
    caption: String,
    thumbnail: Option<Vec<u8>>,
) -> Message {
    let Uploaded {
        url,
        direct_path,
        file_sha256,
        file_enc_sha256,
        file_length,
        media_key_timestamp_s,
        streaming_sidecar,
    } = uploaded;
    let caption = Some(caption).filter(|caption| !caption.is_empty());
    let known = |pixels: u32| Some(pixels).filter(|pixels| *pixels > 0);
    let mimetype = Some(attachment.mime.clone());
    match kind {
        MediaKind::Image => Message {
            image_message: MessageField::some(ImageMessage {
                url: Some(url),
                direct_path: Some(direct_path),
                media_key: Some(media_key.to_vec()),
                file_sha256: Some(file_sha256.to_vec()),
                file_enc_sha256: Some(file_enc_sha256.to_vec()),
                file_length: Some(file_length),
                media_key_timestamp: Some(media_key_timestamp_s),
                mimetype,
                caption,
                width: known(attachment.width),
                height: known(attachment.height),
                jpeg_thumbnail: thumbnail,
                ..ImageMessage::default()
            }),
            ..Message::default()
        },
        MediaKind::Video => Message {
            video_message: MessageField::some(VideoMessage {
                url: Some(url),
                direct_path: Some(direct_path),
                media_key: Some(media_key.to_vec()),
                file_sha256: Some(file_sha256.to_vec()),
                file_enc_sha256: Some(file_enc_sha256.to_vec()),
                file_length: Some(file_length),
                media_key_timestamp: Some(media_key_timestamp_s),
                streaming_sidecar,
                mimetype,
                caption,
                width: known(attachment.width),
                height: known(attachment.height),
                jpeg_thumbnail: thumbnail,
                ..VideoMessage::default()
            }),
            ..Message::default()
        },
        MediaKind::Audio => Message {
            audio_message: MessageField::some(AudioMessage {
                url: Some(url),
                direct_path: Some(direct_path),
                media_key: Some(media_key.to_vec()),
                file_sha256: Some(file_sha256.to_vec()),
                file_enc_sha256: Some(file_enc_sha256.to_vec()),
                file_length: Some(file_length),
                media_key_timestamp: Some(media_key_timestamp_s),
                streaming_sidecar,
                mimetype,
                // A recording, not a voice note: those are of one format alone.
                ptt: Some(false),
                ..AudioMessage::default()
            }),
            ..Message::default()
        },
        MediaKind::Document => {
            let name = Some(attachment.name.clone()).filter(|name| !name.is_empty());
            // The apps show a document without a name as "Untitled".
            let name = name.unwrap_or_else(|| file_name(&attachment.mime));
            Message {
                document_message: MessageField::some(DocumentMessage {
                    url: Some(url),
                    direct_path: Some(direct_path),
                    media_key: Some(media_key.to_vec()),
                    file_sha256: Some(file_sha256.to_vec()),
                    file_enc_sha256: Some(file_enc_sha256.to_vec()),
                    file_length: Some(file_length),
                    media_key_timestamp: Some(media_key_timestamp_s),
                    mimetype,
                    title: Some(name.clone()),
                    file_name: Some(name),
                    caption,
                    jpeg_thumbnail: thumbnail,
                    ..DocumentMessage::default()
                }),
                ..Message::default()
            }
        }
    }
}

/// For one that came without a name: the subtype is its ending where it looks like one.
fn file_name(mime: &str) -> String {
    let subtype = mime.split(['/', ';']).nth(1).unwrap_or_default().trim();
    let is_ending = (1..=5).contains(&subtype.len()) && subtype.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match subtype {
        "plain" => "attachment.txt".to_owned(),
        _ if is_ending => format!("attachment.{subtype}"),
        _ => "attachment".to_owned(),
    }
}

/// What goes out in place of what could not be sent: the caption all the same, and why the rest is missing.
pub fn without(attachment: &Attachment, caption: &str, why: &str) -> String {
    let what = match attachment.kind {
        MediaKind::Image => "picture",
        MediaKind::Video => "video",
        MediaKind::Audio => "recording",
        MediaKind::Document => "file",
    };
    let name = match attachment.name.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let line = format!("{what}{name} could not be sent: {why}");
    match caption {
        "" => line,
        caption => format!("{caption}\n\n{line}"),
    }
}

#[cfg(test)]
mod tests {
    use wacore::proto_helpers::MessageExt as _;

    use super::*;
    use crate::alert::BlobHash;

    fn attachment(kind: MediaKind) -> Attachment {
        Attachment {
            hash: BlobHash([1; 32]),
            bytes: 9,
            name: "front door.jpg".into(),
            mime: "image/jpeg".into(),
            kind,
            width: 640,
            height: 0,
            thumbnail: None,
        }
    }

    fn uploaded() -> Uploaded {
        Uploaded {
            url: "https://media.test/v/t".into(),
            direct_path: "/v/t".into(),
            file_sha256: [2; 32],
            file_enc_sha256: [3; 32],
            file_length: 9,
            media_key_timestamp_s: 7,
            streaming_sidecar: Some(vec![4]),
        }
    }

    #[test]
    fn each_kind_has_what_the_apps_show_of_it() {
        let of = |kind, caption: &str| {
            let thumbnail = Some(vec![5]);
            message(
                kind,
                ([1; 32], uploaded()),
                &attachment(kind),
                caption.into(),
                thumbnail,
            )
        };
        let image = of(MediaKind::Image, "a person");
        let image = image.image_message.as_option().unwrap();
        assert_eq!((image.width, image.height), (Some(640), None));
        assert_eq!(image.caption.as_deref(), Some("a person"));
        assert_eq!(image.jpeg_thumbnail.as_deref(), Some(&[5][..]));
        let video = of(MediaKind::Video, "");
        let video = video.video_message.as_option().unwrap();
        assert_eq!(
            (video.caption.as_deref(), video.streaming_sidecar.as_deref()),
            (None, Some(&[4][..]))
        );
        let audio = of(MediaKind::Audio, "lost");
        assert!(audio.get_caption().is_none());
        assert_eq!(audio.audio_message.as_option().unwrap().ptt, Some(false));
        let document = of(MediaKind::Document, "read this");
        let document = document.document_message.as_option().unwrap();
        assert_eq!(document.file_name.as_deref(), Some("front door.jpg"));
        assert_eq!(document.direct_path.as_deref(), Some("/v/t"));
    }

    #[test]
    fn a_document_always_has_a_name() {
        for (mime, name) in [
            ("application/pdf", "attachment.pdf"),
            ("text/plain; charset=utf-8", "attachment.txt"),
            ("application/octet-stream", "attachment"),
            ("application/vnd.ms-excel", "attachment"),
            ("", "attachment"),
        ] {
            assert_eq!(file_name(mime), name, "{mime}");
        }
    }

    #[test]
    fn the_caption_goes_out_without_what_it_belongs_to() {
        let picture = attachment(MediaKind::Image);
        assert_eq!(
            without(&picture, "a person", "no room"),
            "a person\n\npicture front door.jpg could not be sent: no room"
        );
        let unnamed = Attachment {
            name: String::new(),
            ..attachment(MediaKind::Audio)
        };
        assert_eq!(without(&unnamed, "", "no room"), "recording could not be sent: no room");
    }
}
