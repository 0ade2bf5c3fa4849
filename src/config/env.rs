//! The environment as a value, so that no test ever touches the process's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A copy of the environment variables that the configuration looks at.
#[derive(Debug, Clone, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

/// Where a configuration file is looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub path: PathBuf,
    /// Somebody asked for this very file: it must be there.
    pub explicit: bool,
}

impl Env {
    /// The process's own environment, as it is now. Where `HOME` says nothing that could be a directory, as in a unit
    /// of systemd's without `User=`, it is what the list of users says.
    pub fn process() -> Self {
        let mut vars: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let said = vars.get(OsStr::new("HOME"));
        if !said.is_some_and(|home| Path::new(home).is_absolute())
            && let Some(home) = std::fs::read_to_string("/etc/passwd")
                .ok()
                .and_then(|users| home_in(&users, rustix::process::geteuid().as_raw()))
        {
            vars.insert("HOME".into(), home.into());
        }
        Self(vars)
    }

    /// An environment of nothing but `pairs`.
    pub fn of<K: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// A variable that is set to something. An empty one counts as unset, as everywhere in the XDG and systemd rules.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|v| !v.is_empty())
    }

    /// The places of the configuration file, the first that exists wins.
    pub(super) fn candidates(&self, explicit: Option<&Path>) -> Vec<Candidate> {
        if let Some(path) = explicit
            .map(Path::to_owned)
            .or_else(|| self.get("TAUTLINE_CONFIG").map(PathBuf::from))
        {
            return vec![Candidate { path, explicit: true }];
        }
        let mut directories = Vec::new();
        // systemd joins several ConfigurationDirectory= entries with colons.
        if let Some(list) = self.get("CONFIGURATION_DIRECTORY") {
            directories.extend(std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()));
        }
        // The XDG rules say to ignore a relative path; a relative HOME is as useless.
        let home = || self.get("HOME").map(|home| Path::new(home).join(".config"));
        let user = self.get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
        directories.extend(user.filter(|path| path.is_absolute()).map(|path| path.join("tautline")));
        directories.push("/etc/tautline".into());
        directories
            .into_iter()
            .map(|directory| Candidate {
                path: directory.join("tautline.toml"),
                explicit: false,
            })
            .collect()
    }
}

/// The home directory of user `uid` in the text of a passwd(5) file.
fn home_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let ours = fields.get(2)?.parse() == Ok(uid);
        let home = *fields.get(5).filter(|home| ours && home.starts_with('/'))?;
        Some(home.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(env: &Env) -> Vec<String> {
        let found = env.candidates(None);
        assert!(found.iter().all(|candidate| !candidate.explicit));
        found.iter().map(|c| c.path.display().to_string()).collect()
    }

    #[test]
    fn the_file_is_looked_for_in_the_documented_order() {
        let all = Env::of([
            ("CONFIGURATION_DIRECTORY", "/a:/b"),
            ("XDG_CONFIG_HOME", "/x"),
            ("HOME", "/h"),
        ]);
        assert_eq!(
            places(&all),
            [
                "/a/tautline.toml",
                "/b/tautline.toml",
                "/x/tautline/tautline.toml",
                "/etc/tautline/tautline.toml"
            ]
        );
        let home = Env::of([("HOME", "/h"), ("XDG_CONFIG_HOME", "")]);
        assert_eq!(
            places(&home),
            ["/h/.config/tautline/tautline.toml", "/etc/tautline/tautline.toml"]
        );
        let relative = Env::of([("XDG_CONFIG_HOME", "x")]);
        assert_eq!(places(&relative), ["/etc/tautline/tautline.toml"]);
    }

    #[test]
    fn a_home_is_found_in_the_list_of_users() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nbroken\nodd:x:7:7::relative:/bin/sh\na:x:1000:1000:A B:/home/a:/bin/sh\n";
        assert_eq!(home_in(users, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(users, 1000).as_deref(), Some("/home/a"));
        assert_eq!(home_in(users, 7), None);
        assert_eq!(home_in(users, 8), None);
    }

    #[test]
    fn a_file_that_was_asked_for_is_the_only_one() {
        let env = Env::of([("TAUTLINE_CONFIG", "/t.toml"), ("HOME", "/h")]);
        let only = |path: &str| {
            vec![Candidate {
                path: path.into(),
                explicit: true,
            }]
        };
        assert_eq!(env.candidates(None), only("/t.toml"));
        assert_eq!(env.candidates(Some(Path::new("/c.toml"))), only("/c.toml"));
    }
}
