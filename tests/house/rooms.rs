//! The rooms of `src/` and the arrows between them, by the parse of `imports.rs`.

use std::collections::BTreeSet;

use super::imports::Imports;
use super::{is_test, rust, without_tests};

/// Under every room: any may use it, and it uses none.
const GROUND: &str = "util";

/// The rooms, lowest first, and which others each uses. It is the door that counts: an item that a room hands on from
/// another is that room's. An arrow that is no longer needed is taken out here too.
pub const ROOMS: &[(&str, &[&str])] = &[
    (GROUND, &[]),
    ("alert", &[]),
    ("access", &["alert"]),
    ("dialect", &["alert"]),
    ("spool", &[]),
    ("media", &["alert"]),
    ("blobs", &["alert"]),
    ("line", &[]),
    ("mqtt", &["line"]),
    ("health", &["alert", "line"]),
    ("outbox", &["alert"]),
    ("hook", &["alert", "outbox"]),
    ("board", &["line"]),
    ("config", &["access", "alert", "mqtt", "outbox", "hook", "board"]),
    ("store/engine", &[]),
    ("store", &["access", "alert", "line", "outbox", "store/engine"]),
    ("credentials", &["alert", "store"]),
    (
        "state",
        &["alert", "blobs", "outbox", "store", "store/engine", "credentials"],
    ),
    ("net", &["line", "config"]),
    ("fallback", &["alert", "line", "outbox", "config", "net"]),
    (
        "whatsapp",
        &[
            "alert",
            "blobs",
            "line",
            "outbox",
            "config",
            "store",
            "credentials",
            "net",
        ],
    ),
    (
        "gateway",
        &[
            "access", "alert", "blobs", "dialect", "media", "spool", "line", "mqtt", "outbox", "hook", "config",
            "store", "net", "fallback",
        ],
    ),
    (
        "appliance",
        &[
            "access", "alert", "blobs", "line", "health", "outbox", "hook", "board", "config", "store", "state",
            "fallback", "whatsapp", "gateway",
        ],
    ),
    (
        "doctor",
        &["outbox", "board", "config", "store", "net", "gateway", "appliance"],
    ),
    (
        "cli",
        &[
            "access",
            "dialect",
            "doctor",
            "spool",
            "alert",
            "outbox",
            "board",
            "config",
            "store",
            "credentials",
            "state",
            "net",
            "gateway",
            "appliance",
        ],
    ),
];

/// The room of a file: of two that lie in each other, the inner one.
fn room(file: &str) -> Option<&'static str> {
    let path = file.strip_prefix("src/")?;
    let holds = |room: &&str| {
        let rest = path.strip_prefix(*room);
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    };
    let rooms = ROOMS.iter().map(|(room, _)| *room);
    rooms.filter(holds).max_by_key(|room| room.len())
}

/// Which room uses which, but for the ground.
fn arrows(files: &[(&str, &str)]) -> BTreeSet<(&'static str, &'static str)> {
    let imports = Imports::new(files);
    let named = imports.named().into_iter();
    let between = named.filter_map(|(from, to)| Some((room(from)?, room(to)?)));
    between.filter(|(from, to)| from != to && *to != GROUND).collect()
}

/// Those of `arrows` that do not lead down.
fn upward(arrows: &BTreeSet<(&'static str, &'static str)>) -> Vec<(&'static str, &'static str)> {
    let height = |room: &str| ROOMS.iter().position(|(other, _)| *other == room);
    let up = arrows.iter().filter(|(from, to)| height(to) >= height(from));
    up.copied().collect()
}

#[test]
fn every_file_has_a_room() {
    let without = |(file, _): (String, String)| {
        let is_root = ["src/lib.rs", "src/main.rs"].contains(&file.as_str());
        (!is_root && room(&file).is_none()).then_some(file)
    };
    let homeless: Vec<_> = rust("src/").into_iter().filter_map(without).collect();
    assert!(homeless.is_empty(), "in no room of the list: {homeless:#?}");
}

#[test]
fn the_rooms_use_each_other_as_the_list_says_and_no_more() {
    let sources = rust("src/");
    let files: Vec<_> = sources
        .iter()
        .filter(|(name, _)| !is_test(name))
        .map(|(name, text)| (name.as_str(), without_tests(text)))
        .collect();
    let found = arrows(&files);
    let listed: BTreeSet<_> = ROOMS
        .iter()
        .flat_map(|(room, others)| others.iter().map(|other| (*room, *other)))
        .collect();
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(new.is_empty(), "not in the list: {new:?}");
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "in the list, and not needed: {gone:?}");
}

/// Tests within the sources may use more than the rooms that they test, but nothing above those.
#[test]
fn nothing_imports_upward() {
    let sources = rust("src/");
    let files: Vec<_> = sources
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(upward(&arrows(&files)), []);
}

#[test]
fn the_layering_test_sees() {
    let doors = [
        ("src/alert/mod.rs", ""),
        ("src/outbox/mod.rs", ""),
        ("src/store/mod.rs", "pub use engine::Batch;"),
        ("src/store/engine/mod.rs", ""),
        ("src/whatsapp/mod.rs", ""),
        ("src/appliance/mod.rs", ""),
        ("src/util/mod.rs", ""),
    ];
    let upward = |name, text| upward(&arrows(&[&doors[..], &[(name, text)]].concat()));
    for (name, text) in [
        ("src/alert/x.rs", "use crate::outbox::Step;"),
        ("src/net/tls.rs", "fn f() { crate::whatsapp::g() }"),
        (
            "src/gateway.rs",
            "use crate::{\n    alert::Alert,\n    appliance::{a, b},\n};",
        ),
        ("src/store/x.rs", "use crate::{alert::{A, B}, whatsapp};"),
        ("src/store/engine/x.rs", "use super::super::record;"),
        ("src/util/x.rs", "use crate::alert::A;"),
    ] {
        assert_eq!(upward(name, text).len(), 1, "{name}");
    }
    for (name, text) in [
        ("src/outbox/x.rs", "use crate::{alert::{Alert, store}, line};"),
        (
            "src/alert/x.rs",
            "/// See [`outbox`](crate::outbox).\nuse crate::alert::X;",
        ),
        ("src/main.rs", "use tautline::cli;"),
        ("src/alert/x.rs", "use crate::util::lock;"),
    ] {
        assert_eq!(upward(name, text), [], "{name}");
    }
    assert_eq!(room("src/attic/mod.rs"), None);
    let through_the_door = arrows(&[&doors[..], &[("src/cli/x.rs", "use crate::store::Batch;")]].concat());
    assert!(through_the_door.contains(&("cli", "store")) && !through_the_door.contains(&("cli", "store/engine")));
}
