//! `tautline boards` and `tautline config`, as the command line calls them.

use std::path::Path;

use tautline::cli::{boards, config};
use tautline::config::Env;

/// Exit code, standard output and standard error.
type Said = (u8, String, String);

fn said(run: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> std::io::Result<u8>) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// A folder that is a host without a name, and a config file in it.
fn host(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("tautline.toml");
    std::fs::write(&file, text).unwrap();
    (root, file)
}

fn list(root: &Path, file: &Path, json: bool) -> Said {
    said(|out, err| boards::list(Some(file), &Env::default(), root, json, out, err))
}

#[test]
fn the_list_marks_the_board_in_force_and_says_why() {
    let (root, file) = host("board = \"wsl2\"");
    let (code, out, err) = list(root.path(), &file, false);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out.matches("\n* ").count() + usize::from(out.starts_with("* ")),
        2,
        "{out}"
    );
    assert!(out.contains("* wsl2 ") && out.contains("11 s at worst"), "{out}");
    assert!(out.contains("* in force: wsl2 is named in the configuration"), "{out}");
    let (_, out, _) = list(root.path(), &file, true);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["in_force"], "wsl2");
    assert_eq!(json["boards"].as_array().unwrap().len(), 7);
    // A wrong file does not hide the boards.
    let (root, file) = host("board = 1");
    let (code, out, err) = list(root.path(), &file, false);
    assert!(
        code == 0 && out.contains("* generic") && err.contains("board: is an integer"),
        "{out}{err}"
    );
}

#[test]
fn a_board_shows_every_number_with_its_why() {
    let (code, out, _) = said(|out, err| boards::show("rpi-4", false, out, err));
    assert_eq!(code, 0);
    for part in [
        "[tcp]",
        "ping_max_s",
        "(generic)",
        "noticed within 20 s",
        "24.0 s",
        "MB a day",
        "wake-ups",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (_, out, _) = said(|out, err| boards::show("wsl2", true, out, err));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["detection_worst_ms"], 11_000);
    assert_eq!(json["recovery_worst_ms"], 14_500);
    let numbers = json["numbers"].as_array().unwrap();
    assert!(numbers.iter().all(|number| number["why"].as_str().unwrap().len() > 10));
    let (code, out, err) = said(|out, err| boards::show("pdp-11", false, out, err));
    assert!(code == 1 && out.is_empty() && err.contains("generic, rpi-3"), "{err}");
}

#[test]
fn the_check_fails_on_what_a_run_only_warns_of() {
    let env = Env::default();
    let check = |file: &Path, json| said(|out, err| config::check(Some(file), &env, json, out, err));
    let print = |file: &Path, json| said(|out, err| config::print(Some(file), &env, json, out, err));
    let (_root, file) = host("");
    let (code, out, err) = check(&file, false);
    assert!(code == 0 && out.ends_with("tautline.toml: ok\n") && err.is_empty());
    let (_root, file) = host("bord = \"auto\"");
    let (code, out, err) = check(&file, false);
    assert!(
        code == 78 && out.is_empty() && err.contains("did you mean \"board\"?"),
        "{err}"
    );
    let (code, out, err) = print(&file, false);
    assert!(
        code == 0 && out.starts_with("board = \"auto\" ") && err.contains("bord"),
        "{out}{err}"
    );
    let (code, out, _) = check(&file, true);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(
        code == 78 && json["ok"] == false && json["faults"][0]["line"] == 1,
        "{json}"
    );
    let (_root, file) = host("board = 1\nroute = 2\n");
    let (code, _, err) = print(&file, true);
    assert!(code == 78 && err.lines().count() == 2, "{err}");
    let (_root, file) = host("board = \"rpi-4\"");
    let (_, out, _) = print(&file, true);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["values"][0]["value"], "rpi-4");
}
