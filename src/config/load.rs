//! From the command line, the environment, the file and the defaults to one plan.

mod mqtt;
mod targets;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use serde_json::json;

use super::access::RATE_DEFAULT;
use super::address::{ENDPOINT_DEFAULT, no_proxy_names};
use super::parse::{
    At, Draft, DraftAttachments, DraftGateway, DraftHeartbeat, DraftRoute, DraftSession, Parsed, parse,
};
use super::shown::{escalate_shown, flapping_shown, group_shown, quiet_shown, repeat_shown, written};
use super::{
    Access, AttachmentsPlan, ConfigErrors, Endpoint, Env, Fault, GatewayPlan, HeartbeatPlan, MailPlan, Place, Plan,
    Proxy, RoutePlan, SessionPlan, Setting, SmtpPlan, Source, TlsFiles,
};
use crate::access::Network;
use crate::alert::{FallbackName, LATE_AFTER, Recipient, RouteName, SessionName};
use crate::outbox::{AckRules, Flapping};

/// The largest file that is read, in bytes. A thousand routes fit in a tenth of it; a log named by mistake does not.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Loopback alone. Both of them, because many clients take `localhost` for
/// `::1` first.
const LISTEN_DEFAULT: [&str; 2] = ["127.0.0.1:7373", "[::1]:7373"];
/// A reverse proxy on this box.
const PROXIES_DEFAULT: [&str; 2] = ["127.0.0.0/8", "::1"];
const SESSION_DEFAULT: &str = "default";
const ROUTE_DEFAULT: &str = "me";
/// What services that watch such addresses call usual.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(60);

/// A plan, and all there is to say about how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub plan: Plan,
    /// The file that was read; `None` if there is none, and the defaults hold.
    pub file: Option<PathBuf>,
    /// Unknown keys. `config check` fails on them; a run warns and goes on, so that no upgrade or downgrade leaves a
    /// box dark.
    pub warnings: Vec<Fault>,
    /// Files with secrets that cannot be read. `config check` fails on them; a run goes on, because what they are for
    /// is needed only when WhatsApp does not work, and they may be there by then.
    pub unreadable: Vec<Fault>,
    /// Variables of the environment that cannot be used and were left aside. Nobody need have written them for
    /// Tautline, so they are no fault of the configuration.
    pub environment: Vec<Fault>,
    /// Every value of the plan with where it came from, in the order of the file format.
    pub provenance: Vec<Setting>,
}

/// Finds and reads the configuration. `explicit` is `--config`.
///
/// The first file that exists is the whole configuration; files are not merged. Without one the defaults hold.
///
/// # Errors
/// Everything that is wrong, at once: the file cannot be read or was asked for and is not there, values of the file are
/// not valid. What the environment brings is never an error.
pub fn load(explicit: Option<&Path>, env: &Env) -> Result<Loaded, ConfigErrors> {
    let found = find(explicit, env).map_err(|fault| ConfigErrors(vec![fault]))?;
    let (file, parsed) = match found {
        Some((path, text)) => {
            let parsed = parse(&path, &text, env);
            (Some(path), parsed)
        }
        None => (
            None,
            Parsed {
                draft: Draft::default(),
                faults: Vec::new(),
                unknown: Vec::new(),
                unreadable: Vec::new(),
            },
        ),
    };
    let mut builder = Builder {
        env,
        file: file.clone(),
        provenance: Vec::new(),
        environment: Vec::new(),
    };
    let plan = builder.plan(parsed.draft);
    let Builder {
        provenance,
        environment,
        ..
    } = builder;
    let mut faults = parsed.faults;
    match plan {
        Some(plan) if faults.is_empty() => Ok(Loaded {
            plan,
            file,
            warnings: parsed.unknown,
            unreadable: parsed.unreadable,
            environment,
            provenance,
        }),
        _ => {
            // The check wants to see everything that has to be mended, so the unknown keys too.
            faults.extend(parsed.unknown);
            faults.extend(parsed.unreadable);
            Err(ConfigErrors(faults))
        }
    }
}

fn find(explicit: Option<&Path>, env: &Env) -> Result<Option<(PathBuf, String)>, Fault> {
    for candidate in env.candidates(explicit) {
        let path = candidate.path;
        match read(&path) {
            Ok(text) => return Ok(Some((path, text))),
            // Nobody asked for this one, so there is nothing wrong with its absence.
            Err(Unread::Absent(_)) if !candidate.explicit => {}
            Err(Unread::Absent(why) | Unread::Refused(why)) => {
                let text = format!("{why}; expected a readable file of TOML");
                return Err(Fault::file(path, text));
            }
            Err(Unread::NotText(line, column)) => {
                return Err(Fault {
                    place: Place::File {
                        path,
                        at: Some((line, column)),
                    },
                    key: String::new(),
                    text: "is not UTF-8; expected the file to be saved as UTF-8".into(),
                });
            }
        }
    }
    Ok(None)
}

enum Unread {
    Absent(String),
    Refused(String),
    NotText(usize, usize),
}

fn read(path: &Path) -> Result<String, Unread> {
    let refused = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Unread::Absent("there is no such file".into()),
        ErrorKind::IsADirectory => Unread::Refused("is a directory".into()),
        // How the kernel refuses to open one.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            Unread::Refused("is a socket and no file".into())
        }
        ErrorKind::PermissionDenied => Unread::Refused("may not be read by this user".into()),
        _ => Unread::Refused(format!("cannot be read: {error}")),
    };
    let mut bytes = Vec::new();
    // Opening a pipe or a terminal must not wait for its other end.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags.bits() as i32).open(path);
    let file = file.map_err(refused)?;
    if let Some(what) = no_file(&file.metadata().map_err(refused)?) {
        return Err(Unread::Refused(format!("is {what} and no file")));
    }
    // One byte more than allowed shows that there is more, also where a file system knows no length.
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(Unread::Refused(format!("is larger than {CONFIG_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Unread::NotText(line, String::from_utf8_lossy(&valid[start..]).chars().count() + 1)
    })
}

/// What stands in a file's place and may have no end, or no beginning. `/dev/null` is how people write "no file".
fn no_file(found: &std::fs::Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else {
        let null = rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == found.rdev());
        (!null).then_some("a device")
    }
}

struct Builder<'e> {
    env: &'e Env,
    file: Option<PathBuf>,
    provenance: Vec<Setting>,
    environment: Vec<Fault>,
}

impl Builder<'_> {
    fn note(&mut self, key: String, value: serde_json::Value, from: Source) {
        self.provenance.push(Setting { key, value, from });
    }

    /// Where a value that stands in the file on `line`, or nowhere, came from.
    fn source(&self, line: Option<usize>) -> Source {
        match (&self.file, line) {
            (Some(path), Some(line)) => Source::File {
                path: path.clone(),
                line,
            },
            _ => Source::Default,
        }
    }

    /// `None` only if there are faults.
    fn plan(&mut self, mut draft: Draft) -> Option<Plan> {
        let (board, line) = split(draft.board);
        let board = board.flatten();
        let source = self.source(line);
        self.note("board".into(), json!(board.as_deref().unwrap_or("auto")), source);
        let (time_zone, line) = split(draft.time_zone);
        let time_zone = time_zone.flatten();
        let source = self.source(line);
        self.note(
            "timezone".into(),
            json!(time_zone.as_deref().unwrap_or("system")),
            source,
        );
        let mut sessions = Vec::new();
        if draft.has_sessions {
            for (index, session) in draft.sessions.into_iter().enumerate() {
                sessions.push(self.session(index, Some(session))?);
            }
        } else {
            sessions.push(self.session(0, None)?);
        }
        let first = &sessions.first()?.name.clone();
        let mut routes = Vec::new();
        if draft.has_routes {
            for (index, route) in draft.routes.into_iter().enumerate() {
                routes.push(self.route(index, route, first));
            }
        } else {
            routes.push(self.route_default(first)?);
        }
        let (listen, line) = split(draft.gateway.listen.take());
        let listen = match listen {
            Some(listen) => listen,
            None => LISTEN_DEFAULT
                .iter()
                .map(|text| text.parse().ok())
                .collect::<Option<_>>()?,
        };
        let source = self.source(line);
        let shown: Vec<_> = listen.iter().map(ToString::to_string).collect();
        self.note("gateway.listen".into(), json!(shown), source);
        let (access, tls) = self.access(draft.gateway);
        let smtp = self.smtp(draft.smtp_listen);
        let mail = self.mail(draft.mail_route, draft.mail_routes);
        let mqtt = draft.mqtt.take().map(|draft| self.mqtt(draft));
        let heartbeat = draft.heartbeat.map(|draft| self.heartbeat(draft));
        let attachments = self.attachments(draft.attachments);
        let (health_fallbacks, line) = split(draft.health_fallback);
        let health_fallbacks = health_fallbacks.unwrap_or_default();
        if !health_fallbacks.is_empty() {
            let shown: Vec<_> = health_fallbacks.iter().map(FallbackName::as_str).collect();
            let source = self.source(line);
            self.note("health.fallback".into(), json!(shown), source);
        }
        let fallbacks = draft.fallbacks.into_iter().enumerate();
        let fallbacks = fallbacks.map(|(index, draft)| self.fallback(index, draft)).collect();
        let hooks = draft.hooks.into_iter().enumerate();
        let hooks = hooks.map(|(index, draft)| self.hook(index, draft)).collect();
        Some(Plan {
            board,
            time_zone,
            sessions,
            routes,
            gateway: GatewayPlan { listen, access, tls },
            smtp,
            mail,
            mqtt,
            heartbeat,
            attachments,
            fallbacks,
            health_fallbacks,
            hooks,
        })
    }

    fn attachments(&mut self, draft: DraftAttachments) -> AttachmentsPlan {
        let default = AttachmentsPlan::default();
        let (max, line) = split(draft.max);
        let max = max.map_or(default.max, |largest| largest.0);
        let source = self.source(line);
        self.note("attachments.max".into(), json!(max.to_string()), source);
        let (total, line) = split(draft.total);
        let total = total.unwrap_or(default.total);
        let source = self.source(line);
        self.note("attachments.total".into(), json!(total.to_string()), source);
        let (fetch, line) = split(draft.fetch);
        let fetch = fetch.unwrap_or(default.fetch);
        let shown: Vec<String> = fetch.iter().map(ToString::to_string).collect();
        let source = self.source(line);
        self.note("attachments.fetch".into(), json!(shown), source);
        AttachmentsPlan { max, total, fetch }
    }

    fn heartbeat(&mut self, draft: DraftHeartbeat) -> HeartbeatPlan {
        let source = self.source(Some(draft.url.line));
        self.note("heartbeat.url".into(), json!(draft.url.value.to_string()), source);
        let (interval, line) = split(draft.interval);
        let interval = interval.unwrap_or(HEARTBEAT_DEFAULT);
        let source = self.source(line);
        self.note("heartbeat.interval".into(), json!(written(interval)), source);
        let proxy = self.proxy_for(&draft.url.value);
        HeartbeatPlan {
            url: draft.url.value,
            interval,
            proxy,
        }
    }

    /// What `[gateway]` says beside where to listen.
    fn access(&mut self, draft: DraftGateway) -> (Access, Option<TlsFiles>) {
        let (loopback, line) = split(draft.loopback);
        let loopback = loopback.unwrap_or_default();
        let source = self.source(line);
        self.note("gateway.loopback".into(), json!(loopback.name()), source);
        let shown = |networks: &[Network]| json!(networks.iter().map(ToString::to_string).collect::<Vec<_>>());
        let (trusted, line) = split(draft.trusted);
        let trusted = trusted.unwrap_or_default();
        let source = self.source(line);
        self.note("gateway.trusted".into(), shown(&trusted), source);
        let (behind_proxy, line) = split(draft.behind_proxy);
        let behind_proxy = behind_proxy.unwrap_or_default();
        let source = self.source(line);
        self.note("gateway.behind_proxy".into(), json!(behind_proxy), source);
        let (proxies, line) = split(draft.proxies);
        // Without any, the proxy is on this box.
        let proxies = proxies.unwrap_or_else(|| PROXIES_DEFAULT.iter().flat_map(|text| text.parse()).collect());
        let source = self.source(line);
        self.note("gateway.proxies".into(), shown(&proxies), source);
        let (names, line) = split(draft.names);
        let names: Vec<String> = names.unwrap_or_default().into_iter().map(|name| name.0).collect();
        let source = self.source(line);
        self.note("gateway.names".into(), json!(names), source);
        let (tls, line) = split(draft.tls);
        let source = self.source(line);
        match &tls {
            Some(TlsFiles { cert, key }) => {
                for (name, path) in [("cert", cert), ("key", key)] {
                    self.note(
                        format!("gateway.tls.{name}"),
                        json!(path.display().to_string()),
                        source.clone(),
                    );
                }
            }
            None => self.note("gateway.tls".into(), json!(null), source),
        }
        let (limit, line) = split(draft.limit);
        let rate = limit.unwrap_or(RATE_DEFAULT);
        let source = self.source(line);
        for (name, number) in [("per_minute", rate.per_minute), ("burst", rate.burst)] {
            self.note(format!("gateway.limit.{name}"), json!(number), source.clone());
        }
        let access = Access {
            loopback,
            trusted,
            proxies: behind_proxy.then_some(proxies),
            names,
            rate,
            tls: tls.is_some(),
        };
        (access, tls)
    }

    fn smtp(&mut self, listen: Option<At<Vec<SocketAddr>>>) -> SmtpPlan {
        let (listen, line) = split(listen);
        let listen = listen.unwrap_or_default();
        let shown: Vec<_> = listen.iter().map(ToString::to_string).collect();
        let source = self.source(line);
        self.note("smtp.listen".into(), json!(shown), source);
        SmtpPlan { listen }
    }

    fn mail(&mut self, route: Option<At<RouteName>>, routes: Option<At<Vec<(String, RouteName)>>>) -> MailPlan {
        let (route, line) = split(route);
        let source = self.source(line);
        self.note(
            "mail.route".into(),
            json!(route.as_ref().map(RouteName::as_str)),
            source,
        );
        let (routes, line) = split(routes);
        let routes = routes.unwrap_or_default();
        let shown = routes
            .iter()
            .map(|(address, route)| (address.clone(), json!(route.as_str())));
        let source = self.source(line);
        self.note("mail.routes".into(), serde_json::Value::Object(shown.collect()), source);
        MailPlan { route, routes }
    }

    fn session(&mut self, index: usize, draft: Option<DraftSession>) -> Option<SessionPlan> {
        let key = |name: &str| format!("session[{index}].{name}");
        let (name, endpoint, proxy) = match draft {
            Some(draft) => (Some(draft.name), draft.endpoint, draft.proxy),
            None => (None, None, None),
        };
        let (name, line) = split(name);
        let name = match name {
            Some(name) => name,
            None => SESSION_DEFAULT.parse().ok()?,
        };
        let source = self.source(line);
        self.note(key("name"), json!(name.as_str()), source);
        let (endpoint, line) = split(endpoint);
        let endpoint: Endpoint = match endpoint {
            Some(endpoint) => endpoint,
            None => ENDPOINT_DEFAULT.parse().ok()?,
        };
        let source = self.source(line);
        self.note(key("endpoint"), json!(endpoint.to_string()), source);
        let (proxy, source) = match proxy {
            Some(At { value, line }) => {
                let source = self.source(Some(line));
                let shown = value.as_ref().map_or("none".into(), Proxy::url_redacted);
                self.note(key("proxy"), json!(shown), source);
                return Some(SessionPlan {
                    name,
                    endpoint,
                    proxy: value,
                });
            }
            None => match self.proxy_of_environment(&endpoint) {
                Some((variable, proxy)) => (Some(proxy), Source::Env(variable)),
                None => (None, Source::Default),
            },
        };
        self.note(key("proxy"), json!(proxy.as_ref().map(Proxy::url_redacted)), source);
        Some(SessionPlan { name, endpoint, proxy })
    }

    fn route(&mut self, index: usize, draft: DraftRoute, only_session: &SessionName) -> RoutePlan {
        let key = |name: &str| format!("route[{index}].{name}");
        let source = self.source(Some(draft.name.line));
        self.note(key("name"), json!(draft.name.value.as_str()), source);
        let (session, line) = split(draft.session);
        let session = session.unwrap_or_else(|| only_session.clone());
        let source = self.source(line);
        self.note(key("session"), json!(session.as_str()), source);
        let to: Vec<_> = draft.to.value.iter().map(ToString::to_string).collect();
        let source = self.source(Some(draft.to.line));
        self.note(key("to"), json!(to), source);
        let (ttl, line) = split(draft.ttl);
        let source = self.source(line);
        self.note(key("ttl"), json!(ttl.map(written)), source);
        let (mark_late, line) = split(draft.mark_late);
        let mark_late = mark_late.unwrap_or(Some(LATE_AFTER));
        let source = self.source(line);
        self.note(
            key("mark_late"),
            json!(mark_late.map_or("off".to_owned(), written)),
            source,
        );
        let (group, line) = split(draft.group);
        let source = self.source(line);
        self.note(key("group"), json!(group.as_ref().map(group_shown)), source);
        let (quiet, line) = split(draft.quiet);
        let source = self.source(line);
        self.note(key("quiet"), json!(quiet.as_ref().map(quiet_shown)), source);
        let (pace, line) = split(draft.pace);
        let source = self.source(line);
        let shown = pace.map(|pace| json!({"per_minute": pace.per_minute, "burst": pace.burst}));
        self.note(key("pace"), json!(shown), source);
        let (flapping, line) = split(draft.flapping);
        let flapping = flapping.unwrap_or(Some(Flapping::DEFAULT));
        let source = self.source(line);
        self.note(key("flapping"), flapping_shown(flapping), source);
        let fallback = draft
            .fallback
            .map(|draft| self.route_fallback(&format!("route[{index}]"), draft));
        let (repeat, line) = split(draft.repeat);
        let source = self.source(line);
        self.note(key("repeat"), json!(repeat.as_ref().map(repeat_shown)), source);
        let (escalate, line) = split(draft.escalate);
        let source = self.source(line);
        self.note(key("escalate"), json!(escalate.as_ref().map(escalate_shown)), source);
        let (ack_from, line) = split(draft.ack_from);
        let source = self.source(line);
        let shown: Option<Vec<_>> = ack_from
            .as_ref()
            .map(|from| from.iter().map(ToString::to_string).collect());
        self.note(key("ack_from"), json!(shown), source);
        let (ack_words, line) = split(draft.ack_words);
        let source = self.source(line);
        let words = ack_words.unwrap_or_else(|| AckRules::default().words);
        self.note(key("ack_words"), json!(words), source);
        let acks = AckRules { from: ack_from, words };
        RoutePlan {
            name: draft.name.value,
            session,
            to: draft.to.value,
            ttl,
            mark_late,
            group,
            quiet,
            pace,
            flapping,
            fallback,
            repeat,
            escalate,
            acks,
        }
    }

    /// Without a route there would be nothing to try a fresh install with. With several sessions, the first.
    fn route_default(&mut self, session: &SessionName) -> Option<RoutePlan> {
        self.note("route[0].name".into(), json!(ROUTE_DEFAULT), Source::Default);
        self.note("route[0].session".into(), json!(session.as_str()), Source::Default);
        self.note("route[0].to".into(), json!(["me"]), Source::Default);
        self.note("route[0].ttl".into(), serde_json::Value::Null, Source::Default);
        self.note("route[0].mark_late".into(), json!(written(LATE_AFTER)), Source::Default);
        for name in ["group", "quiet", "pace", "repeat", "escalate", "ack_from"] {
            self.note(format!("route[0].{name}"), serde_json::Value::Null, Source::Default);
        }
        let flapping = Some(Flapping::DEFAULT);
        self.note("route[0].flapping".into(), flapping_shown(flapping), Source::Default);
        let acks = AckRules::default();
        self.note("route[0].ack_words".into(), json!(acks.words), Source::Default);
        Some(RoutePlan {
            name: ROUTE_DEFAULT.parse().ok()?,
            session: session.clone(),
            to: vec![Recipient::Me],
            ttl: None,
            mark_late: Some(LATE_AFTER),
            group: None,
            quiet: None,
            pace: None,
            flapping,
            fallback: None,
            repeat: None,
            escalate: None,
            acks,
        })
    }

    /// The proxy that the environment names for `endpoint`, and the variable. As curl reads them, lower case first; one
    /// that cannot be used is said and passed over.
    ///
    /// A loopback endpoint never goes through the environment's proxy; nobody who sets one means that.
    fn proxy_of_environment(&mut self, endpoint: &Endpoint) -> Option<(String, Proxy)> {
        if endpoint.is_loopback() {
            return None;
        }
        // curl takes the lower case first, and many tools write both. The first list that is set is the list.
        let set = |name: &&str| self.env.get(name);
        let exempt = ["no_proxy", "NO_PROXY"].iter().find_map(set);
        if exempt.is_some_and(|list| no_proxy_names(&list.to_string_lossy(), endpoint)) {
            return None;
        }
        let mut unusable = Vec::new();
        let mut found = None;
        for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            let Some(value) = self.env.get(name) else { continue };
            let read = match value.to_str() {
                Some(text) => Proxy::from_environment(text),
                None => Err("is not UTF-8".into()),
            };
            match read {
                Ok(proxy) => {
                    found = proxy.map(|proxy| (name.to_owned(), proxy));
                    break;
                }
                Err(error) => unusable.push((name, error)),
            }
        }
        let instead = match &found {
            Some((name, _)) => format!("${name} is taken instead"),
            None => "the line is dialled without a proxy".into(),
        };
        for (name, error) in unusable {
            let hint = "set proxy in the session (\"none\" for no proxy), or unset the variable";
            let fault = Fault::env(name, format!("{error}; {instead}: {hint}"));
            // Several sessions may stumble over the same variable.
            if !self.environment.contains(&fault) {
                self.environment.push(fault);
            }
        }
        found
    }
}

fn split<T>(at: Option<At<T>>) -> (Option<T>, Option<usize>) {
    match at {
        Some(At { value, line }) => (Some(value), Some(line)),
        None => (None, None),
    }
}
