//! `tautline queue`: the outbox.

use clap::{Args, Subcommand};

use crate::alert::hygiene;
use crate::gateway::api::{AlertView, BesideView, DeliveryView, HandoverView, HistoryView};
use crate::outbox::{HandoverState, Step, TransitionKind};

use crate::util::wall_ms;

use super::client::{Client, PROMPT};
use super::output::{after_the_deed, ago, plain, print, print_json, say, table, utc};
use super::{Exit, Failure, Global};

const LIMIT_DEFAULT: u16 = 50;
/// What the relay gives at the most.
const LIMIT_MAX: u16 = 1000;
const TEXT_CHARS_MAX: usize = 60;

#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: Option<QueueCommand>,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List alerts, the newest first (also without a command).
    List {
        /// Only those that are not sent yet.
        #[arg(long)]
        pending: bool,
        /// At most this many, up to 1000.
        #[arg(long, default_value_t = LIMIT_DEFAULT, value_parser = clap::value_parser!(u16).range(1..=i64::from(LIMIT_MAX)))]
        limit: u16,
    },
    /// Show one alert, each of its deliveries, and how it came to that.
    Show { id: String },
    /// Send a failed alert again; one that waits, now.
    Retry { id: String },
    /// Give up what is not sent yet.
    Drop { id: String },
    /// Say that somebody has seen to it: it is not repeated or escalated any more.
    Ack { id: String },
}

pub(super) fn execute(global: &Global, args: QueueArgs) -> Result<(), Failure> {
    let command = args.command.unwrap_or(QueueCommand::List {
        pending: false,
        limit: LIMIT_DEFAULT,
    });
    smol::block_on(async {
        let client = Client::find(global).await?;
        match command {
            QueueCommand::List { pending, limit } => list(global, &client, pending, limit).await,
            QueueCommand::Show { id } => {
                let alert = one(&client, "GET", &id, "").await?;
                if global.json {
                    print_json(&alert)
                } else {
                    print(details(&alert))
                }
            }
            QueueCommand::Retry { id } => act(global, &client, "POST", &id, "/retry").await,
            QueueCommand::Drop { id } => act(global, &client, "DELETE", &id, "").await,
            QueueCommand::Ack { id } => act(global, &client, "POST", &id, "/ack").await,
        }
    })
}

async fn list(global: &Global, client: &Client, pending: bool, limit: u16) -> Result<(), Failure> {
    // One more than is shown tells whether that is all.
    let asked = limit.saturating_add(1).min(LIMIT_MAX);
    let target = format!("/v1/alerts?limit={asked}{}", if pending { "&pending=1" } else { "" });
    let mut alerts: Vec<AlertView> = client.call("GET", &target, Vec::new(), PROMPT).await?;
    let got = alerts.len();
    alerts.truncate(limit.into());
    if global.json {
        return print_json(&alerts);
    }
    if alerts.is_empty() {
        say(format_args!(
            "the outbox holds no {}alerts",
            if pending { "pending " } else { "" }
        ));
        return Ok(());
    }
    let rows: Vec<_> = alerts.iter().map(row).collect();
    print(table(&["ID", "AGE", "ROUTE", "STATE", "TRIES", "MESSAGE"], &rows))?;
    if got > usize::from(limit) {
        let pending = if pending { " --pending" } else { "" };
        say(format_args!(
            "there are older ones: `tautline queue list{pending} --limit {LIMIT_MAX}` shows up to {LIMIT_MAX}"
        ));
    } else if got >= usize::from(LIMIT_MAX) {
        say(format_args!("there may be older ones: at most {LIMIT_MAX} are shown"));
    }
    Ok(())
}

fn row(alert: &AlertView) -> Vec<String> {
    let tries = alert.deliveries.iter().map(|delivery| delivery.attempts).max();
    vec![
        alert.id.clone(),
        ago(alert.accepted_at),
        alert.route.clone(),
        word(alert.state).into(),
        tries.unwrap_or_default().to_string(),
        headline(alert, TEXT_CHARS_MAX),
    ]
}

fn headline(alert: &AlertView, chars_max: usize) -> String {
    match alert.title.as_str() {
        "" => plain(&alert.text, chars_max),
        title => plain(&format!("{title}: {}", alert.text), chars_max),
    }
}

pub(super) fn word(step: Step) -> &'static str {
    match step {
        Step::Accepted => "waiting",
        Step::Sent => "sent",
        Step::Delivered => "delivered",
        Step::Read => "read",
        Step::Fallback => "fallback",
        Step::Dropped => "dropped",
        Step::Expired => "expired",
        Step::Superseded => "superseded",
        Step::Failed => "failed",
    }
}

fn details(alert: &AlertView) -> String {
    let mut lines = vec![
        format!("id        {}", alert.id),
        format!("route     {} (session {})", alert.route, alert.session),
        format!("accepted  {}", ago(alert.accepted_at)),
        format!("state     {}", word(alert.state)),
        format!("priority  {}", alert.priority),
    ];
    if let Some(of) = &alert.follows {
        lines.push(format!("follows   {}, which nobody had acknowledged", plain(of, 40)));
    }
    if alert.repeats > 0 {
        lines.push(format!("repeated  {} times", alert.repeats));
    }
    if let Some(at) = alert.escalated_at {
        lines.push(format!("escalated {}", ago(at)));
    }
    if let Some(acknowledged) = &alert.acknowledged {
        let (at, by) = (ago(acknowledged.at), plain(&acknowledged.by, 80));
        let how = match acknowledged.how.as_deref() {
            Some("reaction") => ", with a reaction",
            Some("reply") => ", with a reply",
            Some("text") => ", with a word in the chat",
            Some(_) | None => "",
        };
        lines.push(format!("seen to   {at}, by {by}{how}"));
    }
    if !alert.tags.is_empty() {
        lines.push(format!("tags      {}", plain(&alert.tags.join(", "), 200)));
    }
    if !alert.title.is_empty() {
        lines.push(format!("title     {}", plain(&alert.title, 1024)));
    }
    lines.push(String::new());
    lines.extend(alert.text.lines().map(|line| format!("  {}", plain(line, 2000))));
    for file in &alert.attachments {
        let name = if file.name.is_empty() { &file.kind } else { &file.name };
        let size = hygiene::size(file.bytes);
        lines.push(format!("  [{}, {}, {size}]", plain(name, 200), file.mime));
    }
    lines.push(String::new());
    let rows: Vec<_> = alert
        .deliveries
        .iter()
        .map(|delivery| {
            vec![
                to_and_part(delivery),
                word(delivery.state).into(),
                ago(delivery.since_at),
                delivery.attempts.to_string(),
                delivery.message_id.clone(),
                match &delivery.held_back {
                    Some(held) => held.words(wall_ms()),
                    None => plain(&delivery.note, 200),
                },
            ]
        })
        .collect();
    lines.push(table(&["TO", "STATE", "SINCE", "TRIES", "MESSAGE ID", "NOTE"], &rows));
    if !alert.beside.is_empty() {
        let rows: Vec<_> = alert.beside.iter().map(beside_row).collect();
        lines.push(String::new());
        lines.push(table(&["IN ONE MESSAGE", "ALERT"], &rows));
    }
    if !alert.fallbacks.is_empty() {
        let row = |handover: &HandoverView| {
            let state = handover_word(handover.state);
            vec![
                handover.to.clone(),
                state.into(),
                ago(handover.since_at),
                plain(&handover.note, 200),
            ]
        };
        let rows: Vec<_> = alert.fallbacks.iter().map(row).collect();
        lines.push(String::new());
        lines.push(table(&["FALLBACK", "STATE", "SINCE", "NOTE"], &rows));
    }
    if !alert.history.is_empty() {
        let rows: Vec<_> = alert.history.iter().map(|step| history_row(alert, step)).collect();
        lines.push(String::new());
        lines.push(table(&["TIME (UTC)", "WHAT", "TO"], &rows));
    }
    lines.join("\n")
}

fn beside_row(beside: &BesideView) -> Vec<String> {
    let said = match beside.title.as_str() {
        "" => beside.text.clone(),
        title => format!("{title}: {}", beside.text),
    };
    vec![beside.id.clone(), plain(&said, TEXT_CHARS_MAX)]
}

fn handover_word(state: HandoverState) -> &'static str {
    match state {
        HandoverState::Wanted => "waiting",
        HandoverState::Begun => "under way",
        HandoverState::Done => "handed over",
        HandoverState::GivenUp => "given up",
    }
}

fn history_row(alert: &AlertView, step: &HistoryView) -> Vec<String> {
    let to = |place: u32| alert.deliveries.get(usize::try_from(place).ok()?);
    vec![
        utc(step.at),
        happening_word(step.what).into(),
        match step.delivery {
            None => String::new(),
            Some(place) => to(place).map_or_else(|| format!("delivery {place}"), to_and_part),
        },
    ]
}

/// Whom it goes to, and which part it is where there are several.
fn to_and_part(delivery: &DeliveryView) -> String {
    match delivery.part {
        0 => delivery.to.clone(),
        part => format!("{} (part {})", delivery.to, part + 1),
    }
}

fn happening_word(what: TransitionKind) -> &'static str {
    match what {
        TransitionKind::Retried => "sent again by hand",
        TransitionKind::Handover => "on its way to a fallback",
        TransitionKind::Fallback => "handed to a fallback",
        TransitionKind::Unheeded => "answered by somebody who may not acknowledge it",
        TransitionKind::Accepted
        | TransitionKind::Sent
        | TransitionKind::Delivered
        | TransitionKind::Read
        | TransitionKind::Failed
        | TransitionKind::Dropped
        | TransitionKind::Expired
        | TransitionKind::Superseded
        | TransitionKind::Acknowledged
        | TransitionKind::Repeated
        | TransitionKind::Escalated
        | TransitionKind::Forgotten => what.name(),
    }
}

async fn act(global: &Global, client: &Client, method: &str, id: &str, verb: &str) -> Result<(), Failure> {
    let alert = one(client, method, id, verb).await?;
    let printed = if global.json {
        print_json(&alert)
    } else {
        print(format_args!("{} {}", alert.id, word(alert.state)))
    };
    after_the_deed(printed, &format!("it is done: {} is {}", alert.id, word(alert.state)));
    Ok(())
}

async fn one(client: &Client, method: &str, id: &str, verb: &str) -> Result<AlertView, Failure> {
    // The id becomes a part of the address: what is no id must not become another address.
    if id.is_empty()
        || !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        return Err(Failure::new(
            Exit::Usage,
            format!("{id:?} is no alert's id; `tautline queue` lists them"),
        ));
    }
    let target = format!("/v1/alerts/{id}{verb}");
    client.call(method, &target, Vec::new(), PROMPT).await
}
