//! `tautline publish`: hands an alert to the running relay, and waits for it if asked to.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::alert::hygiene;
use crate::gateway::api::{AlertView, Published};
use crate::gateway::query;
use crate::outbox::{HandoverState, Step};
use crate::spool::{Entry, Name};
use crate::util::wall_ms;

use super::attach::{self, Attached};
use super::client::{Client, PROMPT};
use super::output::{after_the_deed, print, print_json, say};
use super::{Exit, Failure, Global, spool, words};

/// Until the relay has taken files: it reads pictures before it answers.
const FILES_WITHIN: Duration = Duration::from_secs(120);
/// More than any alert may have; the relay says what its limit is.
const STDIN_MAX_BYTES: u64 = 1024 * 1024;
/// While the relay restarts under a `--wait`.
const RECONNECT_EVERY: Duration = Duration::from_millis(500);
/// One long poll; a longer `--timeout` asks again.
const POLL_MAX: Duration = Duration::from_secs(120);
/// Before the next poll where the relay has answered early: too many wait already, and each looks now and then instead.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The longest `--timeout`: more than anybody waits, and no time that the clock cannot count to.
const TIMEOUT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The route; may be left out when there is only one.
    #[arg(long, value_name = "ROUTE")]
    to: Option<String>,
    /// A title, shown above the text.
    #[arg(short, long, value_parser = words::text())]
    title: Option<String>,
    /// 1 to 5, or min, low, default, high, max, urgent; another one is said to be none, and the alert goes out as
    /// default.
    #[arg(short, long, value_parser = words::text())]
    priority: Option<String>,
    /// A tag; known emoji names become emoji. May be given several times.
    #[arg(long = "tag", value_name = "TAG", value_parser = words::text())]
    tags: Vec<String>,
    /// A picture or another file that goes with the text; - is standard input. May be given several times.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// The same key on the same route within a day is the same alert, and is sent once.
    #[arg(long, value_parser = words::text())]
    key: Option<String>,
    /// What is not sent within this time expires and is told as that, like 90s, 10m or 24h.
    #[arg(long, value_name = "TIME", value_parser = words::text())]
    ttl: Option<String>,
    /// Where no relay answers, keep the alert as a file, which the relay takes when it runs.
    #[arg(long)]
    spool: bool,
    /// Wait until WhatsApp's server has it, a device of every recipient has it, or it is read.
    #[arg(long, value_name = "STEP", num_args = 0..=1, require_equals = true, default_missing_value = "sent")]
    wait: Option<Wait>,
    /// How long --wait waits.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The text; several words are joined by spaces, - reads standard input. After -- everything is text.
    #[arg(required = true, value_parser = words::text())]
    text: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wait {
    Sent,
    Delivered,
    Read,
}

impl Wait {
    fn step(self) -> Step {
        match self {
            Self::Sent => Step::Sent,
            Self::Delivered => Step::Delivered,
            Self::Read => Step::Read,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

pub(super) fn execute(global: &Global, args: PublishArgs) -> Result<(), Failure> {
    let body = text(&args.text)?;
    if matches!(args.text.as_slice(), [only] if only == "-") && args.attach.iter().any(|path| attach::is_stdin(path)) {
        return Err(Failure::new(
            Exit::Usage,
            "standard input is the text or a file, not both",
        ));
    }
    let (files, left_out) = attach::read(&args.attach)?;
    let body = marked(body, &left_out);
    let mut args = fitting(args);
    if !args.spool {
        return smol::block_on(async {
            let (client, published) = hand_over(global, &args, body, &files).await.map_err(perhaps_accepted)?;
            report_and_wait(global, &args, &client, &published).await
        });
    }
    if let Some(to) = &args.to {
        route_name(to)?;
    }
    let name = Name::draw().map_err(|error| Failure::new(Exit::Failed, format!("no random numbers: {error}")))?;
    // Under the same key it is the same alert, should an answer have been lost on its way.
    args.key.get_or_insert_with(|| name.to_string());
    smol::block_on(async {
        match hand_over(global, &args, body.clone(), &files).await {
            Ok((client, published)) => report_and_wait(global, &args, &client, &published).await,
            Err(failure) if failure.exit == Exit::Unreachable => keep(global, &args, &name, body, &files, &failure),
            Err(failure) => Err(failure),
        }
    })
}

/// Gives the alert to the relay.
async fn hand_over(
    global: &Global,
    args: &PublishArgs,
    body: Vec<u8>,
    files: &[Attached],
) -> Result<(Client, Published), Failure> {
    let client = Client::find(global).await?;
    let route = route(&client, args.to.clone()).await?;
    let target = format!("/{route}{}", query_of(args));
    let published = match files {
        [] => client.call("POST", &target, body, PROMPT).await?,
        files => {
            client
                .send_form(&target, attach::form(&body, files), FILES_WITHIN)
                .await?
        }
    };
    Ok((client, published))
}

/// The text with a mark for each file that could not be read.
fn marked(mut text: Vec<u8>, left_out: &[String]) -> Vec<u8> {
    for name in left_out {
        let name = if name.is_empty() { "a file" } else { name };
        text.extend(format!("\n[left out: {name}]").bytes());
    }
    text
}

async fn report_and_wait(
    global: &Global,
    args: &PublishArgs,
    client: &Client,
    published: &Published,
) -> Result<(), Failure> {
    match args.wait {
        None => {
            report(global, published);
            Ok(())
        }
        Some(wait) => report_when(global, client, published, wait, args.timeout).await,
    }
}

/// What a script is told of an alert that is kept as a file.
#[derive(Serialize)]
struct Kept {
    /// The file.
    spooled: String,
    /// The key by which the relay knows it.
    key: String,
}

/// Keeps the alert in the spool, because nobody answers.
fn keep(
    global: &Global,
    args: &PublishArgs,
    name: &Name,
    body: Vec<u8>,
    files: &[Attached],
    why: &Failure,
) -> Result<(), Failure> {
    let left_out: Vec<String> = files.iter().map(|file| file.name.clone()).collect();

    let entry = Entry {
        to: args.to.iter().cloned().collect(),
        fields: parameters(args),
        body: marked(body, &left_out),
        ..Entry::new("ntfy", wall_ms())
    };
    if !files.is_empty() {
        say(format_args!(
            "tautline: warning: a spooled alert carries no files: they were left out"
        ));
    }
    let file = spool::keep(global, name, &entry)
        .map_err(|failure| Failure::new(failure.exit, format!("{}; {}", why.text, failure.text)))?;
    say(format_args!("tautline: {}", why.text));
    let text = format!("the alert is kept as {} until a relay takes it", file.display());
    say(format_args!("tautline: {text}"));
    if global.json {
        let kept = Kept {
            spooled: file.display().to_string(),
            key: args.key.clone().unwrap_or_default(),
        };
        after_the_deed(print_json(&kept), &text);
    }
    match args.wait {
        None => Ok(()),
        Some(_) => Err(Failure::new(Exit::WaitRanOut, "nobody can be waited for")),
    }
}

/// The connection stood and no answer came: nobody here knows.
fn perhaps_accepted(failure: Failure) -> Failure {
    if failure.exit != Exit::Unreachable {
        return failure;
    }
    let advice =
        "it may have been accepted all the same: look with `tautline queue`, and give --key to what is tried again";
    Failure::new(failure.exit, format!("{}; {advice}", failure.text))
}

/// The words, or standard input.
fn text(words: &[String]) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    if matches!(words, [only] if only == "-") {
        let stdin = std::io::stdin().lock();
        stdin
            .take(STDIN_MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
        if text.len() as u64 > STDIN_MAX_BYTES {
            let reason = format!("standard input is larger than {STDIN_MAX_BYTES} bytes; nothing was sent");
            return Err(Failure::new(Exit::Refused, reason));
        }
        // Left as it is: in UTF-16 a line end is two bytes. The relay trims the text once it has read it.
    } else {
        text = words.join(" ").into_bytes();
    }
    if text.trim_ascii().is_empty() {
        return Err(Failure::new(Exit::Usage, "the text is empty; nothing was sent"));
    }
    Ok(text)
}

/// The named route, or the only one.
async fn route(client: &Client, named: Option<String>) -> Result<String, Failure> {
    let Some(named) = named else {
        let mut routes: Vec<String> = client.call("GET", "/v1/routes", Vec::new(), PROMPT).await?;
        return match (routes.pop(), routes.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                routes.push(last);
                let text = format!("which route? name one with --to: {}", routes.join(", "));
                Err(Failure::new(Exit::Usage, text))
            }
            (None, _) => Err(Failure::new(Exit::Usage, "no route is configured; add a [[route]]")),
        };
    };
    route_name(&named)
}

/// It becomes the address's path; anything else than a name would be another address.
fn route_name(named: &str) -> Result<String, Failure> {
    match named.parse::<crate::alert::RouteName>() {
        Ok(route) => Ok(route.to_string()),
        Err(error) => Err(Failure::new(Exit::Usage, format!("--to: {error}"))),
    }
}

/// What is said beside the text, by ntfy's names.
fn parameters(args: &PublishArgs) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in [
        ("title", &args.title),
        ("priority", &args.priority),
        ("key", &args.key),
        ("ttl", &args.ttl),
    ] {
        pairs.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    if !args.tags.is_empty() {
        pairs.push(("tags".to_owned(), args.tags.join(",")));
    }
    pairs
}

/// In the query, not in headers: there a title may hold any character.
fn query_of(args: &PublishArgs) -> String {
    let pairs = parameters(args);
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    match pairs.as_slice() {
        [] => String::new(),
        pairs => format!("?{}", query::encode(pairs)),
    }
}

/// Characters of a priority and of a time to live that the relay is shown.
const WORD_CHARS_MAX: usize = 64;
/// Bytes of the query at the most: it has to fit the head of a request, with room for the rest of it.
const QUERY_MAX_BYTES: usize = 12 * 1024;

/// Cuts what is beside the text to what a request can carry, and says so: an alert without its whole title is better
/// than none. A key and a title are cut as the relay cuts them.
fn fitting(mut args: PublishArgs) -> PublishArgs {
    let warn = |what: &str| say(format_args!("tautline: warning: {what}"));
    args.key = args.key.map(|key| hygiene::key(&key));
    // The relay reads it, and says so where it is none: then it needs no more of it than it would quote.
    for word in [&mut args.priority, &mut args.ttl].into_iter().flatten() {
        *word = hygiene::shortened(word, WORD_CHARS_MAX).0;
    }
    let mut chars_max = hygiene::TITLE_CHARS_MAX;
    if let Some(title) = &args.title
        && let (short, true) = hygiene::shortened(title, chars_max)
    {
        warn(&format!("the title was cut to {chars_max} characters"));
        args.title = Some(short);
    }
    let before = args.tags.len();
    while query_of(&args).len() > QUERY_MAX_BYTES && args.tags.pop().is_some() {}
    if args.tags.len() < before {
        warn(&format!(
            "only the first {} of {before} tags were kept",
            args.tags.len()
        ));
    }
    // A character takes 12 bytes there at the most.
    while query_of(&args).len() > QUERY_MAX_BYTES && chars_max > 1 {
        chars_max /= 2;
        args.title = args.title.map(|title| hygiene::shortened(&title, chars_max).0);
        warn(&format!("the title was cut to {chars_max} characters"));
    }
    args
}

fn report(global: &Global, published: &Published) {
    if let Some(warning) = &published.warning {
        say(format_args!("tautline: warning: {warning}"));
    }
    let printed = if global.json {
        print_json(published)
    } else {
        print(&published.id)
    };
    after_the_deed(printed, &accepted(published));
}

fn accepted(published: &Published) -> String {
    format!("the alert is accepted as {}", published.id)
}

/// Waits, then reports. The id is printed first: whatever comes, the alert is accepted.
async fn report_when(
    global: &Global,
    client: &Client,
    published: &Published,
    wait: Wait,
    timeout: Duration,
) -> Result<(), Failure> {
    if !global.json {
        after_the_deed(print(&published.id), &accepted(published));
    }
    if let Some(warning) = &published.warning
        && !published.needs_person
    {
        say(format_args!("tautline: warning: {warning}"));
    } else if let Some(warning) = &published.warning {
        if global.json {
            after_the_deed(print_json(published), &accepted(published));
        }
        // Waiting would be in vain.
        let text = format!("accepted and kept, but nothing goes out: {warning}");
        return Err(Failure::new(Exit::NotPaired, text));
    }
    // The first alert with this key may be forgotten, and then nothing more can be asked about it.
    if published.duplicate && published.state >= wait.step() {
        if !published.state.is_given_up() {
            return if global.json { print_json(published) } else { Ok(()) };
        }
        return report_failed_before(global, client, published).await;
    }
    let alert = wait_for(client, &published.id, wait, timeout).await?;
    if global.json {
        after_the_deed(print_json(&alert), &accepted(published));
    }
    judge(&alert, wait, timeout)
}

/// The alert was given before, and did not reach everybody: it is not sent again, and there is nothing to wait for.
async fn report_failed_before(global: &Global, client: &Client, published: &Published) -> Result<(), Failure> {
    let target = format!("/v1/alerts/{}", published.id);
    let first: Option<AlertView> = client.call("GET", &target, Vec::new(), PROMPT).await.ok();
    if global.json {
        let printed = match &first {
            Some(first) => print_json(first),
            None => print_json(published),
        };
        after_the_deed(printed, &accepted(published));
    }
    let why = match first.as_ref().and_then(failed) {
        Some((to, note)) => format!("the delivery to {to} failed: {note}"),
        None => "it failed for at least one recipient".to_owned(),
    };
    let text = format!("this key was given before, and that alert is not sent again: {why}");
    Err(Failure::new(Exit::Failed, text))
}

async fn wait_for(client: &Client, id: &str, wait: Wait, timeout: Duration) -> Result<AlertView, Failure> {
    let until = Instant::now() + timeout.min(TIMEOUT_MAX);
    loop {
        let asked_at = Instant::now();
        let left = until.saturating_duration_since(asked_at);
        let poll = left.min(POLL_MAX);
        let millis = format!("{}ms", poll.as_millis());
        let pairs = [("wait", wait.word()), ("timeout", millis.as_str())];
        let target = format!("/v1/alerts/{id}?{}", query::encode(&pairs));
        let asked = client.call("GET", &target, Vec::new(), poll + PROMPT).await;
        let alert: AlertView = match asked {
            Ok(alert) => alert,
            // It may be restarting. The alert is on disk, and so it is still worth waiting for.
            Err(failure) if failure.exit == Exit::Unreachable && left > RECONNECT_EVERY => {
                async_io::Timer::after(RECONNECT_EVERY).await;
                continue;
            }
            Err(failure) => {
                let text = format!("{} (alert {id} is accepted and goes its way)", failure.text);
                return Err(Failure::new(failure.exit, text));
            }
        };
        let now = Instant::now();
        if alert.state >= wait.step() || failed(&alert).is_some() || now >= until {
            return Ok(alert);
        }
        if now < asked_at + poll {
            async_io::Timer::after(LOOK_AGAIN.min(until - now)).await;
        }
    }
}

/// The first recipient that will not get it, and why.
fn failed(alert: &AlertView) -> Option<(&str, &str)> {
    let delivery = alert.deliveries.iter().find(|delivery| delivery.state.is_given_up())?;
    Some((&delivery.to, &delivery.note))
}

fn judge(alert: &AlertView, wait: Wait, timeout: Duration) -> Result<(), Failure> {
    if let Some((to, note)) = failed(alert) {
        return Err(Failure::new(
            Exit::Failed,
            format!("the delivery to {to} failed: {note}"),
        ));
    }
    if alert.state == Step::Fallback && wait != Wait::Sent {
        let to = alert
            .fallbacks
            .iter()
            .find(|fallback| fallback.state == HandoverState::Done);
        let to = to.map_or("a fallback", |fallback| fallback.to.as_str());
        let text = format!("not {}: WhatsApp did not take it, and {to} has it instead", wait.word());
        return Err(Failure::new(Exit::Failed, text));
    }
    if alert.state >= wait.step() {
        return Ok(());
    }
    let text = format!(
        "not {} within {}: the alert is {}, is kept and goes its way",
        wait.word(),
        humantime::format_duration(timeout),
        super::queue::word(alert.state)
    );
    Err(Failure::new(Exit::WaitRanOut, text))
}
