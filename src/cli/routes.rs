//! `tautline routes [test NAME]`: the routes, what each does, and when it was last proven.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::client::{Client, PROMPT};
use super::output::{ago, print, print_json, say};
use super::{Exit, Failure, Global};
use crate::alert::RouteName;
use crate::gateway::api::{RouteTested, RouteView};
use crate::gateway::query;
use crate::outbox::Step;

/// What the fallbacks may take beside the wait for WhatsApp: each has its own deadlines.
const FALLBACKS_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(super) struct RoutesArgs {
    #[command(subcommand)]
    command: Option<RoutesCommand>,
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    /// Send a marked alert, wait until it is delivered, and try the fallbacks.
    Test {
        /// The route.
        name: String,
        /// How long to wait until it is delivered.
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
}

pub(super) fn execute(global: &Global, args: RoutesArgs) -> Result<(), Failure> {
    match args.command {
        None => smol::block_on(list(global)),
        Some(RoutesCommand::Test { name, timeout }) => smol::block_on(test(global, &name, timeout)),
    }
}

/// All routes, as the relay describes them.
///
/// # Errors
/// As of [`Client::call`].
pub(super) async fn of(client: &Client) -> Result<Vec<RouteView>, Failure> {
    let names: Vec<String> = client.call("GET", "/v1/routes", Vec::new(), PROMPT).await?;
    let mut routes = Vec::new();
    for name in names {
        let target = format!("/v1/routes/{name}");
        routes.push(client.call("GET", &target, Vec::new(), PROMPT).await?);
    }
    Ok(routes)
}

async fn list(global: &Global) -> Result<(), Failure> {
    let routes = of(&Client::find(global).await?).await?;
    if global.json {
        return print_json(&routes);
    }
    let blocks: Vec<String> = routes.iter().map(described).collect();
    print(blocks.join("\n\n"))
}

fn described(route: &RouteView) -> String {
    let proven = |at: Option<u64>| at.map_or_else(|| "never proven".to_owned(), |at| format!("proven {}", ago(at)));
    let mut lines = vec![
        format!(
            "{} (session {}): {}",
            route.name,
            route.session,
            proven(route.proven_at)
        ),
        format!("  to {}", route.to.join(", ")),
    ];
    lines.extend(route.policies.iter().map(|policy| format!("  {policy}")));
    for fallback in &route.fallbacks {
        lines.push(format!("  fallback {}: {}", fallback.name, proven(fallback.proven_at)));
    }
    lines.join("\n")
}

async fn test(global: &Global, name: &str, timeout: Duration) -> Result<(), Failure> {
    // It becomes a part of the address.
    let name: RouteName = name.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    let client = Client::find(global).await?;
    let millis = format!("{}ms", timeout.as_millis());
    let target = format!("/v1/routes/{name}/test?{}", query::encode(&[("timeout", &millis)]));
    let tested: RouteTested = client
        .call("POST", &target, Vec::new(), timeout + FALLBACKS_MAX)
        .await?;
    if global.json {
        print_json(&tested)?;
    } else {
        print(format_args!(
            "WhatsApp: {} (alert {})",
            super::queue::word(tested.alert.state),
            tested.alert.id
        ))?;
        for fallback in &tested.fallbacks {
            match fallback.taken {
                true => print(format_args!("fallback {}: taken", fallback.name))?,
                false => print(format_args!("fallback {}: not taken", fallback.name))?,
            }
        }
    }
    for fallback in tested.fallbacks.iter().filter(|fallback| !fallback.taken) {
        say(format_args!("tautline: fallback {}: {}", fallback.name, fallback.note));
    }
    if tested.proven {
        return Ok(());
    }
    let delivered = matches!(tested.alert.state, Step::Delivered | Step::Read);
    match delivered {
        true => Err(Failure::new(
            Exit::Failed,
            format!("route {name} is proven by WhatsApp, and not by its fallbacks"),
        )),
        false => {
            let noted = tested
                .alert
                .deliveries
                .iter()
                .find(|delivery| !delivery.note.is_empty());
            let note = noted.map_or_else(String::new, |delivery| format!(": {}", delivery.note));
            let text = format!("route {name} is not proven: not delivered by WhatsApp within the time{note}");
            Err(Failure::new(Exit::WaitRanOut, text))
        }
    }
}
