//! The ways to publish: a sender's words become alerts, the relay keeps them, the sender is told.
//!
//! Which dialect a request is in is said by its address alone: senders label their bodies as they like.

use smol::lock::SemaphoreGuardArc;

use crate::alert::RouteName;
use crate::blobs::Kept;
use crate::dialect::{Dialect, Fields, Parsed, Rejection, RejectionKind, Request, json, pushover, waha};

use super::answer::{Answer, Problem};
use super::auth::Scope;
use super::call::{Call, Outcome};
use super::connection::Received;
use super::context::Context;
use super::head::Head;
use crate::gateway::api::{GotifyMessage, Mailed, PushoverMessage};
use crate::gateway::files::{Beside, FromBody, NO_FILES};
use crate::gateway::{query, recipients};
use crate::util::wall_ms;

/// Lets `dialect` read the request.
pub(super) fn parse(
    context: &Context,
    dialect: fn(&Request<'_>) -> Result<Parsed, Rejection>,
    route: Option<&RouteName>,
    head: &Head,
    body: &Received,
) -> Result<Parsed, Problem> {
    let (parsed, faults) = with_request(context, route, head, body, dialect);
    let mut parsed = parsed?;
    parsed.warnings.extend(faults);
    Ok(parsed)
}

/// Makes of the request what a dialect is given. Returns what `read` gives, and what of the query cannot be read.
fn with_request<T>(
    context: &Context,
    route: Option<&RouteName>,
    head: &Head,
    body: &Received,
    read: impl FnOnce(&Request<'_>) -> T,
) -> (T, Vec<String>) {
    let query::Decoded { pairs, faults } = query::decode(&head.query);
    let headers = Fields::from_headers(head.headers());
    let content_type = headers.get("content-type").map(str::to_owned);
    let request = Request {
        route: route.map(RouteName::as_str),
        headers,
        query: pairs.into_iter().collect(),
        content_type: content_type.as_deref(),
        body: &body.kept,
        body_bytes: body.bytes,
        text_bytes_max: context.limits.body_bytes,
        now_ms: wall_ms(),
    };
    (read(&request), faults)
}

/// The token in the body of a message in the dialect of this name, where such senders have no other place for it.
pub(super) fn token_in_body(context: &Context, name: &str, head: &Head, body: &Received) -> Option<String> {
    let find = Dialect::named(name)?.token?;
    with_request(context, None, head, body, find).0
}

/// Whether senders in the dialect of this name put their token into the body.
pub(super) fn has_token_in_body(name: &str) -> bool {
    Dialect::named(name).is_some_and(|dialect| dialect.token.is_some())
}

/// Characters of a dialect's name that nobody knows, in a warning.
const NAME_CHARS_MAX: usize = 32;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let http = match rejection.kind {
            RejectionKind::TooLarge => 413,
        };
        Self::new(http, rejection.why).at(rejection.field)
    }
}

/// JSON that is read whole for the files in it, in bytes: each of them takes several times that until it is decoded.
const JSON_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Brings back into memory what files are taken out of. What is returned is held while it is there: one body at a time.
pub(super) async fn read_whole(context: &Context, head: &Head, body: &mut Received) -> Option<SemaphoreGuardArc> {
    let files = context.files.as_ref()?;
    body.file.draft()?;
    let headers = Fields::from_headers(head.headers());
    let media = headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_json = matches!(body.kept.trim_ascii_start().first(), Some(b'{' | b'['));
    let is_whole_json = is_json && body.bytes <= JSON_BYTES_MAX;
    if !(is_whole_json || media.starts_with("multipart/form-data")) {
        return None;
    }
    let place = files.whole.acquire_arc().await;
    let mut draft = body.file.take()?.ok()?;
    let (draft, read) = smol::unblock(move || {
        let read = draft.read_back();
        (draft, read)
    })
    .await;
    match read {
        Ok(bytes) => body.kept = bytes,
        Err(error) => log::warn!("a body could not be read back: {error}"),
    }
    body.file.put_back(draft);
    Some(place)
}

/// Attaches what came with the alert. What is returned has to live until the alert's record holds the files.
pub(super) async fn attach(context: &Context, parsed: &mut Parsed, mut body: Received, beside: Beside) -> Vec<Kept> {
    if parsed.files.is_empty() {
        return Vec::new();
    }
    let Some(files) = &context.files else {
        *parsed = std::mem::take(parsed).without_files(NO_FILES);
        return Vec::new();
    };
    let from = FromBody {
        held: body.kept,
        bytes: body.bytes,
        file: body.file.take(),
        beside,
    };
    files.attach(parsed, from).await
}

/// The body of a request.
pub(super) async fn receive(call: &mut Call<'_, '_>) -> Result<Received, Problem> {
    let body = match call.body.take() {
        Some(body) => body,
        None => call.context.receive_files(call.listener, call.request).await?,
    };
    match compression(&call.request.head, &body) {
        None => Ok(body),
        Some(coding) => {
            let error = format!("the body is compressed ({coding}), which is not taken: send it as it is");
            Err(Problem::new(415, error).at("Content-Encoding"))
        }
    }
}

/// The body of a request that is a mail: what of it is held in memory is a mail without its files, however long it was.
pub(super) async fn receive_mail(call: &mut Call<'_, '_>) -> Result<(Received, Beside), Problem> {
    let media = Fields::from_headers(call.request.head.headers());
    let is_form = media.get("content-type").is_some_and(|media| {
        media
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("multipart/form-data")
    });
    if is_form || call.body.is_some() {
        return Ok((receive(call).await?, Beside::default()));
    }
    let received = call.context.receive_mail(call.listener, call.request).await?;
    call.body = Some(received);
    let mut body = receive(call).await?;
    let Some(mail) = body.file.take_mail(&body.kept) else {
        return Ok((body, Beside::default()));
    };
    let (mail, beside) = mail.finish().await;
    (body.bytes, body.kept) = (mail.len() as u64, mail);
    Ok((body, beside))
}

/// The compression of a body that has one. Who only says so, or names a charset there, has sent a text.
fn compression(head: &Head, body: &Received) -> Option<String> {
    const CODINGS: &[&str] = &["gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"];
    let mut named = head.words("content-encoding").unwrap_or_default().into_iter();
    let coding = named.find(|coding| CODINGS.contains(&coding.as_str()))?;
    // The end of one that is kept in part may be half a character.
    let is_text = std::str::from_utf8(&body.kept).map_or_else(|error| error.error_len().is_none(), |_| true);
    (!is_text).then_some(coding)
}

/// `POST /{route}`: the body is the message.
pub(super) async fn publish(call: Call<'_, '_>, route: RouteName) -> Outcome {
    speak(call, "ntfy", route).await
}

/// `GET /{route}/publish` and its kin: all stands in the query.
pub(super) async fn trigger(call: Call<'_, '_>, route: RouteName) -> Outcome {
    take(&call, "ntfy", Some(route), Received::default()).await
}

/// A request in the dialect of this name, for this route.
pub(super) async fn speak(mut call: Call<'_, '_>, name: &str, route: RouteName) -> Outcome {
    let (body, beside) = match name {
        "mail" => receive_mail(&mut call).await?,
        _ => (receive(&mut call).await?, Beside::default()),
    };
    take_with(&call, name, Some(route), body, beside).await
}

/// `POST /`: ntfy's JSON, which names its topic.
pub(super) async fn ntfy_json(mut call: Call<'_, '_>) -> Outcome {
    let body = receive(&mut call).await?;
    take(&call, "ntfy-json", None, body).await
}

/// `POST /message`, as Gotify's senders do. The application's token says the route: it is a token for one route alone,
/// or, where none is needed, the name of a route.
pub(super) async fn gotify(mut call: Call<'_, '_>) -> Outcome {
    let token = gotify_token(&call.request.head);
    let route = route_by_token(&call, token.as_slice(), "gotify")?;
    let body = receive(&mut call).await?;
    take(&call, "gotify", Some(route), body).await
}

/// `POST /1/messages.json`, as Pushover's senders do. The application's token says the route, as Gotify's; or the user
/// does.
pub(super) async fn pushover(mut call: Call<'_, '_>) -> Outcome {
    let body = receive(&mut call).await?;
    let names = |request: &Request<'_>| [pushover::token(request), pushover::user(request)];
    let (names, _) = with_request(call.context, None, &call.request.head, &body, names);
    let names: Vec<String> = names.into_iter().flatten().collect();
    let route = route_by_token(&call, &names, "pushover")?;
    take(&call, "pushover", Some(route), body).await
}

/// `POST /notify`, as Apprise does: what its API calls the key stands in a header.
pub(super) async fn apprise(call: Call<'_, '_>) -> Outcome {
    let headers = Fields::from_headers(call.request.head.headers());
    let Some(key) = headers.get("x-apprise-config-id") else {
        let error =
            "which route is it for? Post it to /notify/ROUTE, or name the route in the header X-Apprise-Config-ID";
        return Err(Problem::new(400, error).at("X-Apprise-Config-ID"));
    };
    let route = call.route(key.trim())?;
    speak(call, "apprise", route).await
}

/// `POST /api/sendText` and its kin, as WAHA's senders do. Whom it is for is read as a mail's recipient is: the name of
/// a route, or what `[mail]` has for it.
pub(super) async fn waha(mut call: Call<'_, '_>) -> Outcome {
    let body = receive(&mut call).await?;
    let context = call.context;
    let (chat, _) = with_request(context, None, &call.request.head, &body, waha::chat);
    let to: Vec<String> = chat.into_iter().collect();
    let routes = recipients::routes(&context.mail, &context.relay.routes(), &to)
        .map_err(|why| Problem::new(400, why.replace("the mail", "chatId")).at("chatId"))?;
    let Some(route) = routes.first() else {
        return Err(Problem::new(400, "chatId names nobody").at("chatId"));
    };
    let route = call.route(route.as_str())?;
    take(&call, "waha", Some(route), body).await
}

/// The route that is meant where a sender has no place for one: that which one of `names` is, or else the only one that
/// its token is for. `names` are what it has given as tokens, and what else may be a name.
fn route_by_token(call: &Call<'_, '_>, names: &[String], dialect: &str) -> Result<RouteName, Problem> {
    let routes = call.context.relay.routes();
    let is_route = |name: &&String| routes.iter().any(|route| route.as_str() == name.as_str());
    match (names.iter().find(is_route), call.caller.grant()) {
        (Some(name), _) => call.route(name),
        (None, Some(grant)) => match grant.routes.sole() {
            Some(route) => call.route(route.as_str()),
            None => {
                let error = format!(
                    "which route is it for? The token {} is not for one alone: make one with --route, or set the server's \
                     address to …/v1/hooks/{dialect}/ROUTE",
                    grant.name
                );
                Err(Problem::new(400, error).at("token"))
            }
        },
        (None, None) => match names.first() {
            Some(name) => call.route(name),
            None => {
                let error = "which route is it for? Set the application's token to the name of the route";
                Err(Problem::new(401, error).at("token"))
            }
        },
    }
}

/// The application's token, in any of the three places where Gotify's senders put it.
fn gotify_token(head: &Head) -> Option<String> {
    let headers = Fields::from_headers(head.headers());
    let bearer = headers
        .get("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let query: Fields<'_> = query::decode(&head.query).pairs.into_iter().collect();
    let token = headers.get("x-gotify-key").or(bearer).or_else(|| query.get("token"));
    token.map(|token| token.trim().to_owned())
}

/// Parses, keeps, answers exactly 200: the ntfy clients take no other 2xx for success. A dialect that nobody knows is
/// read as any JSON is, because its text is worth more than its form. Without a `route` the request names one itself.
async fn take(call: &Call<'_, '_>, name: &str, route: Option<RouteName>, body: Received) -> Outcome {
    take_with(call, name, route, body, Beside::default()).await
}

/// [`take`] with the files that came beside the body.
async fn take_with(
    call: &Call<'_, '_>,
    name: &str,
    route: Option<RouteName>,
    mut body: Received,
    beside: Beside,
) -> Outcome {
    let context = call.context;
    let known = Dialect::named(name);
    let read = known.map_or(json::parse as fn(&Request<'_>) -> _, |dialect| dialect.parse);
    let _whole = read_whole(context, &call.request.head, &mut body).await;
    let mut parsed = parse(context, read, route.as_ref(), &call.request.head, &body)?;
    let route = match (route, parsed.topic.take()) {
        (Some(route), _) => route,
        (None, Some(topic)) => call.route(&topic)?,
        (None, None) => {
            let error = "the body is no JSON with a \"topic\" in it: post it to /ROUTE, or name the route as its topic";
            return Err(Problem::new(400, error).at("topic"));
        }
    };
    let held = attach(context, &mut parsed, body, beside).await;
    let Parsed {
        alerts, mut warnings, ..
    } = parsed;
    if known.is_none() {
        let name = crate::alert::hygiene::shortened(name, NAME_CHARS_MAX).0;
        warnings.push(format!(
            "no dialect is named {name:?}: it was read as any JSON or text is"
        ));
    }
    if alerts.is_empty() {
        // What nobody should be told of, as a bounce.
        return Ok(Answer::json(200, &Mailed::new(Vec::new(), &warnings)));
    }
    let click = alerts.first().and_then(|alert| alert.click.clone());
    // Only what has a key can be a duplicate.
    let keyed = alerts.first().filter(|alert| alert.key.is_some());
    let mine = keyed
        .filter(|_| !call.caller.may(Scope::Read, Some(route.as_str())))
        .cloned();
    let accepted = context.relay.publish_with_files(vec![(route, alerts)], held).await?;
    // Each dialect makes one alert of a request, and its answer is about one.
    let Some(mut accepted) = accepted.into_iter().next() else {
        return Err(Problem::new(500, "the relay says nothing about the alert"));
    };
    if let Some(mine) = mine {
        accepted = accepted.without_the_first(&mine);
    }
    let published = accepted.published(click, warnings);
    Ok(match name {
        "gotify" => Answer::json(200, &GotifyMessage::from(published)),
        "pushover" => Answer::json(200, &PushoverMessage::from(published)),
        _ => Answer::json(200, &published),
    })
}
