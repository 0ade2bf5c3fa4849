//! `tautline token`: who may publish, read and administer without the control socket.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::access::{Grant, Right, Routes, TokenName};
use crate::alert::RouteName;
use crate::appliance::tokens_alone;
use crate::gateway::Refusal;
use crate::gateway::api::{IssuedToken, NewToken, TokenView};
use crate::store::Store;
use crate::util::millis;

use super::client::{Client, PROMPT};
use super::output::{ago, plain, print, print_json, say, table, utc};
use super::{Exit, Failure, Global, paths};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and show it, this once.
    New(NewArgs),
    /// List the tokens, what each may, and when it was last used.
    List,
    /// Take a token away; from then on nobody comes in by it.
    Revoke {
        /// The token's name.
        name: TokenName,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// A name for it, as that of the sender that gets it.
    name: TokenName,
    /// Only for this route; may be given several times [default: all routes].
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<RouteName>,
    /// It may publish alerts (also without this, unless another right is named).
    #[arg(long)]
    publish: bool,
    /// It may read status and alerts.
    #[arg(long)]
    read: bool,
    /// It may do what the page and the commands do, publishing and reading included.
    #[arg(long)]
    admin: bool,
    /// It ends after this time, as 90d [default: never].
    #[arg(long, value_name = "TIME", value_parser = life)]
    expires: Option<Duration>,
}

/// How long a token is good: one that ends at once is of no use.
fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match millis(life) {
        0 => Err("a token that ends at once is of no use; leave it out for one that has no end".into()),
        _ => Ok(life),
    }
}

impl NewArgs {
    fn rights(&self) -> Vec<Right> {
        let named = [
            (self.publish, Right::Publish),
            (self.read, Right::Read),
            (self.admin, Right::Admin),
        ];
        let rights: Vec<Right> = named
            .into_iter()
            .filter(|(asked, _)| *asked)
            .map(|(_, right)| right)
            .collect();
        if rights.is_empty() {
            vec![Right::Publish]
        } else {
            rights
        }
    }
}

pub(super) fn execute(global: &Global, command: TokenCommand) -> Result<(), Failure> {
    smol::block_on(async {
        let place = Place::find(global).await?;
        match command {
            TokenCommand::New(args) => {
                let issued = place.make(&args).await?;
                show_new(global, &issued)
            }
            TokenCommand::List => {
                let tokens = place.list().await?;
                if global.json {
                    return print_json(&tokens);
                }
                if tokens.is_empty() {
                    say(format_args!(
                        "there are no tokens; make one with `tautline token new NAME`"
                    ));
                    return Ok(());
                }
                print(listed(&tokens))
            }
            TokenCommand::Revoke { name } => {
                place.revoke(&name).await?;
                if global.json {
                    return print_json(&serde_json::json!({ "revoked": name.as_str() }));
                }
                print(format_args!("{name} is revoked"))
            }
        }
    })
}

/// Where the tokens are: with the relay that runs, or in the state that none has open.
enum Place {
    Relay(Client),
    State(Store, Vec<RouteName>),
}

impl Place {
    /// # Errors
    /// No relay answers, and the state cannot be opened.
    async fn find(global: &Global) -> Result<Self, Failure> {
        let unreachable = match Client::find(global).await {
            Ok(client) => return Ok(Self::Relay(client)),
            Err(failure) if failure.exit == Exit::Unreachable => failure,
            Err(failure) => return Err(failure),
        };
        let options = super::run::options(global)?;
        paths::refuse_anothers(&options.state)?;
        match Store::open(&options.state, options.board.store().cache_bytes) {
            Ok(store) => {
                let routes = options.plan.routes.into_iter().map(|route| route.name).collect();
                Ok(Self::State(store, routes))
            }
            // A relay has it, and does not answer.
            Err(crate::store::StoreError::Locked(_)) => Err(unreachable),
            Err(error) => Err(Failure::of_store(error)),
        }
    }

    async fn make(&self, args: &NewArgs) -> Result<IssuedToken, Failure> {
        let expires_in_ms = args.expires.map(millis);
        match self {
            Self::Relay(client) => {
                let new = NewToken {
                    name: args.name.to_string(),
                    rights: args.rights().into_iter().map(|right| right.name().to_owned()).collect(),
                    routes: (!args.routes.is_empty()).then(|| args.routes.iter().map(ToString::to_string).collect()),
                    expires_in_ms,
                };
                let body = serde_json::to_vec(&new).map_err(|error| Failure::new(Exit::Failed, error))?;
                client.call("POST", "/v1/tokens", body, PROMPT).await
            }
            Self::State(store, known) => {
                if let Some(route) = args.routes.iter().find(|route| !known.contains(route)) {
                    let text = format!("the configuration has no route {route}");
                    return Err(Failure::new(Exit::Refused, text));
                }
                let grant = Grant {
                    name: args.name.clone(),
                    rights: args.rights().into_iter().collect(),
                    routes: match args.routes.as_slice() {
                        [] => Routes::All,
                        some => Routes::Only(some.to_vec()),
                    },
                };
                let made = tokens_alone::make(store, grant, expires_in_ms).await;
                made.map_err(refused)
            }
        }
    }

    async fn list(&self) -> Result<Vec<TokenView>, Failure> {
        match self {
            Self::Relay(client) => client.call("GET", "/v1/tokens", Vec::new(), PROMPT).await,
            Self::State(store, _) => {
                let (tokens, damaged) = tokens_alone::list(store).map_err(refused)?;
                for line in damaged {
                    say(format_args!("tautline: {line}"));
                }
                Ok(tokens)
            }
        }
    }

    async fn revoke(&self, name: &TokenName) -> Result<(), Failure> {
        match self {
            Self::Relay(client) => {
                let target = format!("/v1/tokens/{name}");
                let _: serde_json::Value = client.call("DELETE", &target, Vec::new(), PROMPT).await?;
                Ok(())
            }
            Self::State(store, _) => tokens_alone::revoke(store, name.as_str()).await.map_err(refused),
        }
    }
}

fn refused(refusal: Refusal) -> Failure {
    let exit = match refusal {
        Refusal::StorageFailed(_) | Refusal::Unavailable(_) => Exit::Failed,
        Refusal::UnknownRoute(_)
        | Refusal::UnknownAlert(_)
        | Refusal::ForgottenAlert(_)
        | Refusal::UnknownToken(_)
        | Refusal::UnknownSession(_)
        | Refusal::Conflict(_)
        | Refusal::Full(_)
        | Refusal::TooManyDelayed(_)
        | Refusal::Storage(_) => Exit::Refused,
    };
    Failure::new(exit, refusal)
}

fn show_new(global: &Global, issued: &IssuedToken) -> Result<(), Failure> {
    let kept = &issued.kept;
    if global.json {
        print_json(issued)?;
    } else {
        print(&issued.token)?;
    }
    say(format_args!(
        "{}: {} on {}{}. It is shown this once; who has it can use it.",
        kept.name,
        kept.rights.join(", "),
        routes(kept),
        kept.expires_at
            .map_or(String::new(), |at| format!(", until {}", utc(at)))
    ));
    Ok(())
}

fn routes(token: &TokenView) -> String {
    match &token.routes {
        None => "all routes".into(),
        Some(routes) => routes.join(", "),
    }
}

fn listed(tokens: &[TokenView]) -> String {
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            let end = match token.expires_at {
                None => "never".into(),
                Some(at) if token.expired => format!("ended {}", utc(at)),
                Some(at) => utc(at),
            };
            let used = token.used_at.map_or("never".into(), ago);
            vec![
                plain(&token.name, 64),
                token.rights.join(", "),
                plain(&routes(token), 60),
                utc(token.created_at),
                end,
                used,
            ]
        })
        .collect();
    table(&["NAME", "MAY", "ON", "MADE", "ENDS", "LAST USED"], &rows)
}
