//! `tautline doctor`: everything that can be wrong, looked at; a verdict and the next step for each.

use std::io::{IsTerminal, stderr};

use clap::Args;

use super::client::{Client, PROMPT};
use super::output::{Tone, is_fancy, plain, print_json, print_styled, tinted};
use super::{Exit, Failure, Global, paths, routes, terminal};
use crate::config::{Env, load};
use crate::doctor::{CHECKS, Check, Outcome, RelayView, Site, Verdict};
use crate::gateway::api::{Status, TokenView};

/// A line that was seen; far above what any check says.
const CHARS_MAX: usize = 600;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Only these checks; `tautline doctor --list` names them.
    #[arg(value_name = "CHECK")]
    only: Vec<String>,
    /// Say what each check asks, and look at nothing.
    #[arg(long)]
    list: bool,
    /// Show only what is not as it should be.
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn execute(global: &Global, args: &DoctorArgs) -> Result<(), Failure> {
    let chosen = chosen(&args.only)?;
    if args.list {
        for check in chosen {
            print_styled(format_args!("{:<10} {}", check.name, check.question))?;
        }
        return Ok(());
    }
    smol::block_on(look(global, args, &chosen))
}

fn chosen(only: &[String]) -> Result<Vec<&'static Check>, Failure> {
    let known = |name: &String| CHECKS.iter().any(|check| check.name == name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        let text = format!("there is no check {unknown:?}; there are {}", names.join(", "));
        return Err(Failure::new(Exit::Usage, text));
    }
    let wanted = |check: &&Check| only.is_empty() || only.iter().any(|name| name == check.name);
    Ok(CHECKS.iter().filter(wanted).collect())
}

async fn look(global: &Global, args: &DoctorArgs, checks: &[&Check]) -> Result<(), Failure> {
    let site = site(global).await;
    let fancy = is_fancy();
    let shows_progress = stderr().is_terminal() && terminal::allows_colours() && !global.json;
    let (mut faults, mut warnings) = (0, 0);
    for check in checks {
        if shows_progress {
            eprint_progress(check.question);
        }
        let outcomes = check.run(&site).await;
        if shows_progress {
            eprint_progress("");
        }
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Fault => faults += 1,
                Verdict::Warning => warnings += 1,
                Verdict::Good | Verdict::Skipped => {}
            }
            match (global.json, args.quiet && outcome.verdict < Verdict::Warning) {
                (_, true) => {}
                (true, false) => print_json(&outcome)?,
                (false, false) => print_styled(described(&outcome, fancy))?,
            }
        }
    }
    let words = match (faults, warnings) {
        (0, 0) => "everything that was looked at is as it should be".to_owned(),
        (0, warnings) => format!("no fault; {}", counted(warnings, "warning")),
        (faults, 0) => counted(faults, "fault"),
        (faults, warnings) => format!("{}, {}", counted(faults, "fault"), counted(warnings, "warning")),
    };
    if faults > 0 {
        return Err(Failure::new(Exit::Failed, words));
    }
    if !global.json {
        print_styled(words)?;
    }
    Ok(())
}

async fn site(global: &Global) -> Site {
    let relay = relay(global).await.map_err(|failure| failure.text);
    let state = match &relay {
        // The one that is in use, whoever asks.
        Ok(relay) => Ok(relay.status.state.clone().into()),
        Err(_) => paths::state_directory(global).map_err(|failure| failure.text),
    };
    Site {
        config: load(global.config.as_deref(), &Env::process()),
        state,
        relay,
    }
}

async fn relay(global: &Global) -> Result<RelayView, Failure> {
    let client = Client::find(global).await?;
    let status: Status = client.call("GET", "/v1/status", Vec::new(), PROMPT).await?;
    let routes = routes::of(&client).await?;
    let tokens: Vec<TokenView> = client.call("GET", "/v1/tokens", Vec::new(), PROMPT).await?;
    Ok(RelayView { status, routes, tokens })
}

/// The line that says what is being looked at, in the place of the one before.
fn eprint_progress(question: &str) {
    use std::io::Write as _;
    // Whoever cannot see it has the outcomes.
    let _ = write!(stderr().lock(), "\r\x1b[K{question}");
}

fn described(outcome: &Outcome, fancy: bool) -> String {
    let (word, tone) = match outcome.verdict {
        Verdict::Good => ("good", Tone::Good),
        Verdict::Skipped => ("skipped", Tone::Dim),
        Verdict::Warning => ("warning", Tone::Wait),
        Verdict::Fault => ("fault", Tone::Bad),
    };
    let word = tinted(&format!("{word:<8}"), tone, fancy);
    let mut text = format!("{word} {:<10} {}", outcome.check, plain(&outcome.seen, CHARS_MAX));
    if !outcome.next.is_empty() {
        text += &format!("\n{:20}→ {}", "", plain(&outcome.next, CHARS_MAX));
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
