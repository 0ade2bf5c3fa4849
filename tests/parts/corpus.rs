//! The fuzz targets' bodies over the committed corpus: what the fuzzers found interesting, and what was written by
//! hand, still ends without a panic. `fuzz/README.md` says how to look for more.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tautline::credentials::ROUND_TRIPS;
use tautline::state::fuzzing;
use tautline::store::Tree;

const CREDS: &[u8] = include_bytes!("../fixtures/baileys/auth/creds.json");

fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} has hardly anything", folder.display());
    files
}

/// Runs `body` over the target's corpus, and over each of its inputs with a piece missing, doubled or flipped, up to
/// three times over: 16 such a file, or as many as `CORPUS_ROUNDS` says.
fn replay(target: &str, body: impl Fn(&[u8])) {
    let rounds = std::env::var("CORPUS_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    for (path, data) in files(target) {
        // Named when it panics.
        println!("{}", path.display());
        body(&data);
        let mut rng = fastrand::Rng::with_seed(data.len() as u64);
        for _ in 0..rounds.unwrap_or(16) {
            let mut changed = data.clone();
            for _ in 0..rng.u8(1..=3) {
                changed = mutated(&mut rng, &changed);
            }
            body(&changed);
        }
    }
}

fn mutated(rng: &mut fastrand::Rng, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if data.is_empty() {
        return vec![rng.u8(..)];
    }
    let (at, other) = (rng.usize(..data.len()), rng.usize(..data.len()));
    let (from, to) = (at.min(other), at.max(other));
    match rng.u8(..4) {
        0 => data.truncate(at),
        1 => drop(data.drain(from..to)),
        2 => {
            let piece = data[from..to].to_vec();
            data.splice(from..from, piece);
        }
        _ => data[at] ^= 1 << rng.u8(..8),
    }
    data
}

#[test]
fn frames() {
    replay("frames", fuzzing::frames);
}

#[test]
fn backup() {
    replay("backup", fuzzing::backup);
}

#[test]
fn records() {
    replay("records", fuzzing::records);
}

#[test]
fn baileys() {
    replay("baileys", |data| fuzzing::baileys(CREDS, data));
}

#[test]
fn templates() {
    replay("template", |data| {
        tautline::dialect::fuzzing::template(data);
    });
}

#[test]
fn mails() {
    replay("mail", |data| {
        tautline::dialect::fuzzing::mail(data);
    });
}

#[test]
fn mqtt() {
    replay("mqtt", |data| {
        tautline::mqtt::fuzzing::broker(Instant::now(), data);
    });
}

#[test]
fn smtp() {
    replay("smtp", |data| {
        tautline::gateway::fuzzing::smtp(data);
    });
}

#[test]
fn spooled_files() {
    replay("spool", |data| {
        tautline::spool::fuzzing::entry(data);
    });
}

#[test]
fn pictures() {
    replay("picture", |data| {
        tautline::media::fuzzing::picture_of(data);
    });
}

#[test]
fn forms() {
    replay("form", |data| {
        tautline::dialect::fuzzing::form(data);
    });
}

/// What was written by hand begins with something whole, so that the fuzzers have it too.
#[test]
fn whole_mails_sessions_and_files_are_in_the_corpus() {
    let whole = |target: &str, is_whole: fn(&[u8]) -> bool| {
        let corpus = files(target);
        let count = corpus.iter().filter(|(_, data)| is_whole(data)).count();
        assert!(count >= 5, "{target}: {count}");
    };
    whole("template", |data| tautline::dialect::fuzzing::template(data) > 0);
    whole("mail", |data| tautline::dialect::fuzzing::mail(data) > 0);
    whole("smtp", |data| tautline::gateway::fuzzing::smtp(data) > 0);
    whole("mqtt", |data| tautline::mqtt::fuzzing::broker(Instant::now(), data) > 0);
    whole("spool", tautline::spool::fuzzing::entry);
    whole("picture", tautline::media::fuzzing::picture_of);
    whole("form", |data| tautline::dialect::fuzzing::form(data) > 0);
}

#[test]
fn every_tree_of_credentials_has_its_form_and_a_whole_record_to_start_from() {
    for tree in Tree::credentials() {
        assert!(ROUND_TRIPS.iter().any(|(known, _)| *known == tree), "{}", tree.name());
    }
    let corpus = files("records");
    for (choice, (tree, round_trip)) in ROUND_TRIPS.iter().enumerate() {
        let mut values = corpus.iter().filter_map(|(_, data)| data.split_first());
        let whole = values.any(|(first, value)| usize::from(*first) == choice && round_trip(value).is_ok());
        assert!(whole, "none of form {choice} ({})", tree.name());
    }
}

#[test]
fn whole_backups_are_in_the_corpus() {
    let corpus = files("backup");
    for name in ["running", "imported", "inbound", "two-parts", "what-never-comes-back"] {
        let (_, data) = corpus.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        assert!(fuzzing::is_whole_backup(data), "{name}");
    }
}

#[test]
fn whole_files_of_baileys_are_in_the_corpus() {
    let corpus = files("baileys");
    for (path, data) in corpus.iter().filter(|(path, _)| path.extension().is_none()) {
        let name = path.file_name().unwrap().to_string_lossy();
        // What the fuzzers add is named by its hash; the memory counts only beside our own sender key.
        if name.len() < 40 && name != "sender-key-memory" {
            assert!(fuzzing::is_taken(CREDS, data), "{name}");
        }
    }
}
