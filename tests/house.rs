//! The rules of the house, each as a test: layers, purity, no tokio, valid boards and units, sizes,
//! comments that are sentences, no real numbers.

#[path = "house/api.rs"]
mod api;
#[path = "house/documents.rs"]
mod documents;
#[path = "house/imports.rs"]
mod imports;
#[path = "house/prose.rs"]
mod prose;
#[path = "house/rooms.rs"]
mod rooms;
#[path = "house/systemd.rs"]
mod systemd;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tautline::board::{Board, faults, recovery_worst};
use tautline::health::{CONDITIONS, Condition, Grade};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that git would take, with its path from the root. Without git (a source package), every file there is.
fn files() -> Vec<(String, PathBuf)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output();
    let mut names: Vec<String> = match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => walked(root()),
    };
    names.sort();
    let files: Vec<_> = names
        .into_iter()
        .map(|name| (name.clone(), root().join(name)))
        .filter(|(_, path)| path.is_file())
        .collect();
    assert!(
        files.iter().any(|(name, _)| name == "src/lib.rs"),
        "the tree is not found"
    );
    files
}

fn walked(top: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true if name != "target" && name != ".git" && name != "node_modules" => folders.push(path),
                true => {}
                false => names.extend(path.strip_prefix(top).unwrap().to_str().map(str::to_owned)),
            }
        }
    }
    names
}

/// Files under `prefix` that end in `.rs`, as name and text.
fn rust(prefix: &str) -> Vec<(String, String)> {
    let under = |(name, path): (String, PathBuf)| {
        (name.starts_with(prefix) && name.ends_with(".rs")).then(|| (name, std::fs::read_to_string(path).unwrap()))
    };
    files().into_iter().filter_map(under).collect()
}

/// Whether a file of `src/` is nothing but tests.
fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

/// The code of a file: comments cut off, with the number of each line. A `//` in a string cuts too much, never too
/// little that matters here.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
}

/// What the pure rooms never say: clocks, timers, sockets, files, the process, randomness.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "Timer::",
    "async fn",
    "async move",
    ".await",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "fastrand::",
    "getrandom",
    "smol::",
    "async_io",
    "async_channel",
    "rustix",
    "wall_ms()",
];

/// The text up to a module of tests in the same file; the line `mod tests;` alone ends nothing.
fn without_tests(text: &str) -> &str {
    let inline = text.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
        let declared = text[*at..].lines().nth(1);
        declared.is_some_and(|line| line.ends_with('{'))
    });
    inline.map_or(text, |(at, _)| &text[..at])
}

fn impure(name: &str, text: &str) -> Vec<String> {
    // A test has to get a first instant from somewhere.
    let lines = code(without_tests(text)).flat_map(|(number, line)| {
        let found = IMPURE.iter().filter(move |word| line.contains(**word));
        found.map(move |word| format!("{name}:{number}: {word}"))
    });
    lines.collect()
}

#[test]
fn the_pure_rooms_are_pure() {
    let mut broken = Vec::new();
    for pure in ["access", "alert", "dialect", "line", "mqtt", "health", "outbox", "hook"] {
        for (name, text) in rust(&format!("src/{pure}/")) {
            if !is_test(&name) {
                broken.extend(impure(&name, &text));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(
        impure("x", "let t = Instant::now(); // SystemTime\n"),
        ["x:1: Instant::now"]
    );
    assert!(impure("x", "fn f() {}\n#[cfg(test)]\nmod tests {\n Instant::now() }").is_empty());
    assert_eq!(impure("x", "#[cfg(test)]\nmod tests;\nuse std::fs;").len(), 1);
}

fn text_of(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn there_is_no_tokio() {
    let tree = |package: &str| {
        let arguments = [
            "tree",
            "--locked",
            "-e",
            "normal,build,dev",
            "--all-features",
            "-i",
            package,
        ];
        let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
        output.expect("cargo runs")
    };
    let output = tree("tokio");
    let text = text_of(&output);
    assert!(
        text.contains("did not match any packages") || text.contains("nothing to print"),
        "cargo tree -i tokio must find nothing: {text}"
    );
    // The same question about what is there has an answer, so the silence above means something.
    let smol = tree("smol");
    assert!(
        smol.status.success() && text_of(&smol).contains("tautline v"),
        "{}",
        text_of(&smol)
    );
}

#[test]
fn every_board_is_valid() {
    assert!(Board::all().len() >= 7);
    for board in Board::all() {
        assert_eq!(faults(&board.values), [], "{}", board.name);
        let limit = if board.name == "wsl2" { 15 } else { 25 };
        assert!(
            recovery_worst(&board.schedule()).as_secs_f64() <= f64::from(limit),
            "{}",
            board.name
        );
        assert!(board.numbers().all(|number| !number.why.is_empty()));
    }
}

#[test]
fn no_file_is_too_long_to_hold_in_the_head() {
    let length = |(name, text): (String, String)| {
        let lines = text.lines().count();
        (lines > 700).then(|| format!("{name}: {lines} lines"))
    };
    let long: Vec<_> = ["src/", "tests/", "examples/", "build.rs"]
        .iter()
        .flat_map(|prefix| rust(prefix))
        .filter_map(length)
        .collect();
    assert!(long.is_empty(), "over 700 lines: {long:#?}");
}

/// Phone numbers in `text` that are not of the range set aside for fiction, +1 555.
fn real_numbers(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('+') {
        let rest = &text[at + 1..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, ' ' | '-' | '.' | '(' | ')'))
            .unwrap_or(rest.len());
        // As people write numbers: a digit right after the plus, never two separators' worth of prose between digits.
        if !rest.starts_with(|c: char| ('1'..='9').contains(&c)) {
            continue;
        }
        let digits: String = rest[..end].chars().filter(char::is_ascii_digit).collect();
        if (7..=15).contains(&digits.len()) && !digits.starts_with("1555") {
            found.push(format!("+{}", rest[..end].trim_end()));
        }
    }
    for (at, _) in text.match_indices("@s.whatsapp.net") {
        let front = text[..at].trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
        let number = &text[front.len()..at];
        if number.len() >= 7 && !number.starts_with("1555") {
            found.push(format!("{number}@s.whatsapp.net"));
        }
    }
    found
}

#[test]
fn no_real_phone_number_is_anywhere() {
    let mut found = Vec::new();
    for (name, path) in files() {
        // Lock files hold checksums and versions.
        if name.ends_with(".lock") || name.ends_with("package-lock.json") {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(path) {
            found.extend(
                real_numbers(&text)
                    .into_iter()
                    .map(|number| format!("{name}: {number}")),
            );
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // Put together here, so that this file holds none itself.
    let plus = '+';
    assert_eq!(real_numbers(&format!("call {plus}49 151 1234567 now")).len(), 1);
    assert_eq!(
        real_numbers(&format!("{}@s.whatsapp.net", 491_511_234_567_u64)).len(),
        1
    );
    assert!(real_numbers("+1 (555) 010-0123, +15550100, +0155501000, a + 12345678, +00:00").is_empty());
}

/// Targets of the Markdown links in `text` that are paths: no scheme, without the fragment.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or(""))
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

#[test]
fn the_links_of_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (name, path) in files() {
        if name.ends_with(".md") {
            let text = std::fs::read_to_string(&path).unwrap();
            let folder = path.parent().unwrap();
            let dead = links(&text).into_iter().filter(|link| !folder.join(link).exists());
            broken.extend(dead.map(|link| format!("{name}: {link}")));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(
        links("[a](b.md#c) [d](https://e) [f](#g) ![h](i.png)"),
        ["b.md", "i.png"]
    );
}

/// A row of the table of health codes in the manual.
fn health_row(condition: &Condition) -> String {
    let seconds = |duration: std::time::Duration| match duration.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    };
    let mut severity = match condition.grade {
        Grade::Warning => "warning".to_owned(),
        Grade::Error => "error".to_owned(),
        Grade::ErrorAfter(limit) => format!("warning, error after {}", seconds(limit)),
    };
    if !condition.shows_after.is_zero() {
        severity = format!("{severity}; shown after {}", seconds(condition.shows_after));
    }
    let causes: Vec<_> = condition
        .follows_from
        .iter()
        .map(|code| format!("`{}`", code.as_str()))
        .collect();
    let Condition {
        name, title, advice, ..
    } = condition;
    format!(
        "| [`{name}`](#{name}) | {severity} | {title} | {} | {advice} |",
        causes.join(", ")
    )
}

#[test]
fn every_health_code_is_raised_and_has_its_row_and_its_paragraph() {
    let manual = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let section = manual.split("\n## ").find(|part| part.starts_with("Health codes\n"));
    let section = section.expect("a section on health codes");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| [`")).collect();
    let wanted: Vec<_> = CONDITIONS.iter().map(health_row).collect();
    let table = wanted.join("\n");
    assert!(rows == wanted, "docs/operations.md should have these rows:\n{table}");

    let paragraphs = section
        .split("\n### `")
        .skip(1)
        .map(|part| part.split_once("`\n").unwrap());
    let mut described = Vec::new();
    for (code, text) in paragraphs {
        assert!(text.trim().len() > 80, "{code}: say what it means and what to do");
        described.push(code);
    }
    let names: Vec<_> = CONDITIONS.iter().map(|condition| condition.name).collect();
    assert_eq!(described, names, "docs/operations.md, in the order of the table");

    let raised: String = rust("src/appliance/").into_iter().map(|(_, text)| text).collect();
    for condition in &CONDITIONS {
        let code = format!("Code::{:?}", condition.code);
        assert!(raised.contains(&code), "src/appliance never raises {code}");
    }
}

/// Names of tests in backticks in the last cell of a table's row, "shown by"; paths and commands are none. One that is
/// cut short is no name of any test.
fn tests_named(row: &str) -> Vec<&str> {
    let cell = row.trim_end().trim_end_matches('|').rsplit(" | ").next().unwrap_or("");
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|name| !name.contains(['/', '.', ' ', '-'])).collect()
}

#[test]
fn the_tests_that_the_faults_name_are_there() {
    let manual = std::fs::read_to_string(root().join("docs/keepalive.md")).unwrap();
    let (_, table) = manual.split_once("| shown by |\n").expect("the table of faults");
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(1);
    let named: Vec<_> = rows.flat_map(tests_named).collect();
    assert!(named.len() > 30, "{named:?}");
    let sources = [rust("src/"), rust("tests/")].concat();
    // A case of `tests/it/nat.rs` goes by a word of its own.
    let is_there = |name: &str| {
        let (function, case) = (format!("fn {name}("), format!("\"{name}\",\n"));
        let of_nat = |file: &str, text: &str| file == "tests/it/nat.rs" && text.contains(&case);
        sources
            .iter()
            .any(|(file, text)| text.contains(&function) || of_nat(file, text))
    };
    let missing: Vec<_> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(
        missing.is_empty(),
        "docs/keepalive.md names what is not there: {missing:#?}"
    );
    assert!(!is_there("no_such_test"));
    assert_eq!(
        tests_named("| a | `x` | sim (1); line `b_c`, `d…`; `e/f.rs` |"),
        ["b_c", "d…"]
    );
}

#[test]
fn the_readme_knows_every_exit_code() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_tautline"))
        .arg("--help")
        .output()
        .unwrap();
    let help = text_of(&help).split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, codes) = help.split_once("Exit codes: ").expect("the help lists the exit codes");
    let codes: Vec<_> = codes.trim_end_matches('.').split("; ").collect();
    assert_eq!(codes.len(), 9, "{codes:?}");
    for code in codes {
        let (number, words) = code.split_once(' ').unwrap();
        let row = format!("| {number} | {words}");
        assert!(
            readme.lines().any(|line| line.starts_with(&row)),
            "README.md: no row {row:?}"
        );
    }
}

/// The blocks of TOML in a document.
fn examples(document: &str) -> impl Iterator<Item = &str> {
    let blocks = document.split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap())
}

#[test]
fn the_configurations_in_the_documents_are_valid() {
    let text = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (readme, routes) = (text("README.md"), text("docs/routes.md"));
    // Lines of a section are no configuration.
    let whole = examples(&routes).filter(|example| example.contains("[["));
    let examples: Vec<&str> = examples(&readme).chain(whole).collect();
    assert!(examples.len() > 2, "{examples:?}");
    let folder = tempfile::tempdir().unwrap();
    for example in examples {
        let file = folder.path().join("tautline.toml");
        std::fs::write(&file, example).unwrap();
        let check = Command::new(env!("CARGO_BIN_EXE_tautline"))
            .args(["config", "check", "--config"])
            .arg(&file)
            .output();
        let check = check.unwrap();
        assert!(check.status.success(), "{example}\n{}", text_of(&check));
    }
}

#[test]
fn the_licences_are_there() {
    for (name, words) in [("LICENSE-MIT", "MIT License"), ("LICENSE-APACHE", "Apache License")] {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        assert!(text.contains(words), "{name}");
    }
    assert!(
        std::fs::read_to_string(root().join("Cargo.toml"))
            .unwrap()
            .contains("license = \"MIT OR Apache-2.0\"")
    );
}
