//! Webhooks of GitHub, Gitea, Forgejo and Gogs: what has happened in a repository, in a line or two.
//!
//! | field | from |
//! |---|---|
//! | title | `repository.full_name`, else the organization |
//! | text | who did what, by the event in `X-GitHub-Event` (`X-Gitea-Event`, …); below it the commits of a push, the words of a comment |
//! | priority | a run or a deployment that failed, and an alert about security: high |
//! | link | to what it is about: `html_url`, of a push `compare` |
//! | key | `X-GitHub-Delivery` (`X-Gitea-Delivery`, …), which stays the same when a delivery is made again |
//!
//! An event that is not known is told by its name, its `action` and who caused it. The JSON also comes in a form's
//! field `payload`.

use serde_json::Value;

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request};
use crate::alert::hygiene::shortened;

/// What is said of a request with nothing in it.
const TEXT_EMPTY: &str = "(an event without a word)";

/// Commits of a push that are named, and characters of the first line of each.
const COMMITS_MAX: usize = 5;
const COMMIT_CHARS_MAX: usize = 100;
/// Characters of what somebody has written.
const WORDS_CHARS_MAX: usize = 500;

/// What the programs put before the names of their headers.
const PROGRAMS: [&str; 4] = ["x-github", "x-forgejo", "x-gitea", "x-gogs"];

/// Reads an event.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    let header = |name: &str| {
        let mut named = PROGRAMS.iter().map(|program| format!("{program}-{name}"));
        named.find_map(|name| request.headers.get(&name)).unwrap_or_default()
    };
    let event = Event {
        form: &form,
        name: header("event"),
        sender: said(&form, &["sender.login", "sender.username", "pusher.name"]).unwrap_or_else(|| "somebody".into()),
        action: said(&form, &["action"]).unwrap_or_default().replace('_', " "),
    };
    draft.title(&said(&form, &["repository.full_name", "organization.login"]).unwrap_or_default());
    draft.key(header("delivery"));
    // What is no event of theirs is shown as it is.
    let is_event = !event.name.is_empty() || form.value("repository").is_some();
    let text = match is_event && !form.is_empty() {
        true => event.text(),
        false => String::new(),
    };
    draft.severity(&event.severity());
    draft.click(&event.link().unwrap_or_default());
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}

/// The text at the first of these paths in the body that has one.
fn said(form: &Form<'_>, paths: &[&str]) -> Option<String> {
    paths.iter().find_map(|path| form.value(path).and_then(text_of))
}

struct Event<'f> {
    form: &'f Form<'f>,
    /// As the header has it; may be empty.
    name: &'f str,
    sender: String,
    action: String,
}

/// What an event can be about: its name in the body, and in a text.
const ABOUT: [(&str, &str); 13] = [
    ("pull_request", "pull request"),
    ("issue", "issue"),
    ("discussion", "discussion"),
    ("release", "release"),
    ("workflow_run", "workflow"),
    ("workflow_job", "job"),
    ("check_run", "check"),
    ("check_suite", "checks"),
    ("deployment", "deployment"),
    ("milestone", "milestone"),
    ("package", "package"),
    ("registry_package", "package"),
    ("alert", "security alert"),
];

impl Event<'_> {
    fn said(&self, paths: &[&str]) -> Option<String> {
        said(self.form, paths)
    }

    fn text(&self) -> String {
        let sender = &self.sender;
        let named = |what: &str| format!("{sender} {what}");
        match self.name {
            "ping" => "the webhook works".into(),
            "push" => self.push(),
            "create" | "delete" => {
                let kind = self.said(&["ref_type"]).unwrap_or_else(|| "ref".into());
                named(&format!(
                    "{}d the {kind} {}",
                    self.name,
                    self.said(&["ref"]).unwrap_or_default()
                ))
            }
            "star" | "watch" => named("starred the repository"),
            "fork" => named(&format!(
                "forked it as {}",
                self.said(&["forkee.full_name"]).unwrap_or_default()
            )),
            _ => self.about(),
        }
    }

    fn push(&self) -> String {
        let full = self.said(&["ref"]).unwrap_or_default();
        let (kind, name) = match full.strip_prefix("refs/tags/") {
            Some(tag) => ("the tag ", tag),
            None => ("", full.strip_prefix("refs/heads/").unwrap_or(&full)),
        };
        let sender = &self.sender;
        if self.form.value("deleted").and_then(Value::as_bool) == Some(true) {
            return format!("{sender} deleted {kind}{name}");
        }
        let commits = self.form.list("commits");
        let forced = match self.form.value("forced").and_then(Value::as_bool) {
            Some(true) => "force-",
            Some(false) | None => "",
        };
        let mut text = match (kind, commits.len()) {
            ("", 1) => format!("{sender} {forced}pushed 1 commit to {name}"),
            ("", count) => format!("{sender} {forced}pushed {count} commits to {name}"),
            (tag, _) => return format!("{sender} pushed {tag}{name}"),
        };
        for commit in commits.iter().take(COMMITS_MAX) {
            let message = commit.get("message").and_then(text_of).unwrap_or_default();
            let first = shortened(message.lines().next().unwrap_or_default(), COMMIT_CHARS_MAX).0;
            text.push_str(&format!("\n- {first}"));
        }
        if commits.len() > COMMITS_MAX {
            text.push_str(&format!("\nand {} more", commits.len() - COMMITS_MAX));
        }
        text
    }

    /// Who did what to what, and what somebody has written there.
    fn about(&self) -> String {
        let sender = &self.sender;
        let about = ABOUT.iter().find(|(name, _)| self.form.value(name).is_some());
        let words = self.said(&["comment.body", "review.body", "release.body"]);
        let is_new = matches!(self.action.as_str(), "opened" | "created" | "");
        let words = words.or_else(|| self.said(&["issue.body", "pull_request.body"]).filter(|_| is_new));
        let mut text = match about {
            Some((name, kind)) => {
                let at = |field: &str| self.said(&[&format!("{name}.{field}")]);
                let number = at("number").map_or_else(String::new, |number| format!(" #{number}"));
                let of = at("title").or_else(|| at("name")).or_else(|| at("tag_name"));
                let of = of
                    .or_else(|| at("security_advisory.summary"))
                    .or_else(|| at("environment"));
                let of = of.map_or_else(String::new, |of| format!(": {}", shortened(&of, WORDS_CHARS_MAX).0));
                match self.outcome() {
                    Some(outcome) => {
                        let branch = at("head_branch").map_or_else(String::new, |branch| format!(" on {branch}"));
                        format!("{kind}{number}{of}{branch}: {outcome}")
                    }
                    None => format!("{sender} {} {kind}{number}{of}", self.did()),
                }
            }
            None => {
                let event = if self.name.is_empty() { "an event" } else { self.name };
                format!("{} {} by {sender}", event.replace('_', " "), self.action).replace("  ", " ")
            }
        };
        if let Some(words) = words {
            text.push_str(&format!("\n{}", shortened(&words, WORDS_CHARS_MAX).0));
        }
        text
    }

    /// What was done, as a verb.
    fn did(&self) -> String {
        let merged = self.form.value("pull_request.merged").and_then(Value::as_bool) == Some(true);
        match self.action.as_str() {
            "closed" if merged => "merged".into(),
            "created" | "" if self.form.value("comment").is_some() => "commented on".into(),
            "submitted" | "" if self.form.value("review").is_some() => "reviewed".into(),
            "" => "did something to".into(),
            action => action.to_owned(),
        }
    }

    /// How a run, a check or a deployment ended.
    fn outcome(&self) -> Option<String> {
        let paths = [
            "workflow_run.conclusion",
            "workflow_job.conclusion",
            "check_run.conclusion",
            "check_suite.conclusion",
            "deployment_status.state",
            "workflow_run.status",
            "workflow_job.status",
            "check_run.status",
        ];
        self.said(&paths).map(|outcome| outcome.replace('_', " "))
    }

    fn severity(&self) -> String {
        match self.outcome().as_deref() {
            Some("failure" | "timed out" | "startup failure" | "error") => "failure".into(),
            Some(_) => String::new(),
            None if self.form.value("alert").is_some() && self.action != "fixed" && self.action != "dismissed" => {
                "alert".into()
            }
            None => String::new(),
        }
    }

    fn link(&self) -> Option<String> {
        let of_it = self.said(&["comment.html_url", "review.html_url"]);
        let mut about = ABOUT.iter().map(|(name, _)| format!("{name}.html_url"));
        let of_it = of_it.or_else(|| about.find_map(|path| self.said(&[&path])));
        of_it.or_else(|| {
            self.said(&[
                "compare",
                "compare_url",
                "deployment_status.target_url",
                "repository.html_url",
            ])
        })
    }
}
